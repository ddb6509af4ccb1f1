"""Layout of the chart of a schedule's SNR: path, ticks and a table of values.

Knows nothing about HTML: the template writes the SVG, and the script moves a marker with the same coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.report.chart_axes import ChartAxes, Tick, quarter_ticks, timestep_ticks

WIDTH, HEIGHT = 480, 220
LEFT, TOP, RIGHT, BOTTOM = 44, 8, 8, 28
"""Size of the chart and margins of its plotting area, in SVG units."""

LOWEST_DB, HIGHEST_DB = -45.0, 45.0
"""Smallest range of the vertical axis; it is extended to the schedule's range, at most to -100..100 dB."""


@dataclass(frozen=True)
class DrawnSnrCurve:
    """The SNR chart with coordinates."""

    axes: ChartAxes
    path: str
    """The attribute ``d`` of the SVG path."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[str, ...], ...]
    """Table rows: steps left, t, ᾱ in percent, SNR in dB; without the steps left where the axis counts timesteps."""
    width: int = WIDTH
    height: int = HEIGHT


def decibels(alphas_cumprod: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 10 log10(ᾱ / (1 - ᾱ)), infinite where ᾱ is 0 or 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(10 * (np.log10(alphas_cumprod) - np.log10(1 - alphas_cumprod)), dtype=np.float64)


def format_db(value: float) -> str:
    """Return decibels with one decimal, a true minus sign, and ∞ where infinite."""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.1f}".replace("-", "−")


def format_share(share: float) -> str:
    """Return a share as a percentage, with more decimals near 0 and near 1."""
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01%"
    if 0 < percent < 1 or 99 < percent < 100:
        return f"{percent:.2f}%"
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def snr_curve(alphas_cumprod: NDArray[np.float64], by_timestep: bool = False) -> DrawnSnrCurve:
    """Lay out the SNR of a schedule, with the most noise at the left.

    The axis counts the steps left, or, for a generation that skips timesteps, the timestep t (``by_timestep``).
    """
    steps = alphas_cumprod.size
    snr = decibels(alphas_cumprod)
    finite = snr[np.isfinite(snr)]
    low = max(-100.0, min([LOWEST_DB, *(np.floor(finite / 5) * 5)]))
    high = min(100.0, max([HIGHEST_DB, *(np.ceil(finite / 5) * 5)]))
    axes = ChartAxes(LEFT, WIDTH - LEFT - RIGHT, TOP, HEIGHT - TOP - BOTTOM, float(low), float(high), steps)
    chosen = np.unique(np.round(np.linspace(0, steps - 1, min(steps, 250))).astype(int))[::-1]
    points = [f"{axes.x(t + 1):g} {axes.y(snr[t]):g}" for t in chosen]
    shown = sorted({max(1, round(steps * k / 10)) for k in range(11)}, reverse=True)
    rows = tuple((str(n), str(n - 1), format_share(alphas_cumprod[n - 1]), format_db(snr[n - 1])) for n in shown)
    marks = range(int(np.ceil(low / 20)) * 20, int(high) + 1, 20)
    return DrawnSnrCurve(
        axes,
        "M" + "L".join(points),
        timestep_ticks(axes) if by_timestep else quarter_ticks(axes),
        tuple(Tick(axes.y(db), str(db).replace("-", "−")) for db in marks),
        tuple(row[1:] for row in rows) if by_timestep else rows,
    )
