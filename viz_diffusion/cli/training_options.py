"""Options of ``vizdiff train``: the budget, the network's objective, and the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.option_groups import MODEL, OUTPUT, TRAINING
from viz_diffusion.cli.options import check_at_least
from viz_diffusion.cli.training_space import SPACES
from viz_diffusion.diffusion.timesteps import TIMESTEP_DENSITIES
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.training.presets import DEFAULT_PRESET, PRESETS

PRESET_HELP = f"Network and budget. {'; '.join(f'{one.name}: {one.purpose}, {one.budget}' for one in PRESETS)}."
OBJECTIVE_HELP = (
    "What the network predicts: epsilon, the noise; x0, the image; v, a mix of both; flow, the velocity from image to "
    "noise (flow matching)."
)
_BUDGET = "instead of the preset's budget."

PresetOption = Annotated[str | None, typer.Option(metavar="small|base", help=PRESET_HELP, show_default=DEFAULT_PRESET)]
MinutesOption = Annotated[float | None, typer.Option(help=f"Train for this many minutes, {_BUDGET}")]
EpochsOption = Annotated[float | None, typer.Option(help=f"Train for this many passes over the data, {_BUDGET}")]
StepsOption = Annotated[int | None, typer.Option(help=f"Train up to this training step, {_BUDGET}")]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        metavar="mnist|fashion-mnist|kmnist",
        help="Data set to train on.",
        show_default="mnist",
        rich_help_panel=MODEL,
    ),
]
BatchSizeOption = Annotated[
    int | None, typer.Option(help="Images per step, instead of the preset's.", rich_help_panel=TRAINING)
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(metavar="epsilon|v|x0|flow", help=OBJECTIVE_HELP, show_default="epsilon", rich_help_panel=TRAINING),
]
TimestepDensityOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(TIMESTEP_DENSITIES),
        help="With --objective flow: distribution from which the noise level of a training image is drawn.",
        show_default=TIMESTEP_DENSITIES[0],
        rich_help_panel=TRAINING,
    ),
]
SpaceOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(SPACES),
        help="What the network works on: pixels, or the latents of an autoencoder that is trained first; of latent-2d "
        "they have two numbers, which can be drawn as points of a map. Latent also goes with --conditioning text.",
        show_default="pixel",
        rich_help_panel=MODEL,
    ),
]
AutoencoderStepsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="With --space latent: training steps of the autoencoder.",
        show_default="1500; of latent-2d 8000",
        rich_help_panel=MODEL,
    ),
]
ConditioningOption = Annotated[
    str | None,
    typer.Option(
        metavar="label|text",
        help="Condition of the network: a label, or a prompt in words, whose text encoder is trained first.",
        show_default="label",
        rich_help_panel=MODEL,
    ),
]
SubsetOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Train on the first N images only, the labels in turn.", rich_help_panel=TRAINING),
]
NoTimeOption = Annotated[
    bool,
    typer.Option("--no-time", help="Train a network that does not get the timestep.", rich_help_panel=TRAINING),
]
AccumulateOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Take each batch, or each process's share of it, in N parts, which needs less memory.",
        rich_help_panel=TRAINING,
    ),
]
LogOption = Annotated[
    str | None,
    typer.Option(
        metavar="tensorboard|trackio|wandb",
        help="Also log losses and learning rate to this tracker; tensorboard writes to RUN/tensorboard.",
        rich_help_panel=OUTPUT,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a field of TrainConfig or ModelConfig, such as learning_rate=2e-3, channels=16,32 or "
        "optimizer=muon; may be repeated.",
        show_default="the preset's",
        rich_help_panel=TRAINING,
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(help="New run folder to write.", show_default="under runs/", rich_help_panel=OUTPUT)
]
CheckpointEveryOption = Annotated[
    int, typer.Option(help="Training steps from one checkpoint to the next.", rich_help_panel=TRAINING)
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        help="Seed of the initial weights, the order of the images and the noise.",
        show_default="0",
        rich_help_panel=TRAINING,
    ),
]
ResumeOption = Annotated[Path | None, typer.Option(help="Run folder whose training is continued.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="With --resume: go on in a changed environment, not bit for bit the same.")
]


def check_space(space: str | None, autoencoder_steps: int | None) -> None:
    """Refuse an unknown space, and steps of an autoencoder where there is none."""
    if space not in (None, *SPACES):
        raise VizdiffUsageError(f"`space` must be {', '.join(SPACES[:-1])} or {SPACES[-1]}, found {space!r}")
    if autoencoder_steps is not None:
        if space in (None, "pixel"):
            raise VizdiffUsageError("--autoencoder-steps goes with --space latent")
        check_at_least("--autoencoder-steps", autoencoder_steps, 1)


def check_density(density: str | None) -> None:
    """Refuse a density that is no choice of the option, such as those that are only tried in Python."""
    if density is not None and density not in TIMESTEP_DENSITIES:
        raise VizdiffUsageError(f"`timestep_density` must be {' or '.join(TIMESTEP_DENSITIES)}, found {density!r}")
