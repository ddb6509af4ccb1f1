"""Paths of generations on the map of what a decoder makes of each latent of two numbers.

Knows nothing about how anything was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.point_map import place_names
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

LEFT, TOP, MOST = 230, 180, 1430
"""Corner of the map, and its largest size: a pixel of its decoded images is a whole number of page pixels."""
INK_SHARE = 0.6
"""Opacity of the darkest ink of these images."""
RIGHT, PITCH, PANEL = 1835, 262, 212
"""Left edge of the small pictures, from one to the next, and the size of the small maps."""
FACTOR = 8
"""Page pixels of a pixel of the decoded states."""
NAME_SIZE = 30
"""Points: digits at the ends of paths."""


@dataclass(frozen=True, eq=False)
class MapDrawing:
    """The map, the paths on it, and the texts of shares."""

    limit: float
    """The map reaches from -limit to limit in both numbers."""
    ink: Array
    """(G, G, H, W) 0 to 1: ink of the decoded images, rows of the map from the bottom."""
    probability: Array
    """(L, R, R): probability of each digit, on any scale, rows from the bottom."""
    points: Array
    """(M, 2) encoded test digits."""
    point_labels: Array
    """(M,) their labels."""
    paths: Array
    """(L, K, S + 1, 2) paths of each label from the same K noises."""
    digit: int
    """The label of the path that stands out, from the first noise."""
    states: Array
    """(F,) states of that path that are decoded."""
    frames: Array
    """(F, H, W) their images."""
    steps_left: Sequence[int]
    """(F,) steps left at them."""
    inside: Sequence[str]
    """(F,) texts: shares of all paths in their region."""
    ends: Sequence[str]
    """(L,) texts: shares of each label's paths that end in its region."""
    count: int
    """Paths of each label over which shares are taken."""


def draw_latent_map(drawing: MapDrawing) -> Figure:
    """Draw a path of each label on the map, decoded states of one of them, and for each label paths of many noises."""
    with theme.use_theme():
        words = figure_words("latent_map")
        figure = theme.new_figure(words("title"))
        _draw_map(figure, drawing)
        _draw_states(figure, drawing)
        noises = words("noises", noises=drawing.paths.shape[1], count=drawing.count)
        theme.write(figure, RIGHT, 965, noises, 20, ha="left", va="top", linespacing=1.3)
        for label, share in enumerate(drawing.ends):
            row, column = divmod(label, (len(drawing.ends) + 1) // 2)
            left, top = RIGHT + column * PITCH, 1215 + row * 300
            colour = theme.ORANGE if label == drawing.digit else theme.PURPLE
            theme.write(figure, left + PANEL / 2, top - 20, words("end", label=label, share=share), color=colour)
            _draw_panel(theme.add_axes(figure, left, top, PANEL, PANEL), drawing, label)
        return figure


def _draw_states(figure: Figure, drawing: MapDrawing) -> None:
    """Draw the decoded states of one path, with the shares of all paths that are in their region by then."""
    words = figure_words("latent_map")
    heading = words("states", digit=drawing.digit)
    theme.write(figure, RIGHT, 205, heading, 20, ha="left", va="top", linespacing=1.3, color=theme.ORANGE)
    size = FACTOR * drawing.frames.shape[-1]
    for column, frame in enumerate(drawing.frames):
        left = RIGHT + column * PITCH
        raster.place_digit(figure, left, 400, FACTOR, frame)
        remaining = drawing.steps_left[column]
        text = words("steps_left", left=remaining) if remaining else words("finished")
        theme.write(figure, left + size / 2, 400 + size + 62, text, color=theme.MUTED)
        theme.write(figure, left + size / 2, 400 + size + 138, drawing.inside[column], color=theme.PURPLE)
    total = words("inside", count=drawing.count * len(drawing.ends))
    theme.write(figure, RIGHT, 795, total, ha="left", va="top", color=theme.PURPLE, linespacing=1.3)


def _frame(axes: Axes, limit: float) -> None:
    axes.set_axis_on()
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
    axes.patch.set_visible(False)
    axes.spines[:].set(color=theme.FAINT, linewidth=2)


def _draw_map(figure: Figure, drawing: MapDrawing) -> None:
    words, limit = figure_words("latent_map"), drawing.limit
    image = _ink_image(drawing.ink)
    size = len(image)
    axes = theme.add_axes(figure, LEFT, TOP, size, size)
    _frame(axes, limit)
    axes.imshow(image, extent=(-limit, limit, -limit, limit), interpolation="none", zorder=0)
    _draw_borders(axes, drawing)
    for label, path in enumerate(drawing.paths[:, 0]):
        if label != drawing.digit:
            _draw_path(axes, path, theme.PURPLE)
    chosen = drawing.paths[drawing.digit, 0]
    _draw_path(axes, chosen, theme.ORANGE, 3.5)
    axes.plot(*chosen[drawing.states[1:-1]].T, "o", color=theme.PAPER, mec=theme.ORANGE, mew=3, ms=11, zorder=5)
    axes.plot(*chosen[0], "o", color=theme.PAPER, mec=theme.INK, mew=3.5, ms=26, zorder=6)
    ends = drawing.paths[:, 0, -1]
    unit = 2 * limit / size
    sizes = np.tile([0.64 * NAME_SIZE * theme.DPI / 72, 0.8 * NAME_SIZE * theme.DPI / 72], (len(ends), 1))
    places = place_names((ends + limit) / unit, sizes, (size, size)) * unit - limit
    for label, place in enumerate(places):
        colour = theme.ORANGE if label == drawing.digit else theme.PURPLE
        _write(axes, place, str(label), colour, NAME_SIZE)
    _write(axes, chosen[0] + (0.62, -0.26), words("noise"), theme.INK, theme.TEXT_SIZE)
    for tick in (-2, 0, 2):
        along = (tick + limit) / unit
        theme.write(figure, LEFT + along, TOP + size + 60, theme.number(tick), color=theme.MUTED)
        theme.write(
            figure, LEFT - 30, TOP + size - along, theme.number(tick), ha="right", va="center", color=theme.MUTED
        )
    theme.write(figure, LEFT + size / 2, TOP + size + 140, words("first"), 20)
    theme.write(figure, 64, TOP + size / 2, words("second"), 20, rotation=90, va="center")


def _ink_image(ink: Array) -> Array:
    """Return the (G H f, G W f, 4) uint8 picture of the map, from its top row: one grey, as opaque as there is ink."""
    count, _, height, width = ink.shape
    whole = ink[::-1].transpose(0, 2, 1, 3).reshape(count * height, count * width)
    opacity = np.rint(255 * INK_SHARE * raster.enlarge(whole, max(1, MOST // len(whole)))).astype(np.uint8)
    grey = np.full((*opacity.shape, 3), 128, np.uint8)
    grey[opacity == 0] = 0
    return np.concatenate([grey, opacity[..., None]], axis=-1)


def _draw_borders(axes: Axes, drawing: MapDrawing) -> None:
    """Draw where the most probable digit changes."""
    for margin in _margins(drawing.probability):
        if margin.max() > 0 > margin.min():
            axes.contour(*_grid(drawing), margin, levels=[0], colors=theme.MUTED, linewidths=1.2, zorder=2)


def _margins(probability: Array) -> Array:
    """Return (L, R, R) how much more probable each digit is than the most probable of the others."""
    values = probability.astype(np.float64)
    ordered = np.sort(values, axis=0)
    others = np.where(values == ordered[-1], ordered[-2], ordered[-1])
    return values - others


def _grid(drawing: MapDrawing) -> tuple[Array, Array]:
    count = drawing.probability.shape[-1]
    middles = drawing.limit * ((2 * np.arange(count) + 1) / count - 1)
    return middles, middles


def _draw_path(axes: Axes, path: Array, colour: str, width: float = 3.0) -> None:
    halo = [withStroke(linewidth=width + 4, foreground=theme.PAPER), Normal()]
    axes.plot(*path.T, color=colour, lw=width, zorder=3, path_effects=halo)
    axes.plot(*path[-1], "o", color=colour, mec=theme.PAPER, mew=2, ms=13, zorder=4)


def _write(axes: Axes, place: Array, text: str, colour: str, size: float) -> None:
    halo = [withStroke(linewidth=7, foreground=theme.PAPER), Normal()]
    style: dict[str, Any] = {
        "fontsize": size,
        "color": colour,
        "ha": "center",
        "va": "center",
        "path_effects": halo,
        "zorder": 7,
    }
    axes.text(float(place[0]), float(place[1]), text, **style)


def _draw_panel(axes: Axes, drawing: MapDrawing, label: int) -> None:
    """Draw the region of a label, the encoded digits of it, and its paths from all noises."""
    _frame(axes, drawing.limit)
    margin = _margins(drawing.probability)[label]
    if margin.max() > 0:
        axes.contourf(*_grid(drawing), margin, levels=[0, margin.max()], colors=theme.FAINT, zorder=0)
    own = drawing.points[drawing.point_labels == label]
    axes.plot(*own.T, "o", color=theme.MUTED, alpha=0.35, ms=2.2, mew=0, zorder=1)
    colour = theme.ORANGE if label == drawing.digit else theme.PURPLE
    for path in drawing.paths[label]:
        axes.plot(*path[::2].T, color=colour, lw=1.2, alpha=0.75, zorder=2)  # at this size a coarser line is the same
        axes.plot(*path[-1], "o", color=colour, ms=4.5, mew=0, zorder=3)
