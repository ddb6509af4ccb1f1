"""The four exercises of a worksheet and their answers, apart: a :class:`Sheet` holds no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OrderTask:
    """Frames of one recording, shuffled."""

    letters: tuple[str, ...]
    """(N,) A, B, C …: the frames' names, in the order in which they stand on the sheet."""
    frames: Float32
    """(N, H, W) float32, nominally -1..1."""


@dataclass(frozen=True, eq=False)
class OrderAnswer:
    """Their order, most noise first."""

    letters: tuple[str, ...]
    """(N,) the frames' names."""
    frames: Float32
    """(N, H, W) float32."""
    steps_left: Int64
    """(N,) int64, falling; the last is 0, the finished picture."""
    alphas_cumprod: Float64
    """(N,) float64, 0..1, rising: the signal's share of power."""
    roughness: Float64
    """(N,) float64: mean |difference| of neighbouring pixels on the grey scale of -1..1; falls as noise does."""

    @property
    def closest(self) -> tuple[str, str]:
        """The two neighbours in the order that this number tells apart least."""
        index = int(np.argmin(np.abs(np.diff(self.roughness))))
        return self.letters[index], self.letters[index + 1]


@dataclass(frozen=True, eq=False)
class GuessTask:
    """Runs that began from one noise, at some stages."""

    names: tuple[str, ...]
    """(K,) W, X …: what the runs are called."""
    steps_left: Int64
    """(G,) int64, falling: the stages."""
    frames: Float32
    """(G, K, H, W) float32: the pictures at each stage."""


@dataclass(frozen=True, eq=False)
class GuessAnswer:
    """Which digits they were asked for."""

    names: tuple[str, ...]
    """(K,) what the runs are called."""
    digits: tuple[int, ...]
    """(K,) 0..9."""
    guesses: Float32
    """(G, K, H, W) float32: the network's own guess x̂_0 at each stage."""
    finished: Float32
    """(K, H, W) float32: what came out."""


@dataclass(frozen=True, eq=False)
class SnrTask:
    """A table of ᾱ, and a real digit under that much noise."""

    timesteps: Int64
    """(M,) int64, rising: t."""
    alphas_cumprod: Float64
    """(M,) float64, 0..1: ᾱ, rounded as it is printed, to four significant digits."""
    frames: Float32
    """(M, H, W) float32: the digit at each t."""


@dataclass(frozen=True, eq=False)
class SnrAnswer:
    """Where the SNR falls below 1."""

    snr: Float64
    """(M,) float64: ᾱ / (1 - ᾱ) of the printed ᾱ."""
    last_above: int
    """The last t of the table whose SNR is 1 or more."""
    first_below: int
    """The first t of the table whose SNR is below 1."""
    interpolated: float
    """Where a straight line between those two puts ᾱ = 1/2."""
    crossing: int
    """The first t of the schedule whose SNR is below 1."""

    @property
    def decibel(self) -> Float64:
        """(M,) float64: the same SNR in dB."""
        return 10 * np.log10(self.snr)


@dataclass(frozen=True, eq=False)
class PixelTask:
    """Pixels of one frame, with the noise the network saw in them."""

    frame: Float32
    """(H, W) float32: the frame."""
    steps_left: int
    """Where it stands in the recording."""
    timestep: int
    """Its t."""
    alpha_cumprod: float
    """Its ᾱ, rounded as it is printed."""
    rows: Int64
    """(P,) int64: the pixels' rows, from 1."""
    columns: Int64
    """(P,) int64: their columns, from 1."""
    x_t: Float64
    """(P,) float64: their values, rounded to two decimals."""
    eps_pred: Float64
    """(P,) float64: the predicted noise there, rounded to two decimals."""


@dataclass(frozen=True, eq=False)
class PixelAnswer:
    """The finished pixels that the network believed in."""

    x0: Float64
    """(P,) float64: x̂_0 worked out from the printed numbers, not clipped."""
    recorded: Float64
    """(P,) float64: x̂_0 as it was recorded, clipped to -1..1 where the recording was."""
    guess: Float32
    """(H, W) float32: the network's whole guess."""
    gap: float
    """2√ᾱ: how far ink and background are apart in x_t."""
    spread: float
    """√(1-ᾱ): the standard deviation of the noise in x_t."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """What students get: questions, and nothing else."""

    code: str
    """Eight hexadecimal digits: the same on the key."""
    num_steps: int
    """S, the steps of the recording."""
    order: OrderTask
    """Exercise 1."""
    guess: GuessTask
    """Exercise 2."""
    snr: SnrTask
    """Exercise 3."""
    pixel: PixelTask
    """Exercise 4."""


@dataclass(frozen=True, eq=False)
class Key:
    """What the teacher keeps."""

    digit: int
    """The digit of the recording."""
    seed: int
    """The seed of its noise."""
    order: OrderAnswer
    """Of exercise 1."""
    guess: GuessAnswer
    """Of exercise 2."""
    snr: SnrAnswer
    """Of exercise 3."""
    pixel: PixelAnswer
    """Of exercise 4."""

    def facts(self) -> dict[str, Any]:
        """Return the answers, as they are written in JSON."""
        return {
            "order": list(self.order.letters),
            "steps_left": [int(n) for n in self.order.steps_left],
            "digits": dict(zip(self.guess.names, self.guess.digits, strict=True)),
            "snr": [float(v) for v in self.snr.snr],
            "crossing": self.snr.crossing,
            "x0_pred": [float(v) for v in self.pixel.x0],
        }
