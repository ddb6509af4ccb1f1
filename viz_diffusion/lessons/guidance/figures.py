"""Samples of one digit under several guidance scales, and what is gained and lost over the scale.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, write_key
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words


@dataclass(frozen=True, eq=False)
class Price:
    """One line over the guidance scale."""

    name: str
    """``accuracy``, ``variance`` or ``recall``."""
    values: Array
    """(A,) float, about 0 to 1."""
    low: Array
    """(A,) float: the lower end of its interval."""
    high: Array
    """(A,) float: the upper end."""
    real: float | None
    """The same of real digits, drawn as a level line; None where there is none."""


def draw_guidance(images: Array, scales: Array, numbers: Sequence[tuple[str, Sequence[float]]]) -> Figure:
    """Draw (A, K, H, W) samples: a column a scale, a row a block of noise; numbers beneath each column.

    Parameters
    ----------
    scales
        (A,) float.
    numbers
        (``accuracy``, ``variance`` or ``recall``, A values) for each line beneath; all but the variance are shares.
    """
    with theme.use_theme():
        words = figure_words("guidance")
        figure = theme.new_figure(words("title"))
        left, right, top, gap = 520, 3130, 330, 14
        count, rows, side = len(scales), images.shape[1], images.shape[-1]
        pitch = (right - left) / count
        room = (1750 - top - 90 * len(numbers)) / max(1, rows)
        factor = max(1, min(int(pitch - 30) // side, int(room - gap) // side))
        size = side * factor
        for column, scale in enumerate(scales):
            middle = left + (column + 0.5) * pitch
            plain = scale == 1
            theme.write(
                figure,
                middle,
                top - 56,
                f"{scale:g}",
                theme.NUMBER_SIZE,
                color=theme.PURPLE if plain else theme.INK,
                weight="bold" if plain else "normal",
            )
            for row in range(rows):
                raster.place_digit(figure, middle - size / 2, top + row * (size + gap), factor, images[column, row])
        theme.write(figure, left - 20, top - 56, words("scale"), ha="right", linespacing=1.2)
        for line, (name, values) in enumerate(numbers):
            y = top + rows * (size + gap) + 74 + 90 * line
            theme.write(figure, left - 20, y, words(name), 20, ha="right")
            for column, value in enumerate(values):
                text = f"{value:.2f}" if name == "variance" else theme.percent(value)
                theme.write(figure, left + (column + 0.5) * pitch, y, text, 22)
        return figure


def draw_price(scales: Array, lines: Sequence[Price]) -> Figure:
    """Draw each line over the guidance scale with its band; level dotted lines are what real digits have."""
    with theme.use_theme():
        words = figure_words("price")
        figure = theme.new_figure(words("title"))
        box = (330, 300, 2300, 1230)
        high = max(1.05, float(max(line.high.max() for line in lines)) * 1.05)
        colours = (theme.ORANGE, theme.PURPLE, theme.MUTED)
        styles = ("-", "-", "--")
        curves = [
            Curve(scales, line.values, words(line.name), line.low, line.high, colour, style)
            for line, colour, style in zip(lines, colours, styles, strict=False)
        ]
        x = AxisScale(float(scales[0]), float(scales[-1]), tuple(float(s) for s in scales))
        y = AxisScale(0, high, tuple(np.arange(0, high, 0.25)), words("vertical"))
        axes = draw_curves(figure, box, curves, x, y)
        theme.write(figure, box[0] + box[2] / 2, 1730, words("scale"), 22)
        axes.axvline(1, color=theme.FAINT, lw=2.5, zorder=1)
        for line, colour in zip(lines, colours, strict=False):
            if line.real is not None:
                axes.axhline(line.real, color=colour, lw=2.5, ls=":", zorder=1.5)
            axes.plot(scales, line.values, "o", color=colour, ms=13, mec="white", mew=2, clip_on=False, zorder=4)
        return figure


def draw_autoguidance(
    scales: Array, auto_scales: Array, pairs: Sequence[tuple[Price, Price]], real: float | None
) -> Figure:
    """Draw accuracy and recall over the scale, with their bands: classifier-free guidance, and autoguidance (dashed).

    Parameters
    ----------
    scales, auto_scales
        (A,) and (B,) float, rising from 1, no guidance.
    pairs
        For accuracy and, where it was measured, for recall: the values of both kinds of guidance.
    real
        Recall of as many real digits, drawn as a level line.
    """
    with theme.use_theme():
        words = figure_words("autoguidance")
        figure = theme.new_figure(words("title"))
        low = float(np.floor(5 * min(line.low.min() for pair in pairs for line in pair)) / 5)
        x = AxisScale(float(scales[0]), float(scales[-1]), tuple(float(s) for s in scales if s != 1.5))
        ticks = tuple(np.arange(low, 1.001, 0.2).round(2))
        y = AxisScale(low, 1, ticks, labels=tuple(theme.percent(tick) for tick in ticks))
        for column, (name, pair) in enumerate(zip(("accuracy", "recall"), pairs, strict=False)):
            box = (300 + 1570 * column, 620, 1150, 900)
            free, auto = pair
            curves = [
                Curve(auto_scales, auto.values, "", auto.low, auto.high, theme.ORANGE, "--"),
                Curve(scales, free.values, "", free.low, free.high),
            ]
            axes = draw_curves(figure, box, curves, x, y)
            theme.write(figure, box[0] - 170, 300, words(name), 22, ha="left")
            theme.write(figure, box[0] + box[2] / 2, 1690, words("scale"))
            key = [(theme.PURPLE, words("classifier_free")), (theme.ORANGE, words("auto"))]
            if name == "recall" and real is not None:
                axes.axhline(real, color=theme.MUTED, lw=3, ls=":", zorder=1.5)
                key.append((theme.MUTED, words("real")))
            write_key(figure, box[0] - 170, 390, key)
        return figure
