"""Figures of the probability of the class over t with settled generations, and of forks as a tree of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves
from viz_diffusion.plots.theme import Array

Estimate = tuple[Array, Array, Array]
"""(K,) means, and the lower and upper ends of their intervals."""
_WINDOW = "#ece7f2"
_P = r"$p(y\,|\,{})$"


@dataclass(frozen=True)
class Quartiles:
    """Median and quartiles of many timesteps."""

    median: float
    """Half lie below."""
    lower: float
    """A quarter lies below."""
    upper: float
    """A quarter lies above."""
    low: float
    """Lower end of the median's interval."""
    high: float
    """Upper end of it."""


def draw_decision(
    timesteps: Array,
    ideal: Array,
    x0_probability: Estimate | None,
    returned: Estimate | None,
    window: tuple[int, int],
    settled: Array | None,
    quartiles: Quartiles | None,
    strip: Array,
    strip_timesteps: Array,
    num_train_timesteps: int,
) -> Figure:
    """Draw the probability of a digit's class over t, noise at the left, and below it x̂_0 of one generation.

    Parameters
    ----------
    timesteps, ideal
        (K,) falling t, and p(class | x_t) of the ideal denoiser (dashed).
    x0_probability, returned
        Probability of the class of x̂_0 (line), and share of digits that keep it (dots); None without a classifier.
    window
        (first, last) t of the shaded span.
    settled, quartiles
        (Q,) t at which generations are settled, a tick each, and their median and quartiles; None without.
    strip, strip_timesteps
        (F, H, W) x̂_0 of one generation at F falling timesteps.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        box: PanelBox = (300, 200, 2440, 1010)
        last = num_train_timesteps - 1
        curves = [Curve(-timesteps, ideal, _P.format("x_t"), colour=theme.MUTED, style="--", weight=3.5)]
        if x0_probability is not None:
            curves.append(
                Curve(-timesteps, x0_probability[0], _P.format(r"\hat{x}_0"), x0_probability[1], x0_probability[2])
            )
        if returned is not None:
            dots = Curve(-timesteps, returned[0], "$y'=y$", *returned[1:], colour=theme.ORANGE, style="o", weight=7)
            curves.append(dots)
        marks = (last, *(tick for tick in (800, 600, 400, 200, 0) if tick < 0.9 * last))
        x = AxisScale(-last, 0, tuple(-float(mark) for mark in marks), "$t$", labels=tuple(map(str, marks)))
        y = AxisScale(0, 1, (0, 0.25, 0.5, 0.75, 1), "", labels=("0", "25%", "50%", "75%", "100%"))
        axes = draw_curves(figure, box, curves, x, y)
        axes.axvspan(-window[0], -window[1], color=_WINDOW, zorder=0, lw=0)
        for t in window:
            place = box[0] + (last - t) / last * box[2]
            theme.write(figure, place, box[1] - 24, str(t), 20, color=theme.MUTED)
        _draw_settled(figure, box, settled, quartiles, last)
        _draw_strip(figure, box, strip, strip_timesteps, last)
        return figure


def _draw_settled(figure: Figure, box: PanelBox, settled: Array | None, quartiles: Quartiles | None, last: int) -> None:
    """Draw a tick for each t and, over them, median and quartiles, beneath the panel."""
    if settled is None:
        return
    axes = theme.add_axes(figure, box[0], box[1] + box[3] + 110, box[2], 110)
    axes.set(xlim=(-last, 0), ylim=(0, 1))
    axes.vlines(-settled, 0.0, 0.42, color=theme.PURPLE, lw=1.6, alpha=0.55)
    if quartiles is not None:
        axes.plot([-quartiles.upper, -quartiles.lower], [0.72, 0.72], color=theme.PURPLE, lw=9, alpha=0.35)
        axes.plot([-quartiles.high, -quartiles.low], [0.72, 0.72], color=theme.PURPLE, lw=3)
        axes.plot([-quartiles.median], [0.72], "o", color=theme.PURPLE, ms=15, mec="white", mew=2)
        place = box[0] + (last - quartiles.lower) / last * box[2]
        y = box[1] + box[3] + 110 + 110 * 0.28
        theme.write(figure, place + 34, y, f"½: {quartiles.median:.0f}", 20, ha="left", va="center", color=theme.PURPLE)


def _draw_strip(figure: Figure, box: PanelBox, strip: Array, timesteps: Array, last: int) -> None:
    """Draw images centred below their t, or as near to it as they fit."""
    factor = 7
    size = factor * strip.shape[-1]
    top = box[1] + box[3] + 290
    wanted = box[0] + (last - timesteps) / last * box[2]
    centres = theme.spread(wanted, size + 24, box[0] - 40, box[0] + box[2] + 40)
    for image, centre in zip(strip, centres, strict=True):
        raster.place_digit(figure, centre - size / 2, top, factor, image)
    theme.write(figure, box[0] + box[2] + 150, top + size / 2, theme.X0_PRED, theme.SYMBOL_SIZE, ha="left", va="center")


def draw_forks(tree: Array, timesteps: Array, spread: Array, agree: Array | None) -> Figure:
    """Draw a state at the left of each row, its finished images at the right, and two numbers.

    Parameters
    ----------
    tree
        (J, 1+K, H, W): at J falling timesteps a state, and its K finished images.
    spread, agree
        (J,) V, and the share of pairs that are classified as the same digit; None without a classifier.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        rows, count = len(tree), tree.shape[1] - 1
        factor = max(1, min(6, (1800 - 190) // rows // tree.shape[-1]))
        size = factor * tree.shape[-1]
        pitch = min(size + 24, (1800 - 190 - size) // max(1, rows - 1))
        top, left = 150, 400
        first = left + size + 330
        step = min(size + 24, (2560 - first) // count)
        for row, (images, t) in enumerate(zip(tree, timesteps, strict=True)):
            y = top + row * pitch
            theme.write(figure, left - 60, y + size / 2, str(int(t)), theme.NUMBER_SIZE, ha="right", va="center")
            raster.place_digit(figure, left, y, factor, images[0])
            _fan(page, left + size, first, y + size / 2, size, float(spread[row]))
            for k, image in enumerate(images[1:]):
                raster.place_digit(figure, first + k * step, y, factor, image)
            right = first + count * step + 90
            theme.write(figure, right, y + size / 2, f"{spread[row]:.2f}", 24, va="center", color=theme.PURPLE)
            if agree is not None:
                theme.write(figure, right + 230, y + size / 2, theme.percent(float(agree[row])), 24, va="center")
        theme.write(figure, left - 60, top - 50, "$t$", 24, ha="right")
        theme.write(figure, left + size / 2, top - 50, theme.X_T, theme.SYMBOL_SIZE)
        theme.write(figure, first + (count * step - step + size) / 2, top - 50, theme.X_0, theme.SYMBOL_SIZE)
        theme.write(figure, right, top - 50, "$V$", 24, color=theme.PURPLE)
        if agree is not None:
            theme.write(figure, right + 230, top - 50, "$y=y'$", 24)
        return figure


def _fan(page: Axes, start: float, end: float, y: float, size: float, spread: float) -> None:
    """Draw five lines from a state to its forks, as far apart as the forks are."""
    for share in np.linspace(-1, 1, 5):
        reach = share * min(1.0, float(np.sqrt(max(spread, 0)))) * size * 0.46
        page.plot([start + 26, end - 26], [y, y + reach], color=theme.MUTED, lw=1.6)
