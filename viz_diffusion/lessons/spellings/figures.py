"""One step in three notations, drawn: weights over t, and what an error of each prediction becomes.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from viz_diffusion.plots import theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import FigureWords, figure_words

PREDICTIONS = ("noise", "x0", "v")
"""Of the three curves, keys of the catalogue."""
COLOURS = (theme.PURPLE, theme.ORANGE, theme.INK)
STYLES = ("-", "--", ":")
BOXES: tuple[PanelBox, PanelBox] = ((270, 440, 830, 1040), (1830, 440, 830, 1040))
SHARE_CUT = 0.03
"""Share of the weights of x_t that may lie below the panel: near t = 0 one of them falls to 0."""


def draw_notations(timesteps: Array, of_x_t: Array, of_prediction: Array) -> Figure:
    """Draw (3, S) weights of x_t and of the prediction over (S,) rising timesteps, for noise, image and v."""
    with theme.use_theme():
        words = figure_words("notations")
        figure = theme.new_figure(words("title"))
        x = _time_axis(timesteps)
        weights = _linear_axis(float(np.quantile(of_x_t, SHARE_CUT)), float(of_x_t.max()))
        _panel(figure, BOXES[0], timesteps, of_x_t, x, weights, words, "of_x_t")
        sizes = np.abs(of_prediction)
        _panel(figure, BOXES[1], timesteps, sizes, x, _log_axis(sizes), words, "of_prediction")
        return figure


def draw_amplification(timesteps: Array, x0_error: Array, eps_error: Array) -> Figure:
    """Draw (3, S) errors of predicted x_0 and of predicted noise, for an error of 1, over (S,) rising timesteps."""
    with theme.use_theme():
        words = figure_words("amplification")
        figure = theme.new_figure(words("title"))
        x = _time_axis(timesteps)
        for box, values, name in ((BOXES[0], x0_error, "of_x0"), (BOXES[1], eps_error, "of_noise")):
            axes = _panel(figure, box, timesteps, values, x, _log_axis(values), words, name)
            axes.axhline(1, color=theme.INK, lw=1.6, zorder=1.5)
        return figure


def _time_axis(timesteps: Array) -> AxisScale:
    last = float(timesteps[-1])
    ticks = tuple(float(round(share * last)) for share in (0, 0.5, 1))
    return AxisScale(0, last, ticks, labels=tuple(f"{tick:.0f}" for tick in ticks))


def _linear_axis(low: float, high: float) -> AxisScale:
    """Return a linear axis with round ticks, a little longer than low .. high."""
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin
    ticks = tuple(float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high)
    return AxisScale(low, high, ticks, labels=tuple(f"{round(tick, 6):g}" for tick in ticks))


def _log_axis(values: Array) -> AxisScale:
    """Return a logarithmic axis with powers of ten, around all values above 0."""
    above = values[values > 0]
    low, high = float(np.floor(np.log10(above.min() * 1.001))), float(np.ceil(np.log10(above.max() * 0.999)))
    powers = np.arange(low, high + 1)
    texts = tuple(f"{10.0**power:.{max(0, -int(power))}f}" for power in powers)
    return AxisScale(10.0**low, 10.0**high, tuple(float(10.0**power) for power in powers), log=True, labels=texts)


def _panel(
    figure: Figure, box: PanelBox, t: Array, values: Array, x: AxisScale, y: AxisScale, words: FigureWords, name: str
) -> Axes:
    """Draw a panel with its heading, the words ``name``, and ``name`` with ``_axis`` of what its axis holds."""
    lines = [
        Curve(t, row, words(kind), colour=colour, style=style)
        for row, kind, colour, style in zip(values, PREDICTIONS, COLOURS, STYLES, strict=True)
    ]
    axes = draw_curves(figure, box, lines, x, y, 168)
    left, top, width, height = box
    theme.write(figure, left - 120, top - 150, words(name), 24, ha="left")
    theme.write(figure, left - 120, top - 60, words(f"{name}_axis"), ha="left", color=theme.MUTED)
    theme.write(figure, left + width / 2, top + height + 180, words("t_noise"), 20)
    return axes
