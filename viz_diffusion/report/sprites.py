"""Frames as bytes: fixed-scale 8-bit pictures, and all frames of a recording in one lossless sprite sheet.

Knows nothing about time, players or pages. The scales never depend on the data: equal numbers look equal
in every frame of every report.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError

UInt8 = NDArray[np.uint8]

WEBP_LARGEST = 16383
"""Pixels along one side that a WebP file can hold."""

NOISE_LIMIT = 3.0
"""Predicted noise is drawn from -3 to +3 standard deviations."""

NOISE_SHADES = 65
"""Shades in which it is drawn, 0.09 standard deviations apart: no eye sees more, and a third of the bytes is saved."""

_PUOR = "7f3b08 b35806 e08214 fdb863 fee0b6 f7f7f7 d8daeb b2abd2 8073ac 542788 2d004b"
"""The eleven colours of ColorBrewer's PuOr, from the lowest value to the highest."""


def _puor_table() -> UInt8:
    """Return (256, 3) uint8: PuOr with straight lines in sRGB between its eleven colours."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _PUOR.split()], dtype=np.float64)
    where = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(where, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


PUOR = _puor_table()
PUOR.flags.writeable = False


def _to_8_bit(values: NDArray[Any], limit: float) -> UInt8:
    """Map -limit..limit to 0..255 in float64, clipping beyond; halves go to the even neighbour."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise VizdiffNonFiniteError("a frame holds NaN or infinity and cannot be drawn; check the recording")
    scaled: UInt8 = np.round((np.clip(wide / limit, -1, 1) + 1) * 127.5).astype(np.uint8)
    return scaled


def to_gray8(x: NDArray[Any]) -> UInt8:
    """Return ``round((clip(x, -1, 1) + 1) * 127.5)`` as uint8: -1 is black (0), +1 is white (255)."""
    return _to_8_bit(x, 1.0)


def to_diverging8(eps: NDArray[Any], limit: float = NOISE_LIMIT) -> UInt8:
    """Return (..., 3) uint8 sRGB: -limit is orange-brown, 0 is white, +limit is purple (PuOr, in 65 shades)."""
    shades = np.round(np.linspace(0, 255, NOISE_SHADES)).astype(np.uint8)
    nearest = np.round(_to_8_bit(eps, limit) / 255 * (NOISE_SHADES - 1)).astype(np.uint8)
    return PUOR[shades[nearest]]


def share_beyond(values: NDArray[Any], limit: float) -> float:
    """Return the share of ``values`` (0..1) that a scale of -limit..limit clips."""
    return float(np.mean(np.abs(values) > limit)) if values.size else 0.0


@dataclass(frozen=True, eq=False)
class Sprite:
    """Frames of one size, left to right and top to bottom in one picture."""

    webp: bytes
    """The sheet as lossless WebP, sRGB."""
    num_frames: int
    """How many cells are used; the rest of the last row is black."""
    columns: int
    """Cells in a row."""
    height: int
    """Pixels of one frame, downwards."""
    width: int
    """Pixels of one frame, across."""

    @property
    def uri(self) -> str:
        """The sheet as a ``data:`` address."""
        return data_uri(self.webp, "image/webp")


def make_sprite(frames: UInt8) -> Sprite:
    """Lay out (N, H, W) grey or (N, H, W, 3) sRGB uint8 frames in a near-square sheet.

    Raises
    ------
    VizdiffUsageError
        Where there is no frame, the shape is another, or the sheet would be larger than WebP allows.
    """
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[3:] not in ((), (3,)) or 0 in frames.shape:
        raise VizdiffUsageError(
            f"a sprite needs uint8 frames (N, H, W) or (N, H, W, 3), found {frames.dtype} {frames.shape}"
        )
    count, height, width = frames.shape[:3]
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    if max(columns * width, rows * height) > WEBP_LARGEST:
        raise VizdiffUsageError(f"{count} frames of {height}x{width} do not fit in one WebP; record fewer frames")
    cells = np.zeros((rows * columns, *frames.shape[1:]), dtype=np.uint8)
    cells[:count] = frames
    grid = cells.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    sheet = grid.reshape(rows * height, columns * width, -1)
    return Sprite(encode(sheet, "WEBP"), count, columns, height, width)


def encode(picture: UInt8, kind: str) -> bytes:
    """Return a (H, W), (H, W, 1) or (H, W, 3) uint8 picture as ``PNG`` or lossless ``WEBP``."""
    image = Image.fromarray(picture.squeeze(2) if picture.shape[2:] == (1,) else picture)
    options = {"lossless": True, "quality": 20, "method": 4} if kind == "WEBP" else {"optimize": True}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a ``data:`` address."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
