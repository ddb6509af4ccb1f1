"""What decides a run: network, training, schedule and data, as one config that is checked where it is read.

Knows no folder but the data's, and nothing about weights or checkpoints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import read_json

FORMAT_VERSION = 1
UNDECIDED = 1_000_000_000
"""Stands in memory for the number of steps while a time budget has not become one; a config.json holds null."""


@dataclass(frozen=True)
class RunConfig:
    """What decides a run; written to ``config.json`` before the first step."""

    model: ModelConfig
    """The network."""
    training: TrainConfig
    """How it is trained."""
    schedule: str = "linear"
    """Name of the noise schedule."""
    num_train_timesteps: int = 1000
    """T."""
    dataset: str = "mnist"
    """mnist, fashion-mnist, kmnist; or data-dir, where ``data_dir`` says which folder."""
    data_dir: str | None = None
    """The folder of IDX files it is trained on, where it is not one of the data sets known by name."""
    preset: str | None = None
    """The preset it began from, whatever was changed then; None where there was none."""
    subset: int | None = None
    """How many of the training digits it is trained on, the labels taking turns; None for all of them."""
    minutes: float | None = None
    """The wall time it may take, until that has become a number of steps (``training.steps``); then None."""

    def __post_init__(self) -> None:
        if self.minutes is not None:
            if type(self.minutes) not in (int, float) or not 0 <= self.minutes < float("inf"):
                raise VizdiffInputError(f"the run's minutes must be a number or null, found {self.minutes!r}")
            object.__setattr__(self, "training", replace(self.training, steps=UNDECIDED))
        if self.subset is not None and (type(self.subset) is not int or self.subset < 1):
            raise VizdiffInputError(f"the run's subset must be a whole number of digits or null, found {self.subset!r}")
        known = (self.model.schedule, self.model.num_train_timesteps)
        if self.model.schedule is not None and known != (self.schedule, self.num_train_timesteps):
            raise VizdiffInputError(
                f"the network's last line uses the schedule {known[0]}, T = {known[1]}, "
                f"and the run {self.schedule}, T = {self.num_train_timesteps}; they must be the same"
            )

    @property
    def noise_schedule(self) -> NoiseSchedule:
        """The schedule, built."""
        return NoiseSchedule.named(self.schedule, self.num_train_timesteps)

    @property
    def budget(self) -> str:
        """How long it is trained, in words."""
        return f"{self.training.steps:,} steps" if self.minutes is None else f"{self.minutes:g} minutes"

    def load_digits(self, split: str) -> Digits:
        """Load the data the run is trained on (``train``) or held against (``test``)."""
        if self.data_dir is not None:
            digits = load_digits(split, data_dir=Path(self.data_dir))
        else:
            digits = load_digits(split, self.dataset)
        return digits if self.subset is None or split != "train" else digits.first_of_each(self.subset)

    def data_set(self, training: Digits) -> Digits:
        """Return all the digits that those trained on are a part of: the same, where the run has no subset."""
        return training if self.subset is None else replace(self, subset=None).load_digits("train")

    def to_dict(self) -> dict[str, Any]:
        """Return what is written as JSON."""
        values: dict[str, Any] = {"format_version": FORMAT_VERSION, **asdict(self)}
        if self.minutes is None:
            del values["minutes"]
        else:
            values["training"]["steps"] = None
        return values

    def recipe(self) -> dict[str, Any]:
        """Return, as JSON values by name, what may not change while the run is trained; it may be given more steps."""
        values = self.to_dict()
        model, training = values.pop("model"), values.pop("training")
        left_out = ["format_version", "preset", "steps", "minutes"]
        # these two came later: a checkpoint from before them had a clock and all digits
        left_out += ["use_time"] * self.model.use_time + ["subset"] * (self.subset is None)
        entries = {**model, "channels": list(model["channels"]), **training, **values}
        return {name: value for name, value in entries.items() if name not in left_out}

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read ``config.json``; raise VizdiffInputError naming the file where it does not fit."""
        values = read_json(path)
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise VizdiffInputError(f"{path}: expected format_version {FORMAT_VERSION}, found {version}")
        try:
            model, training = values.pop("model"), values.pop("training")
            # a config without weight_exponent is from before errors were weighted
            undecided = {} if values.get("minutes") is None else {"steps": UNDECIDED}
            training = TrainConfig(**{"weight_exponent": 0.0, **training, **undecided})
            config = cls(model=ModelConfig.from_dict(model), training=training, **values)
            _ = config.noise_schedule  # refuses what no schedule can be built from
        except (VizdiffError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise VizdiffInputError(f"{path} is not the config of a run: {error}") from error
        return config


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how training goes; the learning rate depends on the step alone."""

    steps: int = 5000
    """Optimizer steps in all."""
    batch_size: int = 128
    """Images per step."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW, reached after the warm-up and then falling linearly to 0."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from 0 to its peak."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Gradients whose joint norm is larger are scaled down to it."""
    ema_decay: float = 0.999
    """Largest decay of the moving average of the weights, approached as (1 + n) / (10 + n)."""
    label_dropout: float = 0.1
    """Share of training images shown under the null label (Ho & Salimans 2022, algorithm 1)."""
    weight_exponent: float = 0.5
    """p: the squared error of ε̂ at t counts ᾱ^-p times. With 0 every t counts alike in ε (Ho et al. 2020, eq. 14),
    with 1 alike in v (Salimans & Ho 2022, "SNR + 1"); between them lies more weight where digits are decided."""
    precision: str = "float32"
    """Number format of the forward pass: float32 or bfloat16 (autocast)."""
    seed: int = 0
    """Decides the initial weights, the order of the images, and each step's timesteps and noise, modulo 2**32."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "warmup_steps"):
            if getattr(self, name) < 1:
                raise VizdiffUsageError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("learning_rate", "weight_exponent"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise VizdiffUsageError(f"{name} must be a number of at least 0, found {getattr(self, name)}")
        for name in ("label_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise VizdiffUsageError(f"{name} must lie in 0..1, found {getattr(self, name)}")
        if self.precision not in ("float32", "bfloat16"):
            raise VizdiffUsageError(f"precision must be float32 or bfloat16, found {self.precision!r}")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of step 0 .. steps-1: a straight rise, then a straight fall."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = 1 - max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * rise * max(0.0, fall)
