"""The layers' figures by their artists: a line of the score for each block, marks where it is missed, chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from viz_diffusion.lessons.layers.figures import Part, draw_blocks, draw_label_geometry
from viz_diffusion.plots import theme
from viz_diffusion.plots.embeddings import LabelEmbedding

T = np.array([900, 500, 100])
SHARES = np.array([[0.1, 0.1], [0.3, 0.5], [0.4, 0.9]])
RATIOS = np.array([[1.0, 1.1], [1.5, 1.2], [4.0, 1.0]])
CONTROL = np.array([0.1, 0.11, 0.09])
PARTS = (
    Part("probe", T, SHARES, SHARES - 0.05, SHARES + 0.05, 0.0, CONTROL, percent=True),
    Part("ablation", T, RATIOS, RATIOS - 0.1, RATIOS + 0.1, 1.0, log=True),
)


def score() -> Figure:
    return draw_blocks((("down", 14), ("mid", 7)), PARTS, ((200.0, 150.0, 260.0), None), 1000)


def line_of(figure: Figure, part: int, block: int) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_gid() == f"part {part} block {block}"]
    return found


def test_each_block_has_its_values_over_t_on_one_scale_for_all_noise_at_the_left() -> None:
    figure = score()
    for column, part in enumerate(PARTS):
        limits = [line_of(figure, column, block).get_ylim() for block in (0, 1)]
        assert limits[0] == limits[1]
        for block, colour in enumerate((theme.ORANGE, theme.PURPLE)):
            axes = line_of(figure, column, block)
            assert axes.get_xlim() == (-999, 0)
            line = axes.lines[0]
            assert np.array_equal(line.get_xdata(), -T)
            assert np.array_equal(line.get_ydata(), part.mean[:, block])
            assert same_color(line.get_color(), colour)
            band = axes.collections[1].get_paths()[0].vertices
            assert np.isclose(band[:, 1].min(), part.low[:, block].min())
            assert np.isclose(band[:, 1].max(), part.high[:, block].max())
    assert line_of(figure, 0, 0).get_ylim() == (0, 1)
    assert line_of(figure, 1, 0).get_yscale() == "log"
    assert line_of(figure, 1, 0).get_ylim() == (1, 4.1)


def test_the_control_is_dashed_in_every_line_of_its_part() -> None:
    figure = score()
    for block in (0, 1):
        dashed = [line for line in line_of(figure, 0, block).lines if line.get_linestyle() == "--"]
        assert [list(line.get_ydata()) for line in dashed] == [list(CONTROL)]
        assert not [line for line in line_of(figure, 1, block).lines if line.get_linestyle() == "--"]


def test_a_block_is_marked_where_it_is_missed_and_not_where_it_is_not() -> None:
    figure = score()
    interval, dot = line_of(figure, 1, 0).lines[-2:]
    assert list(interval.get_xdata()) == [-260, -150]
    assert list(dot.get_xdata()) == [-200]
    assert all(line.get_marker() != "o" for line in line_of(figure, 1, 1).lines)
    assert all(line.get_marker() != "o" for line in line_of(figure, 0, 0).lines)


def test_each_line_names_its_block_size_and_largest_value(words: Callable[[Figure], list[str]]) -> None:
    shown = words(score())
    assert {"1  down", "2  mid", "14 × 14", "7 × 7", "40%", "90%", "4.00", "1.20", "999", "500", "0"} <= set(shown)


def embedding(seed: int) -> LabelEmbedding:
    rng = np.random.default_rng(seed)
    table = rng.uniform(-0.14, 0.14, (10, 10))
    table = (table + table.T) / 2
    np.fill_diagonal(table, 1)
    maps = rng.normal(size=(3, 10, 2))
    return LabelEmbedding(np.arange(10), table, rng.normal(size=(10, 2)), np.array([0.2, 0.1]), maps)


def test_labels_stand_above_those_that_learned_nothing_with_chance_beside_them(
    words: Callable[[Figure], list[str]],
) -> None:
    rng = np.random.default_rng(5)
    rows = (embedding(1), embedding(2))
    chances = tuple((rng.normal(0, 0.2, 500), rho, rng.normal(0, 0.2, 4)) for rho in (0.237, 0.469))
    figure = draw_label_geometry(rows, (chances[0], chances[1]))
    tables = [
        np.asarray(image.get_array())
        for axes in figure.axes
        for image in axes.images
        if image.get_array().shape[0] > 100
    ]
    assert len(tables) == 2
    for table, labels in zip(tables, rows, strict=True):
        wanted = labels.cosine - np.eye(10)  # the diagonal would drown all else
        assert np.allclose(table[30::60, 30::60], wanted)
    maps = [axes.lines[0].get_xydata() for axes in figure.axes if len(axes.texts) == 10]
    assert np.allclose(maps, [places for labels in rows for places in (labels.pca, *labels.tsne)])
    panels = [axes for axes in figure.axes if axes.axison and axes.get_xlim() == (-1, 1)]
    for axes, (null, rho, controls) in zip(panels, chances, strict=True):
        middle, dots, start, line = axes.lines
        assert np.allclose(middle.get_xdata(), np.quantile(null, (0.025, 0.975)))
        assert np.array_equal(dots.get_xdata(), controls)
        assert np.array_equal(start.get_xdata(), controls[:1])
        assert list(line.get_xdata()) == [rho, rho]
        values, edges, _ = axes.patches[0].get_data()
        assert np.isclose((values * np.diff(edges)).sum(), 1)
    assert {"0.24", "0.47", "PCA 20% + 10%", "t-SNE, 3 seeds", "after training", "before training"} <= set(
        words(figure)
    )
