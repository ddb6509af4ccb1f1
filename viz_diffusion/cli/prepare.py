"""What report, deck and worksheet begin with: a recording, its companions, and what the lessons found."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.common import (
    DEFAULT_GUIDANCE,
    Sampling,
    Voice,
    check_digit,
    check_seed,
    load_run,
    show_path,
)
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.timesteps import SPACINGS, spaced_timesteps

if TYPE_CHECKING:
    from viz_diffusion.lessons.companions import Companions
    from viz_diffusion.lessons.lesson import Lesson
    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.report.gather import Study
    from viz_diffusion.trajectory import Trajectory

TrajectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--trajectory",
        metavar="DIR",
        help="Folder written by vizdiff trajectory; its digit is not sampled again.",
    ),
]

LessonsOption = Annotated[
    str,
    typer.Option(
        "--lessons",
        metavar="core|all|NAME,NAME",
        help="Lessons to measure (vizdiff lessons lists them); core also tells what ships with the weights.",
    ),
]


def pick_lessons(choice: str) -> Sequence[Lesson] | None:
    """Return the lessons asked for; None for the core and what ships with the weights, as is usual."""
    if choice == "core":
        return None
    from viz_diffusion.lessons.lesson import choose_lessons

    return choose_lessons(choice)


def prepare(
    digit: int,
    run: str | None,
    trajectory: Path | None,
    asked: Sampling,
    seed: int,
    device: str,
    voice: Voice,
    lessons: Sequence[Lesson] | None = None,
    others: bool = False,
) -> Study:
    """Open or make a recording, sample its companions, and measure lessons (by default the core) on it.

    Where some lessons are named and none of them looks at companions, none are sampled, unless ``others`` are wanted.

    Raises
    ------
    VizdiffUsageError
        Where an option has no possible value.
    VizdiffInputError
        Where the recording was made with other weights than the run's or under an intervention, or cannot be read.
    """
    check_digit(digit)
    check_seed(seed)
    recorded = None if trajectory is None else _open(trajectory)
    if recorded is not None and recorded.interventions:
        raise VizdiffInputError(
            f"{trajectory} was recorded while somebody intervened ({recorded.interventions}), so that its label and "
            "clock are not what the network was told; give the plain recording"
        )
    chosen, model, digest = load_run(run, device, voice)
    if recorded is None:
        from viz_diffusion.cli.trajectory import record

        recorded = record(chosen, model, digest, digit, seed, 1, asked, voice)
    elif recorded.weights_sha256 != digest:
        raise VizdiffInputError(
            f"{trajectory} was recorded with weights {recorded.weights_sha256[:8]}, not {digest[:8]}; "
            "give the run it came from as --run"
        )
    from viz_diffusion.lessons.companions import Companions
    from viz_diffusion.report.gather import study

    if lessons and not others and not any(lesson.companions for lesson in lessons):
        companions = Companions((), ())
    else:
        companions = _companions(model, recorded, trajectory, voice)
    if lessons is not None and not lessons:
        return study(chosen, model, recorded, companions, ())
    with voice.progress("Measuring", "the lessons", None) as update:
        return study(
            chosen, model, recorded, companions, lessons, lambda f: update(0, None, f.lesson.name), progress=update
        )


def _companions(model: SimpleUNet, recorded: Trajectory, folder: Path | None, voice: Voice) -> Companions:
    """Return the recording's companions: those beside it in its folder, or new ones, kept there."""
    from viz_diffusion.lessons.companions import load_companions, sample_companions, save_companions

    kept = None if folder is None else (folder.parent if _is_store(folder) else folder) / "companions.npz"
    found = None if kept is None else load_companions(kept, recorded)
    if found is not None:
        return found
    text = "its companions, same noise"
    with voice.progress("Sampling", text, None) as update:
        found = sample_companions(model, recorded, on_step=lambda done, total: update(done, total, text))
    if kept is not None:
        save_companions(found, recorded, kept)
    return found


def _open(folder: Path) -> Trajectory:
    """Open the recording in a folder written by ``vizdiff trajectory``, or the store itself."""
    from viz_diffusion.trajectory import Trajectory

    return Trajectory.open(folder if _is_store(folder) else folder / "trajectory.zarr")


def _is_store(folder: Path) -> bool:
    return (folder / "zarr.json").is_file()


def command_line(command: str, found: Study, lang: str) -> str:
    """Return the command that makes the same page again; no path outside the current folder is told."""
    recorded, run = found.trajectory, found.run
    words = ["vizdiff", command, "--digit", str(recorded.labels[0]), "--seed", str(recorded.seeds[0])]
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
    words += _spacing(recorded)
    if not recorded.clip:
        words += ["--no-clip"]
    if lang != "en":
        words += ["--lang", lang]
    inside = run.path.resolve().is_relative_to(Path.cwd())
    words += ["--run", run.name if run.is_bundled or not inside else show_path(run.path)]
    return shlex.join(words)


def _spacing(recorded: Trajectory) -> list[str]:
    """Return the option that makes a sampler visit the recorded timesteps; nothing for the default."""
    for spacing in SPACINGS:
        visited = spaced_timesteps(recorded.schedule.num_train_timesteps, recorded.num_steps, spacing)
        if visited.tolist() == recorded.timesteps.tolist():
            return [] if spacing == SPACINGS[0] else ["--timestep-spacing", spacing]
    return []
