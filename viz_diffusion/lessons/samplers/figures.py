"""Samplers with few steps: one image of each, accuracy and distance over the number of steps, and their paths.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves, write_key, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

NAMES = ("beta", "beta_tilde", "ddim", "solver")
"""Names of the four samplers in the catalogue, as they are listed."""
COLOURS = (theme.INK, theme.MUTED, theme.ORANGE, theme.PURPLE)
STYLES = ("-", ":", "--", "-")
"""Of the four samplers."""


def draw_samplers(
    images: Array,
    image_all: Array,
    steps: Array,
    all_steps: int,
    shares: Array | None,
    share_all: float | None,
    count: int,
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
    count
        Samples of each.
    """
    with theme.use_theme():
        words = figure_words("samplers")
        figure = theme.new_figure(words("title"))
        left, right, top, bottom = 640, 3130, 325, 1700
        columns, side = len(steps) + 1, images.shape[-1]
        pitch, height = (right - left) / columns, (bottom - top) / len(images)
        factor = max(1, min(int(pitch - 40), int(height - 100)) // side)
        size = side * factor

        def place(row: int, column: int, image: Array, share: float | None) -> None:
            x, y = left + (column + 0.5) * pitch, top + row * height
            raster.place_digit(figure, x - size / 2, y, factor, image)
            if share is not None:
                theme.write(figure, x, y + size + 66, theme.percent(share), color=theme.MUTED)

        for row, name in zip(range(len(images)), NAMES, strict=True):
            middle = top + row * height + size / 2
            theme.write(figure, left - 40, middle, words(f"name_{name}"), 20, ha="right", va="center", linespacing=1.3)
            for column in range(len(steps)):
                place(row, column, images[row, column], None if shares is None else float(shares[row, column]))
        place(0, columns - 1, image_all, share_all)
        theme.write(figure, left - 40, top - 60, words("steps"), ha="right")
        for column, n in enumerate([*steps.tolist(), all_steps]):
            theme.write(figure, left + (column + 0.5) * pitch, top - 60, str(n), 26)
        page = theme.page_axes(figure)
        line = left + (columns - 1) * pitch
        page.plot([line, line], [top - 120, bottom - 20], color=theme.FAINT, lw=2)
        if shares is not None:
            theme.write(figure, left, 1762, words("share", count=count), ha="left", color=theme.MUTED)
        return figure


def draw_strokes(
    steps: Array,
    all_steps: int,
    shares: Array | None,
    bounds: Array | None,
    share_all: float | None,
    apart: Array,
    half: Array,
    followed: Sequence[int],
    count: int,
) -> Figure:
    """Draw, over the number of steps, the accuracy, and the distance of two samplers from their limit.

    Parameters
    ----------
    shares, bounds, share_all
        (S, K), (S, K, 2) float and one more: shares with their intervals, and that of ``all_steps`` (the level line);
        None without a classifier, and then the other panel has the page.
    apart, half
        (2, K) float: RMS distances of the samplers ``followed``, and half their intervals.
    count
        Samples of each.
    """
    with theme.use_theme():
        words = figure_words("strokes")
        figure = theme.new_figure(words("title" if shares is not None else "title_distance"))
        box: PanelBox = (330, 640, 2200, 690)
        cut = ""
        if shares is not None and bounds is not None:
            low = _draw_accuracy(figure, (270, 640, 1250, 690), steps, shares, bounds, share_all, all_steps)
            box = (2010, 640, 1060, 690)
            cut = words("axis_from", low=f"{low:.0%}") if low > 0 else ""
        kept = {s: np.flatnonzero(apart[row] > 0) for row, s in enumerate(followed)}
        curves = [
            Curve(
                steps[kept[s]],
                apart[row, kept[s]],
                "",
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
        draw_curves(figure, box, curves, _steps_axis(steps, 1.1), AxisScale(low, high, marks, log=True))
        _name_panel(figure, box, words("distance"), words("limit", steps=int(steps[-1])))
        write_key(figure, box[0] - 150, 455, [(COLOURS[s], words(f"end_{NAMES[s]}")) for s in followed])
        write_notes(figure, words("noise"), words("notes", count=count), f"{words('scales')} {cut}".strip())
        return figure


def _draw_accuracy(
    figure: Figure,
    box: PanelBox,
    steps: Array,
    shares: Array,
    bounds: Array,
    share_all: float | None,
    all_steps: int,
) -> float:
    """Draw each sampler's accuracy with its intervals, side by side, and that of all steps as a level line.

    Returns the lower end of the axis.
    """
    words, lines = figure_words("strokes"), []
    key = [(colour, words(f"end_{name}")) for colour, name in zip(COLOURS, NAMES, strict=True)]
    for s in range(len(NAMES)):
        beside = steps * 1.09 ** (s - (len(NAMES) - 1) / 2)
        lines.append(Curve(beside, shares[s], colour=COLOURS[s], style=STYLES[s], weight=2.5))
        lines.append(Curve(beside, shares[s], "", bounds[s, :, 0], bounds[s, :, 1], COLOURS[s], "o", 5.5))
    low = min(0.8, float(np.floor(10 * bounds.min()) / 10))
    ticks = tuple(np.arange(low, 1.01, 0.2 if low < 0.4 else 0.1))
    y = AxisScale(low, 1.004, ticks, labels=tuple(f"{tick:.0%}" for tick in ticks))
    x = _steps_axis(steps, 1.2)
    if share_all is not None:
        key.append((theme.INK, words("level", steps=all_steps)))
        ends = np.array([x.low, x.high])
        lines.append(Curve(ends, np.full(2, share_all), colour=theme.INK, style="-.", weight=2))
    draw_curves(figure, box, lines, x, y)
    _name_panel(figure, box, words("accuracy"), words("variances"))
    write_key(figure, box[0] - 150, 455, key[:2])
    write_key(figure, box[0] + 480, 455, key[2:4])
    write_key(figure, box[0] + 480, 379, key[4:])
    return low


def _steps_axis(steps: Array, margin: float = 1.0) -> AxisScale:
    """Return the logarithmic axis of the number of steps, wider by a factor ``margin`` at both ends."""
    ticks = tuple(float(n) for n in steps)
    return AxisScale(ticks[0] / margin, ticks[-1] * margin, ticks, log=True, labels=tuple(f"{n:.0f}" for n in ticks))


def _name_panel(figure: Figure, box: PanelBox, name: str, note: str) -> None:
    """Write a panel's name and a note on it above the panel, and the name of its axis beneath."""
    theme.write(figure, box[0] - 150, 290, name, 20, ha="left")
    theme.write(figure, box[0] - 150, 366, note, ha="left", color=theme.MUTED)
    theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 164, figure_words("strokes")("steps"), 20)


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
        words = figure_words("paths")
        figure = theme.new_figure(words("title"))
        width, pitch, left, top = 780, 845, 640, 350
        for kind, name in enumerate(("ddim", "ddpm", "walk")):
            x = left + kind * pitch
            middle = x + width / 2
            _draw_map(theme.add_axes(figure, x, top, width, width), maps[kind])
            theme.write(figure, middle, top - 100, words(name), 22)
            theme.write(figure, middle, top - 30, words(f"{name}_noise"), color=theme.MUTED)
            theme.write(figure, middle, top + width + 62, words("first_axis"), color=theme.MUTED)
            theme.write(figure, middle, top + width + 162, f"{straight[kind]:.2f}", 24, va="center")
            both = f"{share[kind, 0]:.0%} + {share[kind, 1]:.0%}"
            theme.write(figure, middle, top + width + 322, both, 24, va="center")
            if kind < len(ends):
                factor = max(1, 224 // ends.shape[-1])
                at = middle - factor * ends.shape[-1] / 2
                raster.place_digit(figure, at, top + width + 410, factor, ends[kind, 0])
        for below, key in ((162, "straight"), (322, "variance"), (522, "image")):
            theme.write(figure, left - 70, top + width + below, words(key), ha="right", va="center", linespacing=1.1)
        at = (left - 40, top + width / 2)
        theme.write(figure, *at, words("second_axis"), rotation=90, va="center", color=theme.MUTED)
        for line, key in enumerate(("start", "end")):
            theme.write(figure, 90, top + 330 + 90 * line, words(key), 20, ha="left")
        return figure


def _draw_map(axes: Axes, paths: Array) -> None:
    """Draw (K, P, 2) paths, the first one thick, with an open dot at the start and a full one at the end."""
    reach = 1.12 * float(np.abs(paths).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.plot([-reach, reach], [0, 0], color=theme.FAINT, lw=1.5, zorder=0)
    axes.plot([0, 0], [-reach, reach], color=theme.FAINT, lw=1.5, zorder=0)
    for index, path in enumerate(paths):
        colour, order = (theme.PURPLE, 4) if index == 0 else (theme.MUTED, 2)
        axes.plot(*path.T, color=colour, lw=5 if index == 0 else 1.4, zorder=order)
        axes.plot(*path[0], "o", color=theme.PAPER, mec=colour, mew=2.5, ms=10, zorder=order + 1)
        axes.plot(*path[-1], "o", color=colour, ms=12, mec=theme.PAPER, mew=2, zorder=order + 1)
