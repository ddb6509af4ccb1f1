"""Frames as bytes: fixed-scale 8-bit pictures, and all frames of a recording in one lossless sprite sheet.

Knows nothing about time, players or pages. The scales never depend on the data: equal numbers look equal
in every frame of every report.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.plots.pixels import UInt8, data_uri, encode

WEBP_LARGEST = 16383
"""Pixels along one side that a WebP file can hold."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """Frames of one size, left to right and top to bottom in one picture."""

    webp: bytes
    """The sheet as lossless WebP, sRGB."""
    columns: int
    """Cells in a row; those after the last frame are black."""
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
    return Sprite(encode(sheet, "WEBP"), columns, height, width)
