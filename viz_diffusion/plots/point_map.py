"""Maps of a few named points: a dot at each point, and its name next to it, joined by a line where it had to move away.

Knows nothing about what the points are.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import label_text, width_of
from viz_diffusion.plots.theme import Array

_DOT = 16
"""Page pixels: the radius that a dot keeps free of names."""
_ANGLES = np.deg2rad(np.arange(0, 360, 22.5) + 90)
"""The directions in which a name may stand, from above anticlockwise."""

Box = tuple[float, float, float, float]
"""(left, bottom, right, top)."""


def draw_map(axes: Axes, points: Array, labels: Array, size: float) -> None:
    """Draw a dot at each point (L, 2) and its label next to it, with equal units on both axes and no ticks.

    ``size`` is that of the labels in points. No label lies on a dot or on another label where there is room; a line
    joins it to its dot.
    """
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[], facecolor=theme.PAPER)
    axes.spines[:].set(color=theme.FAINT, linewidth=2)
    box = axes.get_position()
    width, height = box.width * theme.PAGE_WIDTH, box.height * theme.PAGE_HEIGHT
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = 1.3 * max(float(np.max(np.abs(points - middle) / (width / height, 1))), 1e-9)
    axes.set_xlim(middle[0] - reach * width / height, middle[0] + reach * width / height)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    unit = 2 * reach / height  # of the data, a page pixel
    corner = middle - reach * np.array([width / height, 1.0])
    names = [label_text(label) for label in labels]
    line = size * theme.DPI / 72
    sizes = np.array([[line * max(0.66, 0.66 * len(name), width_of(name)) + 10, line] for name in names])
    places = place_names((points - corner) / unit, sizes, (width, height))
    axes.plot(points[:, 0], points[:, 1], "o", color=theme.PURPLE, ms=9, mec="white", mew=1.5, clip_on=False)
    for name, point, place in zip(names, points, corner + places * unit, strict=True):
        axes.plot([point[0], place[0]], [point[1], place[1]], color=theme.MUTED, lw=1.4, zorder=1)
        ground = {"facecolor": theme.PAPER, "edgecolor": "none", "pad": 1}
        axes.text(
            place[0], place[1], name, fontsize=size, color=theme.INK, ha="center", va="center", bbox=ground, zorder=1.5
        )


def place_names(points: Array, sizes: Array, room: tuple[float, float]) -> NDArray[np.float64]:
    """Return where names stand: near their points, off all points and off each other, within ``room``.

    Parameters
    ----------
    points
        (L, 2) float, page pixels from the lower left corner.
    sizes
        (L, 2) float: width and height of each name.
    room
        Width and height of the map.

    Returns
    -------
    (L, 2) float64: the middle of each name. Where nothing is free, the place that overlaps least.
    """
    dots = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points.tolist()]
    taken: list[Box] = []
    places = np.zeros((len(points), 2))
    crowded = [float(np.sort(np.linalg.norm(points - point, axis=1))[1:3].sum()) for point in points]
    for index in np.argsort(crowded, kind="stable"):  # where it is crowded, names are placed first
        found: list[tuple[float, float, float, Box]] = []
        for away in (0.0, 30.0, 70.0, 120.0, 180.0):
            for angle in _ANGLES:
                x, y = points[index] + np.array([np.cos(angle), np.sin(angle)]) * (sizes[index] / 2 + _DOT + 2 + away)
                w, h = sizes[index] / 2
                box = (x - w, y - h, x + w, y + h)
                outside = sum(max(0.0, excess) for excess in (-box[0], -box[1], box[2] - room[0], box[3] - room[1]))
                cost = outside * 1000 + 100 * sum(_overlap(box, other) for other in (*dots, *taken)) + away
                found.append((cost, x, y, box))
        _, x, y, box = min(found, key=lambda one: one[0])
        places[index] = x, y
        taken.append(box)
    return places


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0
