"""How sure is a number? 95% intervals of shares, of their differences, and of means.

Everything that the lessons and the evaluation decide, they decide by these. Knows nothing about images.
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
    """A count out of N with its 95% interval."""

    hits: int
    """How many."""
    count: int
    """Out of how many; at least 1."""

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


def share_difference(one: Share, other: Share) -> tuple[float, float]:
    """Return the 95% interval of ``one.value - other.value``, of images that are not paired (Newcombe 1998, method 10).

    It is made of both Wilson intervals, so that it has a width where nothing, or everything, was counted.
    """
    (low, high), (other_low, other_high) = one.interval, other.interval
    apart = one.value - other.value
    below, above = hypot(one.value - low, other_high - other.value), hypot(high - one.value, other.value - other_low)
    return apart - below, apart + above


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], factor: float = 1.0, z: float = Z_95
) -> tuple[float, float, float]:
    """Return p_1 - factor · p_2 of (N,) answers in pairs, and the ends of its interval.

    Newcombe's (1998, "Improved confidence intervals … paired data", method 10) from the Wilson intervals of both
    shares and the correlation of the pairs; with a factor by Zou & Donner (2008, eq. 5). It has a width even where
    all pairs agree, which a standard error has not.
    """
    n = len(first)
    shares = [Share(int(hits.sum()), n) for hits in (first, second)]
    (p, q), ((low, high), (q_low, q_high)) = [one.value for one in shares], [one.interval_of(z) for one in shares]
    both = float((first & second).mean())
    covariance = both - p * q
    if covariance > 0:  # Newcombe's correction for continuity
        covariance = max(covariance - 1 / (2 * n), 0.0)
    spread = sqrt(p * (1 - p) * q * (1 - q))
    correlation = covariance / spread if spread > 0 else 0.0

    def half(one: float, other: float) -> float:
        return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = p - factor * q
    below, above = half(p - low, factor * (q_high - q)), half(high - p, factor * (q - q_low))
    return difference, difference - below, difference + above


def half_of_mean(values: NDArray[np.floating[Any]], axis: int = -1) -> Any:
    """Return half the 95% interval of the mean along ``axis``: float64, with that axis left out."""
    return Z_95 * values.std(axis=axis, ddof=1) / np.sqrt(values.shape[axis])


def surely(low: float, high: float) -> bool | None:
    """Return whether a number with the interval low .. high is surely above 0 (True), surely not (False), or open."""
    return True if low > 0 else (False if high <= 0 else None)


def all_surely(answers: Iterable[bool | None]) -> bool | None:
    """Return whether every one of some answers is surely yes (True), some one surely no (False), or neither (None)."""
    given = tuple(answers)
    return False if False in given else (None if None in given else True)


def t_quantile(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t."""
    from scipy.stats import t  # takes most of a second to load

    return float(t.ppf(0.975, freedom))
