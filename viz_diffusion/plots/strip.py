"""Strips of frames: one generation from noise to digit, and generations that differ only in the label.

Knows nothing about sampling; the caller chooses which frames are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import label_text
from viz_diffusion.plots.theme import Array

_LONGEST_BAND = 12
"""The largest number of columns in one band."""
_LEFT, _RIGHT = 220, 3150
_LARGEST = {1: 336, 2: 196}
"""The largest width of an image in page pixels, by the number of bands."""


@dataclass(frozen=True, eq=False)
class StepFrames:
    """The recorded frames of one generation, most noise first, and the finished image.

    Colour images are (H, W, 3) instead of (H, W); predicted noise is always (H, W).
    """

    x_t: Array
    """(F, H, W) float, about [-3, 3]: the state x_t at the start of each step."""
    x0_pred: Array
    """(F, H, W) float, about [-1, 1]: the predicted x̂_0 of each step."""
    eps_pred: Array
    """(F, H, W) float, about [-3, 3]: the predicted noise ε̂ of each step."""
    timesteps: Array
    """(F,) int or float, falling, 0 .. T-1; shown rounded."""
    alphas_cumprod: Array
    """(F,) float, in (0, 1): ᾱ, the signal's share of power, at each timestep."""
    steps_left: Array
    """(F,) int, at least 1: denoising steps still to be done, this one included."""
    x0: Array
    """(H, W) float, in [-1, 1]: the finished image."""

    def __post_init__(self) -> None:
        count = len(self.timesteps)
        rows = (self.x_t, self.x0_pred, self.eps_pred, self.alphas_cumprod, self.steps_left)
        if not 1 <= count < 2 * _LONGEST_BAND or any(len(row) != count for row in rows):
            raise VizdiffInputError(f"a strip holds 1 to {2 * _LONGEST_BAND - 1} frames of every kind")
        bands = 1 if count < _LONGEST_BAND else 2
        width = min(_LARGEST[bands], int((_RIGHT - _LEFT) / -(-(count + 1) // bands)) - 12)
        if max(self.x0.shape[:2]) > width:
            raise VizdiffInputError(
                f"a strip of {count} frames has room for images of {width} pixels a side, found {self.x0.shape[:2]}; "
                "choose fewer `frames`"
            )


def draw_steps(frames: StepFrames) -> Figure:
    """Draw one generation: columns are frames, then the finished image; rows are x_t, x̂_0 and ε̂.

    The header of each column gives the steps left (large), t, and ᾱ in percent with a gauge of ᾱ. More than eleven
    frames are drawn in two bands.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        columns = len(frames.timesteps) + 1
        bands = 1 if columns <= _LONGEST_BAND else 2
        for band in range(bands):
            length = -(-columns // bands)
            _draw_band(figure, frames, range(band * length, min(columns, (band + 1) * length)), band, bands)
        return figure


def _draw_band(figure: Figure, frames: StepFrames, shown: range, band: int, bands: int) -> None:
    """Draw the columns ``shown`` of a strip as band number ``band`` of ``bands``."""
    side = frames.x0.shape[1]
    length = -(-(len(frames.timesteps) + 1) // bands)
    most = _LARGEST[bands]
    large = max(1, min(most, int((_RIGHT - _LEFT) / length) - 12) // side)
    small = max(1, round(0.7 * large))
    pitch = min((_RIGHT - _LEFT) / length, side * large + 60)
    left = _LEFT + max(0.0, (_RIGHT - _LEFT - pitch * length) / 2)
    gap = 104 if bands == 1 else 16
    header = 330 if bands == 1 else 250
    block = header + side * (large + 2 * small) + 2 * gap
    foot = 230 if bands == 1 else 150
    spare = theme.PAGE_HEIGHT - bands * block - foot
    top = spare / (bands + 1) + band * (block + spare / (bands + 1))
    size = theme.NUMBER_SIZE if pitch >= 275 else 24
    page = theme.page_axes(figure)
    tops = [top + header]
    tops += [tops[0] + side * large + gap, tops[0] + side * (large + small) + 2 * gap]
    baselines = (top + 90, top + 178, top + 262) if bands == 1 else (top + 62, top + 130, top + 203)
    rows = ((theme.X_T, large), (theme.X0_PRED, small), (theme.EPS_PRED, small))
    for (symbol, factor), y in zip(rows, tops, strict=True):
        height = 34 if bands == 1 else theme.SYMBOL_SIZE
        theme.write(figure, left - 44, y + side * factor / 2 + 30, symbol, height, ha="right")
    theme.write(figure, left - 44, baselines[1], "$t$", 20, color=theme.MUTED, ha="right")
    theme.write(figure, left - 44, baselines[2], theme.ALPHA_BAR, 20, color=theme.MUTED, ha="right")
    for place, index in enumerate(shown):
        middle = left + (place + 0.5) * pitch
        edge = middle - side * large / 2
        finished = index == len(frames.timesteps)
        steps_left = 0 if finished else int(frames.steps_left[index])
        share = 1.0 if finished else float(frames.alphas_cumprod[index])
        theme.write(figure, middle, baselines[0], str(steps_left), size)
        theme.gauge(page, edge, top + header - 32, side * large, share)
        raster.place_digit(figure, edge, tops[0], large, frames.x0 if finished else frames.x_t[index])
        if finished:
            continue
        theme.write(figure, middle, baselines[1], str(round(float(frames.timesteps[index]))), color=theme.MUTED)
        theme.write(figure, middle, baselines[2], theme.percent(share), color=theme.MUTED)
        inner = middle - side * small / 2
        raster.place_digit(figure, inner, tops[1], small, frames.x0_pred[index])
        raster.place_noise(figure, inner, tops[2], small, frames.eps_pred[index])
    end = left + pitch * len(shown)
    height = top - (22 if bands == 1 else 16)
    theme.arrow(page, (left, height), (end, height), mutation_scale=26 if bands == 1 else 18)
    if band == bands - 1:
        noise = (end - 420, theme.PAGE_HEIGHT - foot + 20, 400, 28)
        grey = (end - 1160, *noise[1:])
        theme.colour_bar(figure, noise, theme.NOISE_MAP, theme.NOISE_LIMIT, theme.EPS_PRED)
        theme.colour_bar(figure, grey, theme.DIGIT_MAP, theme.DIGIT_LIMIT, theme.X_T)


def draw_ten_digits(images: Array, steps_left: Array, labels: Array) -> Figure:
    """Draw generations from the same noise: columns are labels, rows are frames, the last row is the finished image.

    Parameters
    ----------
    images
        (L, F, H, W[, 3]) float, about [-3, 3] falling to [-1, 1]: x_t of each generation, most noise first; L is
        usually 10 and F usually 8.
    steps_left
        (F,) int, falling to 0: the steps left at each frame.
    labels
        (L,) int: the label of each generation.
    """
    if images.ndim not in (4, 5) or images.shape[:2] != (len(labels), len(steps_left)):
        raise VizdiffInputError(
            f"images must have the shape ({len(labels)}, {len(steps_left)}, H, W), found {images.shape}"
        )
    with theme.use_theme():
        figure = theme.new_figure()
        count, rows, side = images.shape[0], images.shape[1], images.shape[3]
        left, right, top, bottom, gap = 300, 3150, 180, 1750, 13
        pitch = min((right - left) / count, 560)
        left += round((right - left - pitch * count) / 2)
        large = max(1, min(int(pitch - 20), 252) // side)
        small = max(1, int((bottom - top - 30 - side * large) / max(1, rows - 1) - gap) // side)
        small = min(small, large)
        for column, label in enumerate(labels):
            middle = left + (column + 0.5) * pitch
            theme.write(figure, middle, top - 50, label_text(label), 36 if len(label_text(label)) <= pitch / 45 else 20)
            for row in range(rows):
                factor = large if row == rows - 1 else small
                y = top + row * (side * small + gap) + (22 if row == rows - 1 else 0)
                raster.place_digit(figure, middle - side * factor / 2, y, factor, images[column, row])
                if column == 0:
                    size = theme.NUMBER_SIZE if row == rows - 1 else 24
                    baseline = y + side * factor / 2 + 0.37 * size * theme.DPI / 72
                    theme.write(figure, left - 40, baseline, str(int(steps_left[row])), size, ha="right")
        return figure
