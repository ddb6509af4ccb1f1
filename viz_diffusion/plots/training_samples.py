"""Learning, frame by frame: what a network drew from one noise while it was trained.

Knows nothing about training; which looks are shown is chosen by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, saving, theme
from viz_diffusion.plots.theme import Array

MOST_LOOKS = 13
"""Columns of a strip: more would be specks."""
_STEPS_DONE = "∇"
_FILM_DPI = theme.DPI // 2


@dataclass(frozen=True, eq=False)
class LearningFrames:
    """Samples from one fixed noise, after more and more training."""

    steps: Array
    """(L,) int, rising, above 0: optimizer steps done at each look."""
    images: Array
    """(L, N, H, W) float, in [-1, 1]: one sample of each of N labels; N is usually 10."""
    labels: Array
    """(N,) int: what was asked for."""

    def __post_init__(self) -> None:
        wanted = (len(self.steps), len(self.labels))
        if self.images.ndim != 4 or self.images.shape[:2] != wanted or not self.images.size:
            raise VizdiffInputError(
                f"looks must hold images of the shape ({wanted[0]}, {wanted[1]}, H, W), found {self.images.shape}"
            )


def draw_learning(frames: LearningFrames) -> Figure:
    """Draw a strip: columns are looks with the steps done, rows are labels.

    The last column, the trained network, stands a little apart.

    Raises
    ------
    VizdiffInputError
        Where there are more than ``MOST_LOOKS`` looks.
    """
    looks, rows, side = frames.images.shape[:3]
    if looks > MOST_LOOKS:
        raise VizdiffInputError(f"a strip of looks holds at most {MOST_LOOKS}, found {looks}")
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top, bottom, apart = 250, 3140, 220, 1740, 60
        pitch = min((right - left - apart) / looks, 330)
        factor = max(1, int(min(pitch - 16, (bottom - top) / rows - 8)) // side)
        row_pitch = (bottom - top) / rows
        start = left + max(0.0, (right - left - apart - pitch * looks) / 2)
        theme.write(figure, left - 150, top - 80, _STEPS_DONE, theme.SYMBOL_SIZE)
        for row, label in enumerate(frames.labels):
            baseline = top + row * row_pitch + side * factor / 2 + 34
            theme.write(figure, start - 60, baseline, str(int(label)), theme.NUMBER_SIZE, ha="right")
        for column, step in enumerate(frames.steps):
            last = column == looks - 1
            middle = start + (column + 0.5) * pitch + (apart if last and looks > 1 else 0)
            size = 22 if last else 20
            theme.write(figure, middle, top - 80, str(int(step)), size, color=theme.INK if last else theme.MUTED)
            for row in range(rows):
                x, y = middle - side * factor / 2, top + row * row_pitch
                raster.place_digit(figure, x, y, factor, frames.images[column, row])
        return figure


def draw_learning_frame(frames: LearningFrames, look: int) -> Figure:
    """Draw one look: the digits in rows of five, the steps done above, and a gauge of their share of all."""
    rows, side = -(-frames.images.shape[1] // 5), frames.images.shape[-1]
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        left, right, top, bottom = 100, 3100, 400, 1740
        pitch, row_pitch = (right - left) / 5, (bottom - top) / rows
        factor = max(2, int(min(pitch - 40, row_pitch - 40)) // side // 2 * 2)  # even: the film has half the pixels
        theme.write(figure, (left + right) / 2, 200, f"{_STEPS_DONE} {int(frames.steps[look])}", 44)
        share = float(frames.steps[look] / frames.steps[-1])
        page.add_patch(Rectangle((left, 270), right - left, 16, color=theme.FAINT, lw=0))
        page.add_patch(Rectangle((left, 270), (right - left) * share, 16, color=theme.INK, lw=0))
        for index, image in enumerate(frames.images[look]):
            row, column = divmod(index, 5)
            x = left + (column + 0.5) * pitch - side * factor / 2
            y = top + (row + 0.5) * row_pitch - side * factor / 2
            raster.place_digit(figure, 2 * round(x / 2), 2 * round(y / 2), factor, image)
        return figure


def learning_film(frames: LearningFrames) -> NDArray[np.float64]:
    """Return the looks as a film: (L, 900, 1600) float in [-1, 1], one frame a look, as drawn by the above."""
    shown = []
    for look in range(len(frames.steps)):
        figure = draw_learning_frame(frames, look)
        figure.set_dpi(_FILM_DPI)
        shown.append(saving.figure_pixels(figure).mean(axis=2) / 127.5 - 1)
    return np.stack(shown)
