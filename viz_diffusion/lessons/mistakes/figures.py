"""Figure of correct and mistaken samplers: a strip of frames for each, and the numbers of the detectors."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

_LEFT, _TOP, _FACTOR, _GAP, _PITCH = 390, 220, 6, 8, 190
_TABLE, _COLUMN = 1850, 216


def draw_buggy_samplers(
    strips: Array,
    steps_left: Array,
    symbols: Sequence[str],
    values: Array,
    caught: Array,
    heads: Sequence[str],
    own: Sequence[int],
) -> Figure:
    """Draw a row for each sampler: a strip with the steps left above its frames, and a number for each detector.

    Parameters
    ----------
    strips
        (R, F, H, W) float, about [-3, 3].
    steps_left
        (F,) int.
    symbols, heads
        R and D texts: the sampler of each row, and the number of each column.
    values
        (R, D) float.
    caught
        (R, D) bool: which numbers are beyond their limit; these have an orange background.
    own
        R numbers: the detector for the row's mistake, framed; -1 for none.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        size = strips.shape[-1] * _FACTOR
        theme.write(figure, _LEFT - 26, _TOP - 36, "steps left", 18, ha="right", color=theme.MUTED)
        for column, left in enumerate(steps_left):
            x = _LEFT + column * (size + _GAP) + size / 2
            theme.write(figure, x, _TOP - 36, str(int(left)), 22, color=theme.MUTED)
        for column, head in enumerate(heads):
            theme.write(figure, _TABLE + (column + 0.5) * _COLUMN, _TOP - 30, head, 16)
        for row, symbol in enumerate(symbols):
            top = _TOP + row * _PITCH
            middle = top + size / 2
            theme.write(figure, _LEFT - 26, middle, symbol, 18, ha="right", va="center")
            for column, image in enumerate(strips[row]):
                raster.place_digit(figure, _LEFT + column * (size + _GAP), top, _FACTOR, image)
            for column, value in enumerate(values[row]):
                x = _TABLE + column * _COLUMN
                hit = bool(caught[row, column])
                if hit:
                    page.add_patch(Rectangle((x + 6, top + 30), _COLUMN - 12, size - 60, fc="#fbe3cc", lw=0))
                if column == own[row]:
                    edge = theme.ORANGE if hit else theme.MUTED
                    page.add_patch(Rectangle((x + 6, top + 30), _COLUMN - 12, size - 60, fc="none", ec=edge, lw=4))
                style = {"color": theme.INK, "weight": "bold"} if hit else {"color": theme.MUTED}
                theme.write(figure, x + _COLUMN / 2, middle, _short(float(value)), 18, va="center", **style)
        return figure


def _short(value: float) -> str:
    """Return a number of at least 0 with two decimals, or none where it is 10 or more."""
    if value < 0.005:
        return "0"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}".removesuffix(".00")
