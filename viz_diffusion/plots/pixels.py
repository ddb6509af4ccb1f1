"""Image encoding for the HTML page: reduction to 256 colours, greyscale and diverging maps, PNG and lossless WebP.

Knows nothing about what an image shows.
"""

from __future__ import annotations

import base64
import io
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.plots.theme import DIGIT_LIMIT, NOISE_LIMIT, NOISE_MAP

COLOURS, COMMON_COLOURS = 256, 192
"""The size of the palette, and how many of its colours are the image's most frequent ones, kept unchanged."""
FARTHEST = 10.0
"""Largest root-mean-square change of the other colours, of 255 levels; beyond it no colour is changed."""


def encode_pixels(pixels: NDArray[np.uint8], *, small: bool = False) -> bytes:
    """Return (H, W, 3) uint8 pixels as a lossless WebP after :func:`reduce_colours`.

    ``small`` gives a slightly smaller file of the same pixels and takes ten times as long.
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
    """Return (H, W, 3) uint8 pixels in at most 256 colours, or unchanged where the difference would be visible.

    The 192 most frequent colours are kept: background, ink, nearly all greys of the digits. The others, mostly edges
    of letters and lines, become the nearest colour of the palette, whose remaining 64 colours are a median cut of
    them. Colour images (of RGB recordings) have too many colours for this and stay unchanged.
    """
    red, green, blue = (pixels[..., channel].astype(np.uint32) for channel in range(3))
    packed = (red << 16 | green << 8 | blue).ravel()
    run_starts = np.append(
        0, np.flatnonzero(packed[1:] != packed[:-1]) + 1
    )  # of runs of equal colour: far fewer than pixels
    run_lengths = np.diff(run_starts, append=packed.size)
    present, of_run = np.unique(packed[run_starts], return_inverse=True)
    if len(present) <= COLOURS:
        return pixels
    colours = np.stack([present >> 16, present >> 8 & 255, present & 255], axis=1).astype(np.uint8)
    counts = np.bincount(of_run, weights=run_lengths)
    ranked = np.argsort(-counts, kind="stable")
    common, rare = ranked[:COMMON_COLOURS], ranked[COMMON_COLOURS:]
    median_cut = Image.fromarray(colours[None, rare]).quantize(COLOURS - COMMON_COLOURS, Image.Quantize.MEDIANCUT)
    palette = np.concatenate([colours[common], np.array(median_cut.getpalette(), dtype=np.uint8).reshape(-1, 3)])
    distances = np.square(colours[rare, None].astype(np.int32) - palette[None]).sum(axis=2)
    nearest = distances.argmin(axis=1)
    changes = distances[np.arange(len(rare)), nearest] / 3  # mean over the three channels
    if np.average(changes, weights=counts[rare]) > FARTHEST**2:
        return pixels
    colours[rare] = palette[nearest]
    return np.repeat(colours[of_run], run_lengths, axis=0).reshape(pixels.shape)


UInt8 = NDArray[np.uint8]

NOISE_SHADES = 65
"""Shades in which it is drawn, 0.09 standard deviations apart: no eye sees more, and a third of the bytes is saved."""

PUOR: UInt8 = np.round(255 * colormaps[NOISE_MAP](np.arange(256))[:, :3]).astype(np.uint8)
"""(256, 3) uint8 sRGB: ColorBrewer's PuOr, from the lowest value to the highest."""
PUOR.flags.writeable = False


def to_gray8(x: NDArray[Any], limit: float = DIGIT_LIMIT) -> UInt8:
    """Return values as uint8: -limit is black (0), +limit is white (255), values beyond are clipped.

    Computed in float64; halves go to the even neighbour.

    Raises
    ------
    VizdiffNonFiniteError
        Where a value is NaN or infinite.
    """
    wide = np.asarray(x, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise VizdiffNonFiniteError("a frame holds NaN or infinity and cannot be drawn; check the recording")
    scaled: UInt8 = np.round((np.clip(wide / limit, -1, 1) + 1) * 127.5).astype(np.uint8)
    return scaled


def to_diverging8(eps: NDArray[Any], limit: float = NOISE_LIMIT) -> UInt8:
    """Return (..., 3) uint8 sRGB: -limit is orange-brown, 0 is white, +limit is purple (PuOr, in 65 shades)."""
    shades = np.round(np.linspace(0, 255, NOISE_SHADES)).astype(np.uint8)
    nearest = np.round(to_gray8(eps, limit) / 255 * (NOISE_SHADES - 1)).astype(np.uint8)
    return PUOR[shades[nearest]]


def share_beyond(values: NDArray[Any], limit: float) -> float:
    """Return the share, 0 .. 1, of ``values`` that lie outside -limit .. limit."""
    return float(np.mean(np.abs(values) > limit)) if values.size else 0.0


def encode(picture: UInt8, kind: str) -> bytes:
    """Return a (H, W), (H, W, 1) or (H, W, 3) uint8 image as the bytes of a ``PNG`` or lossless ``WEBP``."""
    image = Image.fromarray(picture.squeeze(2) if picture.shape[2:] == (1,) else picture)
    options = {"lossless": True, "quality": 20, "method": 4} if kind == "WEBP" else {"optimize": True}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a base64 ``data:`` URI."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
