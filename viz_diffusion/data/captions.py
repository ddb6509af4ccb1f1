"""Captions of digits, from their measured shape: which words are true of an image, and which of them are said.

A fixed set of combinations is held out: digits of these classes with this slant and thickness are never trained on, so
that a prompt for one of them asks for what the network has never seen. Knows nothing about tokens or networks.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data.caption_words import LANGUAGES, Meaning, fits, phrase
from viz_diffusion.data.digit_shapes import ATTRIBUTES, Int8, ShapeLevels, measure_shapes
from viz_diffusion.data.images import NUM_LABELS, Digits
from viz_diffusion.data.loading import load_digits

HELD_OUT = tuple(
    Meaning(digit, (slant, thickness, 0, 0))
    for digit, (slant, thickness) in enumerate([(1, -1), (-1, 1), (-1, -1), (1, 1), (-1, 1)] * 2)
)
"""(10,) for each class, the slant and thickness that no training digit has."""
PHRASINGS = 4
"""Phrases of each meaning in each language."""
SAID = 0.5
"""Probability that a caption says an attribute that is high or low."""
NAMED = 0.9
"""Probability that it names the digit."""
_SEED = 2021


@dataclass(frozen=True, eq=False)
class CaptionedDigits(Digits):
    """Digits with the levels of their shape, from which captions are drawn; their labels stay the digits."""

    levels: Int8 | None = None
    """(N, 4) int8, each -1, 0 or 1, in the order of :data:`ATTRIBUTES`."""

    @classmethod
    def of(cls, digits: Digits, thresholds: ShapeLevels | None = None) -> CaptionedDigits:
        """Measure digits; by default their levels are those among the training digits of MNIST."""
        thresholds = mnist_levels() if thresholds is None else thresholds
        levels = thresholds.levels(measure_shapes(digits.images), digits.labels.numpy())
        return cls(digits.images, digits.labels, digits.class_names, levels)

    @property
    def known_levels(self) -> Int8:
        """The levels."""
        assert self.levels is not None
        return self.levels

    def fitting(self, words: Sequence[str]) -> NDArray[np.bool_]:
        """Return which digits every one of these words is true of, (N,) bool."""
        return fits(words, self.labels.numpy(), self.known_levels)

    def held_out(self) -> NDArray[np.bool_]:
        """Return which digits have the slant and thickness that is held out of their class, (N,) bool."""
        wanted = np.array([one.levels[:2] for one in HELD_OUT], dtype=np.int8)
        return np.asarray((self.known_levels[:, :2] == wanted[self.labels.numpy()]).all(axis=1))

    def without_held_out(self) -> CaptionedDigits:
        """Return the digits that are not held out."""
        rows = torch.from_numpy(~self.held_out())
        return CaptionedDigits(self.images[rows], self.labels[rows], self.class_names, self.known_levels[rows.numpy()])

    def labelled(self, prompts: Sequence[Sequence[str]], names: tuple[str, ...]) -> Digits:
        """Return, for each of K prompts in turn, the digits that all its words are true of, with its number as label.

        Parameters
        ----------
        prompts, names
            (K,) the words of each prompt, and its name as a class.
        """
        rows = [torch.from_numpy(np.flatnonzero(self.fitting(words))) for words in prompts]
        labels = torch.cat([torch.full_like(part, number) for number, part in enumerate(rows)])
        return Digits(self.images[torch.cat(rows)], labels, names)

    def draw_labels(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return (B,) int64 numbers of captions in :func:`all_captions` that are true of the digits of (B,) rows.

        Each digit is named with probability 0.9, each of its attributes that is high or low with probability 0.5.
        """
        draws = torch.rand((len(rows), len(ATTRIBUTES) + 2), generator=generator).numpy()
        levels = np.where(draws[:, : len(ATTRIBUTES)] < SAID, self.known_levels[rows.numpy()], 0)
        digits = np.where(draws[:, -2] < NAMED, self.labels[rows].numpy(), NUM_LABELS)
        variants = (draws[:, -1] * PHRASINGS * len(LANGUAGES)).astype(np.int64)
        return torch.from_numpy(caption_numbers(digits, levels, variants))


def caption_numbers(digits: NDArray[np.int64], levels: Int8, variants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of captions in :func:`all_captions`.

    Parameters
    ----------
    digits, levels
        (B,) 0 .. 9, or 10 for no digit; (B, 4) levels, 0 where nothing is said.
    variants
        (B,) 0 .. 7: the first four are English, the others Chinese.
    """
    number = digits.astype(np.int64)
    for column in levels.T:
        number = 3 * number + column.astype(np.int64) + 1
    return number * PHRASINGS * len(LANGUAGES) + variants


@lru_cache(maxsize=1)
def all_captions() -> tuple[str, ...]:
    """Return all captions: eight phrases of each of 891 meanings, the same in every run."""
    draw = random.Random(_SEED)
    numbers = range(-1, 2)
    return tuple(
        phrase(Meaning(None if digit == NUM_LABELS else digit, levels), lang, draw)
        for digit in range(NUM_LABELS + 1)
        for levels in itertools.product(numbers, repeat=len(ATTRIBUTES))
        for lang in LANGUAGES
        for _ in range(PHRASINGS)
    )


@lru_cache(maxsize=1)
def mnist_levels() -> ShapeLevels:
    """Return the thresholds of MNIST's training digits; measured on first use, in about a second."""
    return ShapeLevels.of(load_digits("train"))
