"""Image encoding for the HTML page: greyscale and diverging maps, PNG and lossless WebP.

Knows nothing about what an image shows.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.plots.theme import DIGIT_LIMIT, NOISE_LIMIT, NOISE_MAP

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


def svg_uri(data: bytes) -> str:
    """Return an SVG as a ``data:`` URI that fits between double quotes of an HTML attribute, shorter than base64."""
    text = data.decode("utf-8").replace("'", "&apos;").replace('"', "'").replace("\n", " ")
    for letter in "%#&<>":
        text = text.replace(letter, f"%{ord(letter):02X}")
    return f"data:image/svg+xml,{text}"
