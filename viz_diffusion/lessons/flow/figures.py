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
from viz_diffusion.plots.words import figure_words

COLOURS = (theme.MUTED, theme.ORANGE, theme.PURPLE, theme.INK)
STYLES = (":", "--", "-", "-.")
REACH = 2.6
"""Half the side of the part of the plane that is drawn."""
LEFT, PITCH, SIDE, TOP = 110, 1020, 940, 380
PANELS: tuple[PanelBox, PanelBox] = ((270, 450, 860, 1060), (1850, 450, 860, 1060))
"""Two panels over the number of evaluations."""


@dataclass(frozen=True, eq=False)
class Line:
    """One method's values over the numbers of evaluations, with their intervals."""

    name: str
    """Its name in the catalogue."""
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
        words = figure_words("score_field")
        figure = theme.new_figure(words("title"))
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
                color=theme.ON_LIGHT,
                scale=15,
                width=0.006,
                pivot="mid",
            )
            _title(figure, panel, words("level", sigma=f"{sigma:g}"))
        theme.write(figure, LEFT, TOP + SIDE + 190, words("shade"), 20, ha="left")
        theme.write(figure, LEFT, TOP + SIDE + 290, words("arrows"), 20, ha="left")
        return figure


def draw_flow_paths(paths: Array, straight: Array, half: Array, means: Array) -> Figure:
    """Draw (3, M, P, 2) paths from noise (open dots) to data, with (3,) straightness and half its interval."""
    with theme.use_theme():
        words = figure_words("flow_paths")
        figure = theme.new_figure(words("title"))
        for panel, name in enumerate(("ddpm", "ode", "flow")):
            axes = _plane(figure, panel)
            axes.plot(*means.T, "o", color=theme.FAINT, ms=20, zorder=0)
            for index, path in enumerate(paths[panel]):
                colour, weight = (theme.ORANGE, 3.2) if index < 3 else (theme.PURPLE, 1.2)
                axes.plot(*path.T, color=colour, lw=weight, alpha=1 if index < 3 else 0.6, zorder=3 if index < 3 else 2)
                axes.plot(*path[0], "o", color=theme.PAPER, mec=colour, mew=1.5, ms=7, zorder=4)
                axes.plot(*path[-1], "o", color=colour, ms=7, zorder=5)
            _title(figure, panel, words(name), words(f"{name}_noise"))
            theme.write(figure, _middle(panel), TOP + SIDE + 160, words("straight"), color=theme.MUTED)
            theme.write(figure, _middle(panel), TOP + SIDE + 250, f"{straight[panel]:.3f} ± {half[panel]:.3f}", 26)
        theme.write(figure, theme.PAGE_WIDTH / 2, TOP + SIDE + 370, words("marks"))
        return figure


def draw_flow_errors(evaluations: Array, errors: Sequence[Line], shares: Sequence[Line], exact: float) -> Figure:
    """Draw distances from the exact end (left, logarithmic) and shares at the ring (right) over evaluations."""
    with theme.use_theme():
        words = figure_words("flow_errors")
        figure = theme.new_figure(words("title"))
        values = np.concatenate([[line.low.min(), line.high.max()] for line in errors])
        marks = tuple(mark for mark in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0))
        low, high = float(values.min()) / 1.3, float(values.max()) * 1.3
        _over_evaluations(
            figure,
            PANELS[0],
            evaluations,
            errors,
            AxisScale(low, high, tuple(mark for mark in marks if low < mark < high), log=True),
            (words("distance"), words("distance_note")),
        )
        titles = (words("share"), words("share_note"))
        _over_evaluations(figure, PANELS[1], evaluations, shares, _percent_axis(), titles, (exact, words("data")))
        return figure


def draw_flow_guidance(guided: Array, labels: Array, label: int, scales: Sequence[float], means: Array) -> Figure:
    """Draw the ends of (3, N, 2) guided paths, those with one label in orange."""
    with theme.use_theme():
        words = figure_words("flow_guidance")
        figure = theme.new_figure(words("title"))
        for panel, scale in enumerate(scales):
            axes = _plane(figure, panel)
            chosen = labels == label
            axes.plot(*guided[panel][~chosen].T, "o", color="#b9a9cf", ms=4, zorder=1)
            axes.plot(*guided[panel][chosen].T, "o", color=theme.ORANGE, ms=5, zorder=2)
            axes.plot(*means.T, "+", color=theme.INK, ms=16, mew=2.5, zorder=3)
            _title(figure, panel, words("scale", scale=f"{scale:g}"), words("plain") if scale == 1 else "")
        theme.write(figure, LEFT, TOP + SIDE + 190, words("points"), 20, ha="left")
        theme.write(figure, LEFT, TOP + SIDE + 290, words("means"), 20, ha="left")
        return figure


def draw_flow_digits(images: Array, evaluations: Array, names: Sequence[str]) -> Figure:
    """Draw one sample of each method (row) and number of evaluations (column): (A, K, H, W), in [-1, 1]."""
    with theme.use_theme():
        words = figure_words("flow_digits")
        figure = theme.new_figure(words("title"))
        rows, columns, side = *images.shape[:2], images.shape[-1]
        left, right, top, bottom = 960, 3130, 340, 1770
        pitch = ((right - left) / columns, (bottom - top) / rows)
        factor = max(1, int(min(pitch) - 40) // side)
        for row, name in enumerate(names):
            y = top + row * pitch[1]
            middle = y + side * factor / 2
            theme.write(figure, left - 60, middle, words(name), 20, ha="right", va="center", linespacing=1.3)
            for column in range(columns):
                raster.place_digit(figure, left + column * pitch[0], y, factor, images[row, column])
        for column, count in enumerate(evaluations):
            x = left + column * pitch[0] + side * factor / 2
            theme.write(figure, x, top - 50, str(count), theme.NUMBER_SIZE)
        theme.write(figure, left - 60, top - 50, words("evaluations"), 20, ha="right")
        return figure


def draw_flow_quality(
    evaluations: Array, accuracy: Sequence[Line], distance: Sequence[Line], real: float | None
) -> Figure:
    """Draw accuracy (left) and Fréchet distance (right, logarithmic; none without any) over evaluations."""
    with theme.use_theme():
        words = figure_words("flow_quality")
        figure = theme.new_figure(words("title" if distance else "title_accuracy"))
        lowest = min(float(line.low.min()) for line in accuracy)
        axis = _percent_axis(min(0.8, np.floor(10 * lowest) / 10))
        box = PANELS[0] if distance else (*PANELS[0][:2], 2200, PANELS[0][3])
        _over_evaluations(figure, box, evaluations, accuracy, axis, (words("accuracy"), words("accuracy_note")))
        if distance:
            level = (real, words("real")) if real is not None and real > 0 else None
            ends = [value for line in distance for value in (line.values.min(), line.high.max())]
            ends += [] if level is None else [level[0]]
            low, high = float(min(ends)) / 1.4, float(max(ends)) * 1.2
            marks = tuple(float(m) for m in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low < m < high)
            titles = (words("distance"), words("distance_note"))
            scale = AxisScale(low, high, marks, log=True)
            _over_evaluations(figure, PANELS[1], evaluations, distance, scale, titles, level)
        return figure


def _percent_axis(low: float = 0.0) -> AxisScale:
    ticks = tuple(np.arange(low, 1.001, 0.1 if low > 0.4 else 0.2))
    return AxisScale(low, 1.0, ticks, labels=tuple(f"{tick:.0%}" for tick in ticks))


def _over_evaluations(
    figure: Figure,
    box: PanelBox,
    evaluations: Array,
    lines: Sequence[Line],
    y: AxisScale,
    titles: tuple[str, str],
    level: tuple[float, str] | None = None,
) -> None:
    """Draw one panel over the number of evaluations, its intervals as bars that stand side by side.

    ``titles`` are its name and what is measured; ``level`` is the value and name of a level line.
    """
    left, top, width, height = box
    words = figure_words("flow")
    x = AxisScale(
        evaluations[0] / 1.2,
        evaluations[-1] * 1.2,
        tuple(map(float, evaluations)),
        log=True,
        labels=tuple(map(str, evaluations)),
    )
    curves = []
    if level is not None:
        ends = np.array([x.low, x.high])
        curves.append(Curve(ends, np.full(2, level[0]), level[1], colour=theme.INK, weight=1.6))
    for index, line in enumerate(lines):
        at = np.asarray(evaluations) * 1.05 ** (index - (len(lines) - 1) / 2)
        colour = COLOURS[line.colour]
        low = np.maximum(line.low, y.low)
        curves.append(Curve(at, line.values, words(line.name), colour=colour, style=STYLES[line.colour], weight=3))
        curves.append(Curve(at, line.values, "", low, line.high, colour, "o", 5))
    draw_curves(figure, box, curves, x, y, 165)
    theme.write(figure, left - 150, top - 160, titles[0], 22, ha="left")
    theme.write(figure, left - 150, top - 80, titles[1], ha="left", color=theme.MUTED)
    theme.write(figure, left + width / 2, top + height + 172, words("evaluations"), 20)
    if box[0] == PANELS[0][0]:
        theme.write(figure, 90, 1775, words("methods"), ha="left", color=theme.MUTED)


def _plane(figure: Figure, panel: int) -> Axes:
    axes = theme.add_axes(figure, LEFT + panel * PITCH, TOP, SIDE, SIDE)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    return axes


def _middle(panel: int) -> float:
    return LEFT + panel * PITCH + SIDE / 2


def _title(figure: Figure, panel: int, text: str, note: str = "") -> None:
    """Write the name of a panel of the plane above it, and a note on it beneath the name."""
    theme.write(figure, _middle(panel), TOP - 110, text, 22)
    theme.write(figure, _middle(panel), TOP - 35, note, color=theme.MUTED)
