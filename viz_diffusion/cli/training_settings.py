"""Settings of ``vizdiff train --set name=value``: fields of TrainConfig and ModelConfig by their names.

Knows nothing about presets, data or runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError, did_you_mean

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import ModelConfig

_FIXED = {
    "image_size": "the data; give --image-size",
    "in_channels": "the data",
    "num_labels": "the data",
    "num_train_timesteps": "the noise schedule",
    "text": "the condition; give --conditioning",
}
"""Fields of a network that cannot be set, and what they follow from."""
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "two whole numbers with a comma between them, such as 16,32",
}
"""What the value of a field must be, by the type of its default."""


def read_settings(words: Sequence[str] | None, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings of ``--set`` by name.

    Parameters
    ----------
    words
        Each ``name=value``.
    given
        The values of options that set a field too, by the field's name; None or False where an option is not given.

    Raises
    ------
    VizdiffUsageError
        Where a word has another form, its name is unknown or given twice, or its value is of another kind.
    """
    if not words:
        return {}
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.train_config import TrainConfig

    defaults = {field.name: field.default for config in (TrainConfig, ModelConfig) for field in fields(config)}
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals:
            raise VizdiffUsageError(f"--set takes name=value, such as learning_rate=2e-3, found {word!r}")
        if name not in defaults:
            known = [one for one in defaults if one not in _FIXED]
            near = did_you_mean(name, known) or f"; they are {', '.join(known)}"
            raise VizdiffUsageError(f"--set has no setting {name!r}{near}")
        if name in _FIXED:
            raise VizdiffUsageError(f"--set cannot change {name}, which follows from {_FIXED[name]}")
        if name in settings:
            raise VizdiffUsageError(f"--set gives {name} twice")
        if given.get(name) not in (None, False):
            option = "--no-time" if name == "use_time" else f"`{name}`"
            raise VizdiffUsageError(f"{option} and --set {word} exclude each other; give one")
        settings[name] = _value(name, text, defaults[name])
    return settings


def _value(name: str, text: str, default: object) -> object:
    """Return the value that a text stands for, of the type of the field's default."""
    if name == "schedule":
        return None if text == "none" else text
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            outer, inner = map(int, text.split(","))
            return outer, inner
        return {int: int, float: float}.get(kind, str)(text)
    except (ValueError, KeyError):
        raise VizdiffUsageError(f"--set {name} must be {_KINDS[kind]}, found {text!r}") from None


def of_training(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are fields of TrainConfig, without the number of steps, which is a budget."""
    from viz_diffusion.training.train_config import TrainConfig

    names = {field.name for field in fields(TrainConfig)} - {"steps"}
    return {name: value for name, value in settings.items() if name in names}


def set_in_network(network: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    """Return a network with the settings that are its fields.

    Raises
    ------
    VizdiffUsageError
        Where no network can be built with them.
    """
    own = {name: value for name, value in settings.items() if name in {field.name for field in fields(network)}}
    if not own:
        return network
    try:
        return type(network).from_dict(asdict(replace(network, **own)))
    except VizdiffInputError as error:
        words = ", ".join(f"{name}={value}" for name, value in own.items())
        raise VizdiffUsageError(f"--set {words}: {error.marked}") from error
