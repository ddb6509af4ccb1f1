"""Length and straightness of recorded paths; knows nothing about networks or files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def straightness(paths: Float64) -> tuple[Float64, Float64]:
    """Return (M,) chords over lengths, and (M,) lengths, of (M, P, D) paths.

    A random walk of n even steps in many dimensions has 1/√n.
    """
    length = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1)
    return np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1) / length, length
