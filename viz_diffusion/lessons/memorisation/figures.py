"""Figure of samples with their nearest training digits, and the distribution of d₁/d₂."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, mark_x
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LEFT, _TOP, _FACTOR, _GAP, _BLOCK = 400, 330, 7, 10, 800


@dataclass(frozen=True, eq=False)
class NearestPairs:
    """K samples, each with its nearest training digit."""

    samples: Array
    """(K, H, W) float, -1 to 1."""
    nearest: Array
    """(K, H, W) float, -1 to 1."""
    ratio: Array
    """(K,) float, 0 to 1: d₁/d₂."""


def draw_copies(blocks: Sequence[tuple[NearestPairs, Array, Array, int]], copy: float) -> Figure:
    """Draw a block for each of one or two networks.

    Parameters
    ----------
    blocks
        Pairs, (N,) d₁/d₂ of all samples (line) and of test digits (dashed), and how many digits the
        network was trained on.
    copy
        Below this a sample is a near-copy; its d₁/d₂ is drawn in orange.
    """
    with theme.use_theme():
        words = figure_words("copies")
        figure = theme.new_figure(words("title"))
        first = _TOP if len(blocks) > 1 else _TOP + _BLOCK // 2
        for index, (pairs, ratio, test, training) in enumerate(blocks):
            top = first + index * _BLOCK
            _draw_pairs(figure, top, pairs, words("training", count=training), copy)
            box = (2650, top, 480, 380)
            curves = (
                Curve(*_distribution(test), colour=theme.MUTED, style="--", weight=3.5),
                Curve(*_distribution(ratio)),
            )
            x = AxisScale(0, 1, (0, 0.5, 1))
            axes = draw_curves(figure, box, curves, x, AxisScale(0, 1, (0, 0.5, 1)))
            middle, below = box[0] + box[2] / 2, top + box[3] + 190
            theme.write(figure, middle, top - 96, words("vertical"))
            theme.write(figure, middle, below, words("horizontal"), linespacing=1.3, va="center")
            mark_x(figure, axes, box, copy, "1/3" if abs(copy - 1 / 3) < 1e-9 else theme.number(copy))
        return figure


def _draw_pairs(figure: Figure, top: int, pairs: NearestPairs, name: str, copy: float) -> None:
    size = pairs.samples.shape[-1] * _FACTOR
    theme.write(figure, _LEFT, top - 70, name, theme.NUMBER_SIZE, ha="left")
    words = figure_words("copies")
    for row, text in enumerate((words("sample"), words("nearest"))):
        middle = top + row * (size + _GAP) + size / 2
        theme.write(figure, _LEFT - 30, middle, text, ha="right", va="center", linespacing=1.3)
    for column, (image, nearest, ratio) in enumerate(zip(pairs.samples, pairs.nearest, pairs.ratio, strict=True)):
        x = _LEFT + column * (size + _GAP)
        raster.place_digit(figure, x, top, _FACTOR, image)
        raster.place_digit(figure, x, top + size + _GAP, _FACTOR, nearest)
        style = {"color": theme.ORANGE, "weight": "bold"} if ratio < copy else {"color": theme.MUTED}
        theme.write(figure, x + size / 2, top + 2 * size + _GAP + 66, f"{ratio:.2f}", 20, **style)


def _distribution(values: Array) -> tuple[Array, Array]:
    """Return the empirical distribution function of (N,) values in 0 .. 1, as a line from 0 to 1."""
    places = np.sort(values)
    shares = np.arange(1, len(places) + 1) / len(places)
    return np.concatenate([[0, places[0]], places, [1]]), np.concatenate([[0, 0], shares, [1]])
