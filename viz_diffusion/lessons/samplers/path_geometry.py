"""How winding is the way from noise to a digit? Lengths, chords and principal axes of recorded paths.

Part of the lesson on samplers; knows nothing about denoisers or figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import half_of_mean

Float64 = NDArray[np.float64]
KINDS = ("ddim", "ddpm", "walk")
"""The paths that are compared: DDIM's, DDPM's, and a random walk's, which no network made."""
SHOWN = 6
"""Paths of each kind that are kept to be drawn."""


@dataclass(frozen=True, eq=False)
class Paths:
    """M paths of each of :data:`KINDS`, each looked at P times, in the pixels of x_t as they are."""

    straight: Float64
    """(3, M) float64: the chord from beginning to end over the length of the path, 1 for a straight line."""
    length: Float64
    """(3, M) float64: the length, the sum of the L2 distances between neighbouring looks."""
    share: Float64
    """(3, M, 2) float64: how much of a path's variance its first two principal axes hold."""
    maps: Float64
    """(3, K, P, 2) float64: the first paths on their own two axes, the chord's way to the right."""
    ends: NDArray[np.float32]
    """(2, K, H, W) float32: what DDIM's and DDPM's shown paths end in."""

    @property
    def looks(self) -> int:
        """P."""
        return int(self.maps.shape[2])

    def mean(self, values: Float64) -> tuple[Float64, Float64]:
        """Return (3,) means over the paths of (3, M) values, and half their 95% intervals."""
        return values.mean(axis=1), np.asarray(half_of_mean(values, axis=1))

    def facts(self) -> dict[str, Any]:
        """Return the numbers, by kind."""
        flat = self.share.sum(axis=2)
        found: dict[str, Any] = {"path_count": int(self.length.shape[1]), "path_looks": self.looks}
        for name, values in (("straight", self.straight), ("length", self.length), ("flat", flat)):
            mean, half = self.mean(values)
            for kind, value, interval in zip(KINDS, mean, half, strict=True):
                found |= {f"{name}_{kind}": float(value), f"{name}_{kind}_interval": float(interval)}
        return found


def straightness(paths: Float64) -> tuple[Float64, Float64]:
    """Return (M,) chords over lengths, and (M,) lengths, of (M, P, D) paths.

    A random walk of n even steps in many dimensions has 1/√n.
    """
    length = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1)
    return np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1) / length, length


def principal(path: Float64) -> tuple[Float64, Float64]:
    """Return (2,) the shares of variance on the first two principal axes of a (P, D) path, and its (P, 2) map.

    Of a long random walk in many dimensions the k-th axis holds 6/(πk)²: 61% and 15%, and the map is an arch, which
    is no sign of any structure (Antognini & Sohl-Dickstein 2018).
    """
    centred = path - path.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    order = [-1, -2]
    drawn = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
    drawn *= np.where(drawn[-1] < drawn[0], -1, 1)[None]
    middle = drawn[len(drawn) // 2, 1] - (drawn[0, 1] + drawn[-1, 1]) / 2
    drawn[:, 1] *= 1 if middle >= 0 else -1
    return np.maximum(values[order], 0) / max(float(np.maximum(values, 0).sum()), 1e-30), drawn


def measure_paths(ddim: NDArray[np.float32], ddpm: NDArray[np.float32], seed: int = 1200) -> Paths:
    """Measure (M, P, H, W) paths of two samplers from the same noise, beside as many random walks of P looks."""
    count, looks, *size = ddim.shape
    steps = np.random.default_rng(seed).standard_normal((count, looks - 1, int(np.prod(size))))
    walk = np.concatenate([np.zeros((count, 1, steps.shape[2])), np.cumsum(steps, axis=1)], axis=1)
    sets = [ddim.reshape(count, looks, -1).astype(np.float64), ddpm.reshape(count, looks, -1).astype(np.float64), walk]
    straight, length = zip(*(straightness(paths) for paths in sets), strict=True)
    axes = [[principal(path) for path in paths] for paths in sets]
    return Paths(
        straight=np.stack(straight),
        length=np.stack(length),
        share=np.array([[share for share, _ in row] for row in axes]),
        maps=np.array([[drawn for _, drawn in row[:SHOWN]] for row in axes]),
        ends=np.stack([ddim[:SHOWN, -1], ddpm[:SHOWN, -1]]),
    )
