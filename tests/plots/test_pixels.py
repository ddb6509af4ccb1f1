"""Reduction of images to 256 colours, the most frequent ones unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from viz_diffusion.plots.pixels import COLOURS, COMMON_COLOURS, reduce_colours


def coloured(counts: list[int]) -> np.ndarray:
    """Return pixels (2, N, 3) whose first row has ``counts[k]`` pixels of the random colour number k."""
    steps = np.random.default_rng(0).choice(40**3, len(counts), replace=False)  # 40 similar shades of each channel
    shades = [steps // 40**power % 40 + 100 for power in range(3)]
    colours = shades[0] << 16 | shades[1] << 8 | shades[2]
    row = np.repeat(colours, counts)
    shuffled = np.random.default_rng(1).permutation(row)
    packed = np.stack([row, shuffled])
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=2).astype(np.uint8)


def packed(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.int64) @ [1 << 16, 1 << 8, 1]


def test_up_to_256_colours_stay_unchanged() -> None:
    pixels = coloured([3] * COLOURS)
    assert np.array_equal(reduce_colours(pixels), pixels)


def test_more_become_256_and_the_most_frequent_stay() -> None:
    counts = [50] * COMMON_COLOURS + [2] * 1000
    pixels = coloured(counts)
    reduced = reduce_colours(pixels)
    assert reduced.shape == pixels.shape
    assert reduced.dtype == np.uint8
    assert len(np.unique(packed(reduced))) <= COLOURS
    common = 50 * COMMON_COLOURS
    assert np.array_equal(reduced[0, :common], pixels[0, :common])
    assert not np.array_equal(reduced[0, common:], pixels[0, common:])


def test_equal_colours_stay_equal_and_each_becomes_the_nearest_of_the_palette() -> None:
    pixels = coloured([50] * COMMON_COLOURS + [2] * 1000)
    before, after = packed(pixels).ravel(), packed(reduce_colours(pixels)).ravel()
    first = {old: new for old, new in zip(before[::-1].tolist(), after[::-1].tolist(), strict=True)}
    assert all(first[old] == new for old, new in zip(before.tolist(), after.tolist(), strict=True))
    kept = np.unique(reduce_colours(pixels).reshape(-1, 3), axis=0).astype(int)
    for old, new in zip(pixels[0, -200:].astype(int), reduce_colours(pixels)[0, -200:].astype(int), strict=True):
        assert np.square(new - old).sum() == np.square(kept - old).sum(axis=1).min()


@pytest.mark.parametrize("shift", [1, 2])
def test_greys_of_digits_are_exact(shift: int) -> None:
    """Thin ramps of rare colours, such as the edges of letters, take no grey from the digits."""
    digits = np.tile(np.arange(0, 190, dtype=np.uint8)[None, :, None], (400, 1, 3))
    edges = np.zeros((1, 190, 3), np.uint8)
    edges[0, :, 0], edges[0, :, 1] = np.arange(190), np.arange(190) // shift + 40
    reduced = reduce_colours(np.concatenate([digits, edges]))
    assert np.array_equal(reduced[:400], digits)


def test_colour_images_keep_all_their_colours() -> None:
    """Colours spread over the whole RGB cube are kept; similar colours are reduced."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(reduce_colours(pixels), pixels)
    near = (pixels // 8 + 100).astype(np.uint8)
    assert len(np.unique(packed(near))) > COLOURS
    assert not np.array_equal(reduce_colours(near), near)
