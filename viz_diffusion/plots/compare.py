"""Two runs above each other, frame by frame: one as it was asked, one whose network was told something else.

Knows nothing about what was changed; which frames are shown, and what was told at each, is chosen by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.strip import StepFrames

MOST_FRAMES = 11
"""What one band has room for, beside the finished image."""
_LEFT, _RIGHT = 240, 3150
_HEADER, _FOOT, _BETWEEN, _LINE, _GAP, _MARGIN = 330, 150, 80, 84, 12, 40


@dataclass(frozen=True)
class ChangedInput:
    """One thing that the network was told at each frame, in both runs."""

    symbol: str
    """What it is: ``$y$``, ``$t$`` or ``$s$``."""
    plain: tuple[str, ...]
    """(F,) in the plain run."""
    changed: tuple[str, ...]
    """(F,) in the other one; drawn in orange where it differs."""


def draw_compare(plain: StepFrames, changed: StepFrames, told: tuple[ChangedInput, ...] = ()) -> Figure:
    """Draw x_t and x̂_0 of the plain run, and beneath them those of the changed one at the same steps.

    Over each column stand the steps left, t and ᾱ, as over a strip; over each run's pictures what its network was
    told, a line for each entry of ``told``.

    Raises
    ------
    VizdiffInputError
        Where the two show other steps, or more than 11.
    """
    frames = len(plain.timesteps)
    if not np.array_equal(plain.timesteps, changed.timesteps) or plain.x0.shape != changed.x0.shape:
        raise VizdiffInputError("two runs are compared at the same timesteps and in the same size")
    if frames > MOST_FRAMES:
        raise VizdiffInputError(f"a comparison has room for {MOST_FRAMES} frames, found {frames}")
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        side, columns = plain.x0.shape[-1], frames + 1
        height = (theme.PAGE_HEIGHT - _MARGIN - _HEADER - _FOOT - _BETWEEN) // 2 - _LINE * len(told) - _GAP
        large = max(1, min(280, (_RIGHT - _LEFT) // columns - 12, height * 10 // 17) // side)
        small = max(1, round(0.7 * large))
        pitch = min((_RIGHT - _LEFT) / columns, side * large + 60)
        left = _LEFT + max(0.0, (_RIGHT - _LEFT - pitch * columns) / 2)
        block = _LINE * len(told) + side * (large + small) + _GAP
        top = (theme.PAGE_HEIGHT - _HEADER - _FOOT - _BETWEEN - 2 * block + _MARGIN) / 2
        _draw_header(figure, page, plain, left, top, pitch, side * large)
        for run, is_changed in ((plain, False), (changed, True)):
            start = top + _HEADER + is_changed * (block + _BETWEEN)
            _draw_changed_inputs(figure, told, is_changed, left, start, pitch)
            _draw_run(figure, run, is_changed, left, start + _LINE * len(told), pitch, large, small)
        grey = (left + pitch * columns - 420, theme.PAGE_HEIGHT - 118, 400, 26)
        theme.colour_bar(figure, grey, theme.DIGIT_MAP, theme.DIGIT_LIMIT)
        return figure


def _draw_header(
    figure: Figure, page: Axes, frames: StepFrames, left: float, top: float, pitch: float, width: int
) -> None:
    """Draw the steps left, t, ᾱ and its gauge over every column, and the arrow of time."""
    count = len(frames.timesteps)
    theme.write(figure, left - 44, top + 178, "$t$", 20, color=theme.MUTED, ha="right")
    theme.write(figure, left - 44, top + 258, theme.ALPHA_BAR, 20, color=theme.MUTED, ha="right")
    size = theme.NUMBER_SIZE if pitch >= 275 else 24
    for index in range(count + 1):
        finished = index == count
        middle, edge = left + (index + 0.5) * pitch, left + (index + 0.5) * pitch - width / 2
        share = 1.0 if finished else float(frames.alphas_cumprod[index])
        theme.write(figure, middle, top + 92, "0" if finished else str(int(frames.steps_left[index])), size)
        page.add_patch(Rectangle((edge, top + 290), width, 10, color=theme.FAINT, lw=0))
        page.add_patch(Rectangle((edge, top + 290), width * share, 10, color=theme.PURPLE, lw=0))
        if not finished:
            theme.write(figure, middle, top + 178, str(int(frames.timesteps[index])), color=theme.MUTED)
            theme.write(figure, middle, top + 258, theme.percent(share), color=theme.MUTED)
    theme.arrow(page, (left, top - 8), (left + pitch * (count + 1), top - 8), mutation_scale=22)


def _draw_changed_inputs(
    figure: Figure, told: tuple[ChangedInput, ...], is_changed: bool, left: float, top: float, pitch: float
) -> None:
    """Write what a run's network was told over its columns."""
    for line, one in enumerate(told):
        baseline = top + _LINE * line + 56
        theme.write(figure, left - 44, baseline, _primed(one.symbol, is_changed), 24, ha="right")
        for index, (plain, changed) in enumerate(zip(one.plain, one.changed, strict=True)):
            differs = is_changed and plain != changed
            look = {"color": theme.ORANGE, "weight": "bold"} if differs else {"color": theme.INK}
            theme.write(figure, left + (index + 0.5) * pitch, baseline, changed if is_changed else plain, 20, **look)


def _draw_run(
    figure: Figure, run: StepFrames, is_changed: bool, left: float, top: float, pitch: float, large: int, small: int
) -> None:
    """Draw a run's states, its guesses beneath them, and the finished image at the end."""
    side = run.x0.shape[-1]
    lower = top + side * large + _GAP
    for symbol, y in ((theme.X_T, top + side * large / 2), (theme.X0_PRED, lower + side * small / 2)):
        theme.write(figure, left - 44, y + 26, _primed(symbol, is_changed), 32, ha="right")
    for index in range(len(run.timesteps)):
        middle = left + (index + 0.5) * pitch
        raster.place_digit(figure, middle - side * large / 2, top, large, run.x_t[index])
        raster.place_digit(figure, middle - side * small / 2, lower, small, run.x0_pred[index])
    middle = left + (len(run.timesteps) + 0.5) * pitch
    raster.place_digit(figure, middle - side * large / 2, top, large, run.x0)


def _primed(symbol: str, is_changed: bool) -> str:
    """Return a symbol, with a prime where it is the changed run's."""
    return f"{symbol[:-1]}'$" if is_changed else symbol
