"""Tables of numbers as colours: what the clock tells the network, and how the labels lie to each other.

Knows nothing about networks; codes, cosines and maps are given ready.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.theme import Array

_PANEL = "#f5f4f8"


@dataclass(frozen=True, eq=False)
class TimeEmbedding:
    """The time codes before and after the MLP, and how alike they are."""

    timesteps: Array
    """(T,) int, rising from 0."""
    sinusoids: Array
    """(D, T) float, in [-1, 1]: sines then cosines, fast to slow, one row per channel."""
    mlp: Array
    """(E, T) float: the MLP's output, one row per channel, rows sorted by where they peak."""
    mlp_limit: float
    """The colour scale of ``mlp`` runs from -mlp_limit to mlp_limit."""
    cosine_timesteps: Array
    """(M,) int, rising: the timesteps of the two matrices; 64 to 256 of them look best."""
    cosine_raw: Array
    """(M, M) float, in [-1, 1]: cosines between columns of ``sinusoids``."""
    cosine_mlp: Array
    """(M, M) float, in [-1, 1]: cosines between columns of ``mlp``."""
    marks: tuple[int, ...] = (0, 259, 999)
    """Timesteps to mark on the axes."""


@dataclass(frozen=True, eq=False)
class LabelEmbedding:
    """The label vectors: their cosines, their principal components, and three t-SNE maps."""

    labels: Array
    """(L,) int: what to call each vector, usually 0 .. 9."""
    cosine: Array
    """(L, L) float, in [-1, 1]."""
    pca: Array
    """(L, 2) float, in units of the embedding: the first two principal components."""
    pca_share: Array
    """(2,) float, in [0, 1]: the share of variance each of them holds."""
    tsne: Array
    """(R, L, 2) float, without meaning or unit: t-SNE of R seeds, usually 3."""

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.cosine.shape != (count, count) or self.pca.shape != (count, 2):
            raise VizdiffInputError(f"{count} labels need {count}x{count} cosines and {count}x2 components")


def _marks(figure: Figure, page: Axes, marks: dict[int, float], box: tuple[int, int, int, int]) -> None:
    """Mark timesteps (given with their place along the side, 0 .. 1) beneath a table and, if square, left."""
    left, top, width, height = box
    for t, share in marks.items():
        x, y = left + share * width, top + share * height
        page.plot([x, x], [top + height, top + height + 16], color=theme.MUTED, lw=2)
        theme.write(figure, x, top + height + 68, str(t), color=theme.MUTED)
        if width == height:
            page.plot([left - 16, left], [y, y], color=theme.MUTED, lw=2)


def draw_time_embedding(clock: TimeEmbedding) -> Figure:
    """Draw codes (channel against t) at the left and their cosine matrices at the right.

    Above, the sinusoids, scaled to -1 .. 1; beneath, the MLP's output, scaled to its own limit. Both
    matrices are scaled to -1 .. 1. The left tables are 2000 page pixels wide, two for each of 1000 t.
    """
    count = len(clock.cosine_timesteps)
    if clock.cosine_raw.shape != (count, count) or clock.cosine_mlp.shape != (count, count):
        raise VizdiffInputError("both cosine matrices must be (M, M) over the M cosine_timesteps")
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        left, wide, square, tops = 250, 2000, 640, (70, 860)
        right = left + wide + 140
        rows = ((clock.sinusoids, 1.0, clock.cosine_raw), (clock.mlp, clock.mlp_limit, clock.cosine_mlp))
        for top, (codes, limit, cosine) in zip(tops, rows, strict=True):
            tables = ((left, wide, codes, limit, clock.timesteps),)
            for x, width, table, scale, times in (
                *tables,
                (right, square, cosine, 1.0, clock.cosine_timesteps),
            ):
                axes = theme.add_axes(figure, x, top, width, square)
                raster.show_signed(axes, raster.fit_nearest(table, square, width), scale)
                first, span = int(times[0]), int(times[-1] - times[0]) or 1
                marks = {t: min(1.0, max(0.0, (t - first) / span)) for t in clock.marks}
                _marks(figure, page, marks, (x, top, width, square))
            theme.write(figure, left + 0.63 * wide, top + square + 68, "$t$", 22)
        for row, share, text in ((0, 0.25, "sin"), (0, 0.75, "cos"), (1, 0.5, "MLP")):
            theme.write(figure, left - 30, tops[row] + share * square, text, 20, ha="right", va="center")
        bars = ((left + 400, 420, 1.0, "sin, cos"), (left + wide - 520, 420, clock.mlp_limit, "MLP"))
        for x, width, limit, name in (*bars, (right, square, 1.0, "")):
            theme.colour_bar(figure, (x, 1632, width, 28), theme.SIGNED_MAP, limit)
            theme.write(figure, x - 100, 1666, name, 20, ha="right")
        return figure


def draw_label_embedding(labels: LabelEmbedding) -> Figure:
    """Draw the cosine matrix (largest, values in its cells), the PCA, and small t-SNE maps without axes."""
    with theme.use_theme():
        figure = theme.new_figure()
        _draw_matrix(figure, labels)
        left, width = 2030, 1100
        share = [f"PC {n + 1} {theme.percent(float(value))}" for n, value in enumerate(labels.pca_share)]
        axes = theme.add_axes(figure, left, 160, width, 880)
        draw_map(axes, labels.pca, labels.labels, 26)
        axes.axhline(0, color=theme.FAINT, lw=1.6, zorder=0)
        axes.axvline(0, color=theme.FAINT, lw=1.6, zorder=0)
        theme.write(figure, left + width, 1110, share[0], 20, ha="right", color=theme.MUTED)
        theme.write(figure, left, 116, share[1], 20, ha="left", color=theme.MUTED)
        count = len(labels.tsne)
        side = (width - 30 * (count - 1)) // max(1, count)
        for index, places in enumerate(labels.tsne):
            axes = theme.add_axes(figure, left + index * (side + 30), 1212, side, min(side, 340))
            draw_map(axes, places, labels.labels, theme.TEXT_SIZE)
        theme.write(figure, left, 1640, "t-SNE", 20, ha="left", color=theme.MUTED)
        return figure


def draw_map(axes: Axes, places: Array, labels: Array, size: float) -> None:
    """Put each label's digit at its place (L, 2), one unit equally long on both axes, without ticks."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[], facecolor=_PANEL)
    axes.spines[:].set_visible(False)
    box = axes.get_position()
    shape = box.width * theme.PAGE_WIDTH / (box.height * theme.PAGE_HEIGHT)
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    reach = 1.36 * max(float(np.max(np.abs(places - middle) / (shape, 1))), 1e-9)
    axes.set_xlim(middle[0] - reach * shape, middle[0] + reach * shape)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    for (x, y), label in zip(places, labels, strict=True):
        axes.text(x, y, str(int(label)), fontsize=size, color=theme.INK, ha="center", va="center")


def _draw_matrix(figure: Figure, labels: LabelEmbedding) -> None:
    """Draw the cosines, each with its value, the labels above and at the left."""
    import seaborn as sns  # takes a second to load, and only this picture needs it

    count = len(labels.labels)
    left, top, wide, high = 160, 160, 1600 // count, 1400 // count
    axes = theme.add_axes(figure, left, top, wide * count, high * count)
    written = np.array([[_short(float(value)) for value in row] for row in labels.cosine])
    sns.heatmap(
        labels.cosine,
        ax=axes,
        vmin=-1,
        vmax=1,
        cmap=theme.SIGNED_MAP,
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        annot=written,
        fmt="",
        annot_kws={"size": theme.TEXT_SIZE},
    )
    for row, label in enumerate(labels.labels):
        theme.write(figure, left - 50, top + (row + 0.5) * high, str(int(label)), 24, va="center")
        theme.write(figure, left + (row + 0.5) * wide, top - 36, str(int(label)), 24)
    theme.colour_bar(figure, (left, top + high * count + 50, wide * count, 28), theme.SIGNED_MAP, 1.0)


def _short(value: float) -> str:
    """Return a cosine in two decimals without its leading zero, and "1" for one."""
    text = f"{value + 0.0:.2f}"
    if text in ("-0.00", "0.00"):
        return "0"
    return text.replace("1.00", "1").replace("-", theme.MINUS).replace("0.", ".")
