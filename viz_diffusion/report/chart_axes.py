"""Axes of the page's charts: steps left from left (noise) to right, a value upwards.

Knows nothing about the lines. The page's script computes the positions of its markers from the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A tick of an axis."""

    at: float
    """Position along its axis, in SVG units."""
    label: str
    """The number printed at the tick."""


@dataclass(frozen=True)
class ChartAxes:
    """Maps (steps left, value) to SVG units."""

    left: float
    """x of the first step, in SVG units."""
    width: float
    """Distance from the first step to the finished image, in SVG units."""
    top: float
    """y of ``high``, in SVG units."""
    height: float
    """Distance from ``high`` to ``low``, in SVG units."""
    low: float
    """The value at the bottom."""
    high: float
    """The value at the top, above ``low``."""
    steps: int
    """The steps left at the left edge."""

    def x(self, steps_left: float) -> float:
        """Return x for a number of steps left: all of them at the left edge, 0 at the right."""
        return round(self.left + self.width * (1 - steps_left / self.steps), 2)

    def y(self, value: float) -> float:
        """Return y for a value, clipped to the axis."""
        inside = min(max(value, self.low), self.high)
        return round(self.top + self.height * (self.high - inside) / (self.high - self.low), 2)


def quarter_ticks(axes: ChartAxes) -> tuple[Tick, ...]:
    """Return ticks at all, three quarters, half, a quarter and none of the steps."""
    quarters = dict.fromkeys(round(axes.steps * k / 4) for k in (4, 3, 2, 1, 0))
    return tuple(Tick(axes.x(n), str(n)) for n in quarters)


def timestep_ticks(axes: ChartAxes) -> tuple[Tick, ...]:
    """Return ticks at the last timestep, at three quarters, half and a quarter of it, and at t = 0, numbered by t."""
    timesteps = dict.fromkeys(round((axes.steps - 1) * k / 4) for k in (4, 3, 2, 1, 0))
    return tuple(Tick(axes.x(t + 1), str(t)) for t in timesteps)
