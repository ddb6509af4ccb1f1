"""Bits of a label over t, as generation goes: noise at the left.

Knows nothing about how bits were measured.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import theme
from viz_diffusion.plots.panels import Curve, Scale, draw_curves, mark_x
from viz_diffusion.plots.theme import Array


def draw_label_worth(
    timesteps: Array, bits: Array, interval: Array, ideal: Array, entropy: float, halves: tuple[int, int]
) -> Figure:
    """Draw the bits told down to each t, of a denoiser (with its band) and of the ideal one; the level line is H(y).

    Parameters
    ----------
    timesteps
        (K,) int, falling.
    halves
        Where the denoiser's and the ideal's bits pass half of where they end.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        box = (330, 240, 2350, 1260)
        first, last = float(timesteps[0]), float(timesteps[-1])
        high = float(max(entropy, (bits + interval).max())) * 1.1
        ticks = (*(tick for tick in np.arange(0.0, high, 1.0) if abs(tick - entropy) > 0.4), round(entropy, 2))
        curves = (
            Curve(-timesteps, ideal, r"$\mathrm{E}[x_0|x_t]$", colour=theme.MUTED, style="--", weight=3.5),
            Curve(-timesteps, bits, theme.X0_PRED, bits - interval, bits + interval),
        )
        marks = tuple(np.unique(np.round(np.linspace(last, first, 5))))
        x = Scale(-first, -last, tuple(-mark for mark in marks), "$t$", labels=tuple(f"{mark:.0f}" for mark in marks))
        axes = draw_curves(figure, box, curves, x, Scale(0, high, ticks, "bit"))
        axes.axhline(entropy, color=theme.INK, lw=1.6)
        ours, theirs = halves
        mark_x(figure, axes, box, -ours, f"½: {ours}", theme.PURPLE)
        axes.axvline(-theirs, color=theme.MUTED, lw=2.2, ls="--", zorder=1.8)
        return figure
