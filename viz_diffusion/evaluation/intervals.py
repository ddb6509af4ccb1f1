"""Confidence intervals of shares, of their differences, and of means, at 95%.

The answers of the lessons and of the evaluation follow from them. Knows nothing about images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Standard errors in half a 95% interval: the 97.5% quantile of the standard normal."""


@dataclass(frozen=True)
class Share:
    """A count out of N with its 95% confidence interval."""

    hits: int
    """Images, or other cases, that were counted."""
    count: int
    """N, all cases; at least 1."""

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval (Wilson 1927)."""
        return self.interval_of(Z_95)

    def interval_of(self, z: float) -> tuple[float, float]:
        """Return the same interval of z standard errors."""
        n, p, z2 = self.count, self.value, z**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits} of {self.count} ({self.value:.1%}, 95% interval {low:.1%} to {high:.1%})"


def share_difference(first: Share, second: Share) -> tuple[float, float]:
    """Return the 95% interval of ``first.value - second.value`` for unpaired images (Newcombe 1998, method 10).

    It is computed from both Wilson intervals, so that it has a width where nothing, or everything, was counted.
    """
    p, q = first.value, second.value
    (low, high), (q_low, q_high) = first.interval, second.interval
    below, above = hypot(p - low, q_high - q), hypot(high - p, q - q_low)
    return p - q - below, p - q + above


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], factor: float = 1.0, z: float = Z_95
) -> tuple[float, float, float]:
    """Return p_1 - factor · p_2 of (N,) paired outcomes, and the ends of its interval.

    Newcombe's interval (1998, "Improved confidence intervals … paired data", method 10) from the Wilson intervals of
    both shares and the correlation of the pairs; with a factor by Zou & Donner (2008, eq. 5). It has a width even
    where all pairs agree; a standard error is 0 there.
    """
    n = len(first)
    first_share, second_share = (Share(int(hits.sum()), n) for hits in (first, second))
    p, q = first_share.value, second_share.value
    (low, high), (q_low, q_high) = first_share.interval_of(z), second_share.interval_of(z)
    both = float((first & second).mean())
    covariance = both - p * q
    if covariance > 0:  # Newcombe's correction for continuity
        covariance = max(covariance - 1 / (2 * n), 0.0)
    spread = sqrt(p * (1 - p) * q * (1 - q))
    correlation = covariance / spread if spread > 0 else 0.0

    def half_width(a: float, b: float) -> float:
        return sqrt(max(0.0, a**2 - 2 * correlation * a * b + b**2))

    difference = p - factor * q
    below, above = half_width(p - low, factor * (q_high - q)), half_width(high - p, factor * (q - q_low))
    return difference, difference - below, difference + above


def half_of_mean(values: NDArray[np.floating[Any]], axis: int = -1) -> Any:
    """Return half the width of the 95% interval of the mean along ``axis``: float64, without that axis."""
    return Z_95 * values.std(axis=axis, ddof=1) / np.sqrt(values.shape[axis])


def half_of_few(values: NDArray[np.floating[Any]], axis: int = -1) -> Any:
    """Return the same by Student's t: for the mean of few values."""
    return t_quantile(values.shape[axis] - 1) / Z_95 * half_of_mean(values, axis)


def surely(low: float, high: float) -> bool | None:
    """Return whether the interval low .. high lies above 0 (True), has no part above 0 (False), or neither (None)."""
    return True if low > 0 else (False if high <= 0 else None)


def all_surely(answers: Iterable[bool | None]) -> bool | None:
    """Return True where all answers are True, False where at least one is False, and otherwise None (undecided)."""
    given = tuple(answers)
    return False if False in given else (None if None in given else True)


def t_quantile(degrees_of_freedom: int, comparisons: int = 1) -> float:
    """Return the 97.5% quantile of Student's t; with it so many intervals hold together at 95% (Bonferroni)."""
    from scipy.special import stdtrit  # a third of the time that scipy.stats takes to load

    return float(stdtrit(degrees_of_freedom, 1 - 0.025 / comparisons))
