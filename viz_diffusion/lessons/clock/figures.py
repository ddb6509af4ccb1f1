"""Samples with right and wrong timesteps, and how well t can be estimated from the border.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves
from viz_diffusion.plots.theme import Array

ROWS = 1
"""Samples of each digit that are drawn, one below the other."""


def draw_wrong_clock(images: Array, clocks: Sequence[str], samplers: Sequence[str], shares: Array | None) -> Figure:
    """Draw (S, A, M, H, W) samples: a block a sampler, ROWS rows an arm; next to each, the accuracy.

    Parameters
    ----------
    clocks, samplers
        A and S texts: the timestep that the network gets in the place of t, and the samplers' names.
    shares
        (S, A) float, 0 to 1: share classified as the requested digit; None where there is no classifier.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        count, side = images.shape[2], images.shape[-1]
        columns = min(10, count)
        rows = min(ROWS, count // columns)
        factor, gap, top, left = 4, 8, 380, 440
        size = side * factor
        block = columns * (size + gap) + 175
        pitch = min(rows * (size + gap) + 200, (theme.PAGE_HEIGHT - 60 - top) / len(clocks))
        for s, sampler in enumerate(samplers):
            x0 = left + s * block
            theme.write(figure, x0 + (columns * (size + gap) - gap) / 2, top - 110, sampler, theme.NUMBER_SIZE)
            for a in range(len(clocks)):
                y0 = top + a * pitch
                for k in range(rows * columns):
                    x, y = x0 + k % columns * (size + gap), y0 + k // columns * (size + gap)
                    raster.place_digit(figure, x, y, factor, images[s, a, k])
                if shares is not None:
                    x, y = x0 + columns * (size + gap) + 12, y0 + (rows * (size + gap) - gap) / 2
                    theme.write(figure, x, y, f"{shares[s, a]:.0%}", 20, ha="left", va="center")
        for a, clock in enumerate(clocks):
            y = top + a * pitch + (rows * (size + gap) - gap) / 2
            theme.write(figure, left - 40, y, clock, theme.SYMBOL_SIZE, ha="right", va="center")
        return figure


def draw_border_clock(timesteps: Array, error: Array, bound: Array, last: int) -> Figure:
    """Draw the RMS error of t estimated from the border (dots) and the bound on it at every t (line)."""
    with theme.use_theme():
        figure = theme.new_figure()
        high = float(max(error.max(), bound[timesteps].max())) * 1.15
        shown = np.flatnonzero(bound <= high)
        ticks = tuple(tick for tick in (0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0) if tick <= high)
        curves = (
            Curve(shown, bound[shown], r"$1/\sqrt{I}$", colour=theme.MUTED, style="--", weight=3.5),
            Curve(timesteps, error, r"$\hat{t}$", style="o", weight=7),
        )
        x = AxisScale(0, last, tuple(float(t) for t in (*timesteps, last)), "$t$")
        y = AxisScale(0, high, ticks, r"RMS $\hat{t}-t$")
        draw_curves(figure, (330, 220, 2400, 1280), curves, x, y)
        return figure
