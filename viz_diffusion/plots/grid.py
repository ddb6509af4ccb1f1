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
from viz_diffusion.plots.words import figure_words


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
        words = figure_words("forward")
        figure = theme.new_figure(words("title"))
        rows, side = images.shape[0], images.shape[3]
        left, right, top, bottom, apart, split = 500, 3150, 520, 1670, 36, 50
        pitch = (right - left - split - apart) / columns
        factor = max(1, int(min(pitch - 20, (bottom - top) / rows - 20)) // side)
        row_pitch = min((bottom - top) / rows, side * factor + (pitch - side * factor))
        past = len(timesteps) if crossing is None else int(np.searchsorted(timesteps, crossing))
        lines = (top - 226, top - 138, top - 50)
        for name, baseline in zip(("timestep", "image_weight", "noise_weight"), lines, strict=True):
            theme.write(figure, left - 30, baseline, words(name), ha="right")
        for column in range(columns):
            middle = left + (column + 0.5) * pitch + (apart if column else 0) + (split if column > past else 0)
            for row in range(rows):
                y = top + row * row_pitch
                raster.place_digit(figure, middle - side * factor / 2, y, factor, images[row, column])
            if column:
                signal = float(alphas_cumprod[column - 1])
                weights = (f"{np.sqrt(signal):.2f}", f"{np.sqrt(1 - signal):.2f}")
                theme.write(figure, middle, lines[0], str(int(timesteps[column - 1])), 26)
                for text, baseline in zip(weights, lines[1:], strict=True):
                    theme.write(figure, middle, baseline, text, color=theme.MUTED)
        foot = top + rows * row_pitch + 60
        theme.write(figure, left + pitch / 2, foot, words("original"))
        if 0 < past < len(timesteps):
            x = left + (past + 1) * pitch + apart + split / 2
            theme.page_axes(figure).plot([x, x], [top - 300, foot - 70], color=theme.ORANGE, lw=3)
            theme.write(figure, x, foot, words("crossing"), color=theme.INK)
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
    alphas_cumprod: Array
    """(R,) float, in (0, 1): ᾱ at each timestep; x_t is √ᾱ times the image plus √(1-ᾱ) times the noise."""
    mean_squared_error: Array
    """(R,) float, at least 0: the mean over the pixels of (ε̂ - ε)²."""


_GAPS = (280, 340, 90, 110, 70)
"""Page pixels before each image of a training step."""


def draw_training_step(step: TrainingFrames) -> Figure:
    """Draw a row for each timestep: √ᾱ x_0 + √(1-ᾱ) ε = x_t → ε̂, then ε̂ - ε and its mean square."""
    with theme.use_theme():
        words = figure_words("training_step")
        figure = theme.new_figure(words("title"))
        rows, side = len(step.timesteps), step.x0.shape[2]
        top, bottom, start = 390, 1620, 290
        factor = max(1, min(308, int((bottom - top) / rows - 44)) // side)
        size, pitch = side * factor, (bottom - top) / rows
        lefts = [start + sum(_GAPS[: column + 1]) + column * size for column in range(5)]
        images = (step.x0, step.noise, step.x_t, step.eps_pred, step.error)
        names = ("image", "noise", "noised_image", "predicted_noise", "error")
        for column, (left, name) in enumerate(zip(lefts, names, strict=True)):
            _head(figure, left + size / 2, top, words(name))
            place = raster.place_digit if column in (0, 2) else raster.place_noise
            for row in range(rows):
                place(figure, left, top + row * pitch, factor, images[column][row])
        before = [left - gap / 2 for left, gap in zip(lefts, _GAPS, strict=True)]
        right = lefts[-1] + size + 30
        _head(figure, start - 90, top, words("timestep"))
        _head(figure, before[0], top, "√ᾱ")
        _head(figure, before[1], top, "√(1−ᾱ)")
        _head(figure, right + 200, top, words("mean_square"))
        for row in range(rows):
            y, signal = top + row * pitch + size / 2, float(step.alphas_cumprod[row])
            texts = (f"{np.sqrt(signal):.2f} ×", f"+ {np.sqrt(1 - signal):.2f} ×", "=", "→", "")
            for x, text in zip(before, texts, strict=True):
                theme.write(figure, x, y, text, 20, va="center")
            theme.write(figure, start - 90, y, str(int(step.timesteps[row])), 26, va="center")
            error = f"{float(step.mean_squared_error[row]):.3f}"
            theme.write(figure, right + 200, y, error, theme.NUMBER_SIZE, va="center")
        bars = ((lefts[0], theme.DIGIT_MAP, theme.DIGIT_LIMIT), (lefts[3], theme.NOISE_MAP, theme.NOISE_LIMIT))
        for (left, colours, limit), name in zip(bars, ("image_scale", "noise_scale"), strict=True):
            theme.colour_bar(figure, (left, 1660, 400, 28), colours, limit)
            theme.write(figure, left - 64, 1696, words(name), ha="right")
        return figure


def _head(figure: Figure, x: float, top: float, text: str) -> None:
    """Write the name of a column, of one line or two, above it."""
    theme.write(figure, x, top - 24, text, va="bottom", linespacing=1.2)
