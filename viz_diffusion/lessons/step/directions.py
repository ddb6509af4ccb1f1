"""Directions of what the steps of a generation remove, and what their parts add up to.

Needs no network: everything is computed from the parts of recorded steps. Knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import t_quantile

if TYPE_CHECKING:
    from viz_diffusion.lessons.step.step_parts import StepParts

Float64 = NDArray[np.float64]
LAGS = (0.001, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Distances of two removals that are compared, as shares of all steps."""
TOLD = (0.001, 0.1, 0.4)
"""The distances that texts name."""
SOURCES = ("start", "enlarging", "removing", "injecting")
"""What a finished image is the sum of: x_T, and what enlarging, removing and injecting changed over all steps."""


@dataclass(frozen=True, eq=False)
class StepDirections:
    """Directions in N generations of S steps each; all images are taken as vectors of all their values."""

    steps: int
    """S."""
    lags: NDArray[np.int64]
    """(L,) int64, rising: how many steps apart two removals are."""
    cosine: Float64
    """(N, L) float64: cosine of two removals, mean over all pairs that are so far apart."""
    to_noise: Float64
    """(N,) float64: cosine of the sum of all removals with the noise, x_T plus all injected noise."""
    to_image: Float64
    """(N,) float64: cosine of that sum with the finished image."""
    to_other_noise: Float64
    """(N,) float64: control, its cosine with the noise of the next generation; for N = 1 the noise is its own."""
    along: Float64
    """(N, 4) float64: what each of :data:`SOURCES` contributes along the finished image; together its length."""

    def told(self, share: float) -> int:
        """Return the place in ``lags`` of the distance nearest to this share of all steps."""
        return int(np.abs(self.lags - share * self.steps).argmin())


@dataclass(frozen=True)
class DirectionFacts:
    """What texts and JSON files say of directions; half a 95% interval is None for a single generation."""

    generations: int
    """N."""
    lags: tuple[int, ...]
    """(L,) steps between two removals."""
    cosine: tuple[float, ...]
    """(L,) mean cosine of two removals so far apart."""
    cosine_half: tuple[float, ...] | None
    """(L,) half its 95% interval."""
    near_lag: int
    """The smallest distance that texts name."""
    near_cosine: float
    """The cosine there."""
    some_lag: int
    """A tenth of all steps."""
    some_cosine: float
    """The cosine there."""
    far_lag: int
    """Four tenths of all steps."""
    far_cosine: float
    """The cosine there."""
    to_noise: float
    """Cosine of the sum of all removals with x_T plus all injected noise."""
    to_noise_half: float | None
    """Half its 95% interval."""
    to_image: float
    """Cosine of that sum with the finished image."""
    to_image_half: float | None
    """Half its 95% interval."""
    to_other_noise: float | None
    """Control: its cosine with another generation's noise; None for a single generation."""
    to_other_noise_half: float | None
    """Half its 95% interval."""
    image_length: float
    """L2 norm of the finished image: the sum of the four contributions."""
    from_start: float
    """What x_T contributes along the finished image."""
    from_enlarging: float
    """What the enlargements contribute."""
    from_enlarging_half: float | None
    """Half its 95% interval."""
    from_removing: float
    """What the removals contribute."""
    from_removing_half: float | None
    """Half its 95% interval."""
    from_injecting: float
    """What the injected noise contributes."""


def measure_directions(generations: Iterable[StepParts]) -> StepDirections:
    """Compute cosines and sums of the parts of N generations with equally many steps, one after another."""
    cosines, sums, noises, images, along = [], [], [], [], []
    for parts in generations:
        removed, rescaled, injected = (_flat(part) for part in (parts.removed, parts.rescaled, parts.injected))
        start, image = parts.trajectory.x_t[parts.sample, 0], parts.trajectory.x0[parts.sample]
        start, image = start.reshape(-1).astype(np.float64), image.reshape(-1).astype(np.float64)
        lags = _lags(len(removed))
        cosines.append(_cosines_apart(removed, lags))
        sums.append(removed.sum(axis=0))
        noises.append(start + injected.sum(axis=0))
        images.append(image)
        contributions = (start, rescaled.sum(axis=0), sums[-1], injected.sum(axis=0))
        along.append([one @ image / max(float(np.linalg.norm(image)), 1e-12) for one in contributions])
        steps = len(removed)
    total, noise = np.stack(sums), np.stack(noises)
    return StepDirections(
        steps=steps,
        lags=lags,
        cosine=np.stack(cosines),
        to_noise=_cosine(total, noise),
        to_image=_cosine(total, np.stack(images)),
        to_other_noise=_cosine(total, np.roll(noise, -1, axis=0)),
        along=np.array(along),
    )


def direction_facts(data: StepDirections) -> DirectionFacts:
    """Return the numbers that captions and answers are filled with: means over the generations."""
    count = len(data.to_noise)
    near, some, far = (data.told(share) for share in TOLD)
    mean, along = data.cosine.mean(axis=0), data.along.mean(axis=0)

    def half(values: Float64) -> float | None:
        return None if count == 1 else float(half_interval(values))

    return DirectionFacts(
        generations=count,
        lags=tuple(data.lags.tolist()),
        cosine=tuple(mean.tolist()),
        cosine_half=None if count == 1 else tuple(half_interval(data.cosine).tolist()),
        near_lag=int(data.lags[near]),
        near_cosine=float(mean[near]),
        some_lag=int(data.lags[some]),
        some_cosine=float(mean[some]),
        far_lag=int(data.lags[far]),
        far_cosine=float(mean[far]),
        to_noise=float(data.to_noise.mean()),
        to_noise_half=half(data.to_noise),
        to_image=float(data.to_image.mean()),
        to_image_half=half(data.to_image),
        to_other_noise=None if count == 1 else float(data.to_other_noise.mean()),
        to_other_noise_half=half(data.to_other_noise),
        image_length=float(along.sum()),
        from_start=float(along[0]),
        from_enlarging=float(along[1]),
        from_enlarging_half=half(data.along[:, 1]),
        from_removing=float(along[2]),
        from_removing_half=half(data.along[:, 2]),
        from_injecting=float(along[3]),
    )


def half_interval(values: Float64, comparisons: int = 1) -> Float64:
    """Return half the 95% interval of the mean of (N, ...) values over at least two generations, by Student's t.

    With ``comparisons`` above 1 so many such intervals hold together (Bonferroni).
    """
    return np.asarray(t_quantile(len(values) - 1, comparisons) * values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def _lags(steps: int) -> NDArray[np.int64]:
    """Return the distances for so many steps, without repeats; 0 where there is one step alone."""
    wanted = np.round(np.array(LAGS) * steps).astype(np.int64)
    return np.unique(np.clip(wanted, min(1, steps - 1), steps - 1))


def _cosines_apart(vectors: Float64, lags: NDArray[np.int64]) -> Float64:
    """Return (L,) mean cosines of (S, D) vectors that are so many places apart."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    return np.array([np.diagonal(cosines, lag).mean() for lag in lags])


def _cosine(one: Float64, other: Float64) -> Float64:
    """Return (N,) cosines of (N, D) vectors."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-12))


def _flat(images: NDArray[np.float32]) -> Float64:
    """Return (S, D) float64 of (S, C, H, W)."""
    return images.reshape(len(images), -1).astype(np.float64)
