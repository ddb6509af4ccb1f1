"""Samples of one digit under several guidance scales, and what is gained and lost over the scale.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_key, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LINES = {"accuracy": (theme.PURPLE, "-"), "recall": (theme.MUTED, "--"), "variance": (theme.ORANGE, "-")}
"""Colour and style of each line over the guidance scale, by name."""


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


def draw_guidance(images: Array, scales: Array, numbers: Sequence[tuple[str, Sequence[float]]], count: int) -> Figure:
    """Draw (A, K, H, W) samples: a column a scale, a row a block of noise; numbers beneath each column.

    Parameters
    ----------
    scales
        (A,) float.
    numbers
        (``accuracy``, ``variance`` or ``recall``, A values) for each line beneath; all but the variance are shares.
    count
        Samples that each number is of.
    """
    with theme.use_theme():
        words = figure_words("guidance")
        figure = theme.new_figure(words("title"))
        left, right, top, gap = 520, 3130, 330, 6
        rows, side = images.shape[1], images.shape[-1]
        pitch = (right - left) / len(scales)
        room = (1600 - top - 90 * len(numbers)) / max(1, rows)
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
            y = top + rows * (size + gap) + 70 + 88 * line
            theme.write(figure, left - 20, y, words(name), 20, ha="right")
            for column, value in enumerate(values):
                text = f"{value:.2f}" if name == "variance" else theme.percent(value)
                theme.write(figure, left + (column + 0.5) * pitch, y, text, 22)
        first, *others = (words(f"{name}_is") for name, _ in numbers)
        write_notes(figure, first, " ".join(others), words("notes", count=count))
        return figure


def draw_price(scales: Array, lines: Sequence[Price], count: int) -> Figure:
    """Draw each line over the guidance scale with its band, shares at the left and the variance at the right.

    Level dotted lines are what real digits have; ``count`` samples were drawn with each scale.
    """
    with theme.use_theme():
        words = figure_words("price")
        figure = theme.new_figure(words("title"))
        shares = [line for line in lines if line.name != "variance"]
        panels = [("shares", shares)] if shares else []
        panels.append(("variance", [line for line in lines if line.name == "variance"]))
        for column, (name, shown) in enumerate(panels):
            box = (300 + 1570 * column, 520, 1150, 800)
            _draw_lines(figure, box, scales, shown)
            theme.write(figure, box[0] - 170, 290, words(name), 22, ha="left")
            key = [(_LINES[line.name][0], words(f"{line.name}_line")) for line in shown]
            write_key(figure, box[0] - 170, 370, key)
            theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 160, words("scale"))
        defined = (words("accuracy_is"), words("recall_is")) if shares else ()
        write_notes(figure, *defined, words("notes", count=count))
        return figure


def _draw_lines(figure: Figure, box: PanelBox, scales: Array, lines: Sequence[Price]) -> None:
    """Draw one panel of :func:`draw_price`; only whole scales have a number."""
    high = max(1.05, float(max(line.high.max() for line in lines)) * 1.05)
    curves = [Curve(scales, line.values, "", line.low, line.high, *_LINES[line.name]) for line in lines]
    x = AxisScale(float(scales[0]), float(scales[-1]), tuple(float(s) for s in scales if s == round(s)))
    ticks = tuple(float(tick) for tick in np.arange(0, high, 0.25))
    is_share = lines[0].name != "variance"
    y = AxisScale(0, high, ticks, labels=tuple(map(theme.percent, ticks)) if is_share else None)
    axes = draw_curves(figure, box, curves, x, y)
    axes.axvline(1, color=theme.FAINT, lw=2.5, zorder=1)
    for line, curve in zip(lines, curves, strict=True):
        if line.real is not None:
            axes.axhline(line.real, color=curve.colour, lw=3, ls=":", zorder=1.5)
        axes.plot(scales, line.values, "o", color=curve.colour, ms=13, mec="white", mew=2, clip_on=False, zorder=4)


def draw_autoguidance(
    scales: Array, auto_scales: Array, pairs: Sequence[tuple[Price, Price]], real: float | None, count: int
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
    count
        Samples with each scale.
    """
    with theme.use_theme():
        words = figure_words("autoguidance")
        figure = theme.new_figure(words("title"))
        low = float(np.floor(5 * min(line.low.min() for pair in pairs for line in pair)) / 5)
        x = AxisScale(float(scales[0]), float(scales[-1]), tuple(float(s) for s in scales if s != 1.5))
        ticks = tuple(np.arange(low, 1.001, 0.2).round(2))
        y = AxisScale(low, 1, ticks, labels=tuple(theme.percent(tick) for tick in ticks))
        for column, (name, pair) in enumerate(zip(("accuracy", "recall"), pairs, strict=False)):
            box = (300 + 1570 * column, 600, 1150, 750)
            free, auto = pair
            curves = [
                Curve(auto_scales, auto.values, "", auto.low, auto.high, theme.ORANGE, "--"),
                Curve(scales, free.values, "", free.low, free.high),
            ]
            axes = draw_curves(figure, box, curves, x, y)
            theme.write(figure, box[0] - 170, 300, words(name), 22, ha="left")
            theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 160, words("scale"))
            key = [(theme.PURPLE, words("classifier_free")), (theme.ORANGE, words("auto"))]
            if name == "recall" and real is not None:
                axes.axhline(real, color=theme.MUTED, lw=3, ls=":", zorder=1.5)
                key.append((theme.MUTED, words("real")))
            write_key(figure, box[0] - 170, 380, key)
        last = f"{words('bands')} {words('notes', count=count)}"
        cut = words("axis_from", low=theme.percent(low)) if low > 0 else ""
        write_notes(figure, words("recall_is") if len(pairs) > 1 else "", last, cut)
        return figure
