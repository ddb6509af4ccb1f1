"""What report, deck and worksheet begin with: an order, a recording, its companions, and what the lessons found."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.common import (
    DEFAULT_DIGIT,
    DEFAULT_GUIDANCE,
    Voice,
    check_digit,
    check_sampling,
    check_seed,
    load_run,
    show_path,
)
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

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
# The same options as elsewhere, but without a default: beside --trajectory, what was given must agree with it.
AskedDigit = Annotated[int | None, typer.Option("--digit", help="Digit to ask for, 0 to 9; 5 by default.")]
AskedSeed = Annotated[int | None, typer.Option("--seed", help="Seed of the noise; 0 by default.")]
AskedSampler = Annotated[
    str | None,
    typer.Option("--sampler", help="ddpm (adds fresh noise each step, the default) or ddim (adds none)."),
]
AskedSteps = Annotated[int | None, typer.Option("--steps", help="Network evaluations, 1 to 1000; 1000 by default.")]
AskedGuidance = Annotated[
    float | None,
    typer.Option("--guidance", help="Guidance scale s: 1 is none; 1.5, the default, insists on the digit a little."),
]


@dataclass(frozen=True, eq=False)
class Order:
    """Which generation a command is about: one to record, or one that is there."""

    digit: int
    """0..9."""
    seed: int
    """Of its noise."""
    sampler: str
    """ddpm or ddim."""
    steps: int | None
    """Network evaluations; None for all of the schedule's."""
    guidance: float
    """Guidance scale s."""
    folder: Path | None
    """Where the recording lies; None where there is none yet."""
    recorded: Trajectory | None
    """The recording."""


def take_order(
    digit: int | None,
    seed: int | None,
    sampler: str | None,
    steps: int | None,
    guidance: float | None,
    trajectory: Path | None,
) -> Order:
    """Fill in the defaults of what was not given, or what the recording says; nothing given is ignored.

    Raises
    ------
    VizdiffUsageError
        Where an option has no possible value, or contradicts the recording.
    VizdiffInputError
        Where the recording cannot be read.
    """
    asked = Order(
        DEFAULT_DIGIT if digit is None else digit,
        0 if seed is None else seed,
        "ddpm" if sampler is None else sampler,
        steps,
        DEFAULT_GUIDANCE if guidance is None else guidance,
        None, None,
    )  # fmt: skip
    check_digit(asked.digit)
    check_sampling(asked.sampler, steps, asked.guidance)
    check_seed(asked.seed)
    if trajectory is None:
        return asked
    recorded = _open(trajectory)
    found = Order(
        int(recorded.labels[0]), int(recorded.seeds[0]), recorded.sampler, recorded.num_steps,
        recorded.guidance_scale, trajectory, recorded,
    )  # fmt: skip
    given = {"digit": digit, "seed": seed, "sampler": sampler, "steps": steps, "guidance": guidance}
    for name, value in given.items():
        there = getattr(found, name)
        if value is not None and value != there and not (name == "guidance" and math.isclose(float(value), there)):
            told = "not known" if there in (-1, "") or there != there else there
            shown = f"{value:g}" if isinstance(value, float) else value
            raise VizdiffUsageError(
                f"--{name} {shown} contradicts --trajectory {show_path(trajectory)}, whose {name} is {told}; "
                "leave one of the two out"
            )
    return found


def prepare(
    order: Order,
    run: str | None,
    device: str,
    voice: Voice,
    lessons: Sequence[Lesson] | None = None,
    others: bool = True,
    comparisons: bool = False,
) -> Study:
    """Open or make a recording, sample its companions, and measure lessons (all of them by default) on it.

    ``others``, the nine other digits, and ``comparisons``, the same digit made otherwise, say which companions
    are looked at; no others are sampled.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than the run's.
    """
    chosen, model, digest = load_run(run, device, voice)
    recorded = order.recorded
    if recorded is None:
        from viz_diffusion.cli.trajectory import record

        recorded = record(
            chosen, model, digest, order.digit, order.seed, 1, order.sampler, order.steps, order.guidance, voice
        )
    elif recorded.weights_sha256 != digest:
        raise VizdiffInputError(
            f"{order.folder} was recorded with weights {recorded.weights_sha256[:8]}, not {digest[:8]}; "
            "give the run it came from as --run"
        )
    from viz_diffusion.lessons.companions import Companions
    from viz_diffusion.report.gather import study

    companions = Companions((), ())
    if others:
        companions = _companions(model, recorded, order.folder, comparisons, voice)
    if lessons is not None and not lessons:
        return study(chosen, model, recorded, companions, ())
    with voice.progress("Measuring", "the lessons", None) as update:
        return study(chosen, model, recorded, companions, lessons, lambda f: update(0, None, f.lesson.name))


def _companions(
    model: SimpleUNet, recorded: Trajectory, folder: Path | None, comparisons: bool, voice: Voice
) -> Companions:
    """Return the recording's companions: those beside it in its folder, what is missing sampled and kept there."""
    from viz_diffusion.lessons.companions import load_companions, sample_companions, save_companions

    kept = None if folder is None else (folder.parent if _is_store(folder) else folder) / "companions.npz"
    found = None if kept is None else load_companions(kept, recorded)
    if found is not None and (found.complete or not comparisons):
        return found
    text = "its companions, same noise"
    with voice.progress("Sampling", text, None) as update:
        found = sample_companions(
            model, recorded, comparisons=comparisons, known=found,
            on_step=lambda done, total: update(done, total, text),
        )  # fmt: skip
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
    if lang != "en":
        words += ["--lang", lang]
    inside = run.path.resolve().is_relative_to(Path.cwd())
    words += ["--run", run.name if run.is_bundled or not inside else show_path(run.path)]
    return shlex.join(words)
