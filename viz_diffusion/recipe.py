"""What decides a run: network, training, schedule and data, as one config that is checked where it is read.

Knows no folder but the data's, and nothing about weights or checkpoints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import read_json
from viz_diffusion.model import ModelConfig
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.train import TrainConfig

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
