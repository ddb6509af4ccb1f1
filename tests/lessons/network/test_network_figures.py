"""The diagram: every block is there, is named, and is reached by the sum; the output formula by x_t and t."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, PathPatch, Rectangle

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons.network import figures as diagram
from viz_diffusion.plots import theme

Drawn = Callable[[str], Figure]
NAMES = ["down_outer0", "down_inner0", "mid1", "mid2", "up_inner0", "up_outer0"]


def blocks(figure: Figure) -> dict[str, Rectangle]:
    found = [patch for patch in figure.axes[0].patches if str(patch.get_gid()).startswith("block-")]
    return {patch.get_gid().removeprefix("block-"): patch for patch in found if isinstance(patch, Rectangle)}


def arrows(figure: Figure) -> list[tuple[tuple[float, float], tuple[float, float], FancyArrowPatch]]:
    notes = [note for note in figure.axes[0].texts if note.arrow_patch is not None]
    return [(note.get_position(), note.xy, note.arrow_patch) for note in notes]


@pytest.mark.parametrize("name", ["model", "model_deep"])
def test_every_block_is_reached_by_the_sum(name: str, drawn: Drawn) -> None:
    fed = [(start, end) for start, end, patch in arrows(drawn(name)) if same_color(patch.get_ec(), theme.ORANGE)]
    drawn_blocks = blocks(drawn(name)).values()
    assert len(fed) == len(drawn_blocks)
    for (start, end), block in zip(fed, drawn_blocks, strict=True):
        assert block.get_x() < end[0] < block.get_x() + block.get_width()
        assert 0 < end[1] - (block.get_y() + block.get_height()) < 20
        assert start[0] == end[0]
        assert start[1] > end[1]


def test_blocks_stand_in_order_and_are_sized_by_resolution(drawn: Drawn) -> None:
    found = blocks(drawn("model"))
    assert list(found) == NAMES
    assert np.all(np.diff([block.get_x() for block in found.values()]) > 0)
    assert found["down_outer0"].get_height() > 1.3 * found["mid1"].get_height()


def test_widths_are_written(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    said = words(drawn("model"))
    counts = {
        "64": 2,
        "128": 4,
        "14 × 14": 2,
        "7 × 7": 4,
        "28 × 28": 2,
        "128 numbers": 1,
        "256 numbers": 1,
        "11 × 256 numbers": 1,
        "∅": 1,
        "MLP": 1,
        "attention": 1,
        "U-Net: 6 residual blocks, with skip connections (grey)": 1,
    }
    assert {label: said.count(label) for label in counts} == counts
    assert any("1\N{NO-BREAK SPACE}634\N{NO-BREAK SPACE}564 parameters" in one for one in said)


def test_skips_join_each_block_to_its_mirror(drawn: Drawn) -> None:
    figure, found = drawn("model"), blocks(drawn("model"))
    skips = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert [patch.get_gid() for patch in skips] == ["skip-0", "skip-1"]
    for patch, (one, two) in zip(skips, [("down_outer0", "up_outer0"), ("down_inner0", "up_inner0")], strict=True):
        xs = patch.get_path().vertices[:, 0]
        assert found[one].get_x() < xs[0] < found[one].get_x() + found[one].get_width()
        assert found[two].get_x() < xs[-1] < found[two].get_x() + found[two].get_width()


def test_attention_stands_over_its_block(drawn: Drawn) -> None:
    (mark,) = [text for text in drawn("model").texts if text.get_text() == "attention"]
    block = blocks(drawn("model"))["mid1"]
    assert block.get_x() < mark.get_position()[0] * theme.PAGE_WIDTH < block.get_x() + 1.5 * block.get_width()


def test_many_labels_are_shortened(make: SimpleNamespace, words: Callable[..., list[str]]) -> None:
    said = words(diagram.draw_model(replace(make.model(), num_labels=100)))
    assert {"…", "99", "101 × 256 numbers"} <= set(said)


def test_no_blocks_or_too_many_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="found 0"):
        diagram.draw_model(replace(make.model(), down=(), mid=(), up=()))
    with pytest.raises(VizdiffInputError, match="found 18"):
        diagram.draw_model(make.model(4))


def formula_lines(figure: Figure) -> dict[str, Line2D]:
    """Return the lines that lead into the output formula, by what they carry."""
    found = {str(line.get_gid()): line for line in figure.axes[0].lines}
    return {gid.removeprefix("formula-"): line for gid, line in found.items() if gid.startswith("formula-")}


@pytest.mark.parametrize("name", ["model", "model_deep"])
def test_x_t_and_t_reach_the_formula_lines(name: str, drawn: Drawn) -> None:
    figure = drawn(name)
    (circle,) = [patch for patch in figure.axes[0].patches if patch.get_gid() == "formula"]
    assert isinstance(circle, Circle)
    (x, y), lines = circle.center, formula_lines(figure)
    assert set(lines) == {"x_t", "t"}
    into = [end for _, end, patch in arrows(figure) if same_color(patch.get_ec(), theme.PURPLE)]
    assert len(into) == 2
    assert all(end[0] == x and abs(end[1] - y) < circle.radius + 10 for end in into)
    assert all(line.get_xdata()[-1] == x for line in lines.values())
    last = list(blocks(figure).values())[-1]
    assert last.get_x() + last.get_width() < x - circle.radius
    boxes = {patch.get_xy()[0]: patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)}
    assert min(boxes) < lines["x_t"].get_xdata()[0] < min(boxes) + boxes[min(boxes)].get_width()  # from the image
    assert lines["t"].get_ydata()[0] > 1370  # from t, beneath the sum


@pytest.mark.parametrize(("predicts", "symbol"), [("v", "{v}"), ("x₀", "{x}_0")])
def test_the_output_formula_is_written_out(
    predicts: str, symbol: str, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    said = "".join(words(diagram.draw_model(replace(make.model(), layers_predict=predicts))))
    assert symbol in said
    assert "alpha" in said


def test_without_an_output_formula_none_is_drawn(make: SimpleNamespace, words: Callable[..., list[str]]) -> None:
    figure = diagram.draw_model(replace(make.model(), layers_predict="ε"))
    assert formula_lines(figure) == {}
    assert not any("alpha" in one or "formula" in one for one in words(figure))


@pytest.mark.parametrize("name", ["model", "model_deep"])
def test_no_word_leaves_the_page(name: str, drawn: Drawn) -> None:
    for text in drawn(name).texts:
        box = text.get_window_extent()
        assert min(box.x0, 3200 - box.x1, box.y0, 1800 - box.y1) > 0, text.get_text()
