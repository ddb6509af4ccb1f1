"""Layout of a line chart over the recorded steps: paths, ticks, labels and a table of values.

Knows nothing about HTML: the template writes the SVG, and the script moves markers with the same coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.report.chart_axes import ChartAxes, Tick, quarter_ticks
from viz_diffusion.study.blocks import Chart

WIDTH, HEIGHT = 560, 230
LEFT, TOP, RIGHT, BOTTOM = 56, 12, 8, 30
"""Size of the chart and margins of its plotting area, in SVG units."""

LETTER = 18.0
"""Largest type size of a label in SVG units (reached on narrow screens)."""

NUM_ROWS = 11
"""Rows of the table, including the first and the last step."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LineLabel:
    """The name of a line, and its position."""

    text: str
    x: float
    """x of the middle of the text, in SVG units."""
    y: float
    """y of its baseline, in SVG units."""


@dataclass(frozen=True)
class DrawnLine:
    """One line of a chart."""

    label: LineLabel
    path: str
    """The attribute ``d`` of the SVG path."""
    values: tuple[float, ...]
    """(S,) the values with four more decimals than are shown, so that rounding them again gives the same text."""


@dataclass(frozen=True)
class DrawnChart:
    """A chart with coordinates."""

    axes: ChartAxes
    lines: tuple[DrawnLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[str, ...], ...]
    """Table rows: steps left, then one value for each line."""
    decimals: int
    """Number of decimals of every value."""
    width: int = WIDTH
    height: int = HEIGHT


def draw_chart(chart: Chart) -> DrawnChart:
    """Lay out a chart, with the first step (most noise) at the left."""
    values = np.stack([np.asarray(line.values, dtype=np.float64) for line in chart.lines])
    marks = _round_ticks(float(values.min()), float(values.max()))
    axes = ChartAxes(
        LEFT, WIDTH - LEFT - RIGHT, TOP, HEIGHT - TOP - BOTTOM, marks[0], marks[-1], int(chart.steps_left[0])
    )
    x = np.array([axes.x(n) for n in chart.steps_left])
    y = np.array([[axes.y(value) for value in row] for row in values])
    labels = _place_labels([line.name for line in chart.lines], x, y)
    decimals = _decimals(float(np.abs(values).max()), 3)
    step_decimals = max(_decimals(mark - marks[0], 1) for mark in marks[1:])
    shown = np.unique(np.round(np.linspace(0, len(x) - 1, min(NUM_ROWS, len(x)))).astype(int))
    return DrawnChart(
        axes,
        tuple(
            DrawnLine(
                label, "M" + "L".join(f"{a:g} {b:g}" for a, b in zip(x, row, strict=True)), _rounded(line, decimals + 4)
            )
            for label, row, line in zip(labels, y, values, strict=True)
        ),
        quarter_ticks(axes),
        tuple(Tick(axes.y(mark), _number(mark, step_decimals)) for mark in marks),
        tuple((str(chart.steps_left[k]), *(_number(value, decimals) for value in values[:, k])) for k in shown),
        decimals,
    )


def _round_ticks(low: float, high: float) -> list[float]:
    """Return 3 to 6 equidistant round numbers that enclose low..high; they start at 0 if 0 <= low <= high / 2."""
    if 0 <= low <= high / 2:
        low = 0.0
    if high - low < 1e-12 * max(abs(high), 1.0):
        low, high = low - 0.5 * max(abs(low), 1.0), high + 0.5 * max(abs(high), 1.0)
    power = 10.0 ** np.floor(np.log10((high - low) / 4))
    step = next(float(m * power) for m in (1, 2, 2.5, 5, 10) if (high - low) / (m * power) <= 4.0001)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [k * step for k in range(first, last + 1)]


def _decimals(size: float, digits: int) -> int:
    """Return the number of decimals, at most 8, that show ``digits`` significant digits of a number of this size."""
    if size <= 0:
        return 0
    wanted = digits - 1 - int(np.floor(np.log10(size) + 1e-9))
    if digits == 1 and abs(size - round(size, max(wanted, 0))) > 1e-6 * size:
        wanted += 1  # 2.5 needs one more than 2
    return min(max(wanted, 0), 8)


def _rounded(row: Float64, decimals: int) -> tuple[float, ...]:
    return tuple(round(float(value), decimals) + 0.0 for value in row)


def _number(value: float, decimals: int) -> str:
    """Return a number with a true minus sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _place_labels(names: list[str], x: Float64, y: Float64) -> list[LineLabel]:
    """Place each label at its own line, where the other lines and labels are farthest away."""
    floor = HEIGHT - BOTTOM
    taken = [
        (WIDTH - RIGHT - 0.55 * LETTER * 12, float(WIDTH), floor - 1.4 * LETTER, float(floor))
    ]  # the name of the axis
    labels = []
    for own, name in enumerate(names):
        width = LETTER * sum(1.0 if ord(letter) > 0x2E80 else 0.55 for letter in name)
        best, found = -np.inf, LineLabel(name, WIDTH / 2, TOP + LETTER)
        for middle in np.linspace(LEFT + width / 2 + 4, WIDTH - RIGHT - width / 2, 41):
            left, right = middle - width / 2, middle + width / 2
            under = y[:, (x >= left - 4) & (x <= right + 4)]
            if not under.size:
                under = y[:, [int(np.argmin(np.abs(x - middle)))]]
            at = y[own, int(np.argmin(np.abs(x - middle)))]
            for bottom in (under[own].min() - 5, under[own].max() + 5 + LETTER):
                top = bottom - LETTER
                gaps = [max(row.min() - bottom, top - row.max()) for k, row in enumerate(under) if k != own]
                gaps += [max(other[0] - right, left - other[1], other[2] - bottom, top - other[3]) for other in taken]
                outside = max(TOP - 6 - top, bottom - floor + 2, 0.0)
                drift = max(at - bottom, top - at)
                score = min(30.0, *gaps) - 1.5 * drift - 20 * outside - 0.02 * abs(middle - WIDTH / 2)
                if score > best:
                    best, found = score, LineLabel(name, round(float(middle), 1), round(float(bottom) - 4, 1))
        labels.append(found)
        taken.append((found.x - width / 2, found.x + width / 2, found.y + 4 - LETTER, found.y + 4))
    return labels
