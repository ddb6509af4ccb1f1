"""Strips: position of each image, and the header of each column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import strip, theme

Drawn = Callable[[str], Figure]


def test_steps_show_every_array_in_order(drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]) -> None:
    frames = make.steps()
    greys, noises = pictures(drawn("steps"), "gray"), pictures(drawn("steps"), "PuOr")
    assert len(greys) == 9 + 9 + 1
    assert len(noises) == 9
    for index in range(9):
        assert (greys[2 * index] == frames.x_t[index]).all()
        assert (greys[2 * index + 1] == frames.x0_pred[index]).all()
        assert (noises[index] == frames.eps_pred[index]).all()
    assert (greys[-1] == frames.x0).all()


def test_steps_are_ten_columns_of_three_rows(drawn: Drawn) -> None:
    figure = drawn("steps")
    places = picture_boxes(figure, "gray", 28)
    assert {round(place.width * 3200) for place in places} == {252}
    tops = sorted({round(place.y0, 6) for place in places}, reverse=True)
    states, predictions = ([place for place in places if round(place.y0, 6) == top] for top in tops)
    assert (len(states), len(predictions)) == (10, 9)
    assert np.all(np.diff([place.x0 for place in states]) > 0)
    for above, below in zip(states, predictions, strict=False):
        assert (above.x0 + above.x1) == pytest.approx(below.x0 + below.x1, abs=1e-3)
        assert below.y1 < above.y0
    finished = states[-1]
    assert not any(box.x0 > finished.x0 - 0.02 for box in picture_boxes(figure, "PuOr", 100))


def test_steps_are_labelled_by_steps_left_t_and_power(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    texts = words(drawn("steps"))
    for label in (
        "1000",
        "50",
        "0",
        "999",
        "49",
        "0%",
        "0.2%",
        "13%",
        "97%",
        "timestep t",
        "signal ᾱ",
        "noised\nimage xₜ",
    ):
        assert label in texts
    assert "100%" not in texts


def test_steps_gauges_show_the_share_of_power(drawn: Drawn, make: SimpleNamespace) -> None:
    page = drawn("steps").axes[0]
    bars = [patch for patch in page.patches if isinstance(patch, Rectangle)]
    full, filled = bars[0::2], bars[1::2]
    shares = [part.get_width() / whole.get_width() for part, whole in zip(filled, full, strict=True)]
    assert shares == pytest.approx([*make.steps().alphas_cumprod, 1.0])


@pytest.mark.parametrize(("name", "bands"), [("steps", 1), ("steps_twenty", 2)])
def test_every_band_has_an_arrow_to_the_right(name: str, bands: int, drawn: Drawn) -> None:
    pages = [axes for axes in drawn(name).axes if axes.get_zorder() == -1]
    assert len(pages) == bands
    for page in pages:
        (arrow,) = page.texts
        assert arrow.xy[0] > arrow.get_position()[0] + 1500
        assert arrow.xy[1] == arrow.get_position()[1]


@pytest.mark.parametrize("count", [1, 2, 11, 12, 20, 23])
def test_any_number_of_frames_fits(count: int, make: SimpleNamespace) -> None:
    figure = strip.draw_steps(make.steps(tuple(range(1000, 0, -40))[:count]))
    for box in (*picture_boxes(figure), *(axes.get_position() for axes in figure.axes)):
        assert min(box.x0, box.y0) >= -1e-9
        assert max(box.x1, box.y1) <= 1 + 1e-9
    tops = {round(box.y1, 6) for box in picture_boxes(figure, "gray", 28)}
    assert len(tops) == (2 if count < 12 else 4)


@pytest.mark.parametrize("count", [0, 24])
def test_too_few_or_too_many_frames_are_refused(count: int, make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="1 to 23 frames"):
        make.steps(tuple(range(1000, 0, -40))[:count])


def test_arrays_of_different_length_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError):
        replace(make.steps(), eps_pred=make.noise(3))


def test_ten_digits_are_columns_of_labels_and_rows_of_frames(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    images = make.noise(10, 8)
    greys = pictures(drawn("ten_digits"), "gray")
    assert len(greys) == 80
    assert all((greys[8 * label + row] == images[label, row]).all() for label in range(10) for row in range(8))
    places = picture_boxes(drawn("ten_digits"))
    centres = {round((place.x0 + place.x1) / 2, 2) for place in places}
    assert len(centres) == 10
    assert [round(place.width * theme.PAGE_WIDTH) for place in places[:8]] == [168] * 7 + [196]


def test_ten_digits_are_labelled(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    texts = words(drawn("ten_digits"))
    rows = ["1000\nsteps left", "800", "600", "450", "300", "200", "100", "finished\nimage"]
    title = "Ten generations from the same noise, one for each label"
    assert sorted(texts) == sorted([*map(str, range(10)), *rows, "label", title])


def test_ten_digits_of_the_wrong_shape_are_refused(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match=r"\(10, 8, H, W\)"):
        strip.draw_ten_digits(make.noise(8, 10), np.arange(8), np.arange(10))
