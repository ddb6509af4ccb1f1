"""What the commands share: options spelled alike, messages on stderr, one JSON object on stdout.

Imports nothing heavy: torch is loaded by the first function that needs it, after something was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from viz_diffusion.diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES, check_sampler
from viz_diffusion.errors import VizdiffUsageError

DEFAULT_DIGIT = 5
DEFAULT_SEED = 1
"""Of what is made for show: from this noise the bundled weights make ten plain digits. Measurements begin at 0."""
DEFAULT_GUIDANCE = 1.5
"""Where a picture is made for show; 1, no guidance, where something is measured."""

RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="PATH|bundled",
        help="Run folder to load; by default the newest finished one under runs/, else the bundled weights.",
    ),
]
DigitOption = Annotated[int, typer.Option("--digit", help="Digit to ask for, 0 to 9.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the first image's noise; image k takes seed+k.")]
SamplerOption = Annotated[
    str,
    typer.Option(
        "--sampler",
        metavar="ddpm|ddim|dpm-solver++",
        help="ddpm adds fresh noise at each step, ddim adds none, dpm-solver++ (2M) needs the fewest steps.",
    ),
]
VarianceOption = Annotated[
    str,
    typer.Option("--variance", metavar="beta|beta_tilde", help="Variance of the noise that ddpm adds."),
]
EtaOption = Annotated[
    float, typer.Option("--eta", help="Noise that ddim adds, 0 (none) to 1 (as much as ddpm with beta_tilde).")
]
TimestepSpacingOption = Annotated[
    str,
    typer.Option(
        "--timestep-spacing",
        metavar="|".join(SPACINGS),
        help="Which timesteps fewer steps visit: strides all alike, or down to t = 0.",
    ),
]
ClipOption = Annotated[bool, typer.Option("--clip/--no-clip", help="Keep the guess of the finished image in [-1, 1].")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Network evaluations, 1 to 1000; 1000 by default.")]
GuidanceOption = Annotated[
    float, typer.Option("--guidance", help="Guidance scale s: 1 is none, 1.5 insists on the digit a little.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
LangOption = Annotated[str, typer.Option("--lang", help="Language of the words: en or zh.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Say nothing on stderr but errors.")]


def check_digit(digit: int) -> int:
    """Return a digit that exists."""
    if not 0 <= digit <= 9:
        raise VizdiffUsageError(f"--digit must lie in 0..9, found {digit}")
    return digit


def check_at_least(option: str, value: float, least: float) -> None:
    """Refuse a number that is too small (or no number), naming its option."""
    if not value >= least or value == float("inf"):
        raise VizdiffUsageError(f"{option} must be at least {least:g}, found {value:g}")


def check_seed(seed: int, count: int = 1) -> None:
    """Refuse seeds that a generator does not take, or, from 2**32 on, takes for a smaller one."""
    if not 0 <= seed <= 2**32 - count:
        raise VizdiffUsageError(f"--seed must lie in 0..{2**32 - count}, found {seed}")


@dataclass(frozen=True)
class Sampling:
    """How to sample, as the command line asks for it.

    Raises
    ------
    VizdiffUsageError
        Where a value is impossible, or belongs to another sampler: before anything is loaded.
    """

    sampler: str = "ddpm"
    """ddpm, ddim or dpm-solver++."""
    steps: int | None = None
    """Network evaluations; all timesteps by default."""
    guidance: float = DEFAULT_GUIDANCE
    """s; 1 is none."""
    variance: str = VARIANCES[0]
    """What ddpm injects: beta or beta_tilde."""
    eta: float = 0.0
    """What ddim injects, 0 to 1."""
    timestep_spacing: str = SPACINGS[0]
    """trailing or linspace."""
    clip: bool = True
    """Whether x̂_0 is clipped to [-1, 1]."""

    def __post_init__(self) -> None:
        check_sampler(self.sampler, self.variance, self.eta)
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise VizdiffUsageError(f"--steps must lie in 1..1000, found {self.steps}")
        if self.timestep_spacing not in SPACINGS:
            raise VizdiffUsageError(
                f"--timestep-spacing must be {' or '.join(SPACINGS)}, found {self.timestep_spacing!r}"
            )
        if not 0 <= self.guidance <= 100:
            raise VizdiffUsageError(f"--guidance must lie in 0..100, found {self.guidance:g}")

    @property
    def name(self) -> str:
        """The sampler's name in sentences."""
        return SAMPLERS[self.sampler]

    def keywords(self) -> dict[str, Any]:
        """Return what the samplers of :mod:`viz_diffusion.diffusion.samplers` are told."""
        return {
            "sampler": self.sampler,
            "steps": self.steps,
            "guidance_scale": self.guidance,
            "variance": self.variance,
            "eta": self.eta,
            "timestep_spacing": self.timestep_spacing,
            "clip": self.clip,
        }

    def facts(self) -> dict[str, Any]:
        """Return what a result says of it: the same, without what this sampler does not have."""
        absent = {"ddpm": ("eta",), "ddim": ("variance",)}.get(self.sampler, ("variance", "eta"))
        return {name: value for name, value in self.keywords().items() if name not in absent}


def default_out(name: str, ending: str, digit: int, lang: str = "en") -> Path:
    """Return where a command writes unless told otherwise: ``reports/NAME``.

    The digit joins the name where it is not 5 and the language where it is not English, so that one does not
    overwrite the other.
    """
    marks = [name, *([str(digit)] if digit != DEFAULT_DIGIT else []), *([lang] if lang != "en" else [])]
    return Path("reports") / ("_".join(marks) + ending)
