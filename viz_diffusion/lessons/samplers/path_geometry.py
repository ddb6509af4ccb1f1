"""The geometry of recorded paths from noise to image: lengths, chords and principal axes.

Knows nothing about denoisers, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import half_of_mean
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.recording.path_length import straightness

Float64 = NDArray[np.float64]
KINDS = ("ddim", "ddpm", "walk")
"""The paths that are compared: DDIM's, DDPM's, and a random walk's, which no network made."""
SHOWN = 6
"""Paths of each kind that are drawn."""


@dataclass(frozen=True)
class KindFacts:
    """A mean over the paths of each of :data:`KINDS`, with half its 95% interval."""

    ddim: float
    """Of DDIM."""
    ddim_interval: float
    """Half its interval."""
    ddpm: float
    """Of DDPM."""
    ddpm_interval: float
    """Half its interval."""
    walk: float
    """Of the random walk."""
    walk_interval: float
    """Half its interval."""


@dataclass(frozen=True)
class PathFacts:
    """What texts and JSON files say of the paths."""

    path_count: int
    """Paths of each kind."""
    path_looks: int
    """Points of each path."""
    straight: Annotated[KindFacts, FactGroup("straight_")]
    """Chord over length: 1 for a straight line."""
    length: Annotated[KindFacts, FactGroup("length_")]
    """Length of the path."""
    flat: Annotated[KindFacts, FactGroup("flat_")]
    """Share of the variance on the first two principal axes."""


@dataclass(frozen=True, eq=False)
class PathGeometry:
    """M paths of each of :data:`KINDS`, each of P points, in the pixels of x_t."""

    straight: Float64
    """(3, M) float64: the chord from beginning to end over the length of the path, 1 for a straight line."""
    length: Float64
    """(3, M) float64: the length, the sum of the L2 distances between neighbouring points."""
    share: Float64
    """(3, M, 2) float64: share of a path's variance on its first two principal axes."""
    maps: Float64
    """(3, K, P, 2) float64: the first paths on their own two axes, the chord to the right."""
    ends: NDArray[np.float32]
    """(2, K, H, W) float32: the finished images of DDIM's and DDPM's first paths; (2, K, ...) as they are given."""

    def facts(self) -> PathFacts:
        """Return the numbers, by kind."""
        return PathFacts(
            path_count=int(self.length.shape[1]),
            path_looks=int(self.maps.shape[2]),
            straight=_kind_facts(self.straight),
            length=_kind_facts(self.length),
            flat=_kind_facts(self.share.sum(axis=2)),
        )


def _kind_facts(values: Float64) -> KindFacts:
    """Return the means over the paths of (3, M) values, with their intervals."""
    mean, half = values.mean(axis=1), half_of_mean(values, axis=1)
    return KindFacts(*(float(value) for pair in zip(mean, half, strict=True) for value in pair))


def principal(path: Float64) -> tuple[Float64, Float64]:
    """Return (2,) the shares of variance on the first two principal axes of a (P, D) path, and its (P, 2) map.

    Of a long random walk in many dimensions the k-th axis holds 6/(πk)²: 61% and 15%, and the map is an arch, which
    is no sign of any structure (Antognini & Sohl-Dickstein 2018).
    """
    centred = path - path.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    first = [-1, -2]
    drawn = vectors[:, first] * np.sqrt(np.maximum(values[first], 0))
    drawn *= np.where(drawn[-1] < drawn[0], -1, 1)[None]
    middle = drawn[len(drawn) // 2, 1] - (drawn[0, 1] + drawn[-1, 1]) / 2
    drawn[:, 1] *= 1 if middle >= 0 else -1
    return np.maximum(values[first], 0) / max(float(np.maximum(values, 0).sum()), 1e-30), drawn


def measure_paths(ddim: NDArray[np.float32], ddpm: NDArray[np.float32], seed: int = 1200) -> PathGeometry:
    """Measure (M, P, ...) paths of two samplers from the same noise, and as many random walks of P points."""
    count, points, *size = ddim.shape
    steps = np.random.default_rng(seed).standard_normal((count, points - 1, int(np.prod(size))))
    walk = np.concatenate([np.zeros((count, 1, steps.shape[2])), np.cumsum(steps, axis=1)], axis=1)
    sets = [
        ddim.reshape(count, points, -1).astype(np.float64),
        ddpm.reshape(count, points, -1).astype(np.float64),
        walk,
    ]
    straight, length = zip(*(straightness(paths) for paths in sets), strict=True)
    axes = [[principal(path) for path in paths] for paths in sets]
    return PathGeometry(
        straight=np.stack(straight),
        length=np.stack(length),
        share=np.array([[share for share, _ in row] for row in axes]),
        maps=np.array([[drawn for _, drawn in row[:SHOWN]] for row in axes]),
        ends=np.stack([ddim[:SHOWN, -1], ddpm[:SHOWN, -1]]),
    )
