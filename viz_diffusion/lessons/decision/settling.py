"""Timesteps at which the class of a digit is settled: the ideal denoiser's window, medians and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.intervals import Z_95, Share, half_of_mean, t_quantile
from viz_diffusion.lessons.decision.class_probability import NoisedDigits
from viz_diffusion.lessons.decision.figures import Quartiles
from viz_diffusion.lessons.decision.forks import ForkStudy, GenerationPaths

Float64 = NDArray[np.float64]
WINDOW = (0.1, 0.9)
"""Shares of the information on the class at which the ideal denoiser's window begins and ends."""
LATE = 100
"""Of T = 1000: below this a class is settled at the end, since the last x̂_0 is the finished image itself."""
FEW = 10
"""Settled generations, at least, for a median."""
RESAMPLED = 400
"""Bootstrap resamples of the digits."""


@dataclass(frozen=True, eq=False)
class Decision:
    """Three measurements of the timesteps at which the class of a digit is settled."""

    noised: NoisedDigits
    """Held-out digits that are noised and finished."""
    paths: GenerationPaths
    """Generations without a label."""
    forks: ForkStudy
    """Generations that are finished several times."""
    num_train_timesteps: int
    """T."""
    calibration: Calibration | None = None
    """Of the classifier's probabilities; None without a classifier."""

    @property
    def window(self) -> tuple[int, int]:
        """The t at which x_t has a tenth, and nine tenths, of the information on the class."""
        mean, entropy = self.noised.bits.mean(axis=1), self.noised.entropy
        first, last = (_crossing(self.noised.timesteps, mean / entropy, level) for level in WINDOW)
        return round(first), round(last)

    @property
    def settled(self) -> NDArray[np.int64] | None:
        """(Q,) rising t at which classes are settled, of those neither from the start, nor at the end, nor never."""
        return None if self.paths.commit is None else self.settled_of(self.paths.commit)

    def settled_of(self, commit: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (Q,) rising the t of those classes that are settled neither from the start, nor at the end."""
        return np.sort(commit[(commit >= self.late) & (commit < self.paths.start)])

    @property
    def late(self) -> int:
        """The t below which it is the end: the last tenth of all timesteps."""
        return LATE * self.num_train_timesteps // 1000

    def quartiles(self) -> Quartiles | None:
        """Return the median of ``settled``, its 95% interval, and the quartiles; None for fewer than :data:`FEW`."""
        return None if self.settled is None else quartiles_of(self.settled)

    def halves(self) -> tuple[float, float, float, float] | None:
        """Return the t at which half of the digits keep their class, the ideal's, the difference, half its interval.

        The 95% interval is from a bootstrap over the digits, which both curves share.
        """
        noised = self.noised
        returned = noised.returned
        if returned is None:
            return None
        rng = np.random.default_rng(5)
        draws = rng.integers(noised.ideal.shape[1], size=(RESAMPLED, noised.ideal.shape[1]))

        def both(rows: NDArray[np.int64]) -> tuple[float, float]:
            # at t = 0 every digit keeps its class
            at = np.append(noised.timesteps, 0)
            curves = (np.append(values[:, rows].mean(axis=1), 1.0) for values in (returned, noised.ideal))
            ours, theirs = (_crossing(at, curve, 0.5) for curve in curves)
            return ours, theirs

        ours, theirs = both(np.arange(noised.ideal.shape[1]))
        apart = [a - b for a, b in map(both, draws)]
        return ours, theirs, ours - theirs, float(Z_95 * np.std(apart))


def quartiles_of(at: NDArray[np.int64]) -> Quartiles | None:
    """Return the median of (Q,) rising t, its 95% interval, and the quartiles; None for fewer than :data:`FEW`."""
    if len(at) < FEW:
        return None
    low, high = median_ranks(len(at))
    lower, median, upper = np.quantile(at, (0.25, 0.5, 0.75))
    return Quartiles(float(median), float(lower), float(upper), float(at[low]), float(at[high]))


def median_ranks(count: int) -> tuple[int, int]:
    """Return the ranks, from 0, of the ends of the median's 95% interval: its rank is binomial."""
    half = Z_95 * np.sqrt(count) / 2
    return max(int(np.floor(count / 2 - half)), 0), min(int(np.ceil(count / 2 + half)), count - 1)


def medians_apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, float] | None:
    """Return the difference of the medians of two independent samples of t, and half its 95% bootstrap interval."""
    if min(len(one), len(other)) < FEW:
        return None
    rng = np.random.default_rng(6)
    ours, theirs = (np.median(rng.choice(at, (RESAMPLED, len(at))), axis=1) for at in (one, other))
    return float(np.median(one) - np.median(other)), float(Z_95 * np.std(ours - theirs))


def _crossing(timesteps: NDArray[np.int64], values: Float64, level: float) -> float:
    """Return the t at which (K,) values over falling t pass ``level`` on their way up."""
    return float(np.interp(level, np.maximum.accumulate(values), timesteps.astype(float)))


def mean_interval(values: Float64) -> tuple[Float64, Float64, Float64]:
    """Return (K,) means of (K, N) values with their 95% intervals."""
    mean, half = values.mean(axis=1), half_of_mean(values)
    return mean, mean - half, mean + half


def share_interval(hits: NDArray[np.bool_]) -> tuple[Float64, Float64, Float64]:
    """Return (K,) shares of (K, N) hits with their 95% intervals."""
    shares = [Share(int(row.sum()), len(row)) for row in hits]
    low, high = np.array([share.interval for share in shares]).T
    return np.array([share.value for share in shares]), low, high


def half_interval(values: Float64) -> float:
    """Return half the 95% interval of the mean of (R,) values, by Student's t."""
    return float(t_quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
