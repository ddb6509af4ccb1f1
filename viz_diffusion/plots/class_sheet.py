"""A sheet of examples: a row for each class, its name at the left.

Knows nothing about data sets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import theme
from viz_diffusion.plots.theme import Array

MOST_ROWS = 60
"""Classes that a sheet has room for."""
_SIDE, _GAP, _NAME = 0.42, 0.06, 2.1
"""Inches: an image's side, the gap between two, and the room for names."""


def draw_class_sheet(images: Array, names: Sequence[str]) -> Figure:
    """Draw (K, N, H, W) or (K, N, H, W, 3) bytes, a row for each of K classes, with its name and ``names``.

    Raises
    ------
    VizdiffInputError
        Where there is not one name for each class, or there are more classes than a sheet has room for.
    """
    rows, columns = images.shape[:2]
    if len(names) != rows or not 1 <= rows <= MOST_ROWS:
        raise VizdiffInputError(f"a sheet holds 1 to {MOST_ROWS} classes, each with its name, found {rows}")
    width, height = _NAME + columns * (_SIDE + _GAP) + 0.1, rows * (_SIDE + _GAP) + 0.1
    with theme.use_theme():
        figure = Figure(figsize=(width, height), dpi=theme.DPI, facecolor="white")
        for row, (name, line) in enumerate(zip(names, images, strict=True)):
            top = 1 - (0.05 + row * (_SIDE + _GAP)) / height
            figure.text(
                (_NAME - 0.1) / width,
                top - _SIDE / 2 / height,
                name,
                ha="right",
                va="center",
                fontsize=theme.TEXT_SIZE,
                color=theme.INK,
            )
            for column, image in enumerate(line):
                left = (_NAME + column * (_SIDE + _GAP)) / width
                axes = figure.add_axes((left, top - _SIDE / height, _SIDE / width, _SIDE / height))
                axes.set_axis_off()
                axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="none")
        return figure
