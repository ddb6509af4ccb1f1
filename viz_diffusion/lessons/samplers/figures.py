"""Samplers with few steps: one image of each, accuracy and distance over the number of steps, and their paths.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array

COLOURS = (theme.INK, theme.MUTED, theme.ORANGE, theme.PURPLE)
STYLES = ("-", ":", "--", "-")
"""Of the four samplers, as they are listed."""


def draw_samplers(
    images: Array,
    image_all: Array,
    steps: Array,
    all_steps: int,
    names: Sequence[str],
    shares: Array | None,
    share_all: float | None,
) -> Figure:
    """Draw one image for each sampler (row) and number of steps (column), and last the one with all steps.

    Parameters
    ----------
    images
        (S, K, H, W) float, in [-1, 1].
    image_all
        (H, W) float: of the first sampler with ``all_steps``.
    shares, share_all
        (S, K) float and one more, 0 to 1: share classified as the requested digit, below each; None without a
        classifier.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top, gap = 470, 3120, 230, 110
        columns, side = len(steps) + 1, images.shape[-1]
        pitch, rows = (right - left) / columns, len(names)
        factor = max(1, min(int(pitch - 40) // side, int((1740 - top) / rows - gap) // side))
        size = side * factor
        for row, name in enumerate(names):
            y = top + row * (size + gap)
            theme.write(figure, left - 30, y + size / 2, name, 26, ha="right", va="center")
            for column in range(len(steps)):
                x = left + (column + 0.5) * pitch
                raster.place_digit(figure, x - size / 2, y, factor, images[row, column])
                if shares is not None:
                    theme.write(figure, x, y + size + 66, theme.percent(shares[row, column]), 20, color=theme.MUTED)
        x = left + (columns - 0.5) * pitch
        raster.place_digit(figure, x - size / 2, top, factor, image_all)
        if share_all is not None:
            theme.write(figure, x, top + size + 66, theme.percent(share_all), 20, color=theme.MUTED)
        theme.write(figure, left - 30, top - 64, "$N$", theme.SYMBOL_SIZE, ha="right")
        for column, n in enumerate([*steps.tolist(), all_steps]):
            theme.write(figure, left + (column + 0.5) * pitch, top - 64, str(n), theme.NUMBER_SIZE)
        page = theme.page_axes(figure)
        line = left + (columns - 1) * pitch
        page.plot([line, line], [top - 120, top + rows * (size + gap) - 40], color=theme.FAINT, lw=2)
        return figure


def draw_strokes(
    steps: Array,
    names: Sequence[str],
    shares: Array | None,
    bounds: Array | None,
    share_all: float | None,
    apart: Array,
    half: Array,
    followed: Sequence[int],
) -> Figure:
    """Draw, over the number of steps, the accuracy, and the distance of two samplers from their limit.

    Parameters
    ----------
    shares, bounds, share_all
        (S, K), (S, K, 2) float and one more: shares with their intervals, and that of all steps (the level line); None
        without a classifier, and then the other panel has the page.
    apart, half
        (2, K) float: RMS distances of the samplers ``followed``, and half their intervals.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        ticks = tuple(float(n) for n in steps)
        x = AxisScale(ticks[0], ticks[-1], ticks, "$N$", log=True, labels=tuple(f"{n:.0f}" for n in ticks))
        box = (330, 240, 2400, 1290)
        if shares is not None and bounds is not None:
            left = (250, 240, 1090, 1290)
            lines = []
            for s, name in enumerate(names):
                apart_by = steps * 1.07 ** (s - (len(names) - 1) / 2)  # so that the bars stand side by side
                lines.append(Curve(apart_by, shares[s], name, colour=COLOURS[s], style=STYLES[s], weight=2.5))
                lines.append(Curve(apart_by, shares[s], "", bounds[s, :, 0], bounds[s, :, 1], COLOURS[s], "o", 5.5))
            low = min(0.8, float(np.floor(10 * bounds.min()) / 10))
            ticks_a = tuple(np.arange(low, 1.01, 0.2 if low < 0.4 else 0.1))
            wide = AxisScale(x.low / 1.2, x.high * 1.2, x.ticks, x.name, log=True, labels=x.labels)
            axes = draw_curves(figure, left, lines, wide, AxisScale(low, 1.004, ticks_a, "$A$"))
            if share_all is not None:
                axes.axhline(share_all, color=theme.INK, lw=1.6, zorder=1.5)
            box = (1990, 240, 860, 1290)
        solver = followed[-1]
        kept = {s: np.flatnonzero(apart[row] > 0) for row, s in enumerate(followed)}
        curves = [
            Curve(
                steps[kept[s]],
                apart[row, kept[s]],
                names[s],
                np.maximum(apart[row] - half[row], 1e-6)[kept[s]],
                (apart[row] + half[row])[kept[s]],
                COLOURS[s],
                STYLES[s],
            )
            for row, s in enumerate(followed)
        ]
        values = np.concatenate([curve.y for curve in curves])
        low, high = float(values.min()) / 1.5, float(values.max()) * 1.5
        marks = tuple(m for m in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if low <= m <= high)
        name = rf"RMS $x_0-x_0^{{({ticks[-1]:.0f})}}$, {names[solver]}"
        draw_curves(figure, box, curves, x, AxisScale(low, high, marks, name, log=True))
        return figure


def draw_paths(maps: Array, ends: Array, straight: Array, share: Array) -> Figure:
    """Draw paths on their own two principal axes: DDIM's, DDPM's and random walks', and how straight and flat they are.

    Parameters
    ----------
    maps
        (3, K, P, 2) float.
    ends
        (2, K, H, W) float, in [-1, 1]: the finished images of the first two kinds.
    straight
        (3,) float: chord over length.
    share
        (3, 2) float: share of variance on each axis.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        width, gap, left, top, height = 900, 110, 140, 300, 900
        for kind, name in enumerate(("DDIM", "DDPM", r"$\Sigma z$")):
            x = left + kind * (width + gap)
            axes = theme.add_axes(figure, x, top, width, height)
            drawn = maps[kind]
            reach = 1.12 * float(np.abs(drawn).max())
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
            axes.plot([-reach, reach], [0, 0], color=theme.FAINT, lw=1.5, zorder=0)
            axes.plot([0, 0], [-reach, reach], color=theme.FAINT, lw=1.5, zorder=0)
            for index, path in enumerate(drawn):
                first = index == 0
                colour = theme.PURPLE if first else "#b9a9cf"
                axes.plot(*path.T, color=colour, lw=4 if first else 2.2, zorder=3 if first else 2)
                axes.plot(*path[0], "o", color="white", mec=colour, mew=2.5, ms=10, zorder=4)
                axes.plot(*path[-1], "o", color=colour, ms=12, mec="white", mew=2, zorder=4)
            theme.write(figure, x + width / 2, top - 90, name, theme.NUMBER_SIZE)
            theme.write(figure, x + width / 2, top + height + 110, rf"$c/\ell$ = {straight[kind]:.2f}", 26)
            both = f"{share[kind, 0]:.0%} + {share[kind, 1]:.0%}"
            theme.write(figure, x + width / 2, top + height + 210, both, 26, color=theme.MUTED)
            if kind < len(ends):
                factor = 6
                middle = x + width / 2 - factor * ends.shape[-1] / 2
                raster.place_digit(figure, middle, top + height + 260, factor, ends[kind, 0])
        return figure
