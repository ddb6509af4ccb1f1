"""Figures of coherence and power at each frequency and t, and of x̂_0 split into bands of frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

SHARE_MAP = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfc4e0", "#8f73b8", theme.PURPLE, "#2d0a4f"])
"""0 white to 1 dark; its lightness falls evenly."""
_DASHES = (0, (4, 2))
"""The line of the best linear denoiser."""
_FULL: Any = {"color": theme.ORANGE, "mec": theme.ON_DARK, "ms": 12, "mew": 2}
_OPEN: Any = {"color": theme.ON_DARK, "mec": theme.ON_LIGHT, "ms": 11, "mew": 2.5}
"""Dots of generations and of noised real digits; the maps, and so what lies on them, are the same on a dark page."""


@dataclass(frozen=True, eq=False)
class Emergence:
    """Coherence and power of F frequencies at K timesteps, and the t at which each emerges."""

    frequencies: Array
    """(F,) int, rising by 1, cycles per image."""
    timesteps: Array
    """(K,) int, falling."""
    num_train_timesteps: int
    """T."""
    shared: Array
    """(K, F) float, 0 to 1."""
    power: Array
    """(K, F) float, positive."""
    at: Array
    """(F,) float: the t where each emerges."""
    interval: Array
    """(2, F) float: its 95% interval."""
    predicted: Array
    """(F,) float: the t that its own power predicts."""
    linear: Array
    """(F,) float: the t with the best linear denoiser."""
    real: Array
    """(F,) float: the t in noised real digits."""


@dataclass(frozen=True, eq=False)
class Bands:
    """x̂_0 of one generation at K timesteps, each split into J bands of frequency that add up to it."""

    timesteps: Array
    """(K,) int, falling."""
    x0_pred: Array
    """(K, H, W) float, in [-1, 1]."""
    parts: Array
    """(K, J, H, W) float, coarse to fine."""
    edges: tuple[float, ...]
    """J-1 rising bounds, cycles per image."""


def draw_emergence(found: Emergence) -> Figure:
    """Draw two maps over t (noise at the left) and frequency (fine above), and the t at which each frequency emerges.

    Left, squared coherence of x̂_0 with the finished image; right, its relative power, clipped to 1. Dots with bars: the
    measured t, where there is one; open dots: that of noised real digits; solid line: the t that the power predicts;
    dashed: that of the best linear denoiser.
    """
    with theme.use_theme():
        words = figure_words("emergence")
        figure = theme.new_figure(words("title"))
        top, width, height = 390, 1270, 950
        lefts = (310, 1810)
        for left, values, name in zip(lefts, (found.shared, found.power), ("shared", "power"), strict=True):
            axes = theme.add_axes(figure, left, top, width, height)
            _show_map(axes, found, values)
            _mark(axes, found)
            theme.write(figure, left, top - 130, words(name), 22, ha="left")
            theme.write(figure, left, top - 50, words(f"{name}_scale"), ha="left", color=theme.MUTED)
            last = found.num_train_timesteps - 1
            for t in _ticks(found):
                theme.write(figure, left + (1 - t / last) * width, top + height + 66, f"{t}", color=theme.MUTED)
            for f in found.frequencies:
                if f % 2 == 0 or f == 1:
                    y = top + (1 - (f - found.frequencies[0] + 0.5) / len(found.frequencies)) * height
                    theme.write(figure, left - 26, y, str(int(f)), ha="right", va="center", color=theme.MUTED)
            theme.write(figure, left + width / 2, top + height + 144, words("t_generation"))
        for left in lefts:
            theme.write(figure, left - 150, top + height / 2, words("frequency"), rotation=90, va="center")
        _bar(figure, lefts[0], 1640)
        _draw_key(figure, 1180, 1580)
        return figure


def _draw_key(figure: Figure, left: int, top: int) -> None:
    """Say what dots and lines mark: two columns, each mark beside its words."""
    words = figure_words("emergence")
    theme.write(figure, left, top, words("half"), 20, ha="left")
    axes = theme.page_axes(figure)
    axes.set(zorder=3)
    for x, y, name in ((0, 85, "generated"), (0, 165, "real"), (860, 85, "own_power"), (860, 165, "linear")):
        at = (left + x + 10, left + x + 100), (top + y - 20,) * 2
        if name in ("own_power", "linear"):
            axes.plot(*at, color=theme.ON_DARK, lw=7)
            axes.plot(*at, color=theme.ON_LIGHT, lw=3, ls="-" if name == "own_power" else _DASHES)
        else:
            axes.plot(left + x + 55, top + y - 20, "o", **(_OPEN if name == "real" else _FULL))
        theme.write(figure, left + x + 125, top + y, words(name), ha="left")


def _show_map(axes: Axes, found: Emergence, values: Array) -> None:
    """Show (K, F) values in 0..1 with t falling to the right, in blocks without interpolation."""
    middle = (found.timesteps[:-1] + found.timesteps[1:]) / 2
    last = found.num_train_timesteps - 1
    edges = np.concatenate([[last], middle, [0]])
    bounds = np.concatenate([found.frequencies - 0.5, [found.frequencies[-1] + 0.5]])
    axes.pcolormesh(last - edges, bounds, values.T, cmap=SHARE_MAP, vmin=0, vmax=1, shading="flat", rasterized=True)
    axes.set(xlim=(0, last), ylim=(bounds[0], bounds[-1]), xticks=[], yticks=[])
    axes.set_axis_on()
    axes.spines[:].set(color=theme.FAINT, linewidth=1.5)


def _mark(axes: Axes, found: Emergence) -> None:
    """Draw both predictions as step lines, and the measured emergence as dots with intervals."""
    last = found.num_train_timesteps - 1
    f, there = found.frequencies, found.at > 0
    heights = np.repeat(np.concatenate([f - 0.5, [f[-1] + 0.5]]), 2)[1:-1]
    for values, style in ((found.linear, _DASHES), (found.predicted, "-")):
        ways = np.repeat(last - values, 2)
        axes.plot(ways, heights, color=theme.ON_DARK, lw=7, solid_joinstyle="miter", zorder=2)
        axes.plot(ways, heights, color=theme.ON_LIGHT, lw=3, ls=style, solid_joinstyle="miter", zorder=2.1)
    known = found.real > 0
    axes.plot(last - found.real[known], f[known], "o", **_OPEN, zorder=3.5)
    low, high = last - found.interval[:, there]
    axes.hlines(f[there], high, low, color=theme.ON_DARK, lw=9, zorder=3)
    axes.hlines(f[there], high, low, color=theme.ORANGE, lw=5, zorder=3.1)
    axes.plot(last - found.at[there], f[there], "o", **_FULL, zorder=4, clip_on=False)


def _ticks(found: Emergence) -> list[int]:
    last = found.num_train_timesteps - 1
    return [round(share * last) for share in (1, 0.75, 0.5, 0.25, 0)]


def _bar(figure: Figure, left: int, top: int) -> None:
    width, height = 640, 30
    axes = theme.add_axes(figure, left, top, width, height)
    ramp = np.tile(np.linspace(0, 1, width), (height, 1))
    axes.imshow(ramp, cmap=SHARE_MAP, vmin=0, vmax=1, interpolation="none", aspect="auto")
    for share, text in ((0, "0"), (0.5, "½"), (1, "1")):
        theme.write(figure, left + share * width, top + height + 62, text, color=theme.MUTED)
    theme.write(figure, left, top - 30, figure_words("emergence")("colours"), ha="left")


def draw_bands(bands: Bands) -> Figure:
    """Draw each x̂_0 above its parts, coarse to fine, one column for each timestep, noise at the left.

    The middle and fine parts are drawn on the grey scale about 0, which is mid-grey.
    """
    with theme.use_theme():
        words = figure_words("bands")
        figure = theme.new_figure(words("title"))
        left, right, top = 640, 3140, 330
        count, side = len(bands.timesteps), bands.x0_pred.shape[-1]
        rows = [bands.x0_pred, *(bands.parts[:, j] for j in range(bands.parts.shape[1]))]
        pitch, height = (right - left) / count, (1700 - top - 60) / len(rows)
        factor = max(1, min(12, int(pitch - 24) // side, int(height - 24) // side))
        size = side * factor
        for row, (name, images) in enumerate(zip(_names(bands.edges), rows, strict=True)):
            y = top + row * height + (60 if row else 0)
            theme.write(figure, left - 40, y + size / 2, name, 20, ha="right", va="center", linespacing=1.4)
            sign = "" if row == 0 else "=" if row == 1 else "+"
            theme.write(figure, 90, y + size / 2, sign, 32, va="center")
            for column, image in enumerate(images):
                raster.place_digit(figure, left + column * pitch + (pitch - size) / 2, y, factor, image)
        theme.write(figure, left - 40, top - 56, words("timestep"), 20, ha="right")
        for column, t in enumerate(bands.timesteps):
            theme.write(figure, left + (column + 0.5) * pitch, top - 56, str(int(t)), 26)
        theme.write(figure, left, 1762, words("frequency"), ha="left", color=theme.MUTED)
        return figure


def _names(edges: tuple[float, ...]) -> tuple[str, ...]:
    """Return the names of x̂_0 and of its parts, coarse to fine, with their frequencies."""
    words = figure_words("bands")
    low = [0, *(int(edge) + 1 for edge in edges)]
    spans = [f"f = {a}–{int(b)}" for a, b in zip(low, edges, strict=False)] + [f"f ≥ {low[-1]}"]
    kinds = ("coarse", *("medium" for _ in edges[1:]), "fine")
    return (words("x0_pred"), *(words(kind, span=span) for kind, span in zip(kinds, spans, strict=True)))
