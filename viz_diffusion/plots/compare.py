"""Two generations from the same noise, one above the other: an unchanged one, and one with changed network inputs.

Knows nothing about what was changed; the caller chooses the frames and gives the inputs at each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.strip import StepFrames

MOST_FRAMES = 11
"""The largest number of columns, without the finished image."""
_LEFT, _RIGHT = 240, 3150
_HEADER, _FOOT, _BETWEEN, _LINE, _GAP, _MARGIN = 330, 150, 80, 84, 12, 40


@dataclass(frozen=True)
class ChangedInput:
    """One input of the network at each frame, in both generations."""

    symbol: str
    """The input: ``$y$`` (label), ``$t$`` (timestep) or ``$s$`` (guidance scale)."""
    plain: tuple[str, ...]
    """(F,) texts: its values in the unchanged generation."""
    changed: tuple[str, ...]
    """(F,) texts: its values in the changed generation; drawn in orange where they differ."""


def draw_compare(plain: StepFrames, changed: StepFrames, inputs: tuple[ChangedInput, ...] = ()) -> Figure:
    """Draw x_t and x̂_0 of the unchanged generation, and beneath them those of the changed one at the same steps.

    The header of each column gives the steps left, t and ᾱ, as in a strip. Above the images of each generation is a
    line for each entry of ``inputs``.

    Raises
    ------
    VizdiffInputError
        Where the two differ in timesteps or image size, or have more than 11 frames.
    """
    frames = len(plain.timesteps)
    if not np.array_equal(plain.timesteps, changed.timesteps) or plain.x0.shape != changed.x0.shape:
        raise VizdiffInputError("two runs are compared at the same timesteps and in the same size")
    if frames > MOST_FRAMES:
        raise VizdiffInputError(f"a comparison has room for {MOST_FRAMES} frames, found {frames}")
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        side, columns = plain.x0.shape[1], frames + 1
        height = (theme.PAGE_HEIGHT - _MARGIN - _HEADER - _FOOT - _BETWEEN) // 2 - _LINE * len(inputs) - _GAP
        large = max(1, min(280, (_RIGHT - _LEFT) // columns - 12, height * 10 // 17) // side)
        small = max(1, round(0.7 * large))
        pitch = min((_RIGHT - _LEFT) / columns, side * large + 60)
        left = _LEFT + max(0.0, (_RIGHT - _LEFT - pitch * columns) / 2)
        block = _LINE * len(inputs) + side * (large + small) + _GAP
        top = (theme.PAGE_HEIGHT - _HEADER - _FOOT - _BETWEEN - 2 * block + _MARGIN) / 2
        _draw_header(figure, page, plain, left, top, pitch, side * large)
        for generation, is_changed in ((plain, False), (changed, True)):
            start = top + _HEADER + is_changed * (block + _BETWEEN)
            _draw_inputs(figure, inputs, is_changed, left, start, pitch)
            _draw_generation(figure, generation, is_changed, left, start + _LINE * len(inputs), pitch, large, small)
        grey = (left + pitch * columns - 420, theme.PAGE_HEIGHT - 118, 400, 26)
        theme.colour_bar(figure, grey, theme.DIGIT_MAP, theme.DIGIT_LIMIT)
        return figure


def _draw_header(
    figure: Figure, page: Axes, frames: StepFrames, left: float, top: float, pitch: float, width: int
) -> None:
    """Draw the steps left, t, ᾱ and its gauge over every column, and an arrow in the direction of sampling."""
    count = len(frames.timesteps)
    theme.write(figure, left - 44, top + 178, "$t$", 20, color=theme.MUTED, ha="right")
    theme.write(figure, left - 44, top + 258, theme.ALPHA_BAR, 20, color=theme.MUTED, ha="right")
    size = theme.NUMBER_SIZE if pitch >= 275 else 24
    for index in range(count + 1):
        finished = index == count
        middle, edge = left + (index + 0.5) * pitch, left + (index + 0.5) * pitch - width / 2
        share = 1.0 if finished else float(frames.alphas_cumprod[index])
        theme.write(figure, middle, top + 92, "0" if finished else str(int(frames.steps_left[index])), size)
        theme.gauge(page, edge, top + 290, width, share)
        if not finished:
            theme.write(figure, middle, top + 178, str(int(frames.timesteps[index])), color=theme.MUTED)
            theme.write(figure, middle, top + 258, theme.percent(share), color=theme.MUTED)
    theme.arrow(page, (left, top - 8), (left + pitch * (count + 1), top - 8), mutation_scale=22)


def _draw_inputs(
    figure: Figure, inputs: tuple[ChangedInput, ...], is_changed: bool, left: float, top: float, pitch: float
) -> None:
    """Write a generation's network inputs over its columns, a line for each input."""
    for line, entry in enumerate(inputs):
        baseline = top + _LINE * line + 56
        symbol = theme.primed(entry.symbol) if is_changed else entry.symbol
        theme.write(figure, left - 44, baseline, symbol, 24, ha="right")
        for index, (plain, changed) in enumerate(zip(entry.plain, entry.changed, strict=True)):
            differs = is_changed and plain != changed
            style = {"color": theme.ORANGE, "weight": "bold"} if differs else {"color": theme.INK}
            theme.write(figure, left + (index + 0.5) * pitch, baseline, changed if is_changed else plain, 20, **style)


def _draw_generation(
    figure: Figure, frames: StepFrames, is_changed: bool, left: float, top: float, pitch: float, large: int, small: int
) -> None:
    """Draw x_t at each frame, x̂_0 beneath it, and the finished image at the end."""
    side = frames.x0.shape[1]
    lower = top + side * large + _GAP
    for symbol, y in ((theme.X_T, top + side * large / 2), (theme.X0_PRED, lower + side * small / 2)):
        theme.write(figure, left - 44, y + 26, theme.primed(symbol) if is_changed else symbol, 32, ha="right")
    for index in range(len(frames.timesteps)):
        middle = left + (index + 0.5) * pitch
        raster.place_digit(figure, middle - side * large / 2, top, large, frames.x_t[index])
        raster.place_digit(figure, middle - side * small / 2, lower, small, frames.x0_pred[index])
    middle = left + (len(frames.timesteps) + 0.5) * pitch
    raster.place_digit(figure, middle - side * large / 2, top, large, frames.x0)
