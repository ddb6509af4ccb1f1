"""The model as a diagram: embeddings of time and label, added, reach every block; x_t and t also reach the end.

Knows nothing about networks; the widths are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import theme
from viz_diffusion.plots.words import figure_words

_MIDDLE, _BUS, _CHAIN = 690, 1000, 1390
_MARGIN, _END = 70, 300
_OUTPUT, _FORMULA_X, _RADIUS = 270, 2700, 78
"""Side of ε̂ behind an output formula, and where the circle of that stands, with its radius."""
_Formula = tuple[tuple[int, str], ...]
_FORMULAS: dict[str, _Formula] = {
    "v": ((22, r"$\hat{\varepsilon}=\sqrt{\bar{\alpha}}\,\hat{v}\;+$"), (26, r"$\sqrt{1-\bar{\alpha}}\;x_t$")),
    "x₀": (
        (26, r"$\hat{\varepsilon}=(x_t-$"),
        (26, r"$\sqrt{\bar{\alpha}}\,\hat{x}_0)\,/$"),
        (22, r"$\sqrt{1-\bar{\alpha}}$"),
    ),
}
"""The output formula, by what the layers predict: font sizes and rows."""
_PREDICTIONS = {"v": r"$\hat{v}$", "x₀": r"$\hat{x}_0$"}
"""What the U-Net hands to the output formula."""
_SHEETS = ("#e4dcf0", "#cfc2e4")


@dataclass(frozen=True)
class BlockShape:
    """One residual block of the U-Net."""

    name: str
    """What the network calls it; kept as the SVG's element id, not written in the picture."""
    channels: int
    """Feature channels it gives out."""
    resolution: int
    """Height and width of its feature maps, in pixels."""
    has_attention: bool = False
    """Whether self-attention follows it."""


@dataclass(frozen=True)
class ModelShape:
    """The widths of a label-conditioned U-Net, read from a loaded model."""

    time_dim: int
    """Width of the sinusoidal time code."""
    embedding_dim: int
    """Width of the time and label embeddings, and of their sum."""
    num_labels: int
    """Labels without the null label, which is drawn as ∅."""
    input_size: int
    """Height and width of x_t and ε̂, in pixels."""
    down: tuple[BlockShape, ...]
    """Blocks on the way down, in order; each hands its output across to its mirror in ``up``."""
    mid: tuple[BlockShape, ...]
    """Blocks at the bottom, in order."""
    up: tuple[BlockShape, ...]
    """Blocks on the way up, in order."""
    num_parameters: int
    """Trainable numbers in all."""
    layers_predict: str = "v"
    """``v`` or ``x₀``, from which the output formula computes ε̂ with x_t and ᾱ; ``ε`` where there is none."""
    label: int = 5
    """The label whose embedding is looked up, 0 .. num_labels-1."""


def draw_model(shape: ModelShape) -> Figure:
    """Draw x_t → blocks → output formula → ε̂, skip connections above; t and y, summed, reach every block from below.

    A block is a stack of feature maps: its side tells the resolution, its depth the channels, and both are written on
    it. Into the output formula, where there is one, go x_t from above and t from below.
    """
    blocks = (*shape.down, *shape.mid, *shape.up)
    if not 1 <= len(blocks) <= 14:
        raise VizdiffInputError(f"the diagram holds 1 to 14 blocks, found {len(blocks)}")
    formula = _FORMULAS.get(shape.layers_predict)
    with theme.use_theme():
        words = figure_words("model")
        figure = theme.new_figure(words("title"))
        page = theme.page_axes(figure)
        ends = _END if len(blocks) <= 8 else 170
        output = ends if formula is None else min(ends, _OUTPUT)
        goal = theme.PAGE_WIDTH - _MARGIN - output if formula is None else _FORMULA_X - _RADIUS - 4
        left, right = _MARGIN + ends + 60, goal - (60 if formula is None else 130)
        pitch = (right - left) / len(blocks)
        stacks = [_stack(block, shape.input_size, pitch) for block in blocks]
        centres = [left + (index + 0.5) * pitch for index in range(len(blocks))]
        stops = [(left - 52.0, left - 52.0)]
        for centre, block, (side, depth) in zip(centres, blocks, stacks, strict=True):
            _draw_block(figure, page, block, (centre - depth / 2, side, depth))
            stops.append((centre - (side + depth) / 2 - 8, centre + (side + depth) / 2 + 8))
        stops.append((goal - 8.0, goal - 8.0))
        for (_, start), (end, _) in pairwise(stops):
            theme.arrow(page, (start, _MIDDLE), (end, _MIDDLE), mutation_scale=26 if pitch > 250 else 15)
        _draw_ends(figure, page, shape.input_size, ends, output)
        _draw_skips(page, shape, centres, [_MIDDLE - side / 2 - depth - 10 for side, depth in stacks])
        _draw_bus(
            figure,
            page,
            [(x - depth / 2, _MIDDLE + side / 2) for x, (side, depth) in zip(centres, stacks, strict=True)],
        )
        if formula is not None:
            theme.write(figure, right + 74, _MIDDLE - 40, _PREDICTIONS[shape.layers_predict], 22)
            _draw_formula(figure, page, ends, output, formula)
        _draw_time(figure, page, shape)
        _draw_label(figure, page, shape)
        _draw_frame(figure, page, (left - 24, right + 24), words("unet", count=len(blocks)))
        count = f"{shape.num_parameters:,}".replace(",", "\N{NO-BREAK SPACE}")
        theme.write(figure, theme.PAGE_WIDTH / 2, 1762, words("note", count=count), color=theme.MUTED)
        return figure


def _draw_frame(figure: Figure, page: Axes, sides: tuple[float, float], name: str) -> None:
    """Draw a frame around all blocks and skip connections, from the first of ``sides`` to the second, and name it."""
    box = FancyBboxPatch((sides[0], 260), sides[1] - sides[0], 680, boxstyle="round,pad=0,rounding_size=30")
    box.set(fc="none", ec=theme.FAINT, lw=4, gid="unet", zorder=0)
    page.add_patch(box)
    theme.write(figure, (sides[0] + sides[1]) / 2, 336, name, 22, color=theme.PURPLE)


def _stack(block: BlockShape, input_size: int, pitch: float) -> tuple[float, float]:
    """Return the side and the depth of a block's stack, in page pixels."""
    depth = min(11.0, (pitch - 120) / 24) * _sheets(block)
    side = 370 * (block.resolution / input_size) ** 0.5
    return min(side, pitch - depth - 32), depth


def _sheets(block: BlockShape) -> int:
    """Return how many sheets stand behind the first one: one for each 16 channels, at most 8."""
    return int(np.clip(block.channels // 16 - 1, 1, 8))


def _draw_block(figure: Figure, page: Axes, block: BlockShape, place: tuple[float, float, float]) -> None:
    """Draw one block as sheets, one behind another; ``place`` is (centre of the first, side, depth)."""
    centre, side, depth = place
    sheets = _sheets(block)
    for sheet in range(sheets, -1, -1):
        shift = depth * sheet / sheets
        colour = theme.PURPLE if sheet == 0 else _SHEETS[sheet % 2]
        corner = (centre - side / 2 + shift, _MIDDLE - side / 2 - shift)
        patch = Rectangle(corner, side, side, fc=colour, ec="white", lw=0.9)
        if sheet == 0:
            patch.set_gid(f"block-{block.name}")
        page.add_patch(patch)
    theme.write(figure, centre, _MIDDLE - 8, str(block.channels), 22 if side > 160 else 18, color="white")
    size = f"{block.resolution} × {block.resolution}"
    theme.write(figure, centre, _MIDDLE + 62, size if side > 34 * len(size) else f"{block.resolution}²", color="white")
    if block.has_attention:
        y = _MIDDLE - side / 2 - depth - 34
        theme.write(figure, centre + depth / 2, y, figure_words("model")("attention"), color=theme.PURPLE)


def _draw_ends(figure: Figure, page: Axes, input_size: int, first: float, last: float) -> None:
    """Draw x_t at the left and ε̂ at the right as empty squares of these sides."""
    words = figure_words("model")
    for x, side, symbol, name in (
        (_MARGIN, first, theme.X_T, words("image")),
        (theme.PAGE_WIDTH - _MARGIN - last, last, theme.EPS_PRED, words("noise")),
    ):
        page.add_patch(Rectangle((x, _MIDDLE - side / 2), side, side, fc="white", ec=theme.INK, lw=3))
        inside = side > 200
        theme.write(figure, x + side / 2, _MIDDLE + (10 if inside else 30), symbol, 40 if inside else 30)
        y = _MIDDLE + side / 2 + (-28 if inside else 72)
        theme.write(
            figure, x + side / 2, y, f"{input_size} × {input_size}" if inside else f"{input_size}²", color=theme.MUTED
        )
        align, place = ("left", x) if x == _MARGIN else ("right", x + side)
        theme.write(figure, place, _MIDDLE - side / 2 - 28, name, ha=align, va="bottom", linespacing=1.0)


def _draw_formula(figure: Figure, page: Axes, first: float, last: float, formula: _Formula) -> None:
    """Draw the output formula as a circle, reached by x_t from above and by t from below, and what it computes."""
    words = figure_words("model")
    style: dict[str, Any] = {"color": theme.PURPLE, "lw": 4}
    for name, points in (
        ("x_t", [(_MARGIN + first / 2, _MIDDLE - first / 2 - 176), (_MARGIN + first / 2, 205), (_FORMULA_X, 205)]),
        ("t", [(110, _CHAIN + 70), (110, 1665), (_FORMULA_X, 1665)]),
    ):
        page.plot(*zip(*points, strict=True), gid=f"formula-{name}", **style)
        (x, y), end = points[-1], _MIDDLE + (_RADIUS + 8) * (-1 if name == "x_t" else 1)
        theme.arrow(page, (x, y), (x, end), mutation_scale=32, **style)
    page.add_patch(Circle((_FORMULA_X, _MIDDLE), _RADIUS, fc="white", ec=theme.PURPLE, lw=4, gid="formula"))
    theme.write(figure, _FORMULA_X, _MIDDLE, "=", 30, va="center")
    theme.arrow(
        page, (_FORMULA_X + _RADIUS + 4, _MIDDLE), (theme.PAGE_WIDTH - _MARGIN - last - 6, _MIDDLE), mutation_scale=15
    )
    theme.write(figure, _FORMULA_X + 30, 868, words("formula"), 20, ha="left", va="top", color=theme.PURPLE)
    for row, (size, text) in enumerate(formula):
        theme.write(figure, _FORMULA_X + 30, 1126 + 120 * row, text, size, ha="left")
    theme.write(figure, _FORMULA_X + 30, 1440, words("alpha_bar"), 20, ha="left", va="top", color=theme.PURPLE)


def _draw_skips(page: Axes, shape: ModelShape, centres: list[float], tops: list[float]) -> None:
    """Draw each skip connection: up from a block, level across, down into its mirror."""
    pairs, bend = min(len(shape.down), len(shape.up)), 40.0
    for index in range(pairs):
        other, level = len(centres) - 1 - index, 380 + min(70.0, 140 / pairs) * index
        (x, y), (x_end, y_end) = (centres[index], tops[index]), (centres[other], tops[other])
        corners = [(x, y), (x, level + bend), (x, level), (x + bend, level), (x_end - bend, level)]
        corners += [(x_end, level), (x_end, level + bend), (x_end, y_end - 40)]
        codes = [Path.MOVETO, Path.LINETO, *[Path.CURVE3] * 2, Path.LINETO, *[Path.CURVE3] * 2, Path.LINETO]
        line = PathPatch(Path(np.array(corners), codes), fc="none", ec=theme.MUTED, lw=2, gid=f"skip-{index}")
        page.add_patch(line)
        theme.arrow(page, (x_end, y_end - 60), (x_end, y_end))


def _draw_bus(figure: Figure, page: Axes, feet: list[tuple[float, float]]) -> None:
    """Draw the sum, the line it runs along, and an arrow from the line into the foot of every block."""
    heart = theme.PAGE_WIDTH / 2
    xs = [heart, *(x for x, _ in feet)]
    page.plot([min(xs), max(xs)], [_BUS, _BUS], color=theme.ORANGE, lw=5)
    page.plot([heart, heart], [_BUS, _CHAIN - 70], color=theme.ORANGE, lw=5)
    for x, foot in feet:
        theme.arrow(page, (x, _BUS), (x, foot + 10), color=theme.ORANGE, lw=5, mutation_scale=32)
    page.add_patch(Circle((heart, _CHAIN), 70, fc="white", ec=theme.ORANGE, lw=5))
    theme.write(
        figure, heart + 40, _BUS + 110, figure_words("model")("sum"), color=theme.ORANGE, ha="left", va="center"
    )
    page.plot([heart - 38, heart + 38], [_CHAIN, _CHAIN], color=theme.INK, lw=4)
    page.plot([heart, heart], [_CHAIN - 38, _CHAIN + 38], color=theme.INK, lw=4)


def _draw_time(figure: Figure, page: Axes, shape: ModelShape) -> None:
    """Draw t → sinusoids → MLP → sum, with the widths beneath."""
    words = figure_words("model")
    theme.write(figure, 110, _CHAIN + 26, "$t$", 40)
    theme.write(figure, _MARGIN - 20, _CHAIN - 160, words("timestep"), ha="left")
    theme.write(figure, 390, _CHAIN - 160, words("waves"), ha="left")
    for left, width, dim in ((400, 440, shape.time_dim), (980, 320, shape.embedding_dim)):
        page.add_patch(Rectangle((left, _CHAIN - 130), width, 260, fc="white", ec=theme.INK, lw=2.4))
        theme.write(figure, left + width / 2, _CHAIN + 210, words("numbers", count=dim), color=theme.MUTED)
    wave = np.linspace(0, 1, 400)
    for row, turns in enumerate((14, 6.5, 3, 1.4)):
        y = _CHAIN - 90 + 60 * row - 22 * np.sin(2 * np.pi * turns * wave)
        page.plot(430 + 380 * wave, y, color=theme.PURPLE, lw=2.4)
    theme.write(figure, 1140, _CHAIN + 34, words("mlp"), theme.NUMBER_SIZE)
    for start, end in ((170, 392), (848, 972), (1308, theme.PAGE_WIDTH / 2 - 78)):
        theme.arrow(page, (start, _CHAIN), (end, _CHAIN))


def _draw_label(figure: Figure, page: Axes, shape: ModelShape) -> None:
    """Draw y → look-up table → sum: a column for each label and the null label, one of them taken."""
    names = [str(label) for label in range(shape.num_labels)]
    if len(names) > 10:
        names = [*names[:4], "…", names[-1]]
    names.append("∅")
    left, right = 1830, 2430
    wide = (right - left) / len(names)
    for index, name in enumerate(names):
        taken = name == (str(shape.label) if str(shape.label) in names else "…")
        corner = (left + index * wide, _CHAIN - 130)
        colour = theme.ORANGE if taken else "white"
        page.add_patch(Rectangle(corner, wide, 260, fc=colour, ec=theme.INK, lw=2.4))
        theme.write(figure, left + (index + 0.5) * wide, _CHAIN + 26, name)
    width = f"{shape.num_labels + 1} × {shape.embedding_dim}"
    words = figure_words("model")
    theme.write(figure, (left + right) / 2, _CHAIN + 210, words("numbers", count=width), color=theme.MUTED)
    theme.write(figure, (left + right) / 2, _CHAIN - 160, words("table"))
    theme.write(figure, 2580, _CHAIN - 160, words("label"))
    theme.write(figure, 2580, _CHAIN + 14, "$y$", 40)
    theme.arrow(page, (2530, _CHAIN), (right + 8, _CHAIN))
    theme.arrow(page, (left - 8, _CHAIN), (theme.PAGE_WIDTH / 2 + 78, _CHAIN))
