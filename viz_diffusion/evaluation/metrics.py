"""Distances between two sets of images: Fréchet distance, precision, recall, and near-copies.

Knows nothing about classifiers, samplers or files. The name of a result must name the network that extracts the
features ("FID-MNIST(hash)"): results of two feature extractors cannot be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError

Float64 = NDArray[np.float64]
_BATCH_SIZE = 500
"""Rows whose distances to a whole set are in memory at once."""


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return ‖μ_a - μ_b‖² + tr(C_a + C_b - 2 (C_a C_b)^½), the squared Fréchet distance of two Gaussians.

    Parameters
    ----------
    a, b
        (N, D) and (M, D) features, N and M at least 2 (Heusel et al. 2017, eq. 6). The distance of small sets is biased
        upwards: compare only at equal N (Chong & Forsyth 2020).
    """
    a, b = _features(a), _features(b)
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
    # tr (AB)^½ = tr (A^½ B A^½)^½, whose argument is symmetric
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ covariances[1] @ root)
    gap = a.mean(axis=0) - b.mean(axis=0)
    cross = np.sqrt(np.maximum(inner, 0)).sum()
    return float(max(0.0, gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross))


def precision_recall(
    real: NDArray[np.floating], generated: NDArray[np.floating], neighbours: int = 3
) -> tuple[float, float]:
    """Return precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2), each 0 .. 1.

    Precision is the share of generated images within the reach of a real one, recall the share of real images
    within the reach of a generated one; the reach of an image is the distance to the k-th nearest of its own set.
    """
    real, generated = _features(real), _features(generated)
    if min(len(real), len(generated)) <= neighbours:
        raise VizdiffInputError(f"precision and recall need more than {neighbours} images on both sides")
    return float(covered(generated, real, neighbours).mean()), float(covered(real, generated, neighbours).mean())


def covered(points: NDArray[np.floating], centres: NDArray[np.floating], neighbours: int = 3) -> NDArray[np.bool_]:
    """Return (N,) whether each of (N, D) points lies within the reach of at least one of (M, D) centres.

    A reach is the distance to the k-th nearest other centre. With real points and generated centres, the mean is the
    recall.
    """
    points, centres = _features(points), _features(centres)
    reach = _reach(centres, neighbours)
    inside = [
        (_squared_distances(points[start : start + _BATCH_SIZE], centres) <= reach).any(axis=1)
        for start in range(0, len(points), _BATCH_SIZE)
    ]
    return np.concatenate(inside)


def _reach(x: Float64, neighbours: int) -> Float64:
    """Return (N,) squared distances to the k-th nearest other row."""
    blocks = (_squared_distances(x[start : start + _BATCH_SIZE], x) for start in range(0, len(x), _BATCH_SIZE))
    return np.concatenate([np.partition(block, neighbours, axis=1)[:, neighbours] for block in blocks])


@dataclass(frozen=True, eq=False)
class Nearest:
    """The two nearest training images of each image, in pixels."""

    first: Float64
    """(N,) float64: L2 distance to the nearest one."""
    second: Float64
    """(N,) float64: to the second nearest."""
    index: NDArray[np.int64]
    """(N,) int64: index of the nearest one."""

    @property
    def num_copies(self) -> int:
        """The number of near-copies: d1/d2 < 1/3 (Yoon et al. 2023, section 4).

        An image at distance 0 counts as a copy, even where several training images are equal to it.
        """
        return int(((3 * self.first < self.second) | (self.first == 0)).sum())


def nearest_neighbours(images: NDArray[np.floating], training: NDArray[np.floating]) -> Nearest:
    """Find the two nearest of (M, …) training images for each of (N, …) images, by L2 over the pixels."""
    points = np.ascontiguousarray(images.reshape(len(images), -1), dtype=np.float32)
    centres = np.ascontiguousarray(training.reshape(len(training), -1), dtype=np.float32)
    lengths = np.square(centres, dtype=np.float64).sum(axis=1)
    first, second, index = [], [], []
    for start in range(0, len(points), _BATCH_SIZE):
        block = points[start : start + _BATCH_SIZE]
        squared = lengths - 2.0 * (block @ centres.T)
        two = np.argpartition(squared, 1, axis=1)[:, :2]
        # the fast formula finds the two but suffers from cancellation; their distances are computed again exactly
        exact = np.sqrt(np.square(block[:, None] - centres[two], dtype=np.float64).sum(axis=2))
        by_distance = np.argsort(exact, axis=1)
        first.append(np.take_along_axis(exact, by_distance, 1)[:, 0])
        second.append(np.take_along_axis(exact, by_distance, 1)[:, 1])
        index.append(np.take_along_axis(two, by_distance, 1)[:, 0])
    return Nearest(np.concatenate(first), np.concatenate(second), np.concatenate(index).astype(np.int64))


def _squared_distances(a: Float64, b: Float64) -> Float64:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0), dtype=np.float64)


def _features(x: NDArray[np.floating]) -> Float64:
    """Return features as (N, D) float64; refuse other shapes, fewer than two rows, and NaN."""
    wide = np.asarray(x, dtype=np.float64)
    if wide.ndim != 2 or len(wide) < 2:
        raise VizdiffInputError(f"features must be (N, D) with N at least 2, found {wide.shape}")
    if not np.isfinite(wide).all():
        raise VizdiffNonFiniteError("the features hold NaN or infinity; the images cannot be judged")
    return wide
