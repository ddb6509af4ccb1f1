"""The study that report, deck and worksheet are made of: a recording, its comparison runs, and its lessons."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.generation_request import GenerationRequest
from viz_diffusion.cli.open_study import open_study
from viz_diffusion.cli.options import DEFAULT_GUIDANCE
from viz_diffusion.cli.outputs import Output
from viz_diffusion.cli.recording_agreement import spacing_of
from viz_diffusion.diffusion.timesteps import SPACINGS
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import AnyLesson
    from viz_diffusion.study.study import Study
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.run import Run


_SHOWING_RUNS = ("trajectory", "report", "lesson", "embeddings")
"""Commands that chapters name and that take ``--run``."""
LessonsOption = Annotated[
    str,
    typer.Option(
        "--lessons",
        metavar="core|all|NAME,NAME",
        help="Lessons to show; vizdiff lessons lists them. core also shows those precomputed for the weights.",
    ),
]


def pick_lessons(choice: str) -> Sequence[AnyLesson] | None:
    """Return the chosen lessons; None for the default, the core lessons and those precomputed for the weights."""
    if choice == "core":
        return None
    from viz_diffusion.lessons.base import choose_lessons

    return choose_lessons(choice)


def lessons_mark(choice: str) -> list[str]:
    """Return what a file's name says of the chosen lessons; nothing for the default."""
    return [] if choice == "core" else [choice.replace(",", "-")]


def prepare_study(
    request: GenerationRequest,
    run: str | None,
    device: str,
    terminal: Terminal,
    lessons: Sequence[AnyLesson] | None = None,
    out: Output | None = None,
    data_dir: Path | None = None,
) -> Study:
    """Return the study of a generation: its recording, its comparison runs, and what lessons measured.

    What is kept of it on disk is not made again (:mod:`viz_diffusion.cli.open_study`).

    Parameters
    ----------
    lessons
        The lessons to measure; by default those of the core, and those precomputed for the weights.
    out, data_dir
        As of :func:`~viz_diffusion.cli.open_study.open_study`.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than those of the run.
    """
    return open_study(request, run, device, terminal, out, data_dir).measure(lessons)


def study_texts(study: Study, texts: Texts) -> Texts:
    """Return the texts that suit a study: with its classes' names, and with what the classifier reads in its image."""
    from viz_diffusion.study.reading import read_study

    config = study.run.config
    suited = texts.for_classes(config.class_names).for_space(config.space).for_prompts(config.prompts)
    return read_study(study).texts(suited)


def figure_command(study: Study, lang: str, figure: str) -> str:
    """Return the command that draws one figure again, with the same values."""
    return study_command("export", study, lang, "--figure", figure)


def study_command(command: str, study: Study, lang: str, *options: str) -> str:
    """Return the command that writes the same page again; paths outside the current folder are not shown.

    ``options`` are the command's own, without those that say which generation it shows.
    """
    recorded, run = study.trajectory, study.run
    label, names = int(recorded.labels[0]), run.config.class_names
    asked = ["--label", names[label]] if names else ["--digit", str(label)]
    if run.config.prompts:
        shown = run.config.prompts
        asked = [word for one in (shown[label], *shown[:label], *shown[label + 1 :]) for word in ("--prompt", one)]
    words = ["vizdiff", command, *options, *asked, "--seed", str(recorded.seeds[0])]
    if recorded.sampler != "ddpm":
        words += ["--sampler", recorded.sampler]
    if recorded.num_steps != recorded.schedule.num_train_timesteps:
        words += ["--steps", str(recorded.num_steps)]
    if recorded.guidance_scale != DEFAULT_GUIDANCE:
        words += ["--guidance", f"{recorded.guidance_scale:g}"]
    if recorded.variance == "beta_tilde":
        words += ["--variance", recorded.variance]
    if recorded.eta:
        words += ["--eta", f"{recorded.eta:g}"]
    if spacing_of(recorded) not in ("", SPACINGS[0]):
        words += ["--timestep-spacing", spacing_of(recorded)]
    if not recorded.clip and run.config.space == "pixel":
        words += ["--no-clip"]
    if lang != "en":
        words += ["--lang", lang]
    return shlex.join([*words, "--run", shown_run(run)])


def shown_run(run: Run) -> str:
    """Return a run as a command on a page names it; paths outside the current folder are not shown."""
    inside = run.path.resolve().is_relative_to(Path.cwd()) and run.name_or_path not in BUNDLED_RUNS
    return show_path(run.path) if inside else run.name


def command_options(run: Run) -> dict[str, dict[str, str]]:
    """Return the options that a page's commands need to be about a run: its name, its data set, its objective."""
    config = run.config
    shown = {} if run.is_bundled else {"--run": shown_run(run)}
    data = {} if config.dataset in ("mnist", "data-dir") else {"--dataset": config.dataset}
    trained = data | ({} if config.training.objective == "epsilon" else {"--objective": config.training.objective})
    trained |= {} if config.model.text is None else {"--conditioning": "text"}
    return {"forward": data, "train": trained} | dict.fromkeys(_SHOWING_RUNS, shown)
