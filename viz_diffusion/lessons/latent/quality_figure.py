"""What an image costs in latents and on pixels, and how good samples are.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.lessons.latent.figures import Bar
from viz_diffusion.plots import theme
from viz_diffusion.plots.words import figure_words

COST_LEFT, COST_WIDTH = 90, 1060
QUALITY_LEFT = 1330
BOX_LEFT, BOX_WIDTH, BOX_HEIGHT = 1960, 1080, 450
TICKS = (0, 1, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100, 200)


def draw_latent_quality(
    cost: Sequence[tuple[str, Sequence[Bar]]], accuracy: Sequence[Bar], distance: Sequence[Bar]
) -> Figure:
    """Draw what an image costs, as shares of what it costs on pixels (left), and how good samples are (right).

    Parameters
    ----------
    cost
        Bars by the name of what is counted: shares from 0 to 1.
    accuracy, distance
        Of each network: accuracy, and Fréchet distance in multiples of that of real digits, with intervals.
    """
    with theme.use_theme():
        words = figure_words("latent_quality")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        theme.write(figure, COST_LEFT, 280, words("cost"), 22, ha="left")
        for row, (name, bars) in enumerate(cost):
            top = 400 + 460 * row
            theme.write(figure, COST_LEFT, top, words(name), 20, ha="left")
            for index, bar in enumerate(bars):
                y = top + 50 + 160 * index
                theme.gauge(page, COST_LEFT, y, COST_WIDTH, min(bar.value, 1.0), 46, bar.colour)
                label = words("bar", name=words(bar.name), text=bar.text)
                theme.write(figure, COST_LEFT, y + 105, label, ha="left", color=bar.colour)
        theme.write(figure, QUALITY_LEFT, 280, words("quality"), 22, ha="left")
        low = max(0.0, float(np.floor(20 * min(bar.low for bar in accuracy)) / 20))
        axes = _draw_dots(figure, 430, accuracy, words("accuracy"), (low, 1.0))
        ticks = np.round(np.linspace(low, 1.0, 3), 4)
        _write_ticks(axes, ticks.tolist(), [f"{100 * tick:g}%" for tick in ticks])
        high = 1.1 * max(1.0, *(bar.high for bar in distance))
        axes = _draw_dots(figure, 1116, distance, words("distance"), (0.0, high))
        marks = [tick for tick in TICKS if tick <= high]
        _write_ticks(axes, marks[:2] + marks[2:][-4:], [f"{tick:g}" for tick in marks[:2] + marks[2:][-4:]])
        axes.axvline(1.0, color=theme.INK, lw=1.6)
        return figure


def _draw_dots(figure: Figure, top: int, bars: Sequence[Bar], title: str, ends: tuple[float, float]) -> Axes:
    """Draw values as dots with their intervals, a row each with its name at the left."""
    words = figure_words("latent_quality")
    axes = theme.add_axes(figure, BOX_LEFT, top, BOX_WIDTH, BOX_HEIGHT)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    axes.set(xlim=ends, ylim=(len(bars) - 0.5, -0.5))
    axes.set_yticks([])
    for row, bar in enumerate(bars):
        axes.hlines(row, max(bar.low, ends[0]), min(bar.high, ends[1]), color=bar.colour, lw=4)
        axes.plot(bar.value, row, "o", color=bar.colour, ms=12, clip_on=False)
        y = top + (row + 0.5) / len(bars) * BOX_HEIGHT
        name = words("dot", name=words(bar.name), text=bar.text)
        theme.write(figure, BOX_LEFT - 40, y, name, ha="right", va="center", color=bar.colour, linespacing=1.25)
    theme.write(figure, BOX_LEFT + BOX_WIDTH + 60, top + BOX_HEIGHT + 176, title, 20, ha="right")
    return axes


def _write_ticks(axes: Axes, ticks: Sequence[float], texts: Sequence[str]) -> None:
    axes.set_xticks(ticks, texts, fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.tick_params(length=0, pad=14)
    axes.grid(axis="x", color=theme.FAINT, lw=1)
    axes.set_axisbelow(True)
