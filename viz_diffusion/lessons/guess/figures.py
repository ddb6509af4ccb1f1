"""The predicted x̂_0 of a denoiser and of the ideal one, at several timesteps.

Knows nothing about how either was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import label_text
from viz_diffusion.plots.panels import write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

DIFFERENCE_LIMIT = 1.0
"""The colours of the difference run from -1 to 1, half of the grey scale."""


@dataclass(frozen=True, eq=False)
class IdealFrames:
    """One image at K timesteps, most noise first; in colour all three are (K, H, W, 3)."""

    timesteps: Array
    """(K,) int, falling."""
    x_t: Array
    """(K, H, W) float, about [-3, 3]."""
    x0_pred: Array
    """(K, H, W) float: x̂_0."""
    ideal: Array
    """(K, H, W) float, in [-1, 1]: E[x_0 | x_t]."""
    x0: Array
    """(H, W) float, in [-1, 1]: the image without noise."""


def draw_ideal(frames: IdealFrames, error: Array, ideal_error: Array, count: int, digit: int) -> Figure:
    """Draw x_t, x̂_0, E[x_0 | x_t] and their difference, one column a timestep; RMS errors beneath.

    ``error`` and ``ideal_error`` are (K,) RMS errors per pixel of ``count`` images, drawn as numbers, the smaller in
    bold; ``digit`` is the label of the image that is drawn.
    """
    with theme.use_theme():
        words = figure_words("ideal")
        figure = theme.new_figure(words("title"))
        left, right, top, gap = 690, 3150, 320, 16
        side = frames.x_t.shape[2]
        pitch = (right - left) / (len(frames.timesteps) + 1)
        factor = max(1, min(9, int(pitch - 20) // side))
        size = side * factor
        difference = (frames.x0_pred - frames.ideal) * (theme.NOISE_LIMIT / DIFFERENCE_LIMIT)
        if difference.ndim == 4:  # of three colours their sum, divided by √3
            difference = difference.sum(axis=-1) / np.sqrt(3)
        rows = (frames.x_t, frames.x0_pred, frames.ideal, difference)
        for row, (name, images) in enumerate(zip(("noised", "network", "ideal", "difference"), rows, strict=True)):
            y = top + row * (size + gap)
            theme.write(figure, left - 40, y + size / 2, words(name), ha="right", va="center", linespacing=1.2)
            for column, image in enumerate(images):
                x = left + column * pitch + (pitch - size) / 2
                (raster.place_noise if row == 3 else raster.place_digit)(figure, x, y, factor, image)
        end = top + 4 * (size + gap)
        theme.write(figure, left - 40, top - 50, words("timestep"), ha="right")
        for column, t in enumerate(frames.timesteps):
            middle = left + (column + 0.5) * pitch
            theme.write(figure, middle, top - 50, str(int(t)), 26)
            for y, own, other in ((end + 62, error, ideal_error), (end + 148, ideal_error, error)):
                better = round(float(own[column]), 3) < round(float(other[column]), 3)
                colour, weight = (theme.PURPLE, "bold") if better else (theme.MUTED, "normal")
                theme.write(figure, middle, y, f"{float(own[column]):.3f}", color=colour, weight=weight)
        theme.write(figure, left - 40, end + 62, words("network_error"), ha="right")
        theme.write(figure, left - 40, end + 148, words("ideal_error"), ha="right")
        x = right - (pitch + size) / 2
        theme.write(figure, x + size / 2, top - 50, words("original"), 26)
        raster.place_digit(figure, x, top, factor, frames.x0)
        theme.colour_bar(
            figure,
            (x + 20, top + 3 * (size + gap) + size // 2 - 40, size - 40, 26),
            theme.NOISE_MAP,
            DIFFERENCE_LIMIT,
            ticks=(-1, 1),
        )
        label = label_text(digit)
        lines = (words("ideal_is", digit=label), words("given", digit=label), words("errors", count=count))
        write_notes(figure, *lines)
        return figure


def rms(errors: Array) -> Array:
    """Return (K,) roots of the means of (K, N) squared errors."""
    return np.asarray(np.sqrt(errors.mean(axis=1)))
