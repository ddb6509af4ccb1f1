"""A fixed split into training and held-out images, for data that come in one part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

HELD_OUT = 0.2
"""Share of the images that are held out, on average."""


def content_hashes(contents: Iterable[bytes]) -> NDArray[np.float64]:
    """Return (N,) float64 in [0, 1), uniform: the first 52 bits of each content's SHA-256."""
    heads = [int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 12 for content in contents]
    return np.array(heads, np.float64) / 2**52


def held_out(hashes: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (N,) bool: which images are held out, those whose hash lies below :data:`HELD_OUT`.

    An image's own content decides, so that copies of one image in one class go to the same part, and images added later
    move no other. Only where a class with several different images would be missing in one part, its image with the
    smallest hash is held out, or the one with the largest hash is not.

    Parameters
    ----------
    hashes
        (N,) as :func:`content_hashes` returns them.
    labels
        (N,) int64.
    """
    chosen: NDArray[np.bool_] = hashes < HELD_OUT
    for label in np.unique(labels):
        own = labels == label
        if hashes[own].min() == hashes[own].max():
            chosen[own] = False  # one image, or copies of it: it is trained on
        elif not chosen[own].any():
            chosen[own] = hashes[own] == hashes[own].min()
        elif chosen[own].all():
            chosen[own] = hashes[own] < hashes[own].max()
    return chosen
