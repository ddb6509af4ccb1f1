"""Options that several commands take, their defaults, and the checks of their values.

Imports nothing heavy, so that a command line is checked at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from viz_diffusion.cli.option_groups import MODEL, OUTPUT, SAMPLING, OptionGroup, option
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS

DEFAULT_DIGIT = 5
DEFAULT_SEED = 1
"""Seed of pictures: from this noise the bundled weights generate ten clear digits. Measurements begin at 0."""
DEFAULT_GUIDANCE = 1.5
"""Guidance scale of pictures; measurements use 1, no guidance."""
LANG_VARIABLE = "VIZDIFF_LANG"
"""Environment variable of the language of all commands."""
MAX_STEPS, MAX_GUIDANCE = 1000, 100
PICTURE_SAMPLER = SamplerConfig(guidance_scale=DEFAULT_GUIDANCE)
"""The defaults of the sampler where a generation is recorded and drawn."""

RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="PATH|NAME",
        help=f"Trained model to use: a run folder, or one of {', '.join(BUNDLED_RUNS)}.",
        show_default="newest well-trained run under runs/, else bundled",
        rich_help_panel=MODEL,
    ),
]
DigitOption = Annotated[int | None, typer.Option("--digit", help="Digit, 0 to 9.", show_default=str(DEFAULT_DIGIT))]
LabelOption = Annotated[
    str | None, typer.Option("--label", metavar="NAME", help="Class by its name, for a run on your own data.")
]
PROMPT_HELP = "What to draw in words, such as 'a thick slanted seven'; without --run, bundled-text draws it."
PromptOption = Annotated[
    list[str] | None, typer.Option("--prompt", metavar="TEXT", help=PROMPT_HELP, show_default="no prompt")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of your own data: IDX files, also as .gz, or images by class. vizdiff data DIR checks it.",
        rich_help_panel=MODEL,
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        metavar="28|32|64",
        help="Height and width that your own images are fitted into.",
        rich_help_panel=MODEL,
    ),
]
RecordedCountOption = Annotated[int, typer.Option("--count", help="Images to record; the first one is drawn.")]
FramesOption = Annotated[
    str | None,
    typer.Option(
        "--frames",
        help="Frames to draw: how many, or a list of steps left, such as 1000,500,1.",
        rich_help_panel=OUTPUT,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the first image's noise; image k has seed + k.")]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|cuda:1|mps", help="Device to compute on.", rich_help_panel=MODEL),
]
LangOption = Annotated[
    str,
    typer.Option(
        "--lang",
        metavar="en|zh",
        help="Language of the texts; VIZDIFF_LANG sets it for all commands.",
        envvar=LANG_VARIABLE,
        show_envvar=False,
        rich_help_panel=OUTPUT,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.", rich_help_panel=OUTPUT)
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Replace an existing file that shows something else.", rich_help_panel=OUTPUT),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Print nothing on stderr except errors.", rich_help_panel=OUTPUT)
]


def check_digit(digit: int) -> int:
    """Return ``digit``; refuse what is not in 0 .. 9."""
    if not 0 <= digit <= 9:
        raise VizdiffUsageError(f"--digit must lie in 0..9, found {digit}")
    return digit


def check_at_least(option: str, value: float, least: float) -> None:
    """Refuse a number below ``least``, NaN and infinity; the message names the option."""
    if not value >= least or value == float("inf"):
        raise VizdiffUsageError(f"{option} must be at least {least:g}, found {value:g}")


def check_seed(seed: int, count: int = 1) -> None:
    """Refuse seeds outside 0 .. 2**32-1: a generator refuses them, or reduces them modulo 2**32."""
    if not 0 <= seed <= 2**32 - count:
        raise VizdiffUsageError(f"--seed must lie in 0..{2**32 - count}, found {seed}")


@dataclass(frozen=True)
class SamplerOptions:
    """The sampler's options as a command line gives them."""

    defaults: SamplerConfig
    """The values of options that are not given."""
    given: dict[str, Any]
    """The fields of :class:`SamplerConfig` that were given."""

    def config(self, **changes: Any) -> SamplerConfig:
        """Return the configuration of the sampler; ``changes`` replace given values.

        Raises
        ------
        VizdiffUsageError
            Where a value is impossible, or belongs to another sampler.
        """
        scale, steps = self.given.get("guidance_scale", 1.0), self.given.get("steps")
        if not 0 <= scale <= MAX_GUIDANCE:
            raise VizdiffUsageError(f"`guidance_scale` must lie in 0..{MAX_GUIDANCE}, found {scale:g}")
        if steps is not None and not 1 <= steps <= MAX_STEPS:
            raise VizdiffUsageError(f"`steps` must lie in 1..{MAX_STEPS}, found {steps}")
        return replace(self.defaults, **{**self.given, **changes})


def sampler_options(defaults: SamplerConfig) -> OptionGroup:
    """Return the options of a sampler, which a command gets as :class:`SamplerOptions`."""

    def build(*, guidance: float | None, **values: Any) -> SamplerOptions:
        values["guidance_scale"] = guidance
        return SamplerOptions(defaults, {name: value for name, value in values.items() if value is not None})

    parameters = (
        option(
            "--sampler",
            str,
            "Sampler: ddpm adds new noise in each step, ddim adds none, dpm-solver++ (2M) needs few steps; euler and "
            "heun are those of flow matching, and sample any model.",
            metavar="|".join(SAMPLERS),
            default=defaults.sampler,
            heading=SAMPLING,
        ),
        option(
            "--steps",
            int,
            "Denoising steps, 1 to 1000. A step evaluates the network once; with heun twice, except the last step.",
            default=str(defaults.steps or MAX_STEPS),
            heading=SAMPLING,
        ),
        option(
            "--guidance",
            float,
            "Guidance scale: 1 is no guidance; a higher scale gives the label more weight.",
            default=f"{defaults.guidance_scale:g}",
            heading=SAMPLING,
        ),
        option(
            "--variance",
            str,
            "Variance of the noise that ddpm adds.",
            metavar="|".join(VARIANCES),
            default=defaults.variance,
            heading=SAMPLING,
        ),
        option(
            "--eta",
            float,
            "Noise that ddim adds: 0 (none) to 1 (as much as ddpm with beta_tilde).",
            default=f"{defaults.eta:g}",
            heading=SAMPLING,
        ),
        option(
            "--timestep-spacing",
            str,
            "How fewer steps choose their timesteps: trailing takes equal strides, linspace ends at t = 0.",
            metavar="|".join(SPACINGS),
            default=defaults.timestep_spacing,
            heading=SAMPLING,
        ),
        option("--clip/--no-clip", bool, "Clip the predicted x0 to [-1, 1].", default="clip", heading=SAMPLING),
    )
    return OptionGroup(parameters, build)
