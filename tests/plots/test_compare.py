"""Comparison of two generations: positions of the images, and changed inputs in orange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import theme
from viz_diffusion.plots.compare import draw_compare

Drawn = Callable[[str], Figure]


def test_the_unchanged_generation_is_above_the_changed_one(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    generations = make.compare()[:2]
    greys = pictures(drawn("compare"), "gray")
    assert len(greys) == 2 * 19
    for frames, shown in zip(generations, (greys[:19], greys[19:]), strict=True):
        for index in range(9):
            assert (shown[2 * index] == frames.x_t[index]).all()
            assert (shown[2 * index + 1] == frames.x0_pred[index]).all()
        assert (shown[-1] == frames.x0).all()
    assert not (greys[0] == greys[19]).all()


@pytest.mark.parametrize("name", ["compare", "compare_one", "compare_most"])
def test_the_same_step_is_one_column(name: str, drawn: Drawn) -> None:
    boxes = picture_boxes(drawn(name), least=50)
    half = len(boxes) // 2
    for first, second in zip(boxes[:half], boxes[half:], strict=True):
        assert (first.x0, first.width, first.height) == pytest.approx((second.x0, second.width, second.height))
        assert second.y1 < first.y0
    (page,) = [a for a in drawn(name).axes if a.get_zorder() == -1]
    assert page.texts[0].xy[1] > 15  # the arrow's head is not cut off


def test_changed_inputs_are_orange_and_nothing_else_is(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    figure = drawn("compare_most")
    orange = [t for t in figure.findobj(Text) if t.get_text() and t.get_color() == theme.ORANGE]
    assert [t.get_text() for t in orange] == ["8"] * 6 + ["500"] * 6 + ["1"] * 6
    lows = [box.y0 for box in picture_boxes(figure)]
    assert all(t.get_position()[1] < max(lows) for t in orange)  # beneath the first row of the unchanged generation
    texts = words(figure)
    named = ("unchanged", "changed", "noised\nimage xₜ", "predicted\nx₀:  x̂₀", "label y", "given t", "guidance s")
    assert [texts.count(name) for name in named] == [1, 1, 2, 2, 2, 2, 2]
    assert "label y" not in words(drawn("compare_one"))  # no input was changed


def test_generations_that_cannot_be_compared_are_refused(make: SimpleNamespace) -> None:
    plain, changed, inputs = make.compare()
    with pytest.raises(VizdiffInputError, match="same timesteps"):
        draw_compare(plain, replace(changed, timesteps=changed.timesteps - np.arange(9)), inputs)
    with pytest.raises(VizdiffInputError, match="room for 11 frames, found 12"):
        draw_compare(*make.compare(12))
