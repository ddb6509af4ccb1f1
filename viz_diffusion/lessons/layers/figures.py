"""Figures of the blocks over t, a row of small charts for each, and of trained and untrained label vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from viz_diffusion.plots import raster, theme
from viz_diffusion.plots.embeddings import LabelEmbedding, draw_map
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words

Span = tuple[float, float, float]
"""A value with the lower and the upper end of its interval."""
Chance = tuple[Array, float, Array]
"""(P,) values of permutations, the measured one, and (U,) those of controls."""


@dataclass(frozen=True, eq=False)
class Part:
    """One column of the charts: a quantity of every block over t."""

    name: str
    """``change``, ``probe`` or ``ablation``: its words in the catalogue."""
    timesteps: Array
    """(K,) falling t."""
    mean: Array
    """(K, L), for L blocks."""
    low: Array
    """(K, L) the lower end of its interval."""
    high: Array
    """(K, L) the upper end."""
    floor: float
    """The value at the bottom of each chart."""
    control: Array | None = None
    """(K,) values of a control, dashed; None for none."""
    percent: bool = False
    """Whether it is a share, on a scale up to 1."""
    log: bool = False
    """Whether the scale is logarithmic."""


def draw_blocks(
    blocks: Sequence[tuple[str, int]], parts: Sequence[Part], centres: Sequence[Span | None], T: int
) -> Figure:
    """Draw a row for each block and a column for each part, noise at the left, the largest value at the right.

    Parameters
    ----------
    blocks
        L: name, and height and width of the output.
    centres
        L: the mean t at which ablation of a block raises the loss, with its interval; None for no mark.
    T
        Number of timesteps.
    """
    with theme.use_theme():
        words = figure_words("blocks")
        figure = theme.new_figure(words("title"))
        count = len(blocks)
        left, top, gap, right = 640, 430, 260, 3000
        width = (right - left - gap * (len(parts) - 1)) // len(parts)
        pitch = (1570 - top) // count
        height = round(0.8 * pitch)
        coarsest = min(size for _, size in blocks)
        colours = [theme.PURPLE if size == coarsest else theme.ORANGE for _, size in blocks]
        theme.write(figure, 90, top - 130, words("blocks"), 22, ha="left")
        theme.write(figure, 90, top - 54, words("blocks_note"), ha="left", color=theme.MUTED)
        for row, ((name, size), colour) in enumerate(zip(blocks, colours, strict=True)):
            y = top + row * pitch + height / 2
            theme.write(figure, 90, y - 34, f"{row + 1}  {name}", va="center", ha="left", color=colour)
            theme.write(figure, 90, y + 34, f"{size} × {size}", va="center", ha="left", color=theme.MUTED)
        for column, part in enumerate(parts):
            x = left + column * (width + gap)
            theme.write(figure, x, top - 130, words(part.name), 22, ha="left")
            theme.write(figure, x, top - 54, words(f"{part.name}_note"), ha="left", color=theme.MUTED)
            for row, colour in enumerate(colours):
                axes = theme.add_axes(figure, x, top + row * pitch, width, height)
                axes.set_gid(f"part {column} block {row}")
                _draw_line(axes, part, row, colour, T)
                most = float(part.mean[:, row].max())
                at = top + row * pitch + height / 2
                text = theme.percent(most) if part.percent else f"{most:.2f}" if most < 10 else theme.number(most)
                theme.write(figure, x + width + 20, at, text, 20, ha="left", va="center", color=colour)
                if column == len(parts) - 1 and centres[row] is not None:
                    _mark_centre(axes, centres[row], colour)
            ground = "0%" if part.percent else theme.number(part.floor)
            theme.write(figure, x - 16, top + height, ground, ha="right", va="center", color=theme.MUTED)
            for t in (T - 1, T // 2, 0):
                at = x + (T - 1 - t) / (T - 1) * width
                theme.write(figure, at, top + count * pitch + 40, str(t), color=theme.MUTED)
            theme.write(figure, x + width / 2, top + count * pitch + 120, words("timestep"))
        theme.write(figure, right + 170, 1770, words("note"), ha="right", color=theme.MUTED)
        return figure


def _limits(part: Part) -> tuple[float, float]:
    """Return the limits of a part's scale, the same for all blocks."""
    if part.percent:
        return part.floor, 1.0
    most = float(np.max(part.high))
    return part.floor, max(most, 1.1 * part.floor, part.floor + 1e-9)


def _draw_line(axes: Axes, part: Part, row: int, colour: str, T: int) -> None:
    """Draw one block's values over t."""
    low, high = _limits(part)
    if part.log:
        axes.set_yscale("log")
    axes.set(xlim=(-(T - 1), 0), ylim=(low, high))
    x, ground = -part.timesteps, np.full(len(part.timesteps), part.floor)
    axes.fill_between(x, ground, np.maximum(part.mean[:, row], part.floor), color=colour, alpha=0.16, lw=0)
    axes.fill_between(x, part.low[:, row], part.high[:, row], color=colour, alpha=0.35, lw=0)
    axes.plot(x, part.mean[:, row], color=colour, lw=3.5)
    if part.control is not None:
        axes.plot(x, part.control, "--", color=theme.MUTED, lw=2.5)
    axes.axhline(part.floor, color=theme.FAINT, lw=2.5, zorder=0, clip_on=False)


def _mark_centre(axes: Axes, centre: Span | None, colour: str) -> None:
    """Mark the centre of a block and its interval at the bottom of its chart."""
    assert centre is not None
    ground = axes.get_ylim()[0]
    axes.plot([-centre[2], -centre[1]], [ground] * 2, color=colour, lw=9, solid_capstyle="butt", clip_on=False)
    axes.plot([-centre[0]], [ground], "o", color=colour, ms=11, mec="white", mew=2, clip_on=False, zorder=5)


def draw_label_geometry(rows: tuple[LabelEmbedding, LabelEmbedding], chances: tuple[Chance, Chance]) -> Figure:
    """Draw trained label vectors above, untrained ones below: cosines, PCA, t-SNE, and a permutation test at the right.

    Parameters
    ----------
    rows
        The network's label vectors, and those of an untrained one.
    chances
        Rank correlations of permutations, measured (line) and of untrained networks (dots; the first, filled, is the
        network below): of the vectors, and of the scales and shifts of the blocks.
    """
    with theme.use_theme():
        words = figure_words("label_geometry")
        figure = theme.new_figure(words("title"))
        side, left, tops = 600, 250, (300, 1000)
        across, maps = left + side + 60, 420
        first = across + maps + 110
        largest = max(float(np.abs(_off_diagonal(labels.cosine)).max()) for labels in rows)
        limit = max(0.05, np.ceil(20 * largest) / 20)
        for top, labels, name in zip(tops, rows, (words("after"), words("before")), strict=True):
            theme.write(figure, 110, top + side / 2, name, 22, rotation=90, va="center")
            _draw_cosines(figure, labels, (left, top, side), limit)
            draw_map(theme.add_axes(figure, across, top, maps, side), labels.pca, labels.labels, 20)
            share = " + ".join(theme.percent(float(value)) for value in labels.pca_share)
            theme.write(figure, across, top - 30, words("pca", share=share), ha="left")
            small = (980 - 20 * (len(labels.tsne) - 1)) // max(1, len(labels.tsne))
            for index, places in enumerate(labels.tsne):
                axes = theme.add_axes(figure, first + index * (small + 20), top, small, side)
                draw_map(axes, places, labels.labels, theme.TEXT_SIZE)
            theme.write(figure, first, top - 30, words("tsne", count=len(labels.tsne)), ha="left")
        theme.write(figure, left, tops[0] - 92, words("cosine"), ha="left")
        theme.colour_bar(figure, (left, tops[1] + side + 46, side, 24), theme.SIGNED_MAP, limit)
        for top, chance, name in zip(tops, chances, (words("vectors"), words("conditioning")), strict=True):
            _draw_chance(figure, (2490, top + 50, 640, side - 210), chance, name, words("rank"))
        note = words("note")
        theme.write(figure, 3130, 1622, note, ha="right", va="top", color=theme.MUTED, linespacing=1.3)
        return figure


def _off_diagonal(table: Array) -> Array:
    return np.asarray(table[~np.eye(len(table), dtype=bool)])


def _draw_cosines(figure: Figure, labels: LabelEmbedding, box: tuple[int, int, int], limit: float) -> None:
    """Draw the cosines off the diagonal, the labels above and at the left."""
    left, top, side = box
    shown = labels.cosine.copy()
    np.fill_diagonal(shown, 0)
    axes = theme.add_axes(figure, left, top, side, side)
    raster.show_signed(axes, raster.fit_nearest(shown, side, side), limit)
    cell = side / len(shown)
    for index, label in enumerate(labels.labels):
        place = (index + 0.5) * cell
        theme.write(figure, left - 34, top + place, str(int(label)), theme.TEXT_SIZE, va="center", color=theme.MUTED)
        theme.write(figure, left + place, top - 24, str(int(label)), theme.TEXT_SIZE, color=theme.MUTED)


def _draw_chance(figure: Figure, box: tuple[int, int, int, int], chance: Chance, name: str, rank: str) -> None:
    """Draw the distribution of permutations, the measured correlation as a line, and controls as dots below."""
    left, top, width, height = box
    null, rho, controls = chance
    axes = theme.add_axes(figure, *box)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)
    density, edges = np.histogram(null, bins=50, range=(-1, 1), density=True)
    axes.stairs(density, edges, fill=True, color=theme.FAINT)
    most = 1.25 * float(density.max())
    axes.set(xlim=(-1, 1), ylim=(-0.2 * most, most), yticks=[])
    ticks = (-1, 0, 1)
    axes.set_xticks(ticks, [theme.number(tick) for tick in ticks], fontsize=theme.TEXT_SIZE, color=theme.MUTED)
    axes.tick_params(length=0, pad=12)
    middle = np.quantile(null, (0.025, 0.975))
    axes.plot(middle, [0, 0], color=theme.MUTED, lw=7, solid_capstyle="butt")
    axes.plot(controls, np.full(len(controls), -0.1 * most), "o", color="white", ms=11, mec=theme.MUTED, mew=2.5)
    axes.plot(controls[:1], [-0.1 * most], "o", color=theme.MUTED, ms=11)
    axes.plot([rho, rho], [0, 0.94 * most], color=theme.PURPLE, lw=5)
    theme.write(figure, left + (rho + 1) / 2 * width, top - 4, theme.number(round(rho, 2)), 22, color=theme.PURPLE)
    theme.write(figure, left, top - 80, name, 20, ha="left")
    theme.write(figure, left + width / 2, top + height + 158, rank)
