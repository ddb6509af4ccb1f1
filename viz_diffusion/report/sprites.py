"""Sprite sheets: all frames of a recording in one lossless WebP file.

Knows nothing about timesteps, players or pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.plots.pixels import UInt8, data_uri, encode

WEBP_LARGEST = 16383
"""Largest width and height of a WebP file, in pixels."""


@dataclass(frozen=True, eq=False)
class SpriteSheet:
    """Frames of one size in one picture, from left to right and top to bottom."""

    webp: bytes
    """The sheet as lossless WebP, sRGB."""
    columns: int
    """Cells in a row; those after the last frame are black."""
    height: int
    """Height of a frame in pixels."""
    width: int
    """Width of a frame in pixels."""

    @property
    def uri(self) -> str:
        """The sheet as a ``data:`` URI."""
        return data_uri(self.webp, "image/webp")


def make_sprite_sheet(frames: UInt8) -> SpriteSheet:
    """Lay out (N, H, W) grey or (N, H, W, 3) sRGB uint8 frames in a near-square sheet.

    Raises
    ------
    VizdiffUsageError
        Where there is no frame, shape or dtype is wrong, or the sheet would be larger than WebP allows.
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
    return SpriteSheet(encode(sheet, "WEBP"), columns, height, width)
