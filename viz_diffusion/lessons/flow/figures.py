"""The mixture in the plane and the digits: score field, paths, errors over evaluations, guidance, samples.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.panels import AxisScale, Curve, PanelBox, draw_curves
from viz_diffusion.plots.theme import Array

COLOURS = (theme.MUTED, theme.ORANGE, theme.PURPLE, theme.INK)
STYLES = (":", "--", "-", "-.")
REACH = 2.6
"""Half the side of the part of the plane that is drawn."""
LEFT, PITCH, SIDE, TOP = 110, 1020, 940, 380


@dataclass(frozen=True, eq=False)
class Line:
    """One method's values over the numbers of evaluations, with their intervals."""

    name: str
    """Its label."""
    values: Array
    """(K,) float."""
    low: Array
    """(K,) float."""
    high: Array
    """(K,) float."""
    colour: int
    """Its place in :data:`COLOURS`."""


def draw_score_field(points: Array, densities: Array, scores: Array, sigmas: Sequence[float]) -> Figure:
    """Draw densities with score arrows at three noise levels.

    Parameters
    ----------
    points
        (G, G, 2) float: a square grid, its rows from bottom to top.
    densities
        (3, G, G) float.
    scores
        (3, G, G, 2) float; of each third arrow only the direction and, compressed, the length is drawn.
    """
    with theme.use_theme():
        figure = theme.new_figure()
        for panel, sigma in enumerate(sigmas):
            axes = _plane(figure, panel)
            shade = densities[panel] / densities[panel].max()
            axes.imshow(shade, cmap="Purples", vmin=0, vmax=1.6, extent=(-REACH, REACH) * 2, origin="lower")
            grid, arrows = points[1::3, 1::3], scores[panel, 1::3, 1::3]
            length = np.linalg.norm(arrows, axis=2, keepdims=True)
            arrows = arrows / np.maximum(length, 1e-9) * np.tanh(length / np.median(length))
            axes.quiver(
                *np.moveaxis(grid, 2, 0),
                *np.moveaxis(arrows, 2, 0),
                color=theme.INK,
                scale=15,
                width=0.006,
                pivot="mid",
            )
            _title(figure, panel, rf"noise level $\sigma$ = {sigma:g}")
        theme.write(figure, theme.PAGE_WIDTH / 2, TOP + SIDE + 150, "shade: density of $x_t$;  arrows: score", 24)
        return figure


def draw_flow_paths(paths: Array, straight: Array, half: Array, means: Array) -> Figure:
    """Draw (3, M, P, 2) paths from noise (open dots) to data, with (3,) straightness and half its interval."""
    names = ("DDPM (SDE)", "its ODE (DDIM)", "flow matching (ODE)")
    with theme.use_theme():
        figure = theme.new_figure()
        for panel, name in enumerate(names):
            axes = _plane(figure, panel)
            axes.plot(*means.T, "o", color=theme.FAINT, ms=20, zorder=0)
            for index, path in enumerate(paths[panel]):
                colour, weight = (theme.ORANGE, 3.2) if index < 3 else (theme.PURPLE, 1.2)
                axes.plot(*path.T, color=colour, lw=weight, alpha=1 if index < 3 else 0.6, zorder=3 if index < 3 else 2)
                axes.plot(*path[0], "o", color="white", mec=colour, mew=1.5, ms=7, zorder=4)
                axes.plot(*path[-1], "o", color=colour, ms=7, zorder=5)
            _title(figure, panel, name)
            theme.write(figure, _middle(panel), TOP + SIDE + 120, "chord / length of the path", 20, color=theme.MUTED)
            said = rf"{straight[panel]:.3f} $\pm$ {half[panel]:.3f}"
            theme.write(figure, _middle(panel), TOP + SIDE + 220, said, 28)
        return figure


def draw_flow_errors(evaluations: Array, errors: Sequence[Line], shares: Sequence[Line], exact: float) -> Figure:
    """Draw distances from the exact end (left, logarithmic) and shares at the ring (right) over evaluations."""
    with theme.use_theme():
        figure = theme.new_figure()
        values = np.concatenate([[line.low.min(), line.high.max()] for line in errors])
        marks = tuple(mark for mark in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0))
        low, high = float(values.min()) / 1.3, float(values.max()) * 1.3
        _over_evaluations(
            figure,
            (250, 330, 900, 1080),
            evaluations,
            errors,
            AxisScale(low, high, tuple(mark for mark in marks if low < mark < high), log=True),
            "distance from the exact end",
        )
        axes = _over_evaluations(
            figure, (1850, 330, 900, 1080), evaluations, shares, _percent_axis(), "points that end at the ring"
        )
        axes.axhline(exact, color=theme.FAINT, lw=4, zorder=0.5)
        return figure


def draw_flow_guidance(guided: Array, labels: Array, label: int, scales: Sequence[float], means: Array) -> Figure:
    """Draw the ends of (3, N, 2) guided paths, those with one label in orange."""
    with theme.use_theme():
        figure = theme.new_figure()
        for panel, scale in enumerate(scales):
            axes = _plane(figure, panel)
            chosen = labels == label
            axes.plot(*guided[panel][~chosen].T, "o", color="#b9a9cf", ms=4, zorder=1)
            axes.plot(*guided[panel][chosen].T, "o", color=theme.ORANGE, ms=5, zorder=2)
            axes.plot(*means.T, "+", color=theme.INK, ms=16, mew=2.5, zorder=3)
            _title(figure, panel, f"guidance scale $s$ = {scale:g}")
        theme.write(figure, theme.PAGE_WIDTH / 2, TOP + SIDE + 150, "+: means of the data;  orange: one label", 24)
        return figure


def draw_flow_digits(images: Array, evaluations: Array, names: Sequence[str]) -> Figure:
    """Draw one sample of each method (row) and number of evaluations (column): (A, K, H, W), in [-1, 1]."""
    with theme.use_theme():
        figure = theme.new_figure()
        rows, columns, side = *images.shape[:2], images.shape[-1]
        left, right, top, bottom = 900, 3100, 300, 1700
        pitch = ((right - left) / columns, (bottom - top) / rows)
        factor = max(1, int(min(pitch) - 40) // side)
        for row, name in enumerate(names):
            y = top + row * pitch[1]
            theme.write(figure, left - 40, y + side * factor / 2, name, 24, ha="right", va="center")
            for column in range(columns):
                raster.place_digit(figure, left + column * pitch[0], y, factor, images[row, column])
        for column, count in enumerate(evaluations):
            x = left + column * pitch[0] + side * factor / 2
            theme.write(figure, x, top - 50, str(count), theme.NUMBER_SIZE)
        theme.write(figure, left - 40, top - 50, "evaluations", 24, ha="right", color=theme.MUTED)
        return figure


def draw_flow_quality(
    evaluations: Array, accuracy: Sequence[Line], distance: Sequence[Line], real: float | None
) -> Figure:
    """Draw accuracy (left) and Fréchet distance (right, logarithmic; none without any) over evaluations."""
    with theme.use_theme():
        figure = theme.new_figure()
        lowest = min(float(line.low.min()) for line in accuracy)
        axis = _percent_axis(min(0.8, np.floor(10 * lowest) / 10))
        box = (250, 330, 900 if distance else 2300, 1080)
        _over_evaluations(figure, box, evaluations, accuracy, axis, "classified as requested")
        if distance:
            values = np.concatenate([[line.values.min(), line.high.max()] for line in distance])
            low, high = float(values.min()) / 1.4, float(values.max()) * 1.2
            marks = tuple(float(m) for m in (1, 2, 5, 10, 20, 50, 100, 200, 500) if low < m < high)
            title = "Fréchet distance to real digits"
            axes = _over_evaluations(
                figure, (1850, 330, 900, 1080), evaluations, distance, AxisScale(low, high, marks, log=True), title
            )
            if real is not None and real > low:
                axes.axhline(real, color=theme.FAINT, lw=4, zorder=0.5)
        return figure


def _percent_axis(low: float = 0.0) -> AxisScale:
    ticks = tuple(np.arange(low, 1.001, 0.1 if low > 0.4 else 0.2))
    return AxisScale(low, 1.0, ticks, labels=tuple(f"{tick:.0%}" for tick in ticks))


def _over_evaluations(
    figure: Figure, box: PanelBox, evaluations: Array, lines: Sequence[Line], y: AxisScale, title: str
) -> Axes:
    """Draw one panel over the number of evaluations, its intervals as bars that stand side by side."""
    left, top, width, height = box
    x = AxisScale(
        evaluations[0] / 1.2,
        evaluations[-1] * 1.2,
        tuple(map(float, evaluations)),
        log=True,
        labels=tuple(map(str, evaluations)),
    )
    curves = []
    for index, line in enumerate(lines):
        at = np.asarray(evaluations) * 1.05 ** (index - (len(lines) - 1) / 2)
        colour = COLOURS[line.colour]
        low = np.maximum(line.low, y.low)
        curves.append(Curve(at, line.values, line.name, colour=colour, style=STYLES[line.colour], weight=3))
        curves.append(Curve(at, line.values, "", low, line.high, colour, "o", 5))
    axes = draw_curves(figure, box, curves, x, y)
    theme.write(figure, left, top - 90, title, 26, ha="left")
    theme.write(figure, left + width / 2, top + height + 180, "evaluations", 22)
    return axes


def _plane(figure: Figure, panel: int) -> Axes:
    axes = theme.add_axes(figure, LEFT + panel * PITCH, TOP, SIDE, SIDE)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    return axes


def _middle(panel: int) -> float:
    return LEFT + panel * PITCH + SIDE / 2


def _title(figure: Figure, panel: int, text: str) -> None:
    theme.write(figure, _middle(panel), TOP - 70, text, 28)
