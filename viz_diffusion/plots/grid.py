"""Grids of images: the forward process, and the images of one training step.

Knows nothing about the noise schedule; its values are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array


def draw_forward(images: Array, timesteps: Array, alphas_cumprod: Array, crossing: int | None) -> Figure:
    """Draw digits under increasing noise, with √ᾱ and √(1-ᾱ) over each column.

    Parameters
    ----------
    images
        (N, 1+K, H, W[, 3]) float, about [-3, 3]: x_0, then x_t at each timestep; N is usually 5, K usually 10.
    timesteps
        (K,) int, rising.
    alphas_cumprod
        (K,) float, in (0, 1), at those timesteps.
    crossing
        The first t whose SNR is below 1, or None; a line is drawn before the first column with t >= crossing.
    """
    columns = len(timesteps) + 1
    if images.ndim not in (4, 5) or images.shape[1] != columns or len(alphas_cumprod) != columns - 1:
        raise VizdiffInputError(f"images must have the shape (N, {columns}, H, W), found {images.shape}")
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        rows, side = images.shape[0], images.shape[3]
        left, right, top, bottom, split = 70, 3130, 420, 1650, 56
        pitch = (right - left - split - 40) / columns
        factor = max(1, int(min(pitch - 20, (bottom - top) / rows - 20)) // side)
        row_pitch = min((bottom - top) / rows, side * factor + (pitch - side * factor))
        past = len(timesteps) if crossing is None else int(np.searchsorted(timesteps, crossing))
        for column in range(columns):
            shift = (0 if column == 0 else 40) + (split if column > past else 0)
            middle = left + (column + 0.5) * pitch + shift
            for row in range(rows):
                raster.place_digit(
                    figure, middle - side * factor / 2, top + row * row_pitch, factor, images[row, column]
                )
            if column == 0:
                theme.write(figure, middle, top - 285, "$t$", theme.NUMBER_SIZE)
                theme.write(figure, middle, top - 172, r"$\sqrt{\bar{\alpha}}$", 20, color=theme.MUTED)
                theme.write(figure, middle, top - 52, r"$\sqrt{1-\bar{\alpha}}$", 20, color=theme.MUTED)
                continue
            signal = float(alphas_cumprod[column - 1])
            theme.write(figure, middle, top - 285, str(int(timesteps[column - 1])), theme.NUMBER_SIZE)
            theme.write(figure, middle, top - 172, f"{np.sqrt(signal):.2f}", color=theme.MUTED)
            theme.write(figure, middle, top - 52, f"{np.sqrt(1 - signal):.2f}", color=theme.MUTED)
        if 0 < past < len(timesteps):
            x = left + (past + 1) * pitch + 40 + split / 2
            end = top + rows * row_pitch + 10
            page.plot([x, x], [top - 355, end], color=theme.ORANGE, lw=3)
            theme.write(figure, x, end + 75, "SNR = 1", 22)
        theme.write(figure, left + pitch / 2, top + rows * row_pitch + 85, theme.X_0, theme.SYMBOL_SIZE)
        return figure


@dataclass(frozen=True, eq=False)
class TrainingFrames:
    """The images of one training step at R timesteps; in colour x0 and x_t are (R, H, W, 3)."""

    timesteps: Array
    """(R,) int: the timestep of each row, usually 100, 300, 600."""
    x0: Array
    """(R, H, W) float, in [-1, 1]."""
    noise: Array
    """(R, H, W) float, standard normal: the added noise ε."""
    x_t: Array
    """(R, H, W) float, about [-3, 3]."""
    eps_pred: Array
    """(R, H, W) float, about [-3, 3]: the predicted noise ε̂."""
    error: Array
    """(R, H, W) float: ε̂ - ε."""
    mean_squared_error: Array
    """(R,) float, at least 0: the mean over the pixels of (ε̂ - ε)²."""


def draw_training_step(step: TrainingFrames) -> Figure:
    """Draw a row for each timestep: x_0 + ε → x_t → ε̂, then ε̂ - ε and its mean square."""
    with theme.use_theme():
        figure = theme.new_figure()
        rows, side = len(step.timesteps), step.x0.shape[2]
        top, bottom, left, gap = 232, 1606, 330, 104
        factor = max(1, min(14, int((bottom - top) / rows - 44) // side))
        size = side * factor
        pitch = (bottom - top) / rows
        symbols = (theme.X_0, theme.EPS, theme.X_T, theme.EPS_PRED, r"$\hat{\varepsilon}-\varepsilon$")
        between = ("+", "→", "→", "")
        for column, symbol in enumerate(symbols):
            x = left + column * (size + gap)
            theme.write(figure, x + size / 2, top - 60, symbol, 36)
            for row in range(rows):
                y = top + row * pitch
                image = (step.x0, step.noise, step.x_t, step.eps_pred, step.error)[column][row]
                place = raster.place_digit if column in (0, 2) else raster.place_noise
                place(figure, x, y, factor, image)
                if column < 4 and between[column]:
                    theme.write(figure, x + size + gap / 2, y + size / 2, between[column], 32, va="center")
        right = left + 5 * size + 4 * gap
        theme.write(figure, 80, top - 60, "$t$", 36, ha="left")
        theme.write(figure, right + 50, top - 60, theme.MEAN_SQUARE, 26, ha="left")
        for row in range(rows):
            y = top + row * pitch + size / 2 + 40
            theme.write(figure, 80, y, str(int(step.timesteps[row])), theme.NUMBER_SIZE, ha="left")
            error = f"{float(step.mean_squared_error[row]):.3f}"
            theme.write(figure, right + 50, y, error, theme.NUMBER_SIZE, ha="left")
        theme.colour_bar(figure, (left + size + gap, 1640, size, 28), theme.NOISE_MAP, theme.NOISE_LIMIT)
        theme.colour_bar(figure, (left, 1640, size, 28), theme.DIGIT_MAP, theme.DIGIT_LIMIT)
        return figure
