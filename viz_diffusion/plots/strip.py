"""Strips of frames: one generation from noise to digit, and generations that differ only in the label.

Knows nothing about sampling; the caller chooses which frames are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import fitted_title, has_letters, label_text
from viz_diffusion.plots.frame_header import (
    LABELS,
    Columns,
    Frame,
    draw_direction,
    draw_header,
    header_height,
    name_row,
)
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LONGEST_BAND = 12
"""The largest number of columns in one band."""
_LEFT, _RIGHT = LABELS, 3150
_TOP, _BARS = 156, 1690
LATENT_LIMIT = 3.0
"""The number of a latent that is drawn white; minus it is drawn black."""
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
    prompt: str = ""
    """The prompt, which the title names; empty where there is none."""
    latent_channels: int = 0
    """How many channels of a latent the pictures of x_t show, white at 3; 0 where x_t is an image."""

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
    """Draw one generation: columns are frames, then the finished image; rows are x_t, x̂_0 and ε̂, equally large.

    The header of each column gives the steps left (large), t, and ᾱ in percent with a gauge of ᾱ. More than eleven
    frames are drawn in two bands.
    """
    with theme.use_theme():
        words = figure_words("steps")
        named = frames.prompt and has_letters(frames.prompt)
        title = fitted_title(words("prompt_title", prompt="{prompt}"), frames.prompt) if named else words("title")
        figure = theme.new_figure(title)
        columns = len(frames.timesteps) + 1
        bands = 1 if columns <= _LONGEST_BAND else 2
        for band in range(bands):
            length = -(-columns // bands)
            _draw_band(figure, frames, range(band * length, min(columns, (band + 1) * length)), band, bands)
        latent = ((500, 300, theme.DIGIT_MAP, LATENT_LIMIT, words("noised_image_short")),)
        bars = (
            *(latent if frames.latent_channels else ()),
            (1540 if frames.latent_channels else 1000, 400, theme.DIGIT_MAP, theme.DIGIT_LIMIT, words("image_scale")),
            (_RIGHT - 400, 400, theme.NOISE_MAP, theme.NOISE_LIMIT, words("noise_scale")),
        )
        for left, width, colours, limit, name in bars:
            theme.colour_bar(figure, (left, _BARS, width, 28), colours, limit)
            theme.write(figure, left - 64, _BARS + 36, name, ha="right")
        return figure


def _draw_band(figure: Figure, frames: StepFrames, shown: range, band: int, bands: int) -> None:
    """Draw the columns ``shown`` of a strip as band number ``band`` of ``bands``."""
    side, words, page = frames.x0.shape[1], figure_words("steps"), theme.page_axes(figure)
    length = -(-(len(frames.timesteps) + 1) // bands)
    line, gap, arrow = (96, 48, 36) if bands == 1 else (76, 10, 22)
    room = (_BARS - 28 - _TOP) / bands
    header = arrow + header_height(line)
    across = min(_LARGEST[bands], int((_RIGHT - _LEFT) / length) - 12)
    factor = max(1, min(across // side, int((room - header - 2 * gap) / 3) // side))
    size = side * factor
    pitch = min((_RIGHT - _LEFT) / length, size + 60)
    columns = Columns(_LEFT + max(0.0, (_RIGHT - _LEFT - pitch * length) / 2), pitch, size)
    top = _TOP + band * room + (room - header - 3 * size - 2 * gap) / 2
    said = [
        Frame(int(left), float(t), float(share))
        for left, t, share in zip(frames.steps_left, frames.timesteps, frames.alphas_cumprod, strict=True)
    ]
    draw_direction(page, columns, len(shown), top)
    draw_header(figure, page, columns, [*said, Frame(0, None, 1.0)][shown.start : shown.stop], top + arrow, line)
    tops = [top + header + row * (size + gap) for row in range(3)]
    for y, name in zip(tops, ("noised_image", "predicted_x0", "predicted_noise"), strict=True):
        named = words(name if bands == 1 else f"{name}_short", channels=frames.latent_channels)
        name_row(figure, columns, y + size / 2, named)
    for place, index in enumerate(shown):
        edge = columns.middle(place) - size / 2
        if index == len(frames.timesteps):
            raster.place_digit(figure, edge, tops[0], factor, frames.x0)
            continue
        raster.place_digit(figure, edge, tops[0], factor, frames.x_t[index])
        raster.place_digit(figure, edge, tops[1], factor, frames.x0_pred[index])
        raster.place_noise(figure, edge, tops[2], factor, frames.eps_pred[index])


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
        words = figure_words("ten_digits")
        figure = theme.new_figure(words("title"))
        count, rows, side = images.shape[0], images.shape[1], images.shape[3]
        left, right, top, bottom, gap = LABELS, 3150, 300, 1776, 10
        pitch = min((right - left) / count, 560)
        left += round((right - left - pitch * count) / 2)
        large = max(1, min(int(pitch - 20), 196) // side)
        small = max(1, int((bottom - top - 22 - side * large) / max(1, rows - 1) - gap) // side)
        small = min(small, large)
        columns = Columns(left, pitch, side * large)
        name_row(figure, columns, top - 36, words("label"), va="baseline")
        for column, label in enumerate(labels):
            middle = columns.middle(column)
            size = theme.NUMBER_SIZE if len(label_text(label)) <= pitch / 45 else theme.TEXT_SIZE
            theme.write(figure, middle, top - 36, label_text(label, pitch - 16, size), size)
            for row in range(rows):
                last = row == rows - 1
                factor = large if last else small
                y = top + row * (side * small + gap) + (22 if last else 0)
                raster.place_digit(figure, middle - side * factor / 2, y, factor, images[column, row])
                if column == 0:
                    count = str(int(steps_left[row]))
                    name = words("finished_image") if last else words("first", count=count) if row == 0 else count
                    name_row(figure, columns, y + side * factor / 2, name)
        return figure
