"""Figure of pairs of networks trained on different digits: their samples, near-copies, and how alike the samples are.

Knows nothing about how they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_key, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import FigureWords, figure_words

_FACTOR, _GAP, _LEFT, _TOP, _PITCH, _SHOWN = 5, 6, 400, 300, 690, 4
_BOXES: tuple[PanelBox, PanelBox] = (300, 930, 1250, 480), (1830, 930, 1250, 480)


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """A measurement for S numbers of training digits, with its 95% interval."""

    value: Array
    """(S,) float."""
    low: Array
    """(S,) float."""
    high: Array
    """(S,) float."""


def draw_training_sizes(
    sizes: Sequence[int], images: Array, copies: Sequence[MeasuredCurve], alike: Sequence[MeasuredCurve], count: int
) -> Figure:
    """Draw samples of both networks for each number of training digits, and two curves over this number under them.

    Parameters
    ----------
    sizes
        S training digits of each network, rising.
    images
        (S, 2, D, H, W) float, -1 to 1: D samples of each network, from the same noise; the first four are drawn.
    copies
        Share of near-copies, 0 to 1, among a network's own digits and among those of the other network.
    alike
        Correlation of the two networks' samples, from the same noise and from different noise.
    count
        Samples of each network.
    """
    with theme.use_theme():
        words = figure_words("training_sizes")
        figure = theme.new_figure(words("title"))
        _draw_samples(figure, words, sizes, images)
        places = tuple(map(float, sizes))
        x = AxisScale(places[0] / 1.2, places[-1] * 1.2, places, log=True, labels=tuple(f"{size:,}" for size in sizes))
        share = AxisScale(0, 1, (0, 0.25, 0.5, 0.75, 1), labels=("0%", "25%", "50%", "75%", "100%"))
        low = min(0.0, float(np.floor(min(curve.low.min() for curve in alike) * 4)) / 4)
        correlation = AxisScale(low, 1, tuple(np.arange(low, 1.01, 0.25).round(2)))
        _draw_panel(figure, _BOXES[0], copies, x, share, (words("copies"), words("own"), words("other")))
        _draw_panel(figure, _BOXES[1], alike, x, correlation, (words("alike"), words("same"), words("different")))
        for left, top, width, height in _BOXES:
            theme.write(figure, left + width / 2, top + height + 156, words("count"))
        write_notes(figure, words("distances"), words("notes", count=count))
        return figure


def _draw_samples(figure: Figure, words: FigureWords, sizes: Sequence[int], images: Array) -> None:
    size = images.shape[-1] * _FACTOR
    for row, name in enumerate((words("first"), words("second"))):
        middle = _TOP + row * (size + _GAP) + size / 2
        theme.write(figure, _LEFT - 30, middle, name, ha="right", va="center")
    for block, (count, pair) in enumerate(zip(sizes, images, strict=True)):
        left = _LEFT + block * _PITCH
        width = min(pair.shape[1], _SHOWN) * (size + _GAP) - _GAP
        theme.write(figure, left + width / 2, _TOP - 34, words("trained_on", count=f"{count:,}"))
        for row, samples in enumerate(pair):
            for column, image in enumerate(samples[:_SHOWN]):
                place = left + column * (size + _GAP), _TOP + row * (size + _GAP)
                raster.place_digit(figure, *place, _FACTOR, image)


def _draw_panel(
    figure: Figure, box: PanelBox, curves: Sequence[MeasuredCurve], x: AxisScale, y: AxisScale, names: Sequence[str]
) -> None:
    """Draw two curves, the second dashed; ``names``: of the panel and of the two curves."""
    places, styles = np.array(x.ticks), ((theme.PURPLE, "-"), (theme.ORANGE, "--"))
    drawn = [
        Curve(places, curve.value, "", curve.low, curve.high, colour, style)
        for curve, (colour, style) in zip(curves, styles, strict=True)
    ]
    axes = draw_curves(figure, box, drawn[::-1], x, y)
    for curve in drawn[::-1]:
        axes.plot(places, curve.y, "o", color=curve.colour, ms=13, mec="white", mew=2, clip_on=False, zorder=4)
    theme.write(figure, box[0] - 170, box[1] - 230, names[0], 22, ha="left")
    key = [(colour, name) for name, (colour, _) in zip(names[1:], styles, strict=True)]
    write_key(figure, box[0] - 170, box[1] - 150, key)
