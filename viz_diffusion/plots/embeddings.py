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
from viz_diffusion.plots.point_map import draw_map as draw_map
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

_LEFT, _WIDE, _SQUARE, _TOPS = 180, 2000, 576, (246, 1014)
MOST_WRITTEN = 16
"""Labels up to which the cosines are written into their matrix; beyond, the colours say them."""


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
    """Mark timesteps, ``{t: position along the side, 0 .. 1}``, beneath a heat map and, if square, at its left.

    A square has room for the numbers of the first and the last one only.
    """
    left, top, width, height = box
    for t, share in marks.items():
        x, y = left + share * width, top + share * height
        page.plot([x, x], [top + height, top + height + 16], color=theme.MUTED, lw=2)
        if width > height or t in (min(marks), max(marks)):
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
        words = figure_words("time_embedding")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        right = _LEFT + _WIDE + 190
        rows = (
            (embedding.sinusoids, 1.0, embedding.cosine_raw),
            (embedding.mlp, embedding.mlp_limit, embedding.cosine_mlp),
        )
        for top, (channels, limit, cosine), stage in zip(_TOPS, rows, ("raw", "mlp"), strict=True):
            for x, width, values, scale, timesteps in (
                (_LEFT, _WIDE, channels, limit, embedding.timesteps),
                (right, _SQUARE, cosine, 1.0, embedding.cosine_timesteps),
            ):
                axes = theme.add_axes(figure, x, top, width, _SQUARE)
                raster.show_signed(axes, raster.fit_nearest(values, _SQUARE, width), scale)
                first, span = int(timesteps[0]), int(timesteps[-1] - timesteps[0]) or 1
                marks = {t: min(1.0, max(0.0, (t - first) / span)) for t in embedding.marks}
                _marks(figure, page, marks, (x, top, width, _SQUARE))
            theme.write(figure, _LEFT, top - 28, words(f"channels_{stage}", count=len(channels)), 20, ha="left")
            theme.write(figure, right, top - 28, words(f"cosine_{stage}"), 20, ha="left")
            theme.write(figure, _LEFT + 0.63 * _WIDE, top + _SQUARE + 68, words("timestep"))
            theme.write(figure, right + 0.5 * _SQUARE, top + _SQUARE + 68, words("timestep"))
            theme.write(figure, right - 50, top + _SQUARE / 2, words("timestep"), rotation=90, va="center")
        names = ((0, 0.25, "sines"), (0, 0.75, "cosines"), (1, 0.5, "channels"))
        for row, share, name in names:
            y = _TOPS[row] + share * _SQUARE
            theme.write(figure, _LEFT - 50, y, words(name), rotation=90, va="center")
        bars = (
            (_LEFT + 480, 300, 1.0, "raw_scale"),
            (_LEFT + _WIDE - 440, 300, embedding.mlp_limit, "mlp_scale"),
            (right + _SQUARE - 240, 240, 1.0, "cosine_scale"),
        )
        for x, width, limit, name in bars:
            theme.colour_bar(figure, (x, 1694, width, 24), theme.SIGNED_MAP, limit)
            theme.write(figure, x - 100, 1724, words(name), ha="right")
        return figure


def draw_label_embedding(labels: LabelEmbedding) -> Figure:
    """Draw the cosine matrix with its values (largest), the PCA, and t-SNE maps of the same size without axes.

    Three maps at most are drawn; t-SNE's axes have no meaning.
    """
    with theme.use_theme():
        words = figure_words("label_embedding")
        figure = theme.new_figure(words("title"))
        _draw_matrix(figure, labels)
        first, step, top, down, width, height = 1960, 620, 250, 810, 560, 580
        for index, points in enumerate((labels.pca, *labels.tsne[:3])):
            left, y = first + index % 2 * step, top + index // 2 * down
            draw_map(theme.add_axes(figure, left, y, width, height), points, labels.labels, 22)
            name = words("tsne", seed=index) if index else words("pca")
            theme.write(figure, left, y - 28, name, 20, ha="left")
        for place, share in enumerate(labels.pca_share):
            name = words("component", number=place + 1, share=theme.percent(float(share)))
            if place == 0:
                theme.write(figure, first + width / 2, top + height + 66, name)
            else:
                theme.write(figure, first - 44, top + height / 2, name, rotation=90, va="center")
        return figure


def _draw_matrix(figure: Figure, labels: LabelEmbedding) -> None:
    """Draw the cosine matrix with its values, labels above and at the left."""
    import seaborn as sns  # a second of import time that only this figure needs

    count = len(labels.labels)
    left, top, wide, high = 160, 352, 1600 // count, 1250 // count
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
    for text in axes.texts:  # on dark cells, white in every colour scheme of the page
        if text.get_color() == "w":
            text.set_color(theme.ON_DARK)
    for row, label in enumerate(labels.labels):
        name = label_text(label)
        size = 24 if len(name) < 3 and count <= MOST_WRITTEN else min(theme.TEXT_SIZE, 300 / count)
        beside = {"ha": "center"} if len(name) < 3 else {"rotation": 90}
        at = left + (row + 0.5) * wide, top + (row + 0.5) * high
        theme.write(figure, left - 50, at[1], label_text(label, high - 10, size), size, va="center", **beside)
        theme.write(figure, at[0], top - 36, label_text(label, wide - 10, size), size)
    words = figure_words("label_embedding")
    theme.write(figure, left, top - 142, words("matrix"), 20, ha="left")
    theme.colour_bar(figure, (left + 700, top + high * count + 60, wide * count - 700, 28), theme.SIGNED_MAP, 1.0)
    theme.write(figure, left + 636, top + high * count + 96, words("cosine_scale"), ha="right")


def _short(value: float) -> str:
    """Return a cosine with two decimals and no leading zero: ``.31``; ``0`` and ``1`` without decimals."""
    text = f"{value + 0.0:.2f}"
    if text in ("-0.00", "0.00"):
        return "0"
    return text.replace("1.00", "1").replace("-", theme.MINUS).replace("0.", ".")
