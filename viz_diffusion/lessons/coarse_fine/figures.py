"""Figures of coherence and power at each frequency and t, and of x̂_0 split into bands of frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

SHARE_MAP = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfc4e0", "#8f73b8", theme.PURPLE, "#2d0a4f"])
"""0 white to 1 dark; its lightness falls evenly."""


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
        figure = theme.new_figure()
        top, width, height = 250, 1290, 1050
        lefts = (300, 1790)
        for left, values in zip(lefts, (found.shared, found.power), strict=True):
            axes = theme.add_axes(figure, left, top, width, height)
            _show_map(axes, found, values)
            _mark(axes, found)
            for t in _ticks(found):
                theme.write(
                    figure,
                    left + (1 - t / (found.num_train_timesteps - 1)) * width,
                    top + height + 66,
                    f"{t}",
                    color=theme.MUTED,
                )
            for f in found.frequencies:
                if f % 2 == 0 or f == 1:
                    y = top + (1 - (f - found.frequencies[0] + 0.5) / len(found.frequencies)) * height
                    theme.write(figure, left - 26, y, str(int(f)), ha="right", va="center", color=theme.MUTED)
            theme.write(figure, left + width / 2, top + height + 150, "timestep $t$ (noise to the left)", 20)
        said = "frequency $f$, cycles per image"
        theme.write(figure, 110, top + height / 2, said, 20, rotation=90, va="center")
        theme.write(figure, lefts[0], top - 110, "squared coherence of predicted $x_0$", 22, ha="left")
        theme.write(figure, lefts[0], top - 40, "with the finished image", 22, ha="left")
        theme.write(figure, lefts[1], top - 110, "power of predicted $x_0$", 22, ha="left")
        theme.write(figure, lefts[1], top - 40, "over the finished image’s", 22, ha="left")
        _bar(figure, lefts[0], 1560)
        theme.write(figure, 1290, 1560, "half is shared from here on:", 20, ha="left")
        named = "orange dots: generations;  open dots: noised real digits"
        theme.write(figure, 1290, 1640, named, 18, ha="left")
        named = "predicted, solid: own power;  dashed: best linear denoiser"
        theme.write(figure, 1290, 1712, named, 18, ha="left")
        return figure


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
    for values, style in ((found.linear, (0, (4, 2))), (found.predicted, "-")):
        ways = np.repeat(last - values, 2)
        axes.plot(ways, heights, color="white", lw=7, solid_joinstyle="miter", zorder=2)
        axes.plot(ways, heights, color=theme.INK, lw=3, ls=style, solid_joinstyle="miter", zorder=2.1)
    known = found.real > 0
    axes.plot(last - found.real[known], f[known], "o", color="white", ms=11, mec=theme.INK, mew=2.5, zorder=3.5)
    low, high = last - found.interval[:, there]
    axes.hlines(f[there], high, low, color="white", lw=9, zorder=3)
    axes.hlines(f[there], high, low, color=theme.ORANGE, lw=5, zorder=3.1)
    axes.plot(
        last - found.at[there], f[there], "o", color=theme.ORANGE, ms=12, mec="white", mew=2, zorder=4, clip_on=False
    )


def _ticks(found: Emergence) -> list[int]:
    last = found.num_train_timesteps - 1
    return [round(share * last) for share in (1, 0.75, 0.5, 0.25, 0)]


def _bar(figure: Figure, left: int, top: int) -> None:
    width, height = 800, 30
    axes = theme.add_axes(figure, left, top, width, height)
    ramp = np.tile(np.linspace(0, 1, width), (height, 1))
    axes.imshow(ramp, cmap=SHARE_MAP, vmin=0, vmax=1, interpolation="none", aspect="auto")
    for share, text in ((0, "0"), (0.5, "½"), (1, "1")):
        theme.write(figure, left + share * width, top + height + 62, text, color=theme.MUTED)


def draw_bands(bands: Bands) -> Figure:
    """Draw each x̂_0 above its parts, coarse to fine, one column for each timestep, noise at the left.

    The middle and fine parts are drawn on the grey scale about 0, which is mid-grey.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        left, right, top = 420, 3120, 230
        count, side = len(bands.timesteps), bands.x0_pred.shape[-1]
        pitch = (right - left) / count
        factor = max(1, min(12, int(pitch - 24) // side))
        size, gap = side * factor, 40
        rows = [bands.x0_pred, *(bands.parts[:, j] for j in range(bands.parts.shape[1]))]
        for row, (name, images) in enumerate(zip(_names(bands.edges), rows, strict=True)):
            y = top + row * (size + gap) + (50 if row else 0)
            theme.write(
                figure, left - 40, y + size / 2, name, theme.SYMBOL_SIZE if row == 0 else 24, ha="right", va="center"
            )
            for column, image in enumerate(images):
                raster.place_digit(figure, left + column * pitch + (pitch - size) / 2, y, factor, image)
        theme.write(figure, left - 40, top - 60, "$t$", theme.SYMBOL_SIZE, ha="right")
        for column, t in enumerate(bands.timesteps):
            theme.write(figure, left + (column + 0.5) * pitch, top - 60, str(int(t)), theme.NUMBER_SIZE)
        return figure


def _names(edges: tuple[float, ...]) -> tuple[str, ...]:
    """Return the symbol of x̂_0, and the range of frequencies of each of its parts."""
    low = [0, *(int(edge) + 1 for edge in edges)]
    high = [*(int(edge) for edge in edges), None]
    spans = [rf"$f$ ≥ {a}" if b is None else rf"$f$ {a}–{b}" for a, b in zip(low, high, strict=True)]
    return (theme.X0_PRED, *spans)
