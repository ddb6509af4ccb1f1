"""Pixels as the page's files: colours reduced to 256, then WebP without loss.

Knows nothing about what a picture shows.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS, COMMON_COLOURS = 256, 192
"""How many colours a picture of the page may have, and how many of them are its commonest, kept as they are."""
FARTHEST = 10.0
"""Of 255 levels, root mean square: where the colours that are no common ones would move farther, all stay."""


def encode_pixels(pixels: NDArray[np.uint8], *, small: bool = False) -> bytes:
    """Return (H, W, 3) uint8 pixels as a WebP, in at most 256 colours where that does not show.

    ``small`` takes ten times as long for a file that is a little smaller; its pixels are the same.
    """
    image, buffer = Image.fromarray(reduce_colours(pixels)), BytesIO()
    method, quality = (6, 100) if small else (1, 80)
    image.save(buffer, "WEBP", lossless=True, method=method, quality=quality)
    return buffer.getvalue()


def picture_size(webp: bytes) -> tuple[int, int]:
    """Return the width and height of a WebP, in pixels."""
    with Image.open(BytesIO(webp)) as image:
        return image.size


def reduce_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 pixels in at most 256 colours, or as they are where that would show.

    The commonest 192 colours stay as they are: the paper, the ink, nearly all greys of the digits. The others, mostly
    the edges of letters and lines, become the nearest of those and of the 64 into which a median cut parts them.
    Pictures in colour (of RGB recordings) have too many for that, and keep all.
    """
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    packed = (red << 16 | green << 8 | blue).ravel()
    starts = np.append(0, np.flatnonzero(packed[1:] != packed[:-1]) + 1)  # of runs of one colour: few beside pixels
    lengths = np.diff(starts, append=packed.size)
    present, of_run = np.unique(packed[starts], return_inverse=True)
    if len(present) <= COLOURS:
        return pixels
    colours = np.stack([present >> 16, present >> 8 & 255, present & 255], axis=1).astype(np.uint8)
    counts = np.bincount(of_run, weights=lengths)
    ranked = np.argsort(-counts, kind="stable")
    common, rare = ranked[:COMMON_COLOURS], ranked[COMMON_COLOURS:]
    parted = Image.fromarray(colours[None, rare]).quantize(COLOURS - COMMON_COLOURS, Image.Quantize.MEDIANCUT)
    palette = np.concatenate([colours[common], np.array(parted.getpalette(), dtype=np.uint8).reshape(-1, 3)])
    distances = np.square(colours[rare, None].astype(np.int32) - palette[None]).sum(axis=2)
    nearest = distances.argmin(axis=1)
    moved = distances[np.arange(len(rare)), nearest] / 3  # mean over the three channels
    if np.average(moved, weights=counts[rare]) > FARTHEST**2:
        return pixels
    colours[rare] = palette[nearest]
    return np.repeat(colours[of_run], lengths, axis=0).reshape(pixels.shape)
