"""Pairs of networks trained on disjoint halves of the training digits, for several numbers of digits.

Both networks of a pair are sampled from the same noise: are their samples copies, and are they the same images
(Kadkhodaie et al. 2024)? The networks do not ship: ``scripts/train_on_halves.py`` trains them and writes what they
gave. Knows nothing about how they were sampled, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, all_surely, half_of_mean, surely
from viz_diffusion.files import damage_named, read_arrays
from viz_diffusion.lessons.base import Claim

Float64 = NDArray[np.float64]
SIZES = (100, 1000, 10_000, 30_000)
"""Training digits of each network; the two networks of the last pair have all 60,000 between them."""
NEARLY = 0.9
"""Least mean correlation at which the images of two networks count as nearly the same."""
UNLIKE = 0.8
"""Correlation below which two images are told to be less alike."""
RESULTS = Path(__file__).parents[2] / "assets" / "lessons" / "memorisation.sizes.npz"
"""What the networks gave; it ships, since training them takes most of an hour."""


@dataclass(frozen=True)
class TrainingSizesFacts:
    """What texts and JSON files say of S pairs of networks trained on disjoint halves."""

    sizes: tuple[int, ...]
    """(S,) training digits of each network, rising."""
    sizes_count: int
    """Samples of each network."""
    sizes_steps: int
    """Training steps of each network."""
    sizes_flagged: tuple[float, ...]
    """(S,) share of the pair's samples that are near-copies of a digit their network was trained on."""
    sizes_flagged_interval: tuple[tuple[float, float], ...]
    """(S, 2) its 95% interval."""
    sizes_other: tuple[float, ...]
    """(S,) control: share that would count as near-copies of the other network's digits, which it never saw."""
    sizes_other_interval: tuple[tuple[float, float], ...]
    """(S, 2) its 95% interval."""
    sizes_gap: tuple[float, ...]
    """(S,) mean of d₁/d₂ among the own digits less that among the other network's: below 0 where samples are copies.

    Both pools have as many digits, so that it does not depend on how near to each other they lie.
    """
    sizes_gap_half: tuple[float, ...]
    """(S,) half its 95% interval."""
    sizes_alike: tuple[float, ...]
    """(S,) mean correlation, over the pixels, of the two networks' samples from the same noise."""
    sizes_alike_half: tuple[float, ...]
    """(S,) half its 95% interval."""
    sizes_alike_median: tuple[float, ...]
    """(S,) their median."""
    sizes_less_alike: tuple[float, ...]
    """(S,) share of the pairs of samples whose correlation is below the next number."""
    sizes_less: float
    """That correlation."""
    sizes_unlike: tuple[float, ...]
    """(S,) control: the same of samples of the same digit from different noise."""
    sizes_unlike_half: tuple[float, ...]
    """(S,) half its 95% interval."""
    sizes_accuracy: tuple[float, ...]
    """(S,) share of the pair's samples that are classified as the requested digit."""


@dataclass(frozen=True, eq=False)
class TrainingSizes:
    """K samples of each of two networks, for S numbers of training digits; no digit belongs to both networks."""

    sizes: NDArray[np.int64]
    """(S,) int64, rising: training digits of each network."""
    steps: NDArray[np.int64]
    """() int64: training steps of each network."""
    ratio: Float64
    """(S, 2, K) float64: d₁/d₂ of each sample among the digits that its network was trained on."""
    other_ratio: Float64
    """(S, 2, K) float64: control, d₁/d₂ among the digits of the other network."""
    alike: Float64
    """(S, K) float64: correlation over the pixels of the two networks' samples of the same label and noise."""
    unlike: Float64
    """(S, K) float64: control, of samples of the same label from different noise."""
    right: NDArray[np.bool_]
    """(S, 2, K) bool: which are classified as the requested digit."""
    images: NDArray[np.float32]
    """(S, 2, D, H, W) float32: the first samples, which are drawn."""

    def copies(self, limit: float) -> tuple[Share, ...]:
        """Return (S,) shares of the samples whose d₁/d₂ among their network's own digits is below ``limit``."""
        return _below(self.ratio, limit)

    def other_copies(self, limit: float) -> tuple[Share, ...]:
        """Return the same among the digits of the other network."""
        return _below(self.other_ratio, limit)

    def gap(self) -> tuple[Float64, Float64]:
        """Return (S,) mean d₁/d₂ among the own digits less that among the other network's, and half its interval."""
        gap = (self.ratio - self.other_ratio).reshape(len(self.sizes), -1)
        return gap.mean(axis=1), np.asarray(half_of_mean(gap))

    def facts(self, limit: float) -> TrainingSizesFacts:
        """Return the numbers, given the limit of d₁/d₂ of a near-copy."""
        own, other, (gap, gap_half) = self.copies(limit), self.other_copies(limit), self.gap()
        return TrainingSizesFacts(
            sizes=tuple(self.sizes.tolist()),
            sizes_count=self.ratio.shape[2],
            sizes_steps=int(self.steps),
            sizes_flagged=tuple(share.value for share in own),
            sizes_flagged_interval=tuple(share.interval for share in own),
            sizes_other=tuple(share.value for share in other),
            sizes_other_interval=tuple(share.interval for share in other),
            sizes_gap=tuple(gap.tolist()),
            sizes_gap_half=tuple(gap_half.tolist()),
            sizes_alike=tuple(self.alike.mean(axis=1).tolist()),
            sizes_alike_half=tuple(half_of_mean(self.alike).tolist()),
            sizes_alike_median=tuple(np.median(self.alike, axis=1).tolist()),
            sizes_less_alike=tuple((self.alike < UNLIKE).mean(axis=1).tolist()),
            sizes_less=UNLIKE,
            sizes_unlike=tuple(self.unlike.mean(axis=1).tolist()),
            sizes_unlike_half=tuple(half_of_mean(self.unlike).tolist()),
            sizes_accuracy=tuple(self.right.mean(axis=(1, 2)).tolist()),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether networks with more digits copy less, and whether two of them make nearly the same images.

        For each, the smallest and the largest number of training digits are compared. Copies are known by d₁/d₂ among
        the own digits, compared with the other network's: d₁/d₂ alone rises with the density of the digits too.
        """
        gap, half = self.gap()
        copied = _above(-gap[0], half[0])  # else there was nothing to fall
        falls = _above(gap[-1] - gap[0], float(np.hypot(half[0], half[-1])))
        gains = [_paired_gap(a, b) for a, b in zip(self.alike, self.unlike, strict=True)]
        (first, first_half), (last, last_half) = gains[0], gains[-1]
        alike, alike_half = float(self.alike[-1].mean()), float(half_of_mean(self.alike[-1]))
        same = (
            _above(alike - NEARLY, alike_half),
            _above(last, last_half),
            _above(last - first, float(np.hypot(first_half, last_half))),
        )
        gained = {"gain_first": first, "gain_first_half": first_half, "gain_last": last, "gain_last_half": last_half}
        return (
            Claim("sizes_copy_less", all_surely((copied, falls))),
            Claim("sizes_same_images", all_surely(same), {"nearly": NEARLY, **gained}),
        )


def _above(mean: float, half: float) -> bool | None:
    return surely(mean - half, mean + half)


def _below(ratio: Float64, limit: float) -> tuple[Share, ...]:
    return tuple(Share(int((pair < limit).sum()), pair.size) for pair in ratio)


def _paired_gap(alike: Float64, unlike: Float64) -> tuple[float, float]:
    """Return the mean of (K,) correlations less that of their controls, and half its 95% interval."""
    gap = alike - unlike
    return float(gap.mean()), float(half_of_mean(gap))


def write_training_sizes(data: TrainingSizes, path: Path = RESULTS) -> None:
    """Write the results, one array a field."""
    with path.open("wb") as file:
        np.savez_compressed(file, **{one.name: getattr(data, one.name) for one in fields(data)})


def read_training_sizes(path: Path = RESULTS) -> TrainingSizes:
    """Return the results that ship.

    Raises
    ------
    VizdiffInputError
        Where the file is missing or damaged.
    """
    mend = "install the package again"
    arrays = read_arrays(path, mend)
    with damage_named(path, mend):
        return TrainingSizes(**{name: arrays[name] for name in get_type_hints(TrainingSizes)})
