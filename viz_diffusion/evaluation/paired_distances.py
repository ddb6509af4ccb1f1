"""FID and KID of two sets of features, with what is needed for their 95% intervals by the jackknife.

Each set is cut into ten groups. Both distances are computed of all groups, and ten times with one group left out of
every set; how much these ten scatter gives the interval (Efron & Tibshirani 1993, chapter 11). Knows nothing about
images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import t_quantile
from viz_diffusion.evaluation.metrics import frechet_distance

Float64 = NDArray[np.float64]
GROUPS = 10
"""Groups of a set, of which one is left out at a time."""
_BATCH_SIZE = 500
"""Rows whose kernels with a whole set are in memory at once."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number with what it is without each of the groups."""

    whole: float
    """Of all groups."""
    without: Float64
    """(GROUPS,) float64: with one group left out."""

    @property
    def half(self) -> float:
        """Half its 95% interval: Student's t times the jackknife's standard error."""
        gap = self.without - self.without.mean()
        return float(t_quantile(GROUPS - 1) * np.sqrt((GROUPS - 1) / GROUPS * (gap**2).sum()))

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference of two numbers of the same groups."""
        return Estimate(self.whole - other.whole, self.without - other.without)


def mean_estimate(estimates: list[Estimate]) -> Estimate:
    """Return the mean of numbers of the same groups."""
    return Estimate(
        float(np.mean([one.whole for one in estimates])), np.mean([one.without for one in estimates], axis=0)
    )


@dataclass(frozen=True, eq=False)
class GroupedFeatures:
    """Features of N images, each with a label and in one of ten groups."""

    values: Float64
    """(N, D) float64."""
    group: NDArray[np.int64]
    """(N,) int64, 0 .. 9."""
    label: NDArray[np.int64]
    """(N,) int64, from 0 on."""

    def without(self, group: int) -> Float64:
        """Return the features of the other groups."""
        return self.values[self.group != group]


def deal_groups(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) groups for images with (N,) labels: the images of each label are dealt to the groups in turn."""
    order = np.argsort(labels, kind="stable")
    groups = np.empty(len(labels), np.int64)
    groups[order] = np.arange(len(labels)) % GROUPS
    return groups


def frechet_estimate(a: GroupedFeatures, b: GroupedFeatures) -> Estimate:
    """Return the Fréchet distance; see :func:`viz_diffusion.evaluation.metrics.frechet_distance`."""
    without = [frechet_distance(a.without(group), b.without(group)) for group in range(GROUPS)]
    return Estimate(frechet_distance(a.values, b.values), np.array(without))


def kernel_estimate(a: GroupedFeatures, b: GroupedFeatures) -> Estimate:
    """Return KID, the unbiased MMD² of all features with the kernel (uᵀv / D + 1)³ (Bińkowski et al. 2018, eq. 4).

    Both sets have the same number n_k of images of each label. Then a set has n_k - 1 further images with the label of
    one of its own, the other set n_k: with equal weights for all pairs, KID would be negative on average for two draws
    of one distribution. So the kernel is averaged label by label, and the averages have the weights n_k n_l / n². It is
    0 on average for two draws of one distribution, at any n, and may be negative.
    """
    labels = int(max(a.label.max(), b.label.max())) + 1
    within = [_kernel_sums(x, x, labels, drop_diagonal=True) for x in (a, b)]
    between = _kernel_sums(a, b, labels)
    sizes = [np.bincount(_cell(x), minlength=labels * GROUPS).reshape(labels, GROUPS) for x in (a, b)]
    share = sizes[0].sum(axis=1) / len(a.label)

    def mmd2(kept: NDArray[np.bool_]) -> float:
        n, m = (size[:, kept].sum(axis=1) for size in sizes)
        aa, bb, ab = (sums[:, kept][..., kept].sum(axis=(1, 3)) for sums in (*within, between))
        pairs = [np.outer(n, n) - np.diag(n), np.outer(m, m) - np.diag(m), np.outer(n, m)]
        weights = np.outer(share, share) * (np.minimum(np.minimum(pairs[0], pairs[1]), pairs[2]) > 0)
        means = [sums / np.maximum(number, 1) for sums, number in zip((aa, bb, ab), pairs, strict=True)]
        return float((weights / weights.sum() * (means[0] + means[1] - 2 * means[2])).sum())

    every = np.ones(GROUPS, bool)
    return Estimate(mmd2(every), np.array([mmd2(np.arange(GROUPS) != group) for group in range(GROUPS)]))


def _cell(x: GroupedFeatures) -> NDArray[np.int64]:
    return x.label * GROUPS + x.group


def _kernel_sums(a: GroupedFeatures, b: GroupedFeatures, labels: int, drop_diagonal: bool = False) -> Float64:
    """Return (K, GROUPS, K, GROUPS) sums of the kernel over the pairs of two labels and groups, no row with itself."""
    member = np.eye(labels * GROUPS)
    of_a, of_b = _cell(a), member[_cell(b)]
    sums = np.zeros_like(member)
    for start in range(0, len(a.values), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        kernel = (a.values[part] @ b.values.T / a.values.shape[1] + 1) ** 3
        if drop_diagonal:
            rows = np.arange(len(kernel))
            kernel[rows, start + rows] = 0
        sums += member[of_a[part]].T @ (kernel @ of_b)
    return sums.reshape(labels, GROUPS, labels, GROUPS)
