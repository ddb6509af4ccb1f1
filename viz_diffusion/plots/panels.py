"""Panels of curves and tables of colours, for lessons that measure something over t.

Knows nothing about what is measured; a panel is a box in page pixels with its own axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

Box = tuple[int, int, int, int]
"""(left, top, width, height) in page pixels."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a panel, with its interval where it was estimated."""

    x: Array
    """(N,) float, rising."""
    y: Array
    """(N,) float."""
    name: str = ""
    """Symbols or numbers that stand at its right end; empty for none."""
    low: Array | None = None
    """(N,) float: the lower end of its interval."""
    high: Array | None = None
    """(N,) float: the upper end."""
    colour: str = theme.PURPLE
    """Of the line."""
    style: str = "-"
    """``-``, ``--``, ``:`` or ``o`` for dots alone with their intervals as bars."""
    weight: float = 4.5
    """Line width in points."""


@dataclass(frozen=True)
class Scale:
    """One axis of a panel."""

    low: float
    """Where it begins; may be the larger end."""
    high: float
    """Where it ends."""
    ticks: tuple[float, ...] = ()
    """Where numbers stand."""
    name: str = ""
    """Its symbol, with the unit."""
    log: bool = False
    """Whether it is logarithmic."""
    labels: tuple[str, ...] | None = None
    """What stands at the ticks; the numbers themselves by default."""

    def shown(self) -> tuple[str, ...]:
        """Return the texts of the ticks."""
        return tuple(map(theme.number, self.ticks)) if self.labels is None else self.labels


def draw_curves(figure: Figure, box: Box, curves: Sequence[Curve], x: Scale, y: Scale) -> Axes:
    """Draw a panel: level hairlines, curves with their bands, names at their right ends.

    Names keep a line's distance from each other; a thin leader joins each to where its curve leaves the panel.
    """
    left, top, width, height = box
    axes = theme.add_axes(figure, *box)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    if x.log:
        axes.set_xscale("log")
    if y.log:
        axes.set_yscale("log")
    axes.set(xlim=(x.low, x.high), ylim=(y.low, y.high))
    axes.set_xticks(x.ticks, x.shown(), fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.set_yticks(y.ticks, y.shown(), fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.set_xticks([], minor=True)
    axes.set_yticks([], minor=True)
    axes.tick_params(length=0, pad=14)
    axes.grid(axis="y", color=theme.FAINT, lw=1)
    axes.set_axisbelow(True)
    for curve in curves:
        _draw_curve(axes, curve)
    theme.write(figure, left - 20, top - 46, y.name, 22, ha="left")
    theme.write(figure, left + width + 100, top + height + 64, x.name, 24, ha="left")
    _name_ends(figure, box, axes, [curve for curve in curves if curve.name])
    return axes


def _draw_curve(axes: Axes, curve: Curve) -> None:
    if curve.low is not None and curve.high is not None:
        if curve.style == "o":
            axes.vlines(curve.x, curve.low, curve.high, color=curve.colour, lw=curve.weight / 2)
        else:
            axes.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.18, lw=0)
    if curve.style == "o":
        axes.plot(curve.x, curve.y, "o", color=curve.colour, ms=2.4 * curve.weight, mec="white", mew=1, clip_on=False)
    else:
        axes.plot(curve.x, curve.y, curve.style, color=curve.colour, lw=curve.weight)


def _name_ends(figure: Figure, box: Box, axes: Axes, curves: Sequence[Curve]) -> None:
    """Write each name at the right, as high as its curve ends, or as near as the others let it."""
    left, top, width, height = box
    ends = []
    for curve in curves:
        _, share = axes.transAxes.inverted().transform(axes.transData.transform((curve.x[-1], curve.y[-1])))
        ends.append((top + (1 - min(max(float(share), 0.0), 1.0)) * height, curve))
    ends.sort(key=lambda end: end[0])
    places = theme.spread(np.array([end[0] for end in ends]), 78, top, top + height)
    page = theme.page_axes(figure)
    for (y, curve), place in zip(ends, places, strict=True):
        page.plot([left + width + 14, left + width + 54], [y, place], color=curve.colour, lw=2.5)
        theme.write(figure, left + width + 68, place, curve.name, 20, ha="left", va="center", color=curve.colour)


def mark_x(figure: Figure, axes: Axes, box: Box, at: float, text: str, colour: str = theme.ORANGE) -> None:
    """Draw an upright line across a panel, with its text above it."""
    axes.axvline(at, color=colour, lw=2.2, zorder=1.8)
    share, _ = axes.transAxes.inverted().transform(axes.transData.transform((at, 1.0)))
    theme.write(figure, box[0] + float(share) * box[2], box[1] - 24, text, 20, color=colour)


def draw_table(
    figure: Figure, box: Box, values: Array, rows: Sequence[str], columns: Sequence[tuple[float, str]], limit: float
) -> None:
    """Draw a signed (R, C) table as colours, fixed at -limit to limit; whole blocks, nothing blended.

    Parameters
    ----------
    rows
        R texts at the left.
    columns
        (share of the width, text) of the numbers beneath.
    """
    left, top, width, height = box
    axes = theme.add_axes(figure, *box)
    raster.show_signed(axes, raster.fit_nearest(values, height, width), limit)
    for index, text in enumerate(rows):
        theme.write(figure, left - 34, top + (index + 0.5) * height / len(rows), text, 20, ha="right", va="center")
    for share, text in columns:
        theme.write(figure, left + share * width, top + height + 60, text, color=theme.MUTED)
