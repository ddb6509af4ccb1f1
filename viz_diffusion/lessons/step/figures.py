"""One step of sampling as an account, and the directions of what all steps remove.

Knows nothing about samplers; it draws what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, write_notes
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words


@dataclass(frozen=True, eq=False)
class StepLedger:
    """R steps, each as x_t + rescaled + removed + injected = x_prev."""

    steps_left: Array
    """(R,) int, at least 1."""
    timesteps: Array
    """(R,) int."""
    x_t: Array
    """(R, H, W) float, or (R, H, W, 3) of three colours, about [-3, 3]."""
    rescaled: Array
    """(R, H, W) float."""
    removed: Array
    """(R, H, W) float."""
    injected: Array
    """(R, H, W) float."""
    x_prev: Array
    """(R, H, W) float, or (R, H, W, 3): the picture after the step."""
    norms: Array
    """(R, 3) float: the L2 norms of rescaled, removed and injected, over all channels."""
    stride: int | None = 1
    """By how much every step lowers t, which x_prev is named by; None where they differ or are not whole."""
    state_limit: float = theme.DIGIT_LIMIT
    """The value of x_t and x_prev that is drawn white, where they are latents divided by it."""


def draw_ledger(ledger: StepLedger) -> Figure:
    """Draw one row per step; each change has its own diverging scale, and beneath it a bar as long as its L2 norm."""
    with theme.use_theme():
        words = figure_words("ledger")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        rows, side = len(ledger.steps_left), max(ledger.x_t.shape[1:3])
        top, bottom, left, right = 400, 1555, 470, 2990
        pitch = (bottom - top) / rows
        factor = max(1, min(12, int(pitch - 125) // side))
        size = side * factor
        gap = (right - left - 5 * size) / 4
        lefts = [left + column * (size + gap) for column in range(5)]
        names = ("before", "enlargement", "removed", "injected", "after")
        images = (ledger.x_t, ledger.rescaled, ledger.removed, ledger.injected, ledger.x_prev)
        longest = max(float(ledger.norms.max()), 1e-9)
        for column, (x, name, one) in enumerate(zip(lefts, names, images, strict=True)):
            theme.write(figure, x + size / 2, top - 140, words(name), 20)
            symbol = words(f"{name}_symbol", after=_after(ledger.stride))
            theme.write(figure, x + size / 2, top - 50, symbol, 22)
            changed = 0 < column < 4
            limit = _limit(one) if changed else theme.DIGIT_LIMIT
            for row, image in enumerate(one):
                y = top + row * pitch
                if changed:
                    raster.place_noise(figure, x, y, factor, image * (theme.NOISE_LIMIT / limit))
                    norm = float(ledger.norms[row, column - 1])
                    theme.gauge(page, x, y + size + 16, size, norm / longest, 14)
                    theme.write(figure, x + size / 2, y + size + 92, words("norm", norm=norm))
                else:
                    raster.place_digit(figure, x, y, factor, image)
                if column < 4:
                    sign = ("+", "+", "+", "=")[column]
                    theme.write(figure, x + size + gap / 2, y + size / 2, sign, 32, va="center")
            if column < 4:
                bar = (x, 1595, size, 24)
                colours = theme.NOISE_MAP if changed else theme.DIGIT_MAP
                shown = limit if changed else ledger.state_limit
                theme.colour_bar(figure, bar, colours, shown, ticks=(-shown, shown))
        for row, (steps, t) in enumerate(zip(ledger.steps_left, ledger.timesteps, strict=True)):
            middle = top + row * pitch + size / 2
            theme.write(figure, 90, middle - 6, f"{int(steps)}", theme.NUMBER_SIZE, ha="left")
            theme.write(figure, 90, middle + 84, f"t = {t:.4g}", ha="left", color=theme.MUTED)
        theme.write(figure, 90, top - 140, words("steps_left"), 20, ha="left")
        theme.write(figure, right, 1775, words("size"), ha="right", color=theme.MUTED)
        return figure


def _after(stride: int | None) -> str:
    """Return the symbol of the image after a step that lowers t by ``stride``."""
    below = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    return "xₜ′" if stride is None else f"xₜ₋{str(stride).translate(below)}"


def _limit(change: Array) -> float:
    """Return where the colours of a change end: the magnitude that one value in a thousand exceeds, rounded up."""
    most = float(np.quantile(np.abs(change), 0.999))
    if most <= 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(most))
    return float(np.ceil(most / unit) * unit)


def draw_directions(
    lags: Array,
    cosine: Array,
    cosine_half: Array,
    sums: tuple[float, float, float],
    along: Array,
    along_half: Array,
    generations: int,
    steps: int,
) -> Figure:
    """Draw the cosine of two removals over their distance, that of their sum, and what each part contributes.

    Parameters
    ----------
    lags, cosine, cosine_half
        (L,) rising distances in steps, mean cosines, and half their 95% intervals.
    sums
        Cosines of the sum of all removals with the noise, with the finished image, and with another noise.
    along, along_half
        (4,) contributions along the finished image of x_T, enlarging, removing and injecting; half their intervals.
    generations, steps
        How many generations these are means of, and their steps.
    """
    with theme.use_theme():
        words = figure_words("directions")
        figure = theme.new_figure(words("title"))
        box = (220, 400, 1180, 340)
        last = float(lags[-1])
        ticks = tuple(float(tick) for tick in np.unique(np.round(np.linspace(0, last, 4))))
        x = AxisScale(0, last, ticks, labels=tuple(f"{tick:.0f}" for tick in ticks))
        low = min(-0.04, float((cosine - cosine_half).min()) - 0.05)
        y = AxisScale(low, 1.05, (0, 0.5, 1))
        curve = Curve(lags, cosine, "", cosine - cosine_half, cosine + cosine_half)
        axes = draw_curves(figure, box, [curve], x, y)
        axes.plot(lags, cosine, "o", color=theme.PURPLE, ms=11, mew=0, clip_on=False, zorder=4)
        axes.axhline(0, color=theme.INK, lw=1.6, zorder=1)
        theme.write(figure, 90, 260, words("pairs"), 22, ha="left")
        theme.write(figure, 90, 335, words("cosine"), ha="left", color=theme.MUTED)
        theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 160, words("distance"))
        theme.write(figure, 90, 1010, words("sum"), 22, ha="left")
        theme.write(figure, 90, 1082, words("sums"), ha="left", color=theme.MUTED)
        _draw_sums(figure, [words(name) for name in ("with_noise", "with_image", "with_other")], sums)
        theme.write(figure, 1640, 260, words("parts"), 22, ha="left")
        theme.write(figure, 1640, 335, words("along"), ha="left", color=theme.MUTED)
        names = [words(name) for name in ("first_noise", "enlargement", "removed", "injected", "image")]
        _draw_contributions(figure, names, along, along_half)
        write_notes(figure, words("formula"), words("notes", count=generations, steps=steps, bars=words("bars")))
        return figure


def _draw_sums(figure: Figure, names: Sequence[str], values: Sequence[float]) -> None:
    """Draw cosines as bars on an axis from -1 to 1."""
    left, top, width, pitch = 640, 1110, 600, 145
    axes = theme.add_axes(figure, left, top, width, pitch * len(values))
    axes.set(xlim=(-1.04, 1.04), ylim=(len(values), 0))
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        axes.barh(row + 0.5, value, height=0.5, color=theme.PURPLE if value >= 0 else theme.ORANGE)
        y = top + (row + 0.5) * pitch
        theme.write(figure, left - 50, y, name, ha="right", va="center", linespacing=1.0)
        theme.write(figure, left + width + 260, y, _signed(value, 2), 22, ha="right", va="center")
    for tick in (-1.0, 0.0, 1.0):
        axes.axvline(tick, color=theme.INK if tick == 0 else theme.FAINT, lw=1.6, zorder=0 if tick else 3)
        at = left + (tick + 1.04) / 2.08 * width
        theme.write(figure, at, top + pitch * len(values) + 66, theme.number(tick), color=theme.MUTED)


def _draw_contributions(figure: Figure, names: Sequence[str], along: Array, half: Array) -> None:
    """Draw the four contributions and their sum as bars from 0, with their intervals."""
    values = np.append(along, along.sum())
    halves = np.append(half, 0.0)
    reach = float((np.abs(values) + halves).max()) * 1.12
    left, top, width, pitch = 2150, 380, 740, 206
    axes = theme.add_axes(figure, left, top, width, pitch * len(values))
    axes.set(xlim=(min(0.0, float((values - halves).min()) * 1.3), reach), ylim=(len(values), 0))
    for row, (name, value, error) in enumerate(zip(names, values, halves, strict=True)):
        colour = theme.INK if row == len(along) else theme.PURPLE if value >= 0 else theme.ORANGE
        axes.barh(row + 0.5, value, height=0.5, color=colour)
        if error > 0:
            axes.plot([value - error, value + error], [row + 0.5] * 2, color=theme.MUTED, lw=4)
        y = top + (row + 0.5) * pitch
        theme.write(figure, left - 40, y, name, 20, ha="right", va="center", linespacing=1.3)
        theme.write(figure, left + width + 30, y, _signed(value, 1), 22, ha="left", va="center")
    low, high = axes.get_xlim()
    for tick in (10 * k for k in range(-10, 11) if low < 10 * k < high):
        axes.axvline(tick, color=theme.FAINT, lw=1.6, zorder=0)
        at = left + (tick - low) / (high - low) * width
        theme.write(figure, at, top + pitch * len(values) + 66, theme.number(tick), color=theme.MUTED)
    theme.write(figure, left + width / 2, top + pitch * len(values) + 144, figure_words("directions")("axis"))
    axes.axvline(0, color=theme.INK, lw=1.6)
    axes.axhline(len(along), color=theme.MUTED, lw=1.6)


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, none where it rounds to 0."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", theme.MINUS) if rounded else f"{0:.{digits}f}"
