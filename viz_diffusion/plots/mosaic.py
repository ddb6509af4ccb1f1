"""A mosaic of small images drawn into a user's Axes: labelled rows and columns.

The other modules of this folder draw whole pages; this one keeps the size, fonts and style of the given Axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.plots.theme import DIGIT_LIMIT, DIGIT_MAP, Array

_ENLARGED = 4
"""Each pixel of an image becomes a block of 4 x 4, so that viewers that smooth images do not blur it."""
_GAP = 8
"""Blank pixels between two images, after enlarging."""


@dataclass(frozen=True, eq=False)
class MosaicRow:
    """A row of images that share one colour scale."""

    label: str
    """Text at the left of the row."""
    images: Sequence[Array | None]
    """An image for each column: (H, W) or, in colour, (H, W, 3); None leaves its cell empty."""
    colours: str = DIGIT_MAP
    """The colour map of (H, W) images."""
    limit: float = DIGIT_LIMIT
    """The colour scale runs from -limit to limit; values beyond are clipped."""


def draw_mosaic(axes: Axes, rows: Sequence[MosaicRow], columns: Sequence[str], xlabel: str) -> Figure:
    """Draw rows of images into ``axes``, a label beneath each column and left of each row; return their figure.

    Images smaller than the largest are enlarged by a whole factor, as far as their column allows.
    """
    width = _ENLARGED * max(image.shape[1] for row in rows for image in row.images if image is not None)
    strips = [_row(row, width) for row in rows]
    tops = np.cumsum([0, *(len(strip) + _GAP for strip in strips[:-1])])
    blank = np.zeros((_GAP, strips[0].shape[1], 4), np.uint8)
    axes.imshow(np.concatenate([part for strip in strips for part in (strip, blank)][:-1]), interpolation="none")
    middles = [top + len(strip) / 2 for top, strip in zip(tops, strips, strict=True)]
    axes.set_yticks(middles, [row.label for row in rows])
    axes.set_xticks([index * (width + _GAP) + width / 2 for index in range(len(columns))], columns)
    axes.set_xlabel(xlabel)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure = axes.get_figure(root=True)
    if figure is None:
        raise VizdiffUsageError("`ax` must belong to a figure; these Axes were removed from theirs")
    return figure


def _row(row: MosaicRow, width: int) -> Array:
    """Return a row's images side by side, each ``width`` pixels wide, as (H, W, 4) uint8; the rest is transparent."""
    shape = next(image for image in row.images if image is not None).shape
    factor = width // shape[1]
    margin = width - factor * shape[1]
    tiles = []
    for image in row.images:
        tile = np.zeros((*shape[:2], 4), np.uint8) if image is None else _to_rgba(image, row)
        block = tile.repeat(factor, axis=0).repeat(factor, axis=1)
        tiles.append(np.pad(block, ((0, 0), (margin // 2, margin - margin // 2 + _GAP), (0, 0))))
    return np.concatenate(tiles, axis=1)[:, :-_GAP]


def _to_rgba(image: Array, row: MosaicRow) -> Array:
    """Return an image's colours on the row's scale, (H, W, 4) uint8."""
    scale = Normalize(-row.limit, row.limit, clip=True)
    if image.ndim == 2:
        return np.asarray(mpl.colormaps[row.colours](scale(image), bytes=True))
    opaque = np.full((*image.shape[:2], 1), 255)
    return np.concatenate([np.rint(255 * scale(image)), opaque], axis=-1).astype(np.uint8)
