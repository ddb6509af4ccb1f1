"""The study that report, deck and worksheet are made of: a recording, its comparison runs, and its lessons."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.generation_request import (
    GenerationRequest,
    asked_label,
    check_weights,
    is_store,
    spacing_of,
)
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.options import DEFAULT_GUIDANCE, PICTURE_SAMPLER
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.diffusion.timesteps import SPACINGS
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.lessons.base import AnyLesson
    from viz_diffusion.recording.comparison_runs import ComparisonRuns
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.study.study import Study
    from viz_diffusion.text.catalogue import Texts


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
    others: bool = True,
    comparisons: bool = False,
    out: Output | None = None,
    data_dir: Path | None = None,
) -> Study:
    """Open or make a recording, sample its comparison runs, and measure lessons on it.

    Parameters
    ----------
    lessons
        The lessons to measure; by default those of the core, and those precomputed for the weights.
    others, comparisons
        Whether to sample the nine other digits, and the same digit sampled in other ways; only where there are
        ``others`` are there ``comparisons``.
    out
        The file to write; one of another origin is refused after the last other check.
    data_dir
        Where the run's data lie, if they have moved.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than those of the run.
    """
    loaded = load_run(run, device, terminal, data_dir)
    check_weights(request, loaded.weights_sha256)
    if request.config is not None:
        _check_process(loaded, request.config.sampler)
    label = asked_label(request, loaded.run.config)
    if out is not None:
        shown = "_".join(sampling_marks(request.sampling))
        out.claim(terminal, label=label, seed=request.seed, sampling=shown, weights=loaded.weights_sha256[:8])
    recorded = request.recorded
    if recorded is None:
        from viz_diffusion.cli.record import record

        recorded = record(loaded, label, request.seed, 1, request.config or PICTURE_SAMPLER, terminal)
    from viz_diffusion.recording.comparison_runs import ComparisonRuns

    comparison_runs = ComparisonRuns((), ())
    if others:
        comparison_runs = _comparison_runs(
            loaded.model, recorded, request.folder, comparisons, loaded.run.config.present_labels, terminal
        )
    return _measure(loaded, recorded, comparison_runs, lessons, terminal)


def _measure(
    loaded: LoadedRun,
    recorded: Trajectory,
    comparison_runs: ComparisonRuns,
    lessons: Sequence[AnyLesson] | None,
    terminal: Terminal,
) -> Study:
    """Measure the lessons on a recording; no progress is shown where there are none."""
    from viz_diffusion.study.study import study

    if lessons is not None and not lessons:
        return study(loaded.run, loaded.model, recorded, comparison_runs, ())
    with terminal.progress("Measuring", terminal.text("lessons"), None) as update:
        measured = study(
            loaded.run,
            loaded.model,
            recorded,
            comparison_runs,
            lessons,
            lambda finding: update(0, None, finding.lesson.name),
            progress=terminal.translated(update, terminal.text("lessons")),
        )
    gc.freeze()  # what is loaded now stays, so that garbage collections while drawing can skip it
    return measured


def _check_process(loaded: LoadedRun, sampler: str) -> None:
    """Refuse a sampler that samples the run's network in another process than its lessons measure."""
    from viz_diffusion.diffusion.scaling import SCALINGS

    process = loaded.run.config.sampled(loaded.model, sampler)[1]
    if process.scaling != SCALINGS[0]:
        raise VizdiffUsageError(
            f"`sampler` {sampler} samples this run in its own process, {process.name}, and the lessons measure its "
            f"noise schedule, {loaded.run.config.schedule}; choose ddpm, ddim or dpm-solver++, or record with "
            f"vizdiff trajectory --sampler {sampler} and give the recording as `trajectory` to vizdiff report"
        )


def _comparison_runs(
    model: SimpleUNet,
    recorded: Trajectory,
    folder: Path | None,
    comparisons: bool,
    labels: Sequence[int],
    terminal: Terminal,
) -> ComparisonRuns:
    """Return the recording's comparison runs, from the file in its folder; those missing are sampled and added."""
    from viz_diffusion.recording.comparison_runs import load_comparison_runs, save_comparison_runs
    from viz_diffusion.recording.comparison_sampling import sample_comparison_runs

    path = None if folder is None else (folder.parent if is_store(folder) else folder) / "companions.npz"
    runs = None if path is None else load_comparison_runs(path, recorded)
    if runs is not None and (runs.complete or not comparisons):
        return runs
    text = terminal.text("comparison_runs")
    with terminal.progress("Sampling", text, None) as update:
        runs = sample_comparison_runs(
            model,
            recorded,
            comparisons=comparisons,
            known=runs,
            labels=labels,
            on_step=lambda done, total: update(done, total, text),
        )
    if path is not None:
        save_comparison_runs(runs, recorded, path)
    return runs


def study_texts(study: Study, texts: Texts) -> Texts:
    """Return the texts that suit a study: with its classes' names, and with what the classifier reads in its image."""
    from viz_diffusion.study.reading import read_study

    return read_study(study).texts(texts.for_classes(study.run.config.class_names))


def figure_command(study: Study, lang: str, lesson: NarratedLesson, figure: str) -> str:
    """Return the command that draws one figure of a lesson again, with the same values."""
    if lesson.precomputed:
        words = ["vizdiff", "lesson", lesson.name, "--full", *(["--lang", lang] if lang != "en" else [])]
        return shlex.join([*words, "--run", "bundled"])
    return study_command("export", study, lang, "--figure", figure)


def study_command(command: str, study: Study, lang: str, *options: str) -> str:
    """Return the command that writes the same page again; paths outside the current folder are not shown.

    ``options`` are the command's own, without those that say which generation it shows.
    """
    recorded, run = study.trajectory, study.run
    label, names = int(recorded.labels[0]), run.config.class_names
    asked = ["--label", names[label]] if names else ["--digit", str(label)]
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
    if not recorded.clip:
        words += ["--no-clip"]
    if lang != "en":
        words += ["--lang", lang]
    inside = run.path.resolve().is_relative_to(Path.cwd())
    words += ["--run", run.name if run.is_bundled or not inside else show_path(run.path)]
    return shlex.join(words)
