"""What report, deck and worksheet begin with: an order, a recording, its companions, and what the lessons found."""

from __future__ import annotations

import gc
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.common import (
    DEFAULT_DIGIT,
    DEFAULT_GUIDANCE,
    DEFAULT_SEED,
    Sampling,
    Voice,
    check_digit,
    check_seed,
    load_run,
    show_path,
)
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES, spaced_timesteps

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
        help="Folder written by vizdiff trajectory, or a recording (.zarr, .zip); its digit is not sampled again.",
    ),
]
AllowPartialOption = Annotated[
    bool,
    typer.Option(
        "--allow-partial",
        help="Take a --trajectory that was cut off, where its first image was finished.",
    ),
]
# The same options as elsewhere, but without a default: beside --trajectory, what was given must agree with it.
AskedDigit = Annotated[int | None, typer.Option("--digit", help="Digit to ask for, 0 to 9; 5 by default.")]
AskedSeed = Annotated[int | None, typer.Option("--seed", help="Seed of the noise; 1 by default.")]
AskedSampler = Annotated[
    str | None,
    typer.Option(
        "--sampler",
        metavar="ddpm|ddim|dpm-solver++",
        help="ddpm (the default) adds fresh noise each step, ddim adds none, dpm-solver++ (2M) needs the fewest.",
    ),
]
AskedSteps = Annotated[int | None, typer.Option("--steps", help="Network evaluations, 1 to 1000; 1000 by default.")]
AskedGuidance = Annotated[
    float | None,
    typer.Option("--guidance", help="Guidance scale s: 1 is none; 1.5, the default, insists on the digit a little."),
]
AskedVariance = Annotated[
    str | None,
    typer.Option(
        "--variance", metavar="|".join(VARIANCES), help="Variance of the noise that ddpm adds; beta by default."
    ),
]
AskedEta = Annotated[
    float | None,
    typer.Option("--eta", help="Noise that ddim adds: 0 (none, the default) to 1 (ddpm's beta_tilde)."),
]
AskedTimestepSpacing = Annotated[
    str | None,
    typer.Option(
        "--timestep-spacing",
        metavar="|".join(SPACINGS),
        help="Which timesteps fewer steps visit: strides all alike (the default), or down to t = 0.",
    ),
]
AskedClip = Annotated[
    bool | None,
    typer.Option("--clip/--no-clip", help="Keep the guess of the finished image in [-1, 1], as by default."),
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


@dataclass(frozen=True, eq=False)
class Order:
    """Which generation a command is about: one to record, or one that is there."""

    digit: int
    """0..9."""
    seed: int
    """Of its noise."""
    steps: int | None
    """Network evaluations; None for all of the schedule's."""
    sampling: Sampling | None
    """How to sample it; None where it is there."""
    folder: Path | None = None
    """Where the recording lies; None where there is none yet."""
    recorded: Trajectory | None = None
    """The recording."""

    @property
    def is_alone(self) -> bool:
        """Whether it is a recording whose network is not at hand: of unknown weights, or another program's sampler."""
        if self.recorded is None:
            return False
        return not self.recorded.weights_sha256 or self.recorded.sampler not in ("", *SAMPLERS)


def take_order(
    trajectory: Path | None,
    *,
    digit: int | None,
    seed: int | None,
    allow_partial: bool = False,
    alone: bool = False,
    **given: Any,
) -> Order:
    """Fill in the defaults of what was not given, or what the recording says; nothing given is ignored.

    Parameters
    ----------
    allow_partial
        Whether a recording will do that was cut off after its first image was finished.
    alone
        Whether one will do whose network is not at hand; see :attr:`Order.is_alone`.
    given
        The fields of :class:`Sampling`; None is what was not given.

    Raises
    ------
    VizdiffUsageError
        Where an option has no possible value, or contradicts the recording.
    VizdiffInputError
        Where the recording was made under an intervention, cannot be read, or its network is needed.
    """
    check_digit(DEFAULT_DIGIT if digit is None else digit)
    check_seed(DEFAULT_SEED if seed is None else seed)
    asked = {name: value for name, value in given.items() if value is not None}
    if allow_partial and trajectory is None:
        raise VizdiffUsageError("--allow-partial goes with --trajectory, and there is none")
    if trajectory is None:
        sampling = Sampling(**asked)
        return Order(
            DEFAULT_DIGIT if digit is None else digit, DEFAULT_SEED if seed is None else seed, sampling.steps, sampling
        )  # fmt: skip
    recorded = _open(trajectory, allow_partial)
    order = Order(
        int(recorded.labels[0]), int(recorded.seeds[0]), recorded.num_steps, None, trajectory, recorded
    )  # fmt: skip
    if order.is_alone and not alone:
        raise VizdiffInputError(
            f"{trajectory} was sampled by another program ({recorded.sampler or 'weights not known'}), whose network "
            "cannot be asked here; "
            f"what the recording shows by itself: vizdiff report --trajectory {show_path(trajectory)}"
        )
    if recorded.interventions:
        raise VizdiffInputError(
            f"{trajectory} was recorded while somebody intervened ({recorded.interventions}), so that its label and "
            "clock are not what the network was told; give the plain recording"
        )
    _check_agreement(trajectory, recorded, {"digit": digit, "seed": seed, **given})
    return order


def check_weights(order: Order, digest: str) -> None:
    """Refuse a run whose weights are not those that made the recording."""
    recorded = order.recorded
    if recorded is not None and recorded.weights_sha256 != digest:
        raise VizdiffInputError(
            f"{order.folder} was recorded with weights {recorded.weights_sha256[:8] or 'not known'}, not "
            f"{digest[:8]}; give the run it came from as --run"
        )


def _check_agreement(trajectory: Path, recorded: Trajectory, given: dict[str, Any]) -> None:
    """Refuse an option that says something else than the recording."""
    there: dict[str, Any] = {
        "digit": int(recorded.labels[0]), "seed": int(recorded.seeds[0]), "sampler": recorded.sampler,
        "steps": recorded.num_steps, "guidance": recorded.guidance_scale, "variance": recorded.variance,
        "eta": recorded.eta, "timestep_spacing": _spacing(recorded), "clip": recorded.clip,
    }  # fmt: skip
    for name, value in given.items():
        found = there[name]
        if value is None or value == found or (isinstance(value, float) and math.isclose(value, found)):
            continue
        told = "not known" if found in (-1, "") or found != found else found
        shown = f"{value:g}" if isinstance(value, float) else value
        option = "--no-clip" if value is False else "--clip" if value is True else f"--{name.replace('_', '-')} {shown}"
        raise VizdiffUsageError(
            f"{option} contradicts --trajectory {show_path(trajectory)}, whose {name.replace('_', ' ')} is {told}; "
            "leave one of the two out"
        )


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
    check_weights(order, digest)
    recorded = order.recorded
    if recorded is None:
        from viz_diffusion.cli.recording import record

        recorded = record(chosen, model, digest, order.digit, order.seed, 1, order.sampling or Sampling(), voice)
    from viz_diffusion.lessons.companions import Companions
    from viz_diffusion.report.gather import study

    companions = Companions((), ())
    if others:
        companions = _companions(model, recorded, order.folder, comparisons, voice)
    if lessons is not None and not lessons:
        return study(chosen, model, recorded, companions, ())
    with voice.progress("Measuring", "the lessons", None) as update:
        found = study(
            chosen, model, recorded, companions, lessons, lambda f: update(0, None, f.lesson.name), progress=update
        )
    gc.freeze()  # what is loaded now stays: garbage collections while drawing need not look through it
    return found


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


def _open(place: Path, allow_partial: bool = False) -> Trajectory:
    """Open the recording in a folder written by ``vizdiff trajectory``, or the store itself.

    Raises
    ------
    VizdiffInputError
        Where it cannot be read, or was cut off before its first image was finished: nothing is told of a picture
        that never came to be.
    """
    from viz_diffusion.trajectory import Trajectory

    path = place if _is_store(place) else place / "trajectory.zarr"
    recorded = Trajectory.open(path, allow_partial=allow_partial)
    if recorded.stopped and not math.isfinite(float(recorded.x0[0].sum())):
        raise VizdiffInputError(
            f"{path} was cut off after {recorded.stopped}, before its first image was finished; record it again, or "
            "look at what is there with Trajectory.open(…, allow_partial=True)"
        )
    return recorded


def _is_store(place: Path) -> bool:
    return place.is_file() or place.suffix == ".zarr" or (place / "zarr.json").is_file()


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
    if _spacing(recorded) not in ("", SPACINGS[0]):
        words += ["--timestep-spacing", _spacing(recorded)]
    if not recorded.clip:
        words += ["--no-clip"]
    if lang != "en":
        words += ["--lang", lang]
    inside = run.path.resolve().is_relative_to(Path.cwd())
    words += ["--run", run.name if run.is_bundled or not inside else show_path(run.path)]
    return shlex.join(words)


def _spacing(recorded: Trajectory) -> str:
    """Return the spacing that visits the recorded timesteps, the default one first; empty where none does."""
    for spacing in SPACINGS:
        visited = spaced_timesteps(recorded.schedule.num_train_timesteps, recorded.num_steps, spacing)
        if visited.tolist() == recorded.timesteps.tolist():
            return spacing
    return ""
