"""Writes IDX files as people have them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def pictures(labels: Sequence[int], side: int = 28, seed: int = 0) -> np.ndarray:
    """Return (N, side, side) bytes: squares whose shade tells the label, with a little noise that makes each unique."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 30, (len(labels), side, side)).astype(np.uint8)
    shades = 40 + np.asarray(labels, np.int64)[:, None, None] * 3
    images[:, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = shades.astype(np.uint8)
    return images


def write_idx(
    folder: Path,
    labels: Sequence[int],
    names: Sequence[str] = NAMES,
    *,
    side: int = 28,
    packed: bool = False,
    images: np.ndarray | None = None,
) -> Path:
    """Write a data set under the given names: two files for one split, four for two with the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (pictures(labels, side) if images is None else images, np.asarray(labels, np.uint8))
    for index, name in enumerate(names):
        array = arrays[index % 2]
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return folder
