"""Figure of correct and mistaken samplers: a strip of frames for each, and the numbers of the detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LEFT, _TOP, _FACTOR, _GAP, _PITCH = 640, 430, 5, 8, 156
_TABLE, _COLUMN = 1850, 206
_CAUGHT = "#fbe3cc"
"""The background of a value beyond its limit, light on every page."""


def draw_buggy_samplers(
    strips: Array,
    steps_left: Array,
    samplers: Sequence[str],
    values: Array,
    caught: Array,
    detectors: Sequence[str],
    own: Sequence[int],
) -> Figure:
    """Draw a row for each sampler: a strip with the steps left above its frames, and a number for each detector.

    Parameters
    ----------
    strips
        (R, F, H, W) float, about [-3, 3].
    steps_left
        (F,) int.
    samplers, detectors
        R and D names in the catalogue: the sampler of each row, and the number of each column.
    values
        (R, D) float.
    caught
        (R, D) bool: which numbers are beyond their limit; these have an orange background.
    own
        R numbers: the detector for the row's mistake, framed; -1 for none.
    """
    with theme.use_theme():
        words = figure_words("mistakes")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        size = strips.shape[-1] * _FACTOR
        theme.write(figure, _LEFT - 30, _TOP - 40, words("steps_left"), ha="right", color=theme.MUTED)
        for column, left in enumerate(steps_left):
            x = _LEFT + column * (size + _GAP) + size / 2
            theme.write(figure, x, _TOP - 40, str(int(left)), 20, color=theme.MUTED)
        for column, name in enumerate(detectors):
            x = _TABLE + (column + 0.5) * _COLUMN
            raised = 0 if column % 2 else 156  # neighbours at two heights, for each is wider than its column
            theme.write(figure, x, _TOP - 40 - raised, words(f"detector_{name}"))
            if raised:
                page.plot([x, x], [_TOP - 20 - raised, _TOP - 20], color=theme.FAINT, lw=2.5)
        for row, name in enumerate(samplers):
            top = _TOP + row * _PITCH
            at, said = (_LEFT - 30, top + size / 2), words(f"sampler_{name}")
            theme.write(figure, *at, said, ha="right", va="center", linespacing=1.05)
            for column, image in enumerate(strips[row]):
                raster.place_digit(figure, _LEFT + column * (size + _GAP), top, _FACTOR, image)
            for column, value in enumerate(values[row]):
                place = (_TABLE + column * _COLUMN + 8, top + size / 2 - 50)
                _draw_value(figure, page, place, float(value), bool(caught[row, column]), column == own[row])
        _draw_key(figure, page)
        return figure


def _draw_value(figure: Figure, page: Axes, place: tuple[float, float], value: float, caught: bool, own: bool) -> None:
    """Write a number in a cell whose left top corner is ``place``."""
    width, height = _COLUMN - 16, 100
    if caught:
        page.add_patch(Rectangle(place, width, height, fc=_CAUGHT, lw=0))
    if own:
        edge = theme.ORANGE if caught else theme.MUTED
        page.add_patch(Rectangle(place, width, height, fc="none", ec=edge, lw=4))
    style: dict[str, Any] = {"color": theme.ON_LIGHT, "weight": "bold"} if caught else {"color": theme.MUTED}
    theme.write(figure, place[0] + width / 2, place[1] + height / 2, _short(value), va="center", **style)


def _draw_key(figure: Figure, page: Axes) -> None:
    """Say at the bottom what background and frame mean."""
    words = figure_words("mistakes")
    page.add_patch(Rectangle((_LEFT + 8, 1714), 96, 56, fc=_CAUGHT, lw=0))
    page.add_patch(Rectangle((_TABLE + 8, 1714), 96, 56, fc="none", ec=theme.ORANGE, lw=4))
    for x, key in ((_LEFT, "beyond"), (_TABLE, "meant")):
        theme.write(figure, x + 132, 1760, words(key), ha="left")


def _short(value: float) -> str:
    """Return a number of at least 0 with two decimals, or none where it is 10 or more."""
    if value < 0.005:
        return "0"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}".removesuffix(".00")
