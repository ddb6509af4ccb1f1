"""Exercises and answers of a worksheet in separate classes: a :class:`Worksheet` holds no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FrameOrderTask:
    """Exercise 1: put shuffled frames of one recording in order."""

    letters: tuple[str, ...]
    """(N,) A, B, C …: the frames' names, in their order on the worksheet."""
    frames: Float32
    """(N, H, W) float32, nominally -1..1."""


@dataclass(frozen=True, eq=False)
class FrameOrderAnswer:
    """The frames in the order of the recording, most noise first."""

    letters: tuple[str, ...]
    """(N,) the frames' names."""
    frames: Float32
    """(N, H, W) float32."""
    steps_left: Int64
    """(N,) int64, falling; the last is 0, the finished picture."""
    alphas_cumprod: Float64
    """(N,) float64, 0..1, rising: the signal's share of power."""
    roughness: Float64
    """(N,) float64: mean |difference| of neighbouring pixels, values clipped to -1..1; falls with the noise."""

    @property
    def most_similar(self) -> tuple[str, str]:
        """The two consecutive frames whose roughness differs least."""
        index = int(np.argmin(np.abs(np.diff(self.roughness))))
        return self.letters[index], self.letters[index + 1]


@dataclass(frozen=True, eq=False)
class DigitTask:
    """Exercise 2: recognise which digit each of several generations from one noise becomes."""

    names: tuple[str, ...]
    """(K,) W, X …: the names of the generations."""
    steps_left: Int64
    """(G,) int64, falling: the steps left at each stage."""
    frames: Float32
    """(G, K, H, W) float32: x_t of each generation at each stage."""


@dataclass(frozen=True, eq=False)
class DigitAnswer:
    """The labels of the generations, and what the network predicted."""

    names: tuple[str, ...]
    """(K,) the names of the generations."""
    digits: tuple[int, ...]
    """(K,) 0..9."""
    x0_pred: Float32
    """(G, K, H, W) float32: predicted x̂_0 at each stage."""
    finished: Float32
    """(K, H, W) float32: the finished images."""


@dataclass(frozen=True, eq=False)
class SnrTask:
    """Exercise 3: compute the SNR from a table of ᾱ, next to a real digit with that much noise."""

    timesteps: Int64
    """(M,) int64, rising: t."""
    alphas_cumprod: Float64
    """(M,) float64, 0..1: ᾱ as printed, rounded to four significant digits."""
    frames: Float32
    """(M, H, W) float32: the digit at each t."""


@dataclass(frozen=True, eq=False)
class SnrAnswer:
    """The SNR of the table, and the timestep at which it falls below 1."""

    snr: Float64
    """(M,) float64: ᾱ / (1 - ᾱ) of the printed ᾱ."""
    last_above: int
    """The last t of the table whose SNR is 1 or more."""
    first_below: int
    """The first t of the table whose SNR is below 1."""
    interpolated: float
    """t at which ᾱ = 1/2 by linear interpolation between those two."""
    crossing: int
    """The first t of the schedule whose SNR is below 1."""

    @property
    def decibel(self) -> Float64:
        """(M,) float64: the same SNR in dB."""
        return 10 * np.log10(self.snr)


@dataclass(frozen=True, eq=False)
class PixelTask:
    """Exercise 4: compute x̂_0 of some pixels from x_t and the predicted noise."""

    frame: Float32
    """(H, W) float32: x_t."""
    steps_left: int
    """Steps left at this frame."""
    timestep: int
    """Its timestep t."""
    alpha_cumprod: float
    """Its ᾱ as printed, rounded to four significant digits."""
    rows: Int64
    """(P,) int64: the pixels' rows, from 1."""
    columns: Int64
    """(P,) int64: the pixels' columns, from 1."""
    x_t: Float64
    """(P,) float64: x_t of the pixels, rounded to two decimals."""
    eps_pred: Float64
    """(P,) float64: predicted noise of the pixels, rounded to two decimals."""


@dataclass(frozen=True, eq=False)
class PixelAnswer:
    """Predicted x̂_0 of the pixels, computed and recorded."""

    x0: Float64
    """(P,) float64: x̂_0 computed from the printed numbers, not clipped."""
    recorded: Float64
    """(P,) float64: x̂_0 of the recording, clipped to -1..1 if the recording is."""
    x0_pred: Float32
    """(H, W) float32: predicted x̂_0 of the whole frame."""
    gap: float
    """2√ᾱ: the difference between ink (1) and background (-1) in x_t."""
    spread: float
    """√(1-ᾱ): the standard deviation of the noise in x_t."""


@dataclass(frozen=True, eq=False)
class PromptTask:
    """Exercise 5: find the prompt that each sample of a network of prompts was made with."""

    prompts: tuple[str, ...]
    """(P,) the prompts."""
    letters: tuple[str, ...]
    """(N,) A, B, C …: the samples' names."""
    frames: Float32
    """(N, H, W) float32: the samples."""


@dataclass(frozen=True, eq=False)
class PromptAnswer:
    """The samples of each prompt."""

    letters: tuple[tuple[str, ...], ...]
    """(P, 2) the samples that were made with each prompt."""
    held_out: str
    """The prompt whose combination of words no training image had."""


@dataclass(frozen=True, eq=False)
class Worksheet:
    """The exercises that students get, without any answer."""

    code: str
    """Eight hexadecimal digits, printed on the worksheet and on its key."""
    num_steps: int
    """S: the number of steps of the recording."""
    frame_order: FrameOrderTask | None
    """Exercise 1; None where it is left out."""
    digits: DigitTask | None
    """Exercise 2; None where it is left out."""
    snr: SnrTask
    """Exercise 3."""
    pixel: PixelTask | None
    """Exercise 4; None where it is left out."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """From the name of an exercise that is left out to the last part of the key of the text that says why."""
    prompts: PromptTask | None = None
    """Exercise 5; None where no network of prompts was sampled."""


@dataclass(frozen=True, eq=False)
class AnswerKey:
    """The answers, for the teacher."""

    digit: int
    """The label of the recording."""
    seed: int
    """The seed of its noise."""
    frame_order: FrameOrderAnswer | None
    """Answer to exercise 1; None where it is left out."""
    digits: DigitAnswer | None
    """Answer to exercise 2; None where it is left out."""
    snr: SnrAnswer
    """Answer to exercise 3."""
    pixel: PixelAnswer | None
    """Answer to exercise 4; None where it is left out."""
    prompts: PromptAnswer | None = None
    """Answer to exercise 5; None where it is left out."""

    def facts(self) -> dict[str, Any]:
        """Return the answers as JSON values."""
        return {
            "order": [] if self.frame_order is None else list(self.frame_order.letters),
            "steps_left": [] if self.frame_order is None else [int(n) for n in self.frame_order.steps_left],
            "digits": {} if self.digits is None else dict(zip(self.digits.names, self.digits.digits, strict=True)),
            "snr": [float(v) for v in self.snr.snr],
            "crossing": self.snr.crossing,
            "x0_pred": [] if self.pixel is None else [float(v) for v in self.pixel.x0],
            "prompts": [] if self.prompts is None else ["".join(letters) for letters in self.prompts.letters],
        }
