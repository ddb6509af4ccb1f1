"""Heat maps of the time embedding and the label embedding, with their cosine similarities and 2-D projections.

Knows nothing about networks; embeddings, similarities and projections are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.class_names import label_text
from viz_diffusion.plots.theme import Array

MOST_WRITTEN = 16
"""Labels up to which the cosines are written into their matrix; beyond, the colours say them."""
_PANEL = "#f5f4f8"


@dataclass(frozen=True, eq=False)
class TimeEmbedding:
    """The time embedding before and after its MLP, and cosine similarities between timesteps."""

    timesteps: Array
    """(T,) int, rising from 0."""
    sinusoids: Array
    """(D, T) float, in [-1, 1]: sines, then cosines, from high to low frequency; a row for each channel."""
    mlp: Array
    """(E, T) float: the MLP's output, a row for each channel, sorted by the t of their maximum."""
    mlp_limit: float
    """The colour scale of ``mlp`` runs from -mlp_limit to mlp_limit."""
    cosine_timesteps: Array
    """(M,) int, rising: the timesteps of the two matrices; M between 64 and 256 is most legible."""
    cosine_raw: Array
    """(M, M) float, in [-1, 1]: cosine similarities between columns of ``sinusoids``."""
    cosine_mlp: Array
    """(M, M) float, in [-1, 1]: cosine similarities between columns of ``mlp``."""
    marks: tuple[int, ...] = (0, 259, 999)
    """Timesteps to mark on the axes."""


@dataclass(frozen=True, eq=False)
class LabelEmbedding:
    """The label embedding: cosine similarities, principal components, and t-SNE maps."""

    labels: Array
    """(L,) int: the label of each vector, usually 0 .. 9."""
    cosine: Array
    """(L, L) float, in [-1, 1]: cosine similarities between the vectors."""
    pca: Array
    """(L, 2) float, in units of the embedding: the first two principal components."""
    pca_share: Array
    """(2,) float, in [0, 1]: the share of variance of each component."""
    tsne: Array
    """(R, L, 2) float, without unit: t-SNE maps of R seeds, usually 3."""

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.cosine.shape != (count, count) or self.pca.shape != (count, 2):
            raise VizdiffInputError(f"{count} labels need {count}x{count} cosines and {count}x2 components")


def _marks(figure: Figure, page: Axes, marks: dict[int, float], box: tuple[int, int, int, int]) -> None:
    """Mark timesteps, ``{t: position along the side, 0 .. 1}``, beneath a heat map and, if square, at its left."""
    left, top, width, height = box
    for t, share in marks.items():
        x, y = left + share * width, top + share * height
        page.plot([x, x], [top + height, top + height + 16], color=theme.MUTED, lw=2)
        theme.write(figure, x, top + height + 68, str(t), color=theme.MUTED)
        if width == height:
            page.plot([left - 16, left], [y, y], color=theme.MUTED, lw=2)


def draw_time_embedding(embedding: TimeEmbedding) -> Figure:
    """Draw the embeddings (channel against t) at the left and their cosine matrices at the right.

    The upper row shows the sinusoids on a scale of -1 .. 1, the lower row the MLP's output on -mlp_limit .. mlp_limit.
    Both matrices have a scale of -1 .. 1. The left heat maps are 2000 page pixels wide: two for each of 1000 t.
    """
    count = len(embedding.cosine_timesteps)
    if embedding.cosine_raw.shape != (count, count) or embedding.cosine_mlp.shape != (count, count):
        raise VizdiffInputError("both cosine matrices must be (M, M) over the M cosine_timesteps")
    with theme.use_theme():
        figure = theme.new_figure()
        page = theme.page_axes(figure)
        left, wide, square, tops = 250, 2000, 640, (112, 912)
        right = left + wide + 140
        rows = (
            (embedding.sinusoids, 1.0, embedding.cosine_raw),
            (embedding.mlp, embedding.mlp_limit, embedding.cosine_mlp),
        )
        for top, (channels, limit, cosine) in zip(tops, rows, strict=True):
            for x, width, values, scale, timesteps in (
                (left, wide, channels, limit, embedding.timesteps),
                (right, square, cosine, 1.0, embedding.cosine_timesteps),
            ):
                axes = theme.add_axes(figure, x, top, width, square)
                raster.show_signed(axes, raster.fit_nearest(values, square, width), scale)
                first, span = int(timesteps[0]), int(timesteps[-1] - timesteps[0]) or 1
                marks = {t: min(1.0, max(0.0, (t - first) / span)) for t in embedding.marks}
                _marks(figure, page, marks, (x, top, width, square))
            theme.write(figure, left + 0.63 * wide, top + square + 68, "timestep t", color=theme.MUTED)
        for row, share, text in ((0, 0.25, "sin"), (0, 0.75, "cos")):
            theme.write(figure, left - 24, tops[row] + share * square, text, ha="right", va="center")
        names = (f"Time embedding: {len(embedding.sinusoids)} sines and cosines, fast to slow", "Cosine similarity")
        after = (f"After the MLP: {len(embedding.mlp)} channels, each minus its mean", "after the MLP")
        for top, texts in zip(tops, (names, after), strict=True):
            for x, text in zip((left, right), texts, strict=True):
                theme.write(figure, x, top - 26, text, 20, ha="left")
        bars = ((left + 400, 420, 1.0, "sin, cos"), (left + wide - 520, 420, embedding.mlp_limit, "MLP"))
        for x, width, limit, name in (*bars, (right, square, 1.0, "")):
            theme.colour_bar(figure, (x, 1668, width, 24), theme.SIGNED_MAP, limit)
            theme.write(figure, x - 80, 1690, name, ha="right")
        return figure


def draw_label_embedding(labels: LabelEmbedding) -> Figure:
    """Draw the cosine matrix with its values (largest), the PCA, and small t-SNE maps without axes."""
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
        for index, points in enumerate(labels.tsne):
            axes = theme.add_axes(figure, left + index * (side + 30), 1212, side, min(side, 340))
            draw_map(axes, points, labels.labels, theme.TEXT_SIZE)
        theme.write(figure, left, 1640, "t-SNE", 20, ha="left", color=theme.MUTED)
        return figure


def draw_map(axes: Axes, points: Array, labels: Array, size: float) -> None:
    """Write each label at its point (L, 2), with equal units on both axes and no ticks; ``size`` in points."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[], facecolor=_PANEL)
    axes.spines[:].set_visible(False)
    box = axes.get_position()
    shape = box.width * theme.PAGE_WIDTH / (box.height * theme.PAGE_HEIGHT)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = 1.36 * max(float(np.max(np.abs(points - middle) / (shape, 1))), 1e-9)
    axes.set_xlim(middle[0] - reach * shape, middle[0] + reach * shape)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    for (x, y), label in zip(points, labels, strict=True):
        axes.text(x, y, label_text(label), fontsize=size, color=theme.INK, ha="center", va="center")


def _draw_matrix(figure: Figure, labels: LabelEmbedding) -> None:
    """Draw the cosine matrix with its values, labels above and at the left."""
    import seaborn as sns  # a second of import time that only this figure needs

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
        annot=written if count <= MOST_WRITTEN else False,
        fmt="",
        annot_kws={"size": theme.TEXT_SIZE},
    )
    for row, label in enumerate(labels.labels):
        name = label_text(label)
        size = 24 if len(name) < 3 and count <= MOST_WRITTEN else min(theme.TEXT_SIZE, 300 / count)
        beside = {"ha": "center"} if len(name) < 3 else {"rotation": 90}
        theme.write(figure, left - 50, top + (row + 0.5) * high, name, size, va="center", **beside)
        theme.write(figure, left + (row + 0.5) * wide, top - 36, name, size)
    theme.colour_bar(figure, (left, top + high * count + 50, wide * count, 28), theme.SIGNED_MAP, 1.0)


def _short(value: float) -> str:
    """Return a cosine with two decimals and no leading zero: ``.31``; ``0`` and ``1`` without decimals."""
    text = f"{value + 0.0:.2f}"
    if text in ("-0.00", "0.00"):
        return "0"
    return text.replace("1.00", "1").replace("-", theme.MINUS).replace("0.", ".")
