"""The configuration of a run: network, training, noise schedule and data set, checked when it is read.

Reads no folder except the data's. Knows nothing about weights or checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from viz_diffusion.data import Digits, EncodedDigits, load_data_set, load_digits
from viz_diffusion.data.captions import CaptionedDigits
from viz_diffusion.diffusion.autoencoder import AutoencoderConfig
from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import ODE_SAMPLERS
from viz_diffusion.diffusion.tokenizer import Tokenizer
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import read_json
from viz_diffusion.training.train_config import TrainConfig

FORMAT_VERSION = 1
UNDECIDED_STEPS = 1_000_000_000
"""Number of steps in memory while a time budget is not yet converted into steps; ``config.json`` then holds null."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run; written to ``config.json`` before the first step."""

    model: ModelConfig
    """The network."""
    training: TrainConfig
    """The training."""
    schedule: str = "linear"
    """Name of the noise schedule."""
    num_train_timesteps: int = 1000
    """T, the number of training timesteps."""
    dataset: str = "mnist"
    """mnist, fashion-mnist or kmnist; or data-dir, if ``data_dir`` gives a folder."""
    data_dir: str | None = None
    """Folder to train on, of IDX files or of images by class, instead of a data set known by name."""
    preset: str | None = None
    """Name of the preset the run started from, even if options changed its values; None without a preset."""
    subset: int | None = None
    """Number of training images used, with the labels in turn (0, 1, .. 9, 0, ..); None for all of them."""
    minutes: float | None = None
    """Wall time to train for. None once it has been converted into a number of steps (``training.steps``)."""
    class_names: tuple[str, ...] | None = None
    """(K,) names of the classes; None where the labels are the digits 0..9. Of a network of prompts: the prompts that
    were chosen (:func:`~viz_diffusion.training.text_run.with_prompts`), which no file holds."""
    labels: tuple[int, ...] | None = None
    """The labels that the training images have, rising; None where they have all K."""
    data_sha256: tuple[str, str] | None = None
    """SHA-256 of the training and the held-out images of ``data_dir`` (:attr:`Digits.sha256`), before any subset is
    taken, by which a folder that moved is known; None for a data set known by name, and in older runs."""
    autoencoder: AutoencoderConfig | None = None
    """The autoencoder in whose latents the network works; None where it works on pixels."""
    overrides: tuple[str, ...] = ()
    """Fields of ``model`` and ``training`` that were set by name, rising; the others are a preset's or an option's."""

    def __post_init__(self) -> None:
        if self.minutes is not None:
            if type(self.minutes) not in (int, float) or not 0 <= self.minutes < float("inf"):
                raise VizdiffInputError(f"the run's minutes must be a number or null, found {self.minutes!r}")
            object.__setattr__(self, "training", replace(self.training, steps=UNDECIDED_STEPS))
        if self.subset is not None and (type(self.subset) is not int or self.subset < 1):
            raise VizdiffInputError(f"the run's subset must be a whole number of digits or null, found {self.subset!r}")
        self._check_classes()
        shape = (self.model.in_channels, self.model.image_size, self.model.image_size)
        if self.autoencoder is not None and shape != self.autoencoder.latent_shape:
            raise VizdiffInputError(
                f"the autoencoder's latents are {self.autoencoder.latent_shape}, and the network is built for {shape}; "
                "they must be the same"
            )
        network, objective = (self.model.schedule, self.model.num_train_timesteps), self.training.objective
        wanted = {"epsilon": self.schedule, "flow": "flow"}.get(objective)
        if network[0] is not None and wanted is None:
            raise VizdiffInputError(
                f"a network with the objective {objective} has no schedule in its last line, found {network[0]}; "
                "the model's schedule must be null"
            )
        if network[0] is not None and network != (wanted, self.num_train_timesteps):
            owner = "run" if objective == "epsilon" else f"objective {objective}"
            raise VizdiffInputError(
                f"the network's last line uses the schedule {network[0]}, T = {network[1]}, "
                f"and the {owner} {wanted}, T = {self.num_train_timesteps}; they must be the same"
            )

    def _check_classes(self) -> None:
        """Refuse class names and labels that do not belong to the network."""
        count = self.model.num_labels
        names, labels = self.class_names, self.labels
        if names is not None and (len(names) != count or not all(type(name) is str and name for name in names)):
            raise VizdiffInputError(f"the run's class_names must be {count} names, one for each label, found {names!r}")
        if labels is not None and not (labels and all(type(one) is int and 0 <= one < count for one in labels)):
            raise VizdiffInputError(f"the run's labels must lie in 0..{count - 1}, found {labels!r}")

    @property
    def present_labels(self) -> tuple[int, ...]:
        """The labels that the training images have, rising."""
        return tuple(range(self.model.num_labels)) if self.labels is None else self.labels

    @property
    def is_digits(self) -> bool:
        """Whether the data are like MNIST: grey, 28 × 28, ten classes without names, all of them trained on."""
        return self.class_names is None and self.labels is None and self.image_shape == (1, 28, 28)

    @property
    def prompts(self) -> tuple[str, ...]:
        """(K,) the prompts that were chosen for a network of prompts; empty where the labels are the ten digits."""
        return () if self.model.text is None else self.class_names or ()

    @property
    def space(self) -> str:
        """What the network works on: ``pixel``, or ``latent`` where there is an autoencoder."""
        return "pixel" if self.autoencoder is None else "latent"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.x_shape if self.autoencoder is None else self.autoencoder.image_shape

    @property
    def x_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what the network works on: of the images, or of their latents."""
        return (self.model.in_channels, self.model.image_size, self.model.image_size)

    @property
    def noise_schedule(self) -> NoiseSchedule:
        """The noise schedule of this name and length."""
        return NoiseSchedule.named(self.schedule, self.num_train_timesteps)

    def denoiser(
        self, network: SimpleUNet, schedule: NoiseSchedule | None = None, prediction_type: str = "epsilon"
    ) -> SimpleUNet:
        """Return a run's network as one that predicts ε̂, or anything else, on a schedule.

        Parameters
        ----------
        network
            The network as it is trained, or what this function made of it.
        schedule
            The process whose states it gets; by default the run's noise schedule.
        prediction_type
            What it returns, one of :data:`~viz_diffusion.diffusion.parameterizations.PREDICTION_TYPES`.

        Returns
        -------
        The network itself where that is what it was trained for, else a :class:`ConvertedUNet` with the same layers.
        """
        own = self.training.prediction_type
        if own == prediction_type == "epsilon":
            return network
        return ConvertedUNet(network, own, schedule or self.noise_schedule, prediction_type)

    def sampled(self, network: SimpleUNet, sampler: str) -> tuple[SimpleUNet, NoiseSchedule]:
        """Return a run's network as a sampler, by its name, evaluates it, and the process it samples in.

        The process is the run's noise schedule, on which a flow-matching network answers as an ε-network; but Euler and
        Heun sample a flow-matching network on its own process. Any other network answers in what it was trained for.
        """
        schedule, kind = self.noise_schedule, self.training.prediction_type
        if kind == "flow" and sampler in ODE_SAMPLERS:
            schedule = NoiseSchedule.named("flow", self.num_train_timesteps)
        elif kind == "flow":
            kind = "epsilon"
        return self.denoiser(network, schedule, kind), schedule

    @property
    def budget(self) -> str:
        """The number of steps, or the wall time, as text."""
        steps, minutes = self.training.steps, self.minutes
        counted = f"{steps:,} step{'s' * (steps != 1)}"
        return counted if minutes is None else f"{minutes:g} minute{'s' * (minutes != 1)}"

    def load_digits(self, split: str) -> Digits:
        """Load the training images (``train``) or the held-out images (``test``)."""
        if self.data_dir is not None:
            channels, size, _ = self.image_shape
            try:
                digits = load_data_set(Path(self.data_dir), size, channels).split(split)
            except VizdiffInputError as error:
                if Path(self.data_dir).exists():
                    raise
                raise VizdiffInputError(f"{error.marked}; if the data have moved, give their new place") from error
            if digits.class_names != (self.class_names or ()) or digits.num_labels != self.model.num_labels:
                raise VizdiffInputError(
                    f"`data_dir` {self.data_dir} has changed: the run was trained on {self.model.num_labels} classes "
                    f"({_few(self.class_names or '0123456789')}), and it holds {digits.num_labels} "
                    f"({_few(digits.class_names or '0123456789')}); restore it, or give its new place as `data_dir`"
                )
        else:
            digits = load_digits(split, self.dataset)
        if split == "train":
            digits = digits if self.subset is None else digits.first_of_each(self.subset)
            digits = digits if self.model.text is None else CaptionedDigits.of(digits).without_held_out()
        return digits if self.model.text is None or not self.prompts else self._fitting_prompts(digits)

    def _fitting_prompts(self, digits: Digits) -> Digits:
        """Return, for each prompt in turn, the digits that all of its words are true of, labelled with its number."""
        assert self.model.text is not None
        captioned = digits if isinstance(digits, CaptionedDigits) else CaptionedDigits.of(digits)
        tokenizer = Tokenizer(self.model.text.vocabulary)
        return captioned.labelled([tokenizer.words(prompt) for prompt in self.prompts], self.prompts)

    def data_hashes(self) -> tuple[str, str]:
        """Return the SHA-256 of the training and the held-out images."""
        return self.load_digits("train").sha256, self.load_digits("test").sha256

    def data_set(self, training: Digits) -> Digits:
        """Return the complete training set: ``training`` itself, unless the run is trained on a part of it."""
        if self.model.text is not None:
            complete = load_digits("train", self.dataset)
            return self._fitting_prompts(complete) if self.prompts else complete
        return training if self.subset is None else replace(self, subset=None).load_digits("train")

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``config.json``."""
        values: dict[str, Any] = {"format_version": FORMAT_VERSION, **asdict(self), "training": self.training.to_dict()}
        # older configs lack them
        for name, before in (("num_mid_blocks", 2), ("fold", 2), ("kernel_size", 3), ("text", None)):
            if values["model"][name] == before:
                del values["model"][name]
        if self.model.text is not None:
            values["model"]["text"]["vocabulary"] = list(self.model.text.vocabulary)
        del values["autoencoder"]
        if self.autoencoder is not None:
            values |= {"space": self.space, "autoencoder": self.autoencoder.to_dict()}
        if self.minutes is None:
            del values["minutes"]
        else:
            values["training"]["steps"] = None
        for name in ("class_names", "labels", "data_sha256", "overrides"):  # older configs lack them
            if not values[name]:
                del values[name]
            else:
                values[name] = list(values[name])
        return values

    def conditions(self, data: tuple[Digits, Digits] | None = None) -> dict[str, Any]:
        """Return what must not change while the run is trained, by name: all but the steps, of which it may get more.

        Parameters
        ----------
        data
            The training and the held-out images, if their SHA-256 are to be included.
        """
        values = self.to_dict()
        model, training = values.pop("model"), values.pop("training")
        entries = {**model, "channels": list(model["channels"]), **training, **values}
        excluded = ["format_version", "preset", "steps", "minutes", "overrides"]
        # Where the data lie does not matter: their SHA-256 are compared.
        excluded += ["data_dir", "data_sha256"] * (self.data_dir is not None)
        # Older checkpoints lack these two entries: then the network has a time input and the run no subset.
        excluded += ["use_time"] * self.model.use_time + ["subset"] * (self.subset is None)
        hashes = {} if data is None else {"training_digits": data[0].sha256, "heldout_digits": data[1].sha256}
        if data is not None and isinstance(data[0], EncodedDigits):
            hashes["autoencoder_sha256"] = data[0].encoder_sha256
        return {name: value for name, value in entries.items() if name not in excluded} | hashes

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read ``config.json``.

        Raises
        ------
        VizdiffInputError
            If the file is not the config of a run; the message names it.
        """
        values = read_json(path)
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise VizdiffInputError(f"{path}: expected format_version {FORMAT_VERSION}, found {version}")
        try:
            model, training = values.pop("model"), values.pop("training")
            undecided = {} if values.get("minutes") is None else {"steps": UNDECIDED_STEPS}
            # Older configs lack weight_exponent, and name no objective: their errors were not weighted.
            unweighted = {} if "objective" in training else {"weight_exponent": 0.0}
            training = TrainConfig(**{**unweighted, **training, **undecided})
            for name in ("class_names", "labels", "data_sha256"):
                values[name] = None if values.get(name) is None else tuple(values[name])
            values["overrides"] = tuple(values.get("overrides", ()))
            space, autoencoder = values.pop("space", "pixel"), values.get("autoencoder")
            if space != ("pixel" if autoencoder is None else "latent"):
                raise VizdiffInputError(f"a run in the space {space!r} does not go with the autoencoder {autoencoder}")
            values["autoencoder"] = None if autoencoder is None else AutoencoderConfig.from_dict(autoencoder)
            config = cls(model=ModelConfig.from_dict(model), training=training, **values)
            _ = config.noise_schedule  # fails if no schedule can be built from these values
        except (VizdiffError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise VizdiffInputError(f"{path} is not the config of a run: {error}") from error
        return config


def _few(names: Sequence[str]) -> str:
    """Return the first names of several, with commas between them."""
    return ", ".join(names[:5]) + ", …" * (len(names) > 5)
