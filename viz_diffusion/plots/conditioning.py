"""What the network is given, time plus label, as strands; and its bottleneck along generations, grouped by digit.

Knows nothing about networks; maps and scores are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import theme
from viz_diffusion.plots.class_names import label_text, width_of
from viz_diffusion.plots.panels import AxisScale, Curve, draw_curves, write_notes
from viz_diffusion.plots.point_map import place_names
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

COLOURS = ("#332288", "#88ccee", "#117733", "#999933", "#ddaa33", "#cc6677", "#882255", "#aa4499", "#1d1a27", "#e66100")
"""Of ten digits: Paul Tol's muted scheme, with black and a red-orange."""
PANEL = "#f5f4f8"
"""The ground of a map, on a dark page too: the digits' colours are chosen for it."""
MARKERS = "os^vDPX<>*"
"""Of ten digits, so that they differ without colour too."""


@dataclass(frozen=True, eq=False)
class ConditioningMap:
    """Time plus label over L labels and K timesteps, and N generations at M timesteps."""

    labels: Array
    """(L,) int: the labels, usually 0 .. 9."""
    timesteps: Array
    """(K,) int, rising."""
    pca: Array
    """(L, K, 2) float, in units of the embedding: the first two principal components of time plus label."""
    pca_share: Array
    """(2,) float, in [0, 1]: the share of variance of each component."""
    tsne: Array
    """(L, K, 2) float, without unit: a t-SNE map of time plus label."""
    shown_timesteps: Array
    """(M,) int, falling; M is usually 8."""
    maps: Array
    """(M, N, 2) float, without unit: a t-SNE map of the bottleneck at each of them."""
    digits: Array
    """(N,) int: the digit that comes out of each generation."""
    silhouette: Array
    """(M,) float, in [-1, 1]: silhouette score of the bottleneck by digit."""
    unlabelled: Array
    """(M,) float, in [-1, 1]: the same of as many generations without a label."""

    def __post_init__(self) -> None:
        count, size = len(self.shown_timesteps), (len(self.labels), len(self.timesteps), 2)
        if self.pca.shape != size or self.tsne.shape != size:
            raise VizdiffInputError(f"maps of time plus label must have the shape {size}, found {self.pca.shape}")
        if self.maps.shape != (count, len(self.digits), 2) or len(self.silhouette) != count:
            raise VizdiffInputError(f"{count} timesteps need as many maps and scores, found {self.maps.shape}")


def draw_conditioning_map(found: ConditioningMap) -> Figure:
    """Draw time plus label at the left (t-SNE above, PCA beneath), the bottleneck's maps and scores at the right."""
    with theme.use_theme():
        words = figure_words("conditioning_map")
        figure = theme.new_figure(words("title"))
        left, width, heights, tops = 120, 880, 520, (330, 970)
        first, second = (theme.percent(float(share)) for share in found.pca_share)
        names = (words("tsne"), words("pca", first=first, second=second))
        theme.write(figure, left - 30, 226, words("given"), 20, ha="left")
        for top, points, name in zip(tops, (found.tsne, found.pca), names, strict=True):
            theme.write(figure, left, top - 26, name, ha="left")
            axes = theme.add_axes(figure, left, top, width, heights)
            _strands(axes, points, found)
            if points is found.tsne:
                _name_strands(axes, points, found)
        theme.write(figure, left + width / 2, tops[1] + heights + 66, words("component", number=1))
        at = (left - 40, tops[1] + heights / 2)
        theme.write(figure, *at, words("component", number=2), rotation=90, va="center")
        _bottlenecks(figure, found)
        write_notes(figure, words("near"), words("why"))
        return figure


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def _strands(axes: Axes, points: Array, found: ConditioningMap) -> None:
    """Draw a strand for each label, pale at t = 0 and dark at the last t; of points that coincide the last are seen."""
    flat = points.reshape(-1, 2)
    corner, reach = flat.min(axis=0), np.maximum(np.ptp(flat, axis=0), 1e-9)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[], facecolor=PANEL)
    axes.spines[:].set_visible(False)
    axes.set_xlim(corner[0] - 0.09 * reach[0], corner[0] + 1.09 * reach[0])
    axes.set_ylim(corner[1] - 0.12 * reach[1], corner[1] + 1.12 * reach[1])
    shade = found.timesteps / max(1, int(found.timesteps[-1]))
    colours = np.empty((*points.shape[:2], 4))
    for row, label in enumerate(found.labels.tolist()):
        pale = tuple(0.8 * white + 0.2 * part for white, part in zip((1, 1, 1), to_rgb(_colour(label)), strict=True))
        colours[row] = LinearSegmentedColormap.from_list("t", [pale, to_rgb(_colour(label))])(shade)
    # by t, and at each t the next label last, so that no strand lies on all others
    sequence = np.stack([np.roll(np.arange(len(points)), -k) for k in range(points.shape[1])])
    column = np.arange(points.shape[1])[:, None]
    shown = points[sequence, column].reshape(-1, 2)
    axes.scatter(shown[:, 0], shown[:, 1], s=26, c=colours[sequence, column].reshape(-1, 4), lw=0)


def _name_strands(axes: Axes, points: Array, found: ConditioningMap) -> None:
    """Write each label near the end of its strand, and join the two by a line."""
    box = axes.get_position()
    room = (box.width * theme.PAGE_WIDTH, box.height * theme.PAGE_HEIGHT)
    low = np.array([axes.get_xlim()[0], axes.get_ylim()[0]])
    unit = np.array([np.ptp(axes.get_xlim()) / room[0], np.ptp(axes.get_ylim()) / room[1]])
    names = [label_text(label) for label in found.labels]
    sizes = np.array([[max(34.0 * len(name), 53 * width_of(name)) + 10, 58.0] for name in names])
    places = low + place_names((points[:, -1] - low) / unit, sizes, room) * unit
    for name, label, end, place in zip(names, found.labels.tolist(), points[:, -1], places, strict=True):
        axes.plot([end[0], place[0]], [end[1], place[1]], color=_colour(label), lw=1.4, zorder=1)
        ground = {"facecolor": PANEL, "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        style: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "bbox": ground}
        axes.text(place[0], place[1], name, fontsize=theme.TEXT_SIZE, color=_colour(label), **style)


def _bottlenecks(figure: Figure, found: ConditioningMap) -> None:
    """Draw a map of the bottleneck at each timestep, the digits' marks, and the silhouette score over t."""
    words = figure_words("conditioning_map")
    left, right, top, across = 1180, 3130, 330, -(-len(found.shown_timesteps) // 2)
    theme.write(figure, left, 226, words("bottleneck", count=len(found.digits)), 20, ha="left")
    pitch = (right - left + 24) / across
    side = int(min(pitch - 24, 280))
    for index, (t, points) in enumerate(zip(found.shown_timesteps.tolist(), found.maps, strict=True)):
        x, y = left + index % across * pitch, top + index // across * (side + 84)
        theme.write(figure, x, y - 22, f"t = {t}", ha="left")
        axes = theme.add_axes(figure, round(x), y, side, side)
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[], facecolor=PANEL)
        axes.spines[:].set_visible(False)
        for digit in np.unique(found.digits).tolist():
            chosen = points[found.digits == digit]
            mark = MARKERS[digit % len(MARKERS)]
            axes.plot(chosen[:, 0], chosen[:, 1], mark, color=_colour(digit), ms=7, mec=theme.ON_DARK, mew=0.5)
        axes.margins(0.06)
    foot = top + 2 * side + 84
    shown = np.unique(found.digits).tolist()
    page = theme.page_axes(figure)
    theme.write(figure, left, foot + 78, words("digit"), ha="left")
    step = min(120.0, (right - left - 760) / max(1, len(shown)))
    # on a ground of its own, as the maps: the digits' colours are for a light page
    page.add_patch(Rectangle((left + 730, foot + 26), len(shown) * step + 16, 70, fc=PANEL, lw=0, zorder=0))
    for place, digit in enumerate(shown):
        x = left + 760 + place * step
        page.plot([x], [foot + 56], MARKERS[digit % len(MARKERS)], color=_colour(digit), ms=13)
        theme.write(figure, x + 24, foot + 78, label_text(digit, step - 36), ha="left", color=_colour(digit))
    _score(figure, found, left, foot + 196)


def _score(figure: Figure, found: ConditioningMap, left: int, top: int) -> None:
    """Draw the silhouette score over t, noise at the left, with a label and without."""
    words = figure_words("conditioning_map")
    box = (1330, top, 1290, 1430 - top)
    x = -found.shown_timesteps.astype(float)
    high = max(0.1, float(found.silhouette.max()) * 1.1)
    low = min(-0.05, float(min(found.silhouette.min(), found.unlabelled.min())) * 1.1)
    curves = (
        Curve(x, found.unlabelled, words("unlabelled"), colour=theme.ORANGE, style="--", weight=3.5),
        Curve(x, found.silhouette, words("labelled")),
    )
    marks = tuple(x.tolist())
    across = AxisScale(float(x[0]), float(x[-1]), marks, labels=tuple(f"{-mark:.0f}" for mark in marks))
    ticks = tuple(tick for tick in (0.0, 0.2, 0.4, 0.6, 0.8) if tick <= high)
    axes = draw_curves(figure, box, curves, across, AxisScale(low, high, ticks), 130)
    axes.axhline(0, color=theme.MUTED, lw=1.5)
    axes.plot(x, found.silhouette, "o", color=theme.PURPLE, ms=11, mec="white", mew=2, clip_on=False, zorder=4)
    theme.write(figure, left, top - 40, words("vertical"), ha="left")
    theme.write(figure, box[0] + box[2] / 2, box[1] + box[3] + 160, words("t_generation"))
