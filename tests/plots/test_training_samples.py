"""Learning, frame by frame: a strip and a film."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster
from viz_diffusion.plots import training_samples as learning
from viz_diffusion.plots.pixels import to_gray8

Drawn = Callable[[str], Figure]


def test_columns_are_looks_and_rows_are_digits(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    looks, greys = make.looks(), pictures(drawn("learning"), "gray")
    assert len(greys) == 130
    assert all((greys[10 * look + k] == looks.images[look, k]).all() for look in range(13) for k in range(10))
    boxes = picture_boxes(drawn("learning"))
    columns = np.array([box.x0 for box in boxes]).reshape(13, 10)
    heights = np.array([box.y0 for box in boxes]).reshape(13, 10)
    assert np.ptp(columns, axis=1).max() == 0
    assert (np.diff(columns[:, 0]) > 0).all()
    assert np.ptp(heights, axis=0).max() == 0
    assert (np.diff(heights[0]) < 0).all()


def test_every_look_says_how_many_steps_were_done(
    drawn: Drawn, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    said = words(drawn("learning"))
    assert said[:1] == ["∇"]
    assert said[1:11] == list(map(str, range(10)))
    assert said[11:] == [str(step) for step in make.looks().steps]


def test_a_frame_of_the_film_holds_its_look_its_count_and_its_share(
    make: SimpleNamespace, pictures: Callable[..., Any], words: Callable[..., list[str]]
) -> None:
    looks = make.looks(4)
    gauges = []
    for look in range(4):
        figure = learning.draw_learning_frame(looks, look)
        assert words(figure) == [f"∇ {looks.steps[look]}"]
        assert np.array_equal(pictures(figure, "gray"), looks.images[look])
        whole, done = figure.axes[0].patches
        gauges.append(done.get_width() / whole.get_width())
    assert gauges == pytest.approx(looks.steps / looks.steps[-1])


def test_the_film_is_pixel_sharp(make: SimpleNamespace) -> None:
    """Every image pixel becomes a block of one grey, at half the page's resolution."""
    looks = make.looks(2)
    frames = learning.learning_film(looks)
    assert frames.shape == (2, 900, 1600)
    assert frames.min() >= -1
    assert frames.max() <= 1
    figure = learning.draw_learning_frame(looks, 1)
    for index, box in enumerate(picture_boxes(figure)):
        left, top = round(box.x0 * 1600), round((1 - box.y1) * 900)
        factor = round(box.width * 1600) // 28
        block = frames[1, top : top + 28 * factor, left : left + 28 * factor]
        grey = np.clip((raster.enlarge(looks.images[1, index], factor) + 1) / 2 * 256, 0, 255).astype(int)
        assert np.abs(to_gray8(block).astype(int) - grey).max() <= 1


def test_looks_of_the_wrong_shape_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match=r"\(3, 10, H, W\)"):
        learning.LearningFrames(np.arange(1, 4), np.zeros((3, 9, 28, 28)), np.arange(10))
    with pytest.raises(VizdiffInputError, match="at most 13, found 14"):
        learning.draw_learning(make.looks(14))
