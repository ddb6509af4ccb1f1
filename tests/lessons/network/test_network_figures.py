"""The diagram: every block is there, is named, and is reached by the sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, PathPatch, Rectangle

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
        "128": 5,
        "14²": 2,
        "7²": 4,
        "28²": 2,
        "256": 1,
        "11 × 256": 1,
        "∅": 1,
        "MLP": 1,
        "$QK^T$": 1,
    }
    assert {label: said.count(label) for label in counts} == counts
    assert "$|\\theta|$ = 1\N{NO-BREAK SPACE}634\N{NO-BREAK SPACE}564" in said


def test_skips_join_each_block_to_its_mirror(drawn: Drawn) -> None:
    figure, found = drawn("model"), blocks(drawn("model"))
    skips = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert [patch.get_gid() for patch in skips] == ["skip-0", "skip-1"]
    for patch, (one, two) in zip(skips, [("down_outer0", "up_outer0"), ("down_inner0", "up_inner0")], strict=True):
        xs = patch.get_path().vertices[:, 0]
        assert found[one].get_x() < xs[0] < found[one].get_x() + found[one].get_width()
        assert found[two].get_x() < xs[-1] < found[two].get_x() + found[two].get_width()


def test_attention_stands_over_its_block(drawn: Drawn) -> None:
    (mark,) = [text for text in drawn("model").texts if text.get_text() == "$QK^T$"]
    block = blocks(drawn("model"))["mid1"]
    assert block.get_x() < mark.get_position()[0] * theme.PAGE_WIDTH < block.get_x() + 1.5 * block.get_width()


def test_many_labels_are_shortened(make: SimpleNamespace, words: Callable[..., list[str]]) -> None:
    said = words(diagram.draw_model(replace(make.model(), num_labels=100)))
    assert {"…", "99", "101 × 256"} <= set(said)


def test_no_blocks_or_too_many_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="found 0"):
        diagram.draw_model(replace(make.model(), down=(), mid=(), up=()))
    with pytest.raises(VizdiffInputError, match="found 18"):
        diagram.draw_model(make.model(4))
