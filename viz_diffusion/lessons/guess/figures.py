"""The predicted x̂_0 of a denoiser and of the ideal one, at several timesteps.

Knows nothing about how either was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

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


def draw_ideal(frames: IdealFrames, error: Array, ideal_error: Array) -> Figure:
    """Draw x_t, x̂_0, E[x_0 | x_t] and their difference, one column a timestep; RMS errors beneath.

    ``error`` and ``ideal_error`` are (K,) RMS errors per pixel of many images, drawn as numbers.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top = 480, 3170, 190
        count, side = len(frames.timesteps), frames.x_t.shape[2]
        pitch = (right - left) / count
        factor = max(1, min(11, int(pitch - 20) // side))
        size, gap = side * factor, 40
        difference = (frames.x0_pred - frames.ideal) * (theme.NOISE_LIMIT / DIFFERENCE_LIMIT)
        if difference.ndim == 4:  # of three colours their sum, divided by √3
            difference = difference.sum(axis=-1) / np.sqrt(3)
        rows = (
            (theme.X_T, frames.x_t),
            (theme.X0_PRED, frames.x0_pred),
            (r"$\mathrm{E}[x_0|x_t]$", frames.ideal),
            (r"$\hat{x}_0-\mathrm{E}$", difference),
        )
        for row, (symbol, images) in enumerate(rows):
            y = top + row * (size + gap)
            theme.write(figure, left - 40, y + size / 2 + 20, symbol, theme.SYMBOL_SIZE, ha="right")
            for column, image in enumerate(images):
                x = left + column * pitch + (pitch - size) / 2
                (raster.place_noise if row == 3 else raster.place_digit)(figure, x, y, factor, image)
        end = top + 4 * (size + gap)
        theme.write(figure, left - 40, top - 60, "$t$", theme.SYMBOL_SIZE, ha="right")
        for y, symbol in ((end + 70, r"RMS $\hat{x}_0-x_0$"), (end + 160, r"RMS $\mathrm{E}-x_0$")):
            theme.write(figure, left - 40, y, symbol, 20, ha="right")
        for column, t in enumerate(frames.timesteps):
            middle = left + (column + 0.5) * pitch
            theme.write(figure, middle, top - 60, str(int(t)), theme.NUMBER_SIZE)
            theme.write(figure, middle, end + 70, f"{float(error[column]):.3f}", 20)
            theme.write(figure, middle, end + 160, f"{float(ideal_error[column]):.3f}", 20, color=theme.MUTED)
        bar = (left + int((pitch - size) / 2), 1690, 420, 26)
        theme.colour_bar(figure, bar, theme.NOISE_MAP, DIFFERENCE_LIMIT)
        return figure


def rms(errors: Array) -> Array:
    """Return (K,) roots of the means of (K, N) squared errors."""
    return np.asarray(np.sqrt(errors.mean(axis=1)))
