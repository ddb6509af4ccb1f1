"""Comparison of a generation with the one under an intervention: figure, film, and how a classifier reads both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.intervention_options import InterventionOptions

if TYPE_CHECKING:
    from viz_diffusion.diffusion.interventions import WithInterventions
    from viz_diffusion.recording.trajectory import Float32, Trajectory
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.run import Run

FILM_FRAMES, FILM_SCALE = 100, 8


def named_changes(interventions: str, texts: Texts) -> str:
    """Return interventions as a text says them: with the names of classes, or prompts, in the place of labels."""
    return re.sub(r"(?<=switch )\d+(?=@)", lambda match: texts.label(int(match[0])), interventions)


def draw_comparison(
    plain: Trajectory,
    changed: Trajectory,
    other: WithInterventions,
    frames: str | None,
    texts: Texts,
    out: Path,
    terminal: Terminal,
    size: str | None = None,
) -> dict[str, Any]:
    """Draw two generations side by side, as a figure and as a film; return their values for the JSON file.

    ``other`` is the network of ``changed``: that of ``plain`` with the interventions. ``size`` is that of the film.
    """
    import numpy as np

    from viz_diffusion.diffusion.interventions import WithInterventions, network_inputs
    from viz_diffusion.plots.film import film_frames, film_page, side_by_side, write_gif
    from viz_diffusion.plots.words import use_texts
    from viz_diffusion.recording.latent_pictures import pictured
    from viz_diffusion.study.narrative import drawings, save_drawing
    from viz_diffusion.study.wording import wording
    from viz_diffusion.views import comparison
    from viz_diffusion.views.frames import film_counts, pictures

    plain, changed = pictured(plain), pictured(changed)
    terminal.tell("Drawing", "both_generations")
    given = (int(plain.labels[0]), plain.timesteps.tolist(), plain.guidance_scale)
    plain_inputs, inputs_of_changed = (
        network_inputs(denoiser, *given) for denoiser in (WithInterventions(other.denoiser), other)
    )
    if plain_inputs == inputs_of_changed:
        last = int(plain.timesteps[-1])
        terminal.tell("Unchanged", "unchanged", changes=other.interventions, last=last)
    data = comparison.measure(plain, changed, plain_inputs, inputs_of_changed, frames=frames)
    facts = comparison.facts(data)
    with use_texts(texts):
        figures = comparison.draw(data)
    named = named_changes(changed.interventions, texts)
    for drawing in drawings(figures, wording(facts | {"interventions": named}, texts), texts):
        save_drawing(drawing, out)
    states = [pictures(np.concatenate([run.x_t[0], run.x0[:1]])) for run in (plain, changed)]
    shown = film_frames(len(states[0]), min(FILM_FRAMES, len(states[0])))
    film = side_by_side(states[0][shown], states[1][shown])
    scale, page = film_page(film.shape[1], film.shape[2], size, FILM_SCALE, strips=2)
    with use_texts(texts):
        captions: dict[str, Any] = {"counts": film_counts(plain, shown), "heads": comparison.heads(data, shown)}
        write_gif(film, out / "compare.gif", **captions, scale=scale, size=page)
    return {**facts, "caption": drawing.caption}


def classify_finished(
    finished: dict[str, Float32], digit: int, intervention: InterventionOptions, run: Run, terminal: Terminal
) -> dict[str, object]:
    """Classify the finished images of both generations, say the result, and return it for the JSON file.

    Parameters
    ----------
    finished
        From the generation's name to its (B, 1, 28, 28) float32 images.
    digit, intervention
        The requested digit, and the intervention, which may switch to another.
    run
        The network's run; where its data are not MNIST, nothing is classified.
    """
    if run.config.dataset != "mnist":
        return {}
    import torch

    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.evaluation.intervals import Share
    from viz_diffusion.training.text_run import digits_named

    labels = [digit] if intervention.switch is None else [digit, int(intervention.switch[0])]
    named = digits_named(run.config)
    digits = [one for one in (named[label] for label in labels) if one is not None]
    if len(digits) < len(labels):  # a prompt that names no digit, or several
        return {}
    classifier, digest = DigitClassifier.bundled()
    facts: dict[str, object] = {"classifier_sha256": digest}
    for name, images in finished.items():
        predicted = classifier.read(torch.from_numpy(images)).tolist()
        shares = {label: Share(predicted.count(label), len(predicted)) for label in dict.fromkeys(digits)}
        for label, share in shares.items():
            facts[f"{name}_read_as_{label}"] = {
                "count": share.hits,
                "of": share.count,
                "share": share.value,
                "interval_95": share.interval,
            }
        found = "; ".join(
            terminal.text("read_share", label=at, share=terminal.share(one)) for at, one in shares.items()
        )
        if len(predicted) == 1:
            found = str(predicted[0])
        terminal.tell("Read", f"read_{name}", found=found, whose=terminal.text("classifier_bundled", digest=digest[:8]))
    return facts
