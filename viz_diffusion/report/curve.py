"""The schedule's SNR as a small line chart: numbers in, coordinates out.

Knows nothing about HTML; the template writes the SVG and the script moves its dot with the same numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 480, 225
LEFT, TOP, RIGHT, BOTTOM = 44, 8, 8, 28
"""The chart and the margins around its plotting area, in SVG units."""

LOWEST_DB, HIGHEST_DB = -45.0, 45.0
"""What the vertical axis shows at least; a schedule that goes further widens it, down to -100 dB."""


@dataclass(frozen=True)
class Tick:
    """One mark on an axis."""

    at: float
    """Position along its axis, in SVG units."""
    label: str
    """The number beside it."""


@dataclass(frozen=True)
class Axes:
    """What maps (steps left, dB) to SVG units."""

    left: float
    """Where the first step stands, x in SVG units."""
    width: float
    """From the first step to the finished picture, in SVG units."""
    top: float
    """Where ``high`` stands, y in SVG units."""
    height: float
    """From ``high`` down to ``low``, in SVG units."""
    low: float
    """Decibels at the bottom."""
    high: float
    """Decibels at the top."""
    steps: int
    """T, the number of timesteps of the schedule."""

    def x(self, steps_left: float) -> float:
        """Return x for a number of steps left: T at the left edge, 0 at the right."""
        return round(self.left + self.width * (1 - steps_left / self.steps), 2)

    def y(self, decibels: float) -> float:
        """Return y for an SNR in decibels, held inside the axis."""
        inside = min(max(decibels, self.low), self.high)
        return round(self.top + self.height * (self.high - inside) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Curve:
    """A drawn SNR curve."""

    axes: Axes
    path: str
    """The line, as the ``d`` of an SVG path."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[str, str, str, str], ...]
    """The same as numbers: steps left, t, share of power, SNR in dB."""
    width: int = WIDTH
    height: int = HEIGHT

    def for_script(self) -> dict[str, float]:
        """Return the axes as plain numbers."""
        return asdict(self.axes)


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
    """Return a share of power as per cent, with more decimals near 0 and near 1."""
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01%"
    if 0 < percent < 1 or 99 < percent < 100:
        return f"{percent:.2f}%"
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def snr_curve(alphas_cumprod: NDArray[np.float64]) -> Curve:
    """Lay out the SNR of a schedule, most noise at the left, as the recording runs."""
    steps = alphas_cumprod.size
    snr = decibels(alphas_cumprod)
    finite = snr[np.isfinite(snr)]
    low = max(-100.0, min([LOWEST_DB, *(np.floor(finite / 5) * 5)]))
    high = min(100.0, max([HIGHEST_DB, *(np.ceil(finite / 5) * 5)]))
    axes = Axes(LEFT, WIDTH - LEFT - RIGHT, TOP, HEIGHT - TOP - BOTTOM, float(low), float(high), steps)
    chosen = np.unique(np.round(np.linspace(0, steps - 1, min(steps, 250))).astype(int))[::-1]
    points = [f"{axes.x(t + 1):g} {axes.y(snr[t]):g}" for t in chosen]
    shown = sorted({max(1, round(steps * k / 10)) for k in range(11)}, reverse=True)
    rows = tuple((str(n), str(n - 1), format_share(alphas_cumprod[n - 1]), format_db(snr[n - 1])) for n in shown)
    quarters = dict.fromkeys(round(steps * k / 4) for k in (4, 3, 2, 1, 0))
    marks = range(int(np.ceil(low / 20)) * 20, int(high) + 1, 20)
    return Curve(
        axes,
        "M" + "L".join(points),
        tuple(Tick(axes.x(n), str(n)) for n in quarters),
        tuple(Tick(axes.y(db), str(db).replace("-", "−")) for db in marks),
        rows,
    )
