"""The images of a store: a seed and a label for each, and the blocks that they are made in.

Knows nothing about networks or files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError

MOST = 10**8
"""The largest number of images: their seeds take 8 bytes each in memory."""
_MOST_SEED = 2**32 - 1
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def read_seeds(text: str) -> NDArray[np.int64]:
    """Return the seeds in a list of numbers and ranges, such as ``0-9,12``, (N,) int64, in that order.

    Raises
    ------
    VizdiffUsageError
        Where it is no such list, a seed lies beyond 0 .. 2**32-1 or occurs twice, or there are more than :data:`MOST`.
    """
    parts = []
    for word in text.replace(" ", "").split(","):
        found = _RANGE.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= _MOST_SEED:
            raise VizdiffUsageError(
                f"`seeds` must be numbers and rising ranges in 0..{_MOST_SEED}, such as 0-49999 or 0-9,12; "
                f"found {word[:40]!r}"
            )
        parts.append((first, last))
    number = sum(last - first + 1 for first, last in parts)
    if number > MOST:
        raise VizdiffUsageError(f"`seeds` must be at most {MOST:,}, found {number:,}; divide them among several stores")
    seeds = np.concatenate([np.arange(first, last + 1, dtype=np.int64) for first, last in parts])
    ordered = np.sort(seeds)
    if (twice := ordered[:-1][np.diff(ordered) == 0]).size:
        raise VizdiffUsageError(f"`seeds` must differ, found {twice[0]} twice")
    return seeds


def seeds_text(seeds: NDArray[np.int64]) -> str:
    """Return seeds as a list of numbers and ranges, the shortest one that :func:`read_seeds` reads back."""
    cuts = np.flatnonzero(np.diff(seeds) != 1) + 1
    runs = np.split(seeds, cuts)
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))


@dataclass(frozen=True, eq=False)
class Images:
    """A seed and a label for each of N images."""

    seeds: NDArray[np.int64]
    """Seeds, one after another."""
    labels: Sequence[int]
    """The labels that the images have in turn."""
    same_noise: int = 1
    """How many images one after another have the same seed: as many as there are prompts."""
    limit: int | None = None
    """N; by default as many images of every seed."""

    @property
    def count(self) -> int:
        """N."""
        return len(self.seeds) * self.same_noise if self.limit is None else self.limit

    def facts(self) -> dict[str, Any]:
        """Return the values for a plan."""
        return {"seeds": seeds_text(self.seeds), "labels": list(self.labels), "images_of_a_seed": self.same_noise}

    def block(self, k: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the labels and the seeds of block k, (b,) int64 each; the last block may be smaller."""
        numbers = np.arange(k * size, min((k + 1) * size, self.count))
        return np.asarray(self.labels, np.int64)[numbers % len(self.labels)], self.seeds[numbers // self.same_noise]


def padded(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return (size,) int64: the values, and then zeros."""
    whole = np.zeros(size, np.int64)
    whole[: len(values)] = values
    return whole
