"""The axes that every chart of the page shares: steps left from noise on the left, a value upwards.

Knows nothing about what is drawn on them; the page's script moves its markers with the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """One mark on an axis."""

    at: float
    """Position along its axis, in SVG units."""
    label: str
    """The number beside it."""


@dataclass(frozen=True)
class Axes:
    """What maps (steps left, value) to SVG units."""

    left: float
    """Where the first step stands, x in SVG units."""
    width: float
    """From the first step to the finished picture, in SVG units."""
    top: float
    """Where ``high`` stands, y in SVG units."""
    height: float
    """From ``high`` down to ``low``, in SVG units."""
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
        """Return y for a value, held inside the axis."""
        inside = min(max(value, self.low), self.high)
        return round(self.top + self.height * (self.high - inside) / (self.high - self.low), 2)


def quarter_ticks(axes: Axes) -> tuple[Tick, ...]:
    """Return marks at all, three quarters, half, a quarter and none of the steps left."""
    quarters = dict.fromkeys(round(axes.steps * k / 4) for k in (4, 3, 2, 1, 0))
    return tuple(Tick(axes.x(n), str(n)) for n in quarters)
