"""What a command is about: a generation to make, or a recording that is there, which no option may contradict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import show_path
from viz_diffusion.cli.options import DEFAULT_DIGIT, DEFAULT_SEED, Sampling, check_digit, check_seed
from viz_diffusion.diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES, spaced_timesteps
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory


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


@dataclass(frozen=True, eq=False)
class GenerationRequest:
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


def read_request(
    trajectory: Path | None,
    *,
    digit: int | None,
    seed: int | None,
    allow_partial: bool = False,
    alone: bool = False,
    **given: Any,
) -> GenerationRequest:
    """Fill in the defaults of what was not given, or what the recording says; nothing given is ignored.

    Parameters
    ----------
    allow_partial
        Whether a recording will do that was cut off after its first image was finished.
    alone
        Whether one will do whose network is not at hand; see :attr:`GenerationRequest.is_alone`.
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
        return GenerationRequest(
            DEFAULT_DIGIT if digit is None else digit, DEFAULT_SEED if seed is None else seed, sampling.steps, sampling
        )
    recorded = _open(trajectory, allow_partial)
    order = GenerationRequest(
        int(recorded.labels[0]), int(recorded.seeds[0]), recorded.num_steps, None, trajectory, recorded
    )
    if order.is_alone and not alone:
        known = recorded.sampler in ("", *SAMPLERS)
        raise VizdiffInputError(
            f"{trajectory} was sampled by another program ({'weights not known' if known else recorded.sampler}), "
            "whose network cannot be asked here; "
            f"what the recording shows by itself: vizdiff report --trajectory {show_path(trajectory)}"
        )
    if recorded.interventions:
        raise VizdiffInputError(
            f"{trajectory} was recorded while somebody intervened ({recorded.interventions}), so that its label and "
            "clock are not what the network was told; give the plain recording"
        )
    _check_agreement(trajectory, recorded, {"digit": digit, "seed": seed, **given})
    return order


def check_weights(order: GenerationRequest, digest: str) -> None:
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
        "digit": int(recorded.labels[0]),
        "seed": int(recorded.seeds[0]),
        "sampler": recorded.sampler,
        "steps": recorded.num_steps,
        "guidance": recorded.guidance_scale,
        "variance": recorded.variance,
        "eta": recorded.eta,
        "timestep_spacing": spacing_of(recorded),
        "clip": recorded.clip,
    }
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


def _open(place: Path, allow_partial: bool = False) -> Trajectory:
    """Open the recording in a folder written by ``vizdiff trajectory``, or the store itself.

    Raises
    ------
    VizdiffInputError
        Where it cannot be read, or was cut off before its first image was finished: nothing is told of a picture
        that never came to be.
    """
    from viz_diffusion.recording.trajectory import Trajectory

    path = place if is_store(place) else place / "trajectory.zarr"
    recorded = Trajectory.open(path, allow_partial=allow_partial)
    if recorded.stopped and not math.isfinite(float(recorded.x0[0].sum())):
        raise VizdiffInputError(
            f"{path} was cut off after {recorded.stopped}, before its first image was finished; record it again, or "
            "look at what is there with Trajectory.open(…, allow_partial=True)"
        )
    return recorded


def is_store(place: Path) -> bool:
    """Return whether a path is a recording itself, and not a folder that holds one."""
    return place.is_file() or place.suffix == ".zarr" or (place / "zarr.json").is_file()


def spacing_of(recorded: Trajectory) -> str:
    """Return the spacing that visits the recorded timesteps, the default one first; empty where none does."""
    for spacing in SPACINGS:
        visited = spaced_timesteps(recorded.schedule.num_train_timesteps, recorded.num_steps, spacing)
        if visited.tolist() == recorded.timesteps.tolist():
            return spacing
    return ""
