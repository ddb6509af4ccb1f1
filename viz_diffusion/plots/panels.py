"""Panels: curves with intervals, and heat maps, in a box of the page with their own axes.

Knows nothing about what the values mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

_KEY_PITCH = 76
"""Page pixels from one name of a key to the next."""
PanelBox = tuple[int, int, int, int]
"""(left, top, width, height) in page pixels."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of a panel, with its confidence interval where there is one."""

    x: Array
    """(N,) float, rising."""
    y: Array
    """(N,) float."""
    name: str = ""
    """Label at its right end; empty for none."""
    low: Array | None = None
    """(N,) float: the lower end of the interval of ``y``."""
    high: Array | None = None
    """(N,) float: the upper end of the interval of ``y``."""
    colour: str = theme.PURPLE
    """Colour of line and interval."""
    style: str = "-"
    """``-``, ``--`` or ``:`` for a line; ``o`` for dots with their intervals as bars."""
    weight: float = 4.5
    """Line width in points."""


@dataclass(frozen=True)
class AxisScale:
    """One axis of a panel."""

    low: float
    """Left or lower end; may be larger than ``high``."""
    high: float
    """Right or upper end."""
    ticks: tuple[float, ...] = ()
    """Values of the ticks."""
    name: str = ""
    """Axis label: symbol and unit."""
    log: bool = False
    """Whether it is logarithmic."""
    labels: tuple[str, ...] | None = None
    """Texts of the ticks; by default their values."""

    def tick_texts(self) -> tuple[str, ...]:
        """Return the texts of the ticks."""
        return tuple(map(theme.number, self.ticks)) if self.labels is None else self.labels


def draw_curves(
    figure: Figure, box: PanelBox, curves: Sequence[Curve], x: AxisScale, y: AxisScale, label_pitch: float = 78
) -> Axes:
    """Draw a panel: horizontal hairlines, curves with their intervals, and a label at each curve's right end.

    Labels are at least ``label_pitch`` apart, one line by default; a thin leader joins each to the end of its curve.
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
    axes.set_xticks(x.ticks, x.tick_texts(), fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.set_yticks(y.ticks, y.tick_texts(), fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.set_xticks([], minor=True)
    axes.set_yticks([], minor=True)
    axes.tick_params(length=0, pad=14)
    axes.grid(axis="y", color=theme.FAINT, lw=1)
    axes.set_axisbelow(True)
    for curve in curves:
        _draw_curve(axes, curve)
    theme.write(figure, left - 20, top - 46, y.name, 22, ha="left")
    theme.write(figure, left + width + 100, top + height + 64, x.name, 24, ha="left")
    _label_ends(figure, box, axes, [curve for curve in curves if curve.name], label_pitch)
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


def _label_ends(figure: Figure, box: PanelBox, axes: Axes, curves: Sequence[Curve], pitch: float) -> None:
    """Write each curve's label at the right, at the height of its end or as near to it as the other labels allow."""
    left, top, width, height = box
    ends = []
    for curve in curves:
        _, share = axes.transAxes.inverted().transform(axes.transData.transform((curve.x[-1], curve.y[-1])))
        ends.append((top + (1 - min(max(float(share), 0.0), 1.0)) * height, curve))
    ends.sort(key=lambda end: end[0])
    places = theme.spread(np.array([end[0] for end in ends]), pitch, top, top + height)
    page = theme.page_axes(figure)
    for (y, curve), place in zip(ends, places, strict=True):
        page.plot([left + width + 14, left + width + 54], [y, place], color=curve.colour, lw=2.5)
        theme.write(figure, left + width + 68, place, curve.name, 20, ha="left", va="center", color=curve.colour)


def mark_x(figure: Figure, axes: Axes, box: PanelBox, at: float, text: str, colour: str = theme.ORANGE) -> None:
    """Draw a vertical line at x = ``at`` across a panel, with a text above it."""
    axes.axvline(at, color=colour, lw=2.2, zorder=1.8)
    share, _ = axes.transAxes.inverted().transform(axes.transData.transform((at, 1.0)))
    theme.write(figure, box[0] + float(share) * box[2], box[1] - 24, text, 20, color=colour)


def write_key(figure: Figure, left: float, top: float, names: Sequence[tuple[str, str]]) -> None:
    """Write the names of a panel's curves under each other, each in its curve's colour: (colour, name), from the top.

    For panels that have no room for names at the ends of their curves.
    """
    for row, (colour, name) in enumerate(names):
        theme.write(figure, left, top + _KEY_PITCH * row, name, ha="left", color=colour)


def write_notes(figure: Figure, *lines: str) -> None:
    """Write lines of definitions at the foot of the page, the last of them lowest; empty ones are left out."""
    said = [line for line in lines if line]
    for above, line in enumerate(reversed(said)):
        theme.write(figure, 90, 1766 - _KEY_PITCH * above, line, ha="left", color=theme.MUTED)


def draw_table(
    figure: Figure,
    box: PanelBox,
    values: Array,
    rows: Sequence[str],
    columns: Sequence[tuple[float, str]],
    limit: float,
    colours: str = theme.SIGNED_MAP,
) -> None:
    """Draw a signed (R, C) array as a heat map on a scale of -limit to limit, without interpolation.

    Parameters
    ----------
    rows
        R texts at the left.
    columns
        (position as a share of the width, text) of the texts beneath.
    colours
        Name of the colour map.
    """
    left, top, width, height = box
    axes = theme.add_axes(figure, *box)
    raster.show_signed(axes, raster.fit_nearest(values, height, width), limit, colours)
    for index, text in enumerate(rows):
        theme.write(figure, left - 34, top + (index + 0.5) * height / len(rows), text, ha="right", va="center")
    for share, text in columns:
        theme.write(figure, left + share * width, top + height + 60, text, color=theme.MUTED)
