"""A branch that was saved in the live page: how a generation came about, step by step.

The page writes and reads the same file (``templates/state.js``). Reads and checks; knows nothing about networks.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.timesteps import VARIANCES
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import damage_named, read_json

Float32 = NDArray[np.float32]
FORMAT, FORMAT_VERSION = "vizdiff live branch", 1
METHODS = ("ddim", "ddpm", "euler")
MOST_SEED, MOST_ROUNDS, MOST_SIDE = 2**32 - 1, 100, 4096


@dataclass(frozen=True, eq=False)
class Settings:
    """What the network gets at a step, and how the step is made."""

    label: int | Float32
    """A label, num_labels for none; or (num_labels + 1,) weights of the label embeddings."""
    guidance: float
    told: tuple[int, str] | None
    """The timestep that the network gets instead of its own, and where: ``everywhere`` or ``embedding``."""
    method: str
    """ddim, ddpm or euler."""
    eta: float
    """Of ddim, 0 .. 1."""
    variance: str
    """Of ddpm, beta or beta_tilde."""


@dataclass(frozen=True, eq=False)
class Held:
    """Pixels that are held to a known image."""

    mask: Float32
    """(H, W) 1 where they are held, else 0."""
    known: Float32
    """(C, H, W) the image, in [-1, 1]."""
    rounds: int
    """How often each step is made (RePaint); 1 holds only."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """A stroke on a state."""

    coverage: Float32
    """(H, W) in 0 .. 1."""
    ink: float
    """-1 (black) to 1 (white)."""
    settings: Settings
    """Those of the prediction that the stroke is relative to."""


@dataclass(frozen=True, eq=False)
class Change:
    """Everything that holds from one step on; the strokes at this step only."""

    settings: Settings
    hold: Held | None
    strokes: tuple[Stroke, ...]


@dataclass(frozen=True, eq=False)
class SavedBranch:
    """A generation as the page saved it."""

    weights_sha256: str
    schedule: str
    """Name of the process: linear, cosine, zero-snr or flow."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    seed: int
    """Of x_T."""
    noises: tuple[tuple[int, int], ...]
    """(seed, first step) of the noise that is added from that step on."""
    timesteps: tuple[int, ...]
    """(S,) all that are visited, falling."""
    drawing: Float32 | None
    """(C, H, W) the image that the generation begins from, in [-1, 1]; None for noise alone."""
    steps_made: int
    """How many predictions were made before it was saved, 1 .. S."""
    finished: bool
    """Whether the last state is the finished image."""
    changes: dict[int, Change]
    """By step; the first one has step 0."""
    last_state: Float32
    """(C, H, W) the state that the last prediction is made from, or the finished image."""


def read_branch(path: Path) -> SavedBranch:
    """Read and check a file of the live page.

    Raises
    ------
    VizdiffInputError
        Where it is not one, or holds impossible values.
    """
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise VizdiffInputError(f"{path} was not saved by the live page (vizdiff live)")
    if values.get("format_version") != FORMAT_VERSION:
        found = values.get("format_version")
        raise VizdiffInputError(f"{path}: expected format_version {FORMAT_VERSION}, found {found}")
    with damage_named(path, "save it again in the live page"):
        return _Reader(values).branch()


class _Reader:
    """Builds the branch of a file; raises ValueError, or what wrong types lead to."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        sides = [_whole(side, "image_shape", 1, MOST_SIDE) for side in values["image_shape"]]
        self._shape = (sides[0], sides[1], sides[2])
        self._holds: dict[tuple[int, ...], Held] = {}

    def branch(self) -> SavedBranch:
        values = self._values
        timesteps = tuple(_whole(t, "timesteps", 0, 65535) for t in values["timesteps"])
        if not timesteps or list(timesteps) != sorted(set(timesteps), reverse=True):
            raise ValueError("its timesteps do not fall")
        count = len(timesteps)
        changes = {_whole(one["at"], "at", 0, count - 1): self._change(one) for one in values["changes"]}
        noises = tuple(
            (_whole(one["seed"], "seed", 0, MOST_SEED), _whole(one["first"], "first", 0, count - 1))
            for one in values["noises"]
        )
        if 0 not in changes or not noises or noises[0][1] != 0:
            raise ValueError("its first step is missing")
        start = values["start"]
        return SavedBranch(
            weights_sha256=str(values["weights_sha256"]),
            schedule=str(values["schedule"]),
            image_shape=self._shape,
            seed=_whole(values["seed"], "seed", 0, MOST_SEED),
            noises=noises,
            timesteps=timesteps,
            drawing=None if start is None else self._array(start["drawing"], self._shape),
            steps_made=_whole(values["steps_made"], "steps_made", 1, count),
            finished=values["finished"] is True,
            changes=changes,
            last_state=self._array(values["last_state"], self._shape),
        )

    def _change(self, one: dict[str, Any]) -> Change:
        plane = self._shape[1:]
        strokes = tuple(
            Stroke(
                self._array(stroke["coverage"], plane),
                _number(stroke["ink"], "ink", -1, 1),
                _settings(stroke["settings"]),
            )
            for stroke in one["strokes"]
        )
        return Change(_settings(one["settings"]), self._held(one["hold"]), strokes)

    def _held(self, values: dict[str, Any] | None) -> Held | None:
        """Return what is held; the same object for the same values."""
        if values is None:
            return None
        key = (values["mask"], values["known"], _whole(values["rounds"], "rounds", 1, MOST_ROUNDS))
        if key not in self._holds:
            self._holds[key] = Held(self._array(key[0], self._shape[1:]), self._array(key[1], self._shape), key[2])
        return self._holds[key]

    def _array(self, index: int, shape: tuple[int, ...]) -> Float32:
        text = self._values["arrays"][_whole(index, "picture", 0, len(self._values["arrays"]) - 1)]
        array = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").reshape(shape)
        if not np.isfinite(array).all():
            raise ValueError("a picture holds numbers that are not finite")
        return array.astype(np.float32)


def _settings(values: dict[str, Any]) -> Settings:
    label, told = values["label"], values["told"]
    if values["method"] not in METHODS or values["variance"] not in VARIANCES:
        raise ValueError(f"method {values['method']!r} or variance {values['variance']!r} is unknown")
    if told is not None and told["where"] not in ("everywhere", "embedding"):
        raise ValueError(f"told {told['where']!r} is unknown")
    weights = [_number(weight, "label", -1000, 1000) for weight in label] if isinstance(label, list) else None
    return Settings(
        _whole(label, "label", 0, 65536) if weights is None else np.array(weights, dtype=np.float32),
        _number(values["guidance"], "guidance", -1000, 1000),
        None if told is None else (_whole(told["t"], "told", 0, 65535), told["where"]),
        values["method"],
        _number(values["eta"], "eta", 0, 1),
        values["variance"],
    )


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number in {least}..{most}, found {value!r}")
    return value


def _number(value: Any, name: str, least: float, most: float) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} must be a number in {least:g}..{most:g}, found {value!r}")
    return float(value)
