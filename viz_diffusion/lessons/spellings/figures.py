"""One step in three notations, drawn: weights over t, and what an error of each prediction becomes.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from viz_diffusion.plots import theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves
from viz_diffusion.plots.theme import Array

NAMES = (r"noise $\hat{\varepsilon}$", r"image $\hat{x}_0$", r"$\hat{v}$")
COLOURS = (theme.PURPLE, theme.ORANGE, theme.INK)
STYLES = ("-", "--", ":")
BOXES: tuple[PanelBox, PanelBox] = ((250, 330, 980, 1100), (1800, 330, 980, 1100))
SHARE_CUT = 0.03
"""Share of the weights of x_t that may lie below the panel: near t = 0 one of them falls to 0."""


def draw_notations(timesteps: Array, of_x_t: Array, of_prediction: Array) -> Figure:
    """Draw (3, S) weights of x_t and of the prediction over (S,) rising timesteps, for noise, image and v."""
    with theme.use_theme():
        figure = theme.new_figure()
        x = _time_axis(timesteps)
        weights = _linear_axis(float(np.quantile(of_x_t, SHARE_CUT)), float(of_x_t.max()))
        _panel(figure, BOXES[0], timesteps, of_x_t, x, weights, "weight of $x_t$")
        sizes = np.abs(of_prediction)
        said = "weight of the prediction", "its absolute value"
        _panel(figure, BOXES[1], timesteps, sizes, x, _log_axis(sizes), *said)
        return figure


def draw_amplification(timesteps: Array, x0_error: Array, eps_error: Array) -> Figure:
    """Draw (3, S) errors of predicted x_0 and of predicted noise, for an error of 1, over (S,) rising timesteps."""
    with theme.use_theme():
        figure = theme.new_figure()
        x, said = _time_axis(timesteps), "from an error of 1 on:"
        for box, values, title in (
            (BOXES[0], x0_error, r"error of the image $\hat{x}_0$"),
            (BOXES[1], eps_error, r"error of the noise $\hat{\varepsilon}$"),
        ):
            _panel(figure, box, timesteps, values, x, _log_axis(values), title, said)
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
    texts = tuple(f"$10^{{{power:.0f}}}$" if abs(power) > 2 else f"{10.0**power:g}" for power in powers)
    return AxisScale(10.0**low, 10.0**high, tuple(float(10.0**power) for power in powers), log=True, labels=texts)


def _panel(
    figure: Figure, box: PanelBox, t: Array, values: Array, x: AxisScale, y: AxisScale, title: str, below: str = ""
) -> None:
    lines = [Curve(t, row, *_style(index)) for index, row in enumerate(values)]
    draw_curves(figure, box, lines, x, y)
    left, top, width, height = box
    theme.write(figure, left, top - 130, title, 26, ha="left")
    theme.write(figure, left, top - 56, below, 20, ha="left", color=theme.MUTED)
    theme.write(figure, left + width / 2, top + height + 180, "timestep $t$ (noise to the right)", 22)


def _style(index: int) -> tuple[str, None, None, str, str]:
    """Return name, no interval, colour and line style of a curve."""
    return NAMES[index], None, None, COLOURS[index], STYLES[index]
