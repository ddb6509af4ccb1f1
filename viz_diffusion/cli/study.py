"""What report, deck and worksheet begin with: a recording, its companions, and what the lessons found."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.generation_request import GenerationRequest, check_weights, is_store, spacing_of
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.options import DEFAULT_GUIDANCE, Sampling
from viz_diffusion.diffusion.timesteps import SPACINGS

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.lessons.base import AnyLesson
    from viz_diffusion.recording.comparison_runs import ComparisonRuns
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.study.study import Study


LessonsOption = Annotated[
    str,
    typer.Option(
        "--lessons",
        metavar="core|all|NAME,NAME",
        help="Lessons to measure (vizdiff lessons lists them); core also tells what ships with the weights.",
    ),
]


def pick_lessons(choice: str) -> Sequence[AnyLesson] | None:
    """Return the lessons asked for; None for the core and what ships with the weights, as is usual."""
    if choice == "core":
        return None
    from viz_diffusion.lessons.base import choose_lessons

    return choose_lessons(choice)


def prepare(
    order: GenerationRequest,
    run: str | None,
    device: str,
    terminal: Terminal,
    lessons: Sequence[AnyLesson] | None = None,
    others: bool = True,
    comparisons: bool = False,
    out: Path | None = None,
) -> Study:
    """Open or make a recording, sample its companions, and measure lessons (all of them by default) on it.

    ``others``, the nine other digits, and ``comparisons``, the same digit made otherwise, say which companions
    are looked at; no others are sampled. ``out`` is what will be written over, which is said once the order stands.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than the run's.
    """
    chosen, model, digest = load_run(run, device, terminal)
    check_weights(order, digest)
    if out is not None:
        terminal.replacing(out)
    recorded = order.recorded
    if recorded is None:
        from viz_diffusion.cli.record import record

        recorded = record(chosen, model, digest, order.digit, order.seed, 1, order.sampling or Sampling(), terminal)
    from viz_diffusion.recording.comparison_runs import ComparisonRuns
    from viz_diffusion.study.study import study

    comparison_runs = ComparisonRuns((), ())
    if others:
        comparison_runs = _comparison_runs(model, recorded, order.folder, comparisons, terminal)
    if lessons is not None and not lessons:
        return study(chosen, model, recorded, comparison_runs, ())
    with terminal.progress("Measuring", "the lessons", None) as update:
        found = study(
            chosen, model, recorded, comparison_runs, lessons, lambda f: update(0, None, f.lesson.name), progress=update
        )
    gc.freeze()  # what is loaded now stays: garbage collections while drawing need not look through it
    return found


def _comparison_runs(
    model: SimpleUNet, recorded: Trajectory, folder: Path | None, comparisons: bool, terminal: Terminal
) -> ComparisonRuns:
    """Return the recording's companions: those beside it in its folder, what is missing sampled and kept there."""
    from viz_diffusion.recording.comparison_runs import (
        load_comparison_runs,
        sample_comparison_runs,
        save_comparison_runs,
    )

    kept = None if folder is None else (folder.parent if is_store(folder) else folder) / "companions.npz"
    found = None if kept is None else load_comparison_runs(kept, recorded)
    if found is not None and (found.complete or not comparisons):
        return found
    text = "its companions, same noise"
    with terminal.progress("Sampling", text, None) as update:
        found = sample_comparison_runs(
            model,
            recorded,
            comparisons=comparisons,
            known=found,
            on_step=lambda done, total: update(done, total, text),
        )
    if kept is not None:
        save_comparison_runs(found, recorded, kept)
    return found


def figure_command(found: Study, lang: str, told: NarratedLesson, figure: str) -> str:
    """Return the command that makes one figure of a lesson again, with the same numbers."""
    if told.precomputed:
        words = ["vizdiff", "lesson", told.name, "--full", *(["--lang", lang] if lang != "en" else [])]
        return shlex.join([*words, "--run", "bundled"])
    return command_line("export", found, lang, "--figure", figure)


def command_line(command: str, found: Study, lang: str, *options: str) -> str:
    """Return the command that makes the same page again; no path outside the current folder is told.

    ``options`` are the command's own, those that do not say which generation it is about.
    """
    recorded, run = found.trajectory, found.run
    words = ["vizdiff", command, *options, "--digit", str(recorded.labels[0]), "--seed", str(recorded.seeds[0])]
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
