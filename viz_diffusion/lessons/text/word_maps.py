"""Where the network attends to each word of a prompt, and whether these places are those of the ink.

Takes samples with their attention from any sampler. Knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data.images import NUM_LABELS
from viz_diffusion.lessons.text.asked_shapes import Float64, prompt_of
from viz_diffusion.lessons.text.prompt_sampling import AttendedSamples, Float32, PromptSampler
from viz_diffusion.lessons.text.same_noise import SEED

WORDS = ("a", "thick", "slanted", "digit")
"""The words of the prompts, the last one the digit's own."""
COUNTS = (20, 60)
"""Samples, quick and full."""
SHOWN_DIGIT = 7
"""The digit of the sample that is drawn."""
SHOWN = 6
"""Steps of it that are drawn."""


@dataclass(frozen=True, eq=False)
class WordMaps:
    """M samples of a thick slanted digit, the digits in turn; for each word where the network attends to it."""

    on_ink: Float64
    """(4, M) float64: attention to each word on the ink of the finished image over that on the average position."""
    timesteps: NDArray[np.int64]
    """(S,) int64, falling."""
    shown: NDArray[np.int64]
    """(F,) int64: the steps that are drawn."""
    maps: Float32
    """(F, 4, h, w) float32: the maps of one sample."""
    x0_pred: Float32
    """(F, H, W) float32: its predicted x̂_0."""


def ink_of(images: NDArray[np.floating[Any]], side: int) -> Float64:
    """Return (N, side, side) float64, the share of ink in each part of (N, 1, H, W) images, with mean 1."""
    ink = (np.clip(np.asarray(images[:, 0], np.float64), -1, 1) + 1) / 2
    cut = ink.shape[1] // side
    ink = ink.reshape(len(ink), side, cut, side, cut).mean(axis=(2, 4))
    total = ink.mean(axis=(1, 2), keepdims=True)
    return np.divide(ink, total, out=np.ones_like(ink), where=total > 0)


def concentration(maps: Float64, ink: Float64) -> Float64:
    """Return (...,) the mean of ``ink`` (h, w) under (..., h, w) maps as weights: 1 where they do not depend on it."""
    return np.asarray((maps * ink).sum(axis=(-2, -1)) / maps.sum(axis=(-2, -1)))


def measure_word_maps(sampler: PromptSampler, count: int = COUNTS[0]) -> WordMaps:
    """Sample ``count`` images and compare the attention to each word with the ink of the finished image."""
    digits = [k % NUM_LABELS for k in range(count)]
    found: AttendedSamples = sampler.sample_with_attention(
        [prompt_of(digit, 1, 1) for digit in digits], range(SEED, SEED + count)
    )
    maps = found.maps[:, :, 1:].astype(np.float64)  # without the start token
    ink = ink_of(found.images.numpy(), maps.shape[-1])
    over = concentration(maps, ink[:, None, None])  # (M, S, 4)
    shown = np.round(np.linspace(0, len(found.timesteps) - 1, SHOWN)).astype(np.int64)
    return WordMaps(
        on_ink=over.mean(axis=1).T,
        timesteps=found.timesteps,
        shown=shown,
        maps=found.maps[SHOWN_DIGIT, shown, 1:],
        x0_pred=found.x0_pred[SHOWN_DIGIT, shown],
    )
