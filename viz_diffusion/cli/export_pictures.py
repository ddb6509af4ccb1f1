"""What ``vizdiff export`` writes: the bytes of a figure, or of a film of a recording or of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.figure_study import FigureStudy, film_words
from viz_diffusion.cli.loading import open_run
from viz_diffusion.cli.outputs import Output

if TYPE_CHECKING:
    from viz_diffusion.study.narrative import Drawing
    from viz_diffusion.text.catalogue import Texts

STILLS, FILMS = ("png", "svg", "pdf"), ("gif", "webp", "mp4")
FILM_FIGURES = ("steps", "guess")
"""Films of x_t and of predicted x_0."""
LEARNING = "learning"
"""The samples that a run kept while it was trained, as a strip or as a film; needs no recording."""
LEARNING_MS, LEARNING_HOLD_MS = 500, 2000
"""Milliseconds of a frame of the film, and of the last one."""
FILM_SCALE = 16


class ExportFormat(NamedTuple):
    """The format of the file."""

    kind: str
    """One of ``STILLS`` and ``FILMS``."""
    dpi: int
    """Pixels per inch of a still."""
    transparent: bool
    """Whether a still has no background."""
    size: str | None
    """The size of a film; None for that of its enlarged frames."""


def film_of(
    study: FigureStudy, figure: str, form: ExportFormat, frames: str | None, spacing: str, texts: Texts
) -> tuple[dict[str, Any], bytes]:
    """Return the facts of a film, and its bytes."""
    import numpy as np

    from viz_diffusion.plots.film import film_bytes, film_page
    from viz_diffusion.plots.film_captions import strip_height
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.views.frames import film_counts, film_steps, pictures

    trajectory = study.trajectory
    assert trajectory is not None  # a film is of a recording
    images = trajectory.x_t if figure == "steps" else trajectory.x0_pred
    states = pictures(np.concatenate([images[0], trajectory.x0[:1]]))
    shown = film_steps(trajectory, frames, spacing)
    scale, page = film_page(states.shape[1], states.shape[2], form.size, FILM_SCALE)
    height, width = (side * scale for side in states.shape[1:3])
    full = page or (width, height + strip_height(height))
    facts = {"frames": len(shown), "steps_left_shown": [int(trajectory.num_steps - n) for n in shown]}
    with use_texts(texts):
        counts = film_counts(trajectory, shown)
        data = film_bytes(states[shown], form.kind, counts=counts, scale=scale, size=page)
    facts |= {"width": full[0], "height": full[1]}
    return facts | film_words(figure, study.recording | facts, texts), data


def training_samples(
    choice: str | None, form: ExportFormat, texts: Texts, out: Output, terminal: Terminal
) -> tuple[dict[str, Any], bytes]:
    """Return the facts of the samples that a run kept while it was trained, and the bytes of their strip or film."""
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.lessons.training.history import read_training_samples, training_samples_facts
    from viz_diffusion.plots import training_samples as learning
    from viz_diffusion.plots.film import film_bytes
    from viz_diffusion.plots.lazy_figures import Figures
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.study.narrative import drawings
    from viz_diffusion.study.wording import wording

    run = open_run(choice, terminal)
    texts = texts.for_classes(run.config.class_names)
    looks = read_training_samples(run, None if form.kind in FILMS else learning.MOST_COLUMNS)
    out.claim(terminal, run=run.name, steps=looks.steps.tolist()[-1])
    terminal.tell("Drawing", "training_samples", count=len(looks.steps), run=run.name)
    facts = training_samples_facts(looks) | {"run": run.name_or_path}
    if form.kind in FILMS:
        with use_texts(texts):
            film = learning.training_samples_film(looks)
        data = film_bytes(film, form.kind, scale=1, frame_ms=LEARNING_MS, hold_ms=LEARNING_HOLD_MS)
        facts |= {"frames": len(film), "width": film.shape[2], "height": film.shape[1]}
        return facts | film_words(LEARNING, facts, texts), data
    (drawing,) = drawings(Figures(learning=lambda: learning.draw_training_samples(looks)), wording(facts, texts), texts)
    drawing_facts, data = still_of(drawing, form)
    return facts | drawing_facts, data


def still_of(drawing: Drawing, form: ExportFormat) -> tuple[dict[str, Any], bytes]:
    """Return the title, caption and alternative text of a drawing, and its bytes."""
    from viz_diffusion.plots.saving import written_bytes

    data = written_bytes(
        drawing.figure, form.kind, description=drawing.caption, dpi=form.dpi, transparent=form.transparent
    )
    words = {"title": drawing.title, "caption": drawing.caption, "details": drawing.details, "alt": drawing.alt}
    return words, data
