"""Prompts that name a digit, its slant and its thickness: what the images of them measure, beside real digits.

Every digit is asked for with both slants and both thicknesses; one of these four combinations is held out of training.
Takes any sampler of prompts. Knows nothing about networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data.caption_words import DIGIT_WORDS, Meaning
from viz_diffusion.data.captions import HELD_OUT, CaptionedDigits
from viz_diffusion.data.digit_shapes import measure_shapes
from viz_diffusion.data.images import NUM_LABELS, Digits
from viz_diffusion.lessons.text.prompt_sampling import PromptSampler

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
NAMES = ("slant", "thickness")
"""The attributes that are asked for, the first two that are measured."""
COUNTS = ((1, 1), (20, 50))
"""Images of each prompt whose combination was trained, and of each held-out one: quick and full."""
SEED = 970_000
"""Seed of the first image's noise."""
RESAMPLES = 1000
"""Resamples of a bootstrap interval."""
WORDS = {("slant", 1): "slanted", ("slant", -1): "upright", ("thickness", 1): "thick", ("thickness", -1): "thin"}
"""The word of each level."""
Read = Callable[[Tensor], NDArray[np.int64]]
"""The digit that a classifier sees in each of (N, 1, 28, 28) images."""


def prompt_of(digit: int, slant: int, thickness: int) -> str:
    """Return the prompt for a digit with levels -1 or 1 of slant and thickness, such as a thick slanted seven."""
    return f"a {WORDS['thickness', thickness]} {WORDS['slant', slant]} {DIGIT_WORDS['en'][digit]}"


def meanings() -> list[Meaning]:
    """Return what the 40 prompts say: every digit with both slants and both thicknesses."""
    levels = [(slant, thickness) for slant in (-1, 1) for thickness in (-1, 1)]
    return [Meaning(digit, (*pair, 0, 0)) for digit in range(NUM_LABELS) for pair in levels]


@dataclass(frozen=True, eq=False)
class ShapeScale:
    """Means and standard deviations of slant and thickness of each class, by which images are measured."""

    mean: Float64
    """(10, 2) float64."""
    std: Float64
    """(10, 2) float64."""

    @classmethod
    def of(cls, digits: Digits) -> ShapeScale:
        """Measure training digits."""
        shapes, labels = measure_shapes(digits.images)[:, : len(NAMES)], digits.labels.numpy()
        parts = [shapes[labels == k] for k in range(NUM_LABELS)]
        return cls(np.stack([one.mean(axis=0) for one in parts]), np.stack([one.std(axis=0) for one in parts]))

    def measure(self, images: Tensor, digits: NDArray[np.int64]) -> Float64:
        """Return (N, 2) slant and thickness: standard deviations above the mean of the (N,) digits asked for.

        An image without ink counts as a digit of mean shape.
        """
        shapes = measure_shapes(images)[:, : len(NAMES)]
        return np.nan_to_num((shapes - self.mean[digits]) / self.std[digits])


@dataclass(frozen=True, eq=False)
class AskedShapes:
    """N images of P = 40 prompts, and M real digits that the same prompts are true of."""

    digits: NDArray[np.int64]
    """(P,) int64: the digit that each prompt names."""
    levels: NDArray[np.int64]
    """(P, 2) int64, -1 or 1: the slant and the thickness that it names."""
    held_out: Bool
    """(P,) bool: whether no training digit has its combination."""
    prompt: NDArray[np.int64]
    """(N,) int64: the prompt of each image."""
    right: Bool
    """(N,) bool: whether an image is classified as the digit that its prompt names."""
    shapes: Float64
    """(N, 2) float64: its measured slant and thickness, as :meth:`ShapeScale.measure` returns them."""
    shuffled: NDArray[np.int64]
    """(N,) int64: the prompts dealt out anew among the images, the control."""
    real_prompt: NDArray[np.int64]
    """(M,) int64: a prompt that is true of each real digit."""
    real_shapes: Float64
    """(M, 2) float64: the measured slant and thickness of the real digits."""

    def of_held_out(self, yes: bool) -> Bool:
        """Return which of the N images have a prompt that is held out, or that is not."""
        return np.asarray(self.held_out[self.prompt] == yes)

    def correlation(self, rows: Bool | None = None) -> Correlations:
        """Return how the shapes of images, of all or of (N,) rows, follow the levels that were asked for."""
        rows = np.ones(len(self.prompt), dtype=bool) if rows is None else rows
        return Correlations.of(self.levels[self.prompt[rows]], self.shapes[rows])

    def real_correlation(self, held_out: bool | None = None) -> Correlations:
        """Return the same of the real digits, of all prompts, or of those that are or are not held out."""
        known = self.held_out[self.real_prompt]
        rows = np.ones(len(known), dtype=bool) if held_out is None else known == held_out
        return Correlations.of(self.levels[self.real_prompt[rows]], self.real_shapes[rows])

    def shuffled_correlation(self) -> Correlations:
        """Return the same of the images with prompts that are dealt out anew."""
        return Correlations.of(self.levels[self.shuffled], self.shapes)


@dataclass(frozen=True, eq=False)
class Correlations:
    """Pearson correlations of slant and of thickness with what was asked for, and bootstrap resamples of them."""

    value: Float64
    """(2,) float64."""
    resampled: Float64
    """(R, 2) float64."""

    @classmethod
    def of(cls, levels: NDArray[np.int64], shapes: Float64) -> Correlations:
        """Correlate (N, 2) levels with (N, 2) shapes; images are drawn again with replacement (Efron 1979)."""
        even = np.full((1, len(levels)), 1 / len(levels))
        return cls(correlate(levels, shapes, even)[0], correlate(levels, shapes, _resamples(len(levels))))

    @property
    def interval(self) -> Float64:
        """(2, 2): the ends of the 95% interval of each."""
        return interval_of(self.resampled)

    def ratio(self, other: Correlations) -> tuple[Float64, Float64]:
        """Return (2,) these over others', and (2, 2) the ends of their 95% intervals."""
        return self.value / other.value, interval_of(self.resampled / _paired_anew(other.resampled))

    def difference(self, other: Correlations) -> tuple[float, Float64]:
        """Return the mean of these minus the mean of others', and (2,) the ends of its 95% interval."""
        resampled = self.resampled.mean(axis=1) - _paired_anew(other.resampled).mean(axis=1)
        return float(self.value.mean() - other.value.mean()), interval_of(resampled[:, None])[0]


def correlate(first: NDArray[Any], second: NDArray[Any], weights: Float64) -> Float64:
    """Return (R, K) Pearson correlations of (N, K) values with others under (R, N) weights that sum to 1.

    0 where all values are equal.
    """
    a, b = (values - values.mean(axis=0) for values in (first, second))
    moments = weights @ np.concatenate([a, b, a * a, b * b, a * b], axis=1)
    mean_a, mean_b, aa, bb, ab = np.split(moments, 5, axis=1)
    variances = (aa - mean_a**2).clip(0) * (bb - mean_b**2).clip(0)
    found = ab - mean_a * mean_b
    return np.divide(found, np.sqrt(variances), out=np.zeros_like(found), where=variances > 1e-20)


@lru_cache(maxsize=8)
def _resamples(count: int) -> Float64:
    """Return (R, count) the weight of each image in each bootstrap resample."""
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return drawn / count


def interval_of(resampled: Float64) -> Float64:
    """Return (K, 2) the 2.5% and 97.5% quantiles of (R, K) resamples."""
    return np.quantile(resampled, (0.025, 0.975), axis=0).T


def _paired_anew(resampled: Float64) -> Float64:
    """Return resamples in another order: two sets of images are drawn independently of each other."""
    return resampled[np.random.default_rng(1).permutation(len(resampled))]


def measure_asked(
    sampler: PromptSampler, read: Read, real: CaptionedDigits, scale: ShapeScale, counts: tuple[int, int] = COUNTS[0]
) -> AskedShapes:
    """Sample ``counts`` images of each trained and of each held-out prompt, and measure them.

    Parameters
    ----------
    real
        Test digits: as many of each prompt as there are images of it, where there are so many.
    """
    said = meanings()
    held = np.array([one in HELD_OUT for one in said])
    digits = np.array([one.digit for one in said], dtype=np.int64)
    levels = np.array([one.levels[:2] for one in said], dtype=np.int64)
    names = [prompt_of(*row) for row in np.column_stack([digits, levels]).tolist()]
    prompt = np.repeat(np.arange(len(said)), np.where(held, counts[1], counts[0]))
    images = sampler.sample([names[k] for k in prompt], range(SEED, SEED + len(prompt)))
    found = [np.flatnonzero(real.fitting(name.split()))[: (prompt == k).sum()] for k, name in enumerate(names)]
    real_prompt = np.repeat(np.arange(len(said)), [len(rows) for rows in found])
    return AskedShapes(
        digits=digits,
        levels=levels,
        held_out=held,
        prompt=prompt,
        right=read(images) == digits[prompt],
        shapes=scale.measure(images, digits[prompt]),
        shuffled=np.random.default_rng(2).permutation(prompt),
        real_prompt=real_prompt,
        real_shapes=scale.measure(real.images[torch.from_numpy(np.concatenate(found))], digits[real_prompt]),
    )
