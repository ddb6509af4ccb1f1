"""Samples during training: a strip and a film."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import raster, training_samples
from viz_diffusion.plots.pixels import to_gray8

Drawn = Callable[[str], Figure]


def test_columns_are_training_steps_and_rows_are_labels(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    samples, greys = make.training_samples(), pictures(drawn("learning"), "gray")
    assert len(greys) == 130
    assert all((greys[10 * step + k] == samples.images[step, k]).all() for step in range(13) for k in range(10))
    boxes = picture_boxes(drawn("learning"))
    columns = np.array([box.x0 for box in boxes]).reshape(13, 10)
    heights = np.array([box.y0 for box in boxes]).reshape(13, 10)
    assert np.ptp(columns, axis=1).max() == 0
    assert (np.diff(columns[:, 0]) > 0).all()
    assert np.ptp(heights, axis=0).max() == 0
    assert (np.diff(heights[0]) < 0).all()


def test_every_column_gives_its_training_step(
    drawn: Drawn, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    texts = words(drawn("learning"))
    assert texts[1:3] == ["training step", "label"]  # beneath the title
    assert texts[3:13] == list(map(str, range(10)))
    assert texts[13:] == [str(step) for step in make.training_samples().steps]


def test_a_frame_of_the_film_holds_its_samples_its_step_and_its_share(
    make: SimpleNamespace, pictures: Callable[..., Any], words: Callable[..., list[str]]
) -> None:
    samples = make.training_samples(4)
    gauges = []
    for index in range(4):
        figure = training_samples.draw_film_frame(samples, index)
        assert words(figure) == [f"after {samples.steps[index]} training steps"]
        assert np.array_equal(pictures(figure, "gray"), samples.images[index])
        empty, filled = figure.axes[0].patches
        gauges.append(filled.get_width() / empty.get_width())
    assert gauges == pytest.approx(samples.steps / samples.steps[-1])


def test_the_film_is_pixel_sharp(make: SimpleNamespace) -> None:
    """Every image pixel becomes a block of one grey, at half the resolution of the page."""
    samples = make.training_samples(2)
    frames = training_samples.training_samples_film(samples)
    assert frames.shape == (2, 900, 1600)
    assert frames.min() >= -1
    assert frames.max() <= 1
    figure = training_samples.draw_film_frame(samples, 1)
    for index, box in enumerate(picture_boxes(figure)):
        left, top = round(box.x0 * 1600), round((1 - box.y1) * 900)
        factor = round(box.width * 1600) // 28
        block = frames[1, top : top + 28 * factor, left : left + 28 * factor]
        grey = np.clip((raster.enlarge(samples.images[1, index], factor) + 1) / 2 * 256, 0, 255).astype(int)
        assert np.abs(to_gray8(block).astype(int) - grey).max() <= 1


def test_samples_of_the_wrong_shape_and_too_many_columns_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match=r"\(3, 10, H, W\)"):
        training_samples.TrainingSamples(np.arange(1, 4), np.zeros((3, 9, 28, 28)), np.arange(10))
    with pytest.raises(VizdiffInputError, match="at most 13, found 14"):
        training_samples.draw_training_samples(make.training_samples(14))
