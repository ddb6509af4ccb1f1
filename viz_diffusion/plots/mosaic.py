"""A mosaic of small images in Axes that somebody else made: rows with a symbol, columns with a number.

Whole pages are drawn by the other modules of this folder; this one keeps to the Axes' own size, fonts and style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from viz_diffusion.plots.theme import DIGIT_LIMIT, DIGIT_MAP, Array

_ENLARGED = 4
"""Each pixel of an image becomes a block of 4 x 4, so that viewers that smooth images do not blur it."""
_GAP = 8
"""Blank pixels between two images, after enlarging."""


@dataclass(frozen=True, eq=False)
class MosaicRow:
    """One row of images on one scale."""

    label: str
    """Stands left of the row."""
    images: Sequence[Array | None]
    """One for each column: (H, W) or, in colour, (H, W, 3); None leaves the place empty."""
    colours: str = DIGIT_MAP
    """The colour map of (H, W) images."""
    limit: float = DIGIT_LIMIT
    """The scale is -limit .. limit; values beyond it are clipped."""


def draw_mosaic(axes: Axes, rows: Sequence[MosaicRow], columns: Sequence[str], xlabel: str) -> Axes:
    """Draw rows of images into ``axes``, with a text beneath each column and one left of each row; return ``axes``."""
    strips = [_row(row) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, ((0, _GAP), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    axes.imshow(np.concatenate(padded)[:-_GAP], interpolation="none")
    tops = np.cumsum([0, *(len(strip) for strip in padded[:-1])])
    pitch = (width + _GAP) / len(columns)
    axes.set_yticks([top + (len(strip) - _GAP) / 2 for top, strip in zip(tops, padded, strict=True)])
    axes.set_yticklabels([row.label for row in rows])
    axes.set_xticks([(index + 0.5) * pitch - _GAP / 2 for index in range(len(columns))], columns)
    axes.set_xlabel(xlabel)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


def _row(row: MosaicRow) -> Array:
    """Return a row's images side by side, (H, W, 4) uint8; what is not an image is transparent."""
    colours = mpl.colormaps[row.colours]
    scale = Normalize(-row.limit, row.limit, clip=True)
    shape = next(image for image in row.images if image is not None).shape
    tiles = []
    for image in row.images:
        tile = np.zeros((*shape[:2], 4), np.uint8)
        if image is not None and image.ndim == 2:
            tile = colours(scale(image), bytes=True)
        elif image is not None:
            tile[..., :3], tile[..., 3] = np.rint(255 * scale(image)), 255
        tiles += [tile.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1), _blank(shape[0] * _ENLARGED)]
    return np.concatenate(tiles[:-1], axis=1)


def _blank(height: int) -> Array:
    return np.zeros((height, _GAP, 4), np.uint8)
