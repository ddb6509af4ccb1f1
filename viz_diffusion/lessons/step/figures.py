"""One step of sampling as an account: what was there, what was added, what was taken, what is left.

Knows nothing about samplers; it draws what it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
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
