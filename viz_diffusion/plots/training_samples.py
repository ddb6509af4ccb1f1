"""Samples drawn during training from one fixed noise, as a strip and as a film.

Knows nothing about training; the caller chooses the training steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, saving, theme
from viz_diffusion.plots.class_names import label_text
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

MOST_COLUMNS = 13
"""The largest number of columns in a strip; more would make the images too small."""
_FILM_DPI = theme.DPI // 2


@dataclass(frozen=True, eq=False)
class TrainingSamples:
    """Samples from one fixed noise at M training steps."""

    steps: Array
    """(M,) int, rising, above 0: optimizer steps done when the samples were drawn."""
    images: Array
    """(M, N, H, W) float, in [-1, 1]: one sample of each of N labels; N is usually 10."""
    labels: Array
    """(N,) int: the labels the samples were conditioned on."""

    def __post_init__(self) -> None:
        count, rows = len(self.steps), len(self.labels)
        if self.images.ndim not in (4, 5) or self.images.shape[:2] != (count, rows) or not self.images.size:
            raise VizdiffInputError(
                f"looks must hold images of the shape ({count}, {rows}, H, W), found {self.images.shape}"
            )


def draw_training_samples(samples: TrainingSamples) -> Figure:
    """Draw a strip: columns are training steps, rows are labels.

    The last column, the trained network, is set a little apart.

    Raises
    ------
    VizdiffInputError
        Where there are more than ``MOST_COLUMNS`` training steps.
    """
    columns, rows, side = samples.images.shape[:3]
    if columns > MOST_COLUMNS:
        raise VizdiffInputError(f"a strip of looks holds at most {MOST_COLUMNS}, found {columns}")
    with theme.use_theme():
        words = figure_words("learning")
        figure = theme.new_figure(words("title"))
        left, right, top, bottom, apart = 250, 3140, 304, 1792, 60
        pitch = min((right - left - apart) / columns, 330)
        factor = max(1, int(min(pitch - 16, (bottom - top) / rows - 8)) // side)
        row_pitch = (bottom - top) / rows
        start = left + max(0.0, (right - left - apart - pitch * columns) / 2)
        theme.write(figure, start + 30, top - 96, words("training_step"), ha="left")
        theme.write(figure, start - 30, top - 22, words("label"), ha="right")
        for row, label in enumerate(samples.labels):
            baseline = top + row * row_pitch + side * factor / 2 + 34
            name = label_text(label, start - 60)
            size = theme.NUMBER_SIZE if len(name) < 3 else theme.TEXT_SIZE
            theme.write(figure, start - 30 * (1 + (len(name) < 3)), baseline, name, size, ha="right")
        for column, step in enumerate(samples.steps):
            last = column == columns - 1
            middle = start + (column + 0.5) * pitch + (apart if last and columns > 1 else 0)
            size = 22 if last else 20
            theme.write(figure, middle, top - 22, str(int(step)), size, color=theme.INK if last else theme.MUTED)
            for row in range(rows):
                x, y = middle - side * factor / 2, top + row * row_pitch
                raster.place_digit(figure, x, y, factor, samples.images[column, row])
        return figure


def draw_film_frame(samples: TrainingSamples, index: int) -> Figure:
    """Draw the samples at one training step: digits in rows of five, the step above, and a gauge of training progress.

    ``index`` counts the training steps of ``samples``, 0 .. M-1.
    """
    rows, side = -(-samples.images.shape[1] // 5), samples.images.shape[3]
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        left, right, top, bottom = 100, 3100, 400, 1740
        pitch, row_pitch = (right - left) / 5, (bottom - top) / rows
        factor = max(2, int(min(pitch - 40, row_pitch - 40)) // side // 2 * 2)  # even: the film has half the pixels
        title = figure_words("learning")("after", count=int(samples.steps[index]))
        theme.write(figure, (left + right) / 2, 200, title, 44)
        share = float(samples.steps[index] / samples.steps[-1])
        theme.gauge(page, left, 270, right - left, share, 16, theme.INK)
        for place, image in enumerate(samples.images[index]):
            row, column = divmod(place, 5)
            x = left + (column + 0.5) * pitch - side * factor / 2
            y = top + (row + 0.5) * row_pitch - side * factor / 2
            raster.place_digit(figure, 2 * round(x / 2), 2 * round(y / 2), factor, image)
        return figure


def training_samples_film(samples: TrainingSamples) -> NDArray[np.float64]:
    """Return a film, (M, 900, 1600) float in [-1, 1]: a frame of :func:`draw_film_frame` for each training step."""
    frames = []
    for index in range(len(samples.steps)):
        figure = draw_film_frame(samples, index)
        figure.set_dpi(_FILM_DPI)
        frames.append(saving.figure_pixels(figure).mean(axis=2) / 127.5 - 1)
    return np.stack(frames)
