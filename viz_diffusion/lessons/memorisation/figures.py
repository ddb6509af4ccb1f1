"""Figure of samples with their nearest training digits, and the distribution of d₁/d₂."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LEFT, _TOP, _FACTOR, _GAP, _BLOCK = 480, 335, 7, 10, 735
_PANEL = (2720, 380, 265)
"""Left, width and height of the panel with the distribution."""


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
            _draw_distribution(figure, top, ratio, test, copy)
        limit = "1/3" if abs(copy - 1 / 3) < 1e-9 else theme.number(copy)
        theme.write(figure, 90, 1690, words("distances"), ha="left", color=theme.MUTED)
        theme.write(figure, 90, 1770, words("near_copy", limit=limit), ha="left")
        return figure


def _draw_distribution(figure: Figure, top: int, ratio: Array, test: Array, copy: float) -> None:
    """Draw the share of samples and of test digits below each d₁/d₂, with a line at the limit of a near-copy."""
    words = figure_words("copies")
    box = (_PANEL[0], top + 30, *_PANEL[1:])
    curves = (
        Curve(*_distribution(test), colour=theme.MUTED, style="--", weight=3.5),
        Curve(*_distribution(ratio)),
    )
    axes = draw_curves(figure, box, curves, AxisScale(0, 1, (0, 0.5, 1)), AxisScale(0, 1, (0, 0.5, 1)))
    axes.axvline(copy, color=theme.ORANGE, lw=2.2, zorder=1.8)
    theme.write(figure, box[0] - 110, top - 60, words("vertical"), ha="left")
    theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 164, words("horizontal"))
    page = theme.page_axes(figure)
    for line, (key, style) in enumerate((("samples", (theme.PURPLE, "-", 4.5)), ("test", (theme.MUTED, "--", 3.5)))):
        y = box[1] + box[3] + 234 + 66 * line
        page.plot([box[0], box[0] + 110], [y - 20] * 2, color=style[0], ls=style[1], lw=style[2])
        theme.write(figure, box[0] + 135, y, words(key), ha="left", color=style[0])


def _draw_pairs(figure: Figure, top: int, pairs: NearestPairs, name: str, copy: float) -> None:
    size = pairs.samples.shape[-1] * _FACTOR
    theme.write(figure, _LEFT, top - 60, name, 22, ha="left")
    words = figure_words("copies")
    for row, text in enumerate((words("sample"), words("nearest"))):
        middle = top + row * (size + _GAP) + size / 2
        theme.write(figure, _LEFT - 30, middle, text, ha="right", va="center", linespacing=1.3)
    theme.write(figure, _LEFT - 30, top + 2 * size + _GAP + 66, words("ratio"), ha="right")
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
