"""One step of sampling as an account, and the directions of what all steps remove.

Knows nothing about samplers; it draws what it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array


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


def draw_ledger(ledger: StepLedger) -> Figure:
    """Draw one row per step; the three changes share one diverging scale, their L2 norms stand beneath them."""
    parts = np.stack([ledger.rescaled, ledger.removed, ledger.injected])
    limit = max(float(np.ceil(np.quantile(np.abs(parts), 0.999) * 10) / 10), 0.1)
    with theme.use_theme():
        figure = theme.new_figure()
        rows, side = len(ledger.steps_left), max(ledger.x_t.shape[1:3])
        top, bottom, left, gap = 232, 1606, 330, 230
        factor = max(1, min(13, int((bottom - top) / rows - 92) // side))
        size = side * factor
        pitch = (bottom - top) / rows
        symbols = (
            theme.X_T,
            r"$(a-1)\,x_t$",
            r"$-\,b\,\hat{\varepsilon}$",
            r"$\sigma\,z$",
            r"$x_{t'}$" if ledger.stride is None else rf"$x_{{t-{ledger.stride}}}$",
        )
        for column, symbol in enumerate(symbols):
            x = left + column * (size + gap)
            theme.write(figure, x + size / 2, top - 60, symbol, 36)
            for row in range(rows):
                y = top + row * pitch
                image = (ledger.x_t, ledger.rescaled, ledger.removed, ledger.injected, ledger.x_prev)[column][row]
                if column in (0, 4):
                    raster.place_digit(figure, x, y, factor, image)
                else:
                    raster.place_noise(figure, x, y, factor, image * (theme.NOISE_LIMIT / limit))
                    norm = f"‖·‖ = {ledger.norms[row, column - 1]:.2f}"
                    theme.write(figure, x + size / 2, y + size + 58, norm, 20)
                if column < 4:
                    sign = ("+", "+", "+", "=")[column]
                    theme.write(figure, x + size + gap / 2, y + size / 2, sign, 32, va="center")
        for row in range(rows):
            y = top + row * pitch + size / 2 + 40
            theme.write(figure, 80, y, str(int(ledger.steps_left[row])), theme.NUMBER_SIZE, ha="left")
        theme.colour_bar(figure, (left, 1640, size, 28), theme.DIGIT_MAP, theme.DIGIT_LIMIT)
        theme.colour_bar(figure, (left + 2 * (size + gap), 1640, size, 28), theme.NOISE_MAP, limit)
        return figure


def draw_directions(
    lags: Array,
    cosine: Array,
    cosine_half: Array,
    sums: tuple[float, float, float],
    along: Array,
    along_half: Array,
) -> Figure:
    """Draw the cosine of two removals over their distance (left), and what each part contributes (right).

    Parameters
    ----------
    lags, cosine, cosine_half
        (L,) rising distances in steps, mean cosines, and half their 95% intervals.
    sums
        Cosines of the sum of all removals with the noise, with the finished image, and with another noise.
    along, along_half
        (4,) contributions along the finished image of x_T, enlarging, removing and injecting; half their intervals.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        box = (290, 330, 1060, 760)
        last = float(lags[-1])
        ticks = tuple(float(tick) for tick in np.unique(np.round(np.linspace(0, last, 4))))
        x = AxisScale(0, last, ticks, labels=tuple(f"{tick:.0f}" for tick in ticks))
        low = min(-0.25, float((cosine - cosine_half).min()) - 0.05)
        y = AxisScale(low, 1.05, (0, 0.25, 0.5, 0.75, 1))
        curve = Curve(lags, cosine, "", cosine - cosine_half, cosine + cosine_half)
        axes = draw_curves(figure, box, [curve], x, y)
        axes.plot(lags, cosine, "o", color=theme.PURPLE, ms=11, mec="white", mew=2, clip_on=False, zorder=4)
        axes.axhline(0, color=theme.INK, lw=1.6, zorder=1)
        theme.write(figure, 100, 190, "Two removals compared", 24, ha="left")
        theme.write(figure, 100, 262, "cosine between what two steps remove", 20, ha="left", color=theme.MUTED)
        theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 170, "distance of the two, in steps", 22)
        theme.write(figure, 100, 1430, "Cosine of the sum of all removals", 24, ha="left")
        for row, (name, value) in enumerate(
            zip(
                ("with the noise ($x_T$, injected)", "with the finished image", "with another noise"),
                sums,
                strict=True,
            )
        ):
            y_row = 1530 + 88 * row
            theme.write(figure, 100, y_row, name, 20, ha="left", color=theme.MUTED)
            theme.write(figure, 1420, y_row, f"{value:.2f}".replace("-", theme.MINUS), 24, ha="right")
        _draw_contributions(figure, along, along_half)
        return figure


def _draw_contributions(figure: Figure, along: Array, half: Array) -> None:
    """Draw the four contributions and their sum as bars from 0, with their intervals."""
    names = ("first noise, $x_T$", "enlarging", "removing", "injecting", "finished image")
    values = np.append(along, along.sum())
    halves = np.append(half, 0.0)
    reach = float((np.abs(values) + halves).max()) * 1.12
    left, top, width, pitch = 2140, 330, 760, 190
    axes = theme.add_axes(figure, left, top, width, pitch * len(values))
    axes.set(xlim=(min(0.0, float((values - halves).min()) * 1.3), reach), ylim=(len(values), 0))
    for row, (name, value, error) in enumerate(zip(names, values, halves, strict=True)):
        colour = theme.INK if row == len(along) else theme.PURPLE if value >= 0 else theme.ORANGE
        axes.barh(row + 0.5, value, height=0.56, color=colour)
        if error > 0:
            axes.plot([value - error, value + error], [row + 0.5] * 2, color=theme.INK, lw=3)
        y = top + (row + 0.5) * pitch
        theme.write(figure, left - 40, y, name, 22, ha="right", va="center")
        said = f"{value:+.1f}".replace("-", theme.MINUS)
        theme.write(figure, left + width + 30, y, said, 22, ha="left", va="center")
    axes.axvline(0, color=theme.INK, lw=1.6)
    theme.write(figure, 1620, 190, "Contributions along the finished image", 24, ha="left")
    theme.write(figure, 1620, 262, "scalar product with its direction", 20, ha="left", color=theme.MUTED)
