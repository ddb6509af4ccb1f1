"""Generations whose label was switched on the way, over t and by pair of labels; the label's bits over t.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, mark_x, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words


@dataclass(frozen=True, eq=False)
class LabelBits:
    """Bits that the label saves down to each of K timesteps."""

    timesteps: Array
    """(K,) int, falling."""
    saved: Array
    """(K,) float: by the network."""
    interval: Array
    """(K,) float: half the 95% interval of it."""
    from_mixture: Array
    """(K,) float: the same, compared with the mixture of the predictions under all labels."""
    ideal: Array
    """(K,) float: by the ideal denoiser."""
    entropy: float
    """H(y), the level line."""


def draw_label_bits(bits: LabelBits) -> Figure:
    """Draw the label's bits down to each t, noise at the left, of a denoiser (with its band) and of the ideal one."""
    with theme.use_theme():
        words = figure_words("label_worth")
        figure = theme.new_figure(words("title"))
        box = (330, 330, 1950, 1150)
        first, last = float(bits.timesteps[0]), float(bits.timesteps[-1])
        high = float(max(bits.entropy, (bits.saved + bits.interval).max())) * 1.1
        ticks = (*(tick for tick in np.arange(0.0, high, 1.0) if abs(tick - bits.entropy) > 0.4), bits.entropy)
        x = -bits.timesteps.astype(float)
        low, up = bits.saved - bits.interval, bits.saved + bits.interval
        curves = (
            Curve(x, bits.ideal, words("ideal"), colour=theme.MUTED, style="--", weight=3.5),
            Curve(x, bits.from_mixture, words("from_mixture"), style=":"),
            Curve(x, bits.saved, words("saved"), low, up),
        )
        marks = tuple(np.unique(np.round(np.linspace(last, first, 5))))
        across = AxisScale(-first, -last, tuple(-mark for mark in marks), labels=tuple(f"{m:.0f}" for m in marks))
        labels = tuple(f"{tick:.2f}".removesuffix(".00") for tick in ticks)
        axes = draw_curves(figure, box, curves, across, AxisScale(0, high, ticks, labels=labels), label_pitch=230)
        axes.axhline(bits.entropy, color=theme.INK, lw=1.6)
        theme.write(figure, box[0] - 20, box[1] - 60, words("vertical"), 22, ha="left")
        middle = box[0] + box[2] / 2
        theme.write(figure, middle, box[1] + box[3] + 185, words("t_generation"), 22)
        said = words("entropy", bits=bits.entropy)
        height = box[1] + (1 - bits.entropy / high) * box[3]
        theme.write(figure, box[0] + 20, height - 24, said, 20, ha="left", color=theme.INK)
        write_notes(figure, words("bands"))
        return figure


_COLOURS = (theme.PURPLE, theme.ORANGE, theme.MUTED)
"""Of generations that end as the new label, as the old one, and as neither."""
_TIMES = LinearSegmentedColormap.from_list("times", ("#f6c57b", "#da842c", "#6c479d", "#36116c"))
"""From a small t to a large one: near the theme's colours but none of them, so that a dark page keeps the cells."""


@dataclass(frozen=True, eq=False)
class SwitchCurves:
    """How generations end, for J timesteps of the switch."""

    timesteps: Array
    """(J,) int, falling, the last one -1: no switch."""
    new: Array
    """(J,) float: the share that ends as the new label."""
    new_interval: Array
    """(J, 2) float: its interval."""
    old: Array
    """(J,) float: the share that ends as the old label."""
    half: float | None
    """The t at which half end as the new label; None where there is none."""
    count: int
    """Generations behind each share."""


def draw_label_switch(curves: SwitchCurves, images: Array, pairs: Sequence[tuple[int, int]], read: Array) -> Figure:
    """Draw (R, J, H, W) finished digits above the curves, each over the t of its switch.

    Parameters
    ----------
    pairs
        R pairs of labels (a, b), before and after the switch.
    read
        (R, J) int: the digit that is seen in each; the bar beneath it has the colour of its curve.
    """
    with theme.use_theme():
        words = figure_words("label_switch")
        figure = theme.new_figure(words("title"))
        count, side = images.shape[1], images.shape[-1]
        left, width, top, pitch = 520, 2160, 190, 186
        factor = min(6, int(width / (count - 1) - 20) // side)
        size = side * factor
        box = (left, top + len(pairs) * pitch + 170, width, 450)
        for row, (old, new) in enumerate(pairs):
            y = top + row * pitch
            name = words("pair", old=old, new=new)
            theme.write(figure, left - size / 2 - 40, y + size / 2, name, 22, ha="right", va="center")
            _place_row(figure, left, width, y, factor, images[row], _kinds(read[row], (old, new)))
        x = -curves.timesteps.astype(float)
        neither = 1 - curves.new - curves.old
        low, high = curves.new_interval.T
        lines = (
            Curve(x, neither, words("neither"), colour=_COLOURS[2], style="--", weight=3.5),
            Curve(x, curves.old, words("old"), colour=_COLOURS[1]),
            Curve(x, curves.new, words("new"), low, high, _COLOURS[0]),
        )
        marks = tuple(f"{t}" if t >= 0 else words("never") for t in curves.timesteps)
        shares = (0.0, 0.25, 0.5, 0.75, 1.0)
        across = AxisScale(float(x[0]), float(x[-1]), tuple(x), labels=marks)
        up = AxisScale(-0.03, 1.03, shares, labels=tuple(map(theme.percent, shares)))
        axes = draw_curves(figure, box, lines, across, up)
        for line in lines:
            axes.plot(line.x, line.y, "o", color=line.colour, ms=11, mec="white", mew=2, clip_on=False, zorder=4)
        theme.write(figure, 90, box[1] - 96, words("vertical", count=curves.count), 20, ha="left")
        theme.write(figure, left + width / 2, box[1] + box[3] + 178, words("horizontal"), 20)
        if curves.half is not None:
            mark_x(figure, axes, box, -curves.half, words("half", t=round(curves.half)), theme.PURPLE)
        return figure


def _kinds(read: Array, pair: tuple[int, int]) -> list[str]:
    """Return the colour of each digit: the new label's, the old one's, or neither's."""
    old, new = pair
    return [_COLOURS[0 if digit == new else 1 if digit == old else 2] for digit in read.tolist()]


def _place_row(
    figure: Figure, left: int, width: int, top: int, factor: int, images: Array, colours: Sequence[str]
) -> None:
    """Place J digits in even columns, each with a bar of its colour beneath."""
    size = images.shape[-1] * factor
    page = theme.page_axes(figure)
    for column, (image, colour) in enumerate(zip(images, colours, strict=True)):
        x = round(left + column * width / (len(images) - 1) - size / 2)
        raster.place_digit(figure, x, top, factor, image)
        page.fill_between([x, x + size], top + size + 3, top + size + 12, color=colour, lw=0)


def draw_switch_pairs(lasts: Array, each: int) -> Figure:
    """Draw the (L, L) t until which a label a (row) can be switched to b (column); NaN, the diagonal, stays empty.

    Each t is the mean of ``each`` generations, which the figure says.
    """
    with theme.use_theme():
        words = figure_words("switch_pairs")
        figure = theme.new_figure(words("title"))
        left, top, wide, high = 560, 370, 2200 // len(lasts), 1230 // len(lasts)
        low, span = float(np.nanmin(lasts)), max(float(np.ptp(lasts[~np.isnan(lasts)])), 1.0)
        page = theme.page_axes(figure)
        for k in range(len(lasts)):
            theme.write(figure, left - 50, top + (k + 0.5) * high, f"{k}", theme.NUMBER_SIZE, va="center_baseline")
            theme.write(figure, left + (k + 0.5) * wide, top - 34, f"{k}", theme.NUMBER_SIZE)
        for a, b in np.argwhere(~np.isnan(lasts)):
            x, y, value = left + b * wide, top + a * high, float(lasts[a, b])
            shade = _TIMES((value - low) / span)
            page.fill_between([x + 3, x + wide - 3], y + 3, y + high - 3, color=shade, lw=0)
            ink = theme.ON_DARK if np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.48 else theme.ON_LIGHT
            theme.write(figure, x + wide / 2, y + high / 2, f"{value:.0f}", 20, va="center_baseline", color=ink)
        middle = top + len(lasts) * high / 2
        theme.write(figure, 90, middle, words("old"), 22, ha="left", va="center", linespacing=1.3)
        theme.write(figure, left + len(lasts) * wide / 2, top - 140, words("new"), 22)
        write_notes(figure, words("count", each=each), words("note"))
        return figure
