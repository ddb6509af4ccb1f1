"""Grids: the forward process and the training step."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import grid, theme

Drawn = Callable[[str], Figure]


def test_forward_shows_every_digit_at_every_t(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    images, greys = make.noise(5, 11), pictures(drawn("forward"), "gray")
    assert len(greys) == 55
    assert all((greys[5 * t + digit] == images[digit, t]).all() for t in range(11) for digit in range(5))


def test_forward_names_t_and_both_coefficients(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    texts = words(drawn("forward"))
    for label in (
        "50",
        "250",
        "300",
        "999",
        "0.72",
        "0.69",
        "0.63",
        "0.78",
        "SNR = 1: as much noise as signal",
        "original x₀",
    ):
        assert label in texts


@pytest.mark.parametrize(("crossing", "before"), [(259, 250), (300, 250), (301, 300), (51, 50)])
def test_the_crossing_line_is_halfway_between_two_columns(crossing: int, before: int, make: SimpleNamespace) -> None:
    t = make.forward_t
    figure = grid.draw_forward(make.noise(5, 11), t, make.linear.alphas_cumprod[t], crossing)
    (line,) = [line for axes in figure.axes for line in axes.lines]
    x = line.get_xdata()[0] / theme.PAGE_WIDTH
    columns = picture_boxes(figure)[::5]
    left = 1 + t.tolist().index(before)
    assert columns[left].x1 < x < columns[left + 1].x0
    assert x - columns[left].x1 == pytest.approx(columns[left + 1].x0 - x, abs=2 / theme.PAGE_WIDTH)


@pytest.mark.parametrize("crossing", [None, 10, 2000])
def test_without_a_crossing_in_range_no_line_is_drawn(
    crossing: int | None, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    t = make.forward_t
    figure = grid.draw_forward(make.noise(5, 11), t, make.linear.alphas_cumprod[t], crossing)
    assert not any(axes.lines for axes in figure.axes)
    assert not any("SNR" in text for text in words(figure))


def test_forward_of_the_wrong_shape_is_refused(make: SimpleNamespace) -> None:
    t = make.forward_t
    with pytest.raises(VizdiffInputError, match=r"\(N, 11, H, W\)"):
        grid.draw_forward(make.noise(5, 10), t, make.linear.alphas_cumprod[t], 259)


def test_training_step_shows_each_array_in_its_colour_map(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    step = make.training()
    greys, noises = pictures(drawn("training_step"), "gray"), pictures(drawn("training_step"), "PuOr")
    assert np.array_equal(greys, np.concatenate([step.x0, step.x_t]))
    assert np.array_equal(noises, np.concatenate([step.noise, step.eps_pred, step.error]))


def test_training_step_is_labelled(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    texts = words(drawn("training_step"))
    for label in ("100", "300", "600", "0.123", "0.050", "0.007", "noise ε", "predicted\nnoise ε̂", "√ᾱ"):
        assert label in texts
    assert (texts.count("="), texts.count("→")) == (3, 3)


def test_training_step_writes_the_weights_of_image_and_noise(
    drawn: Drawn, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    texts = words(drawn("training_step"))
    signal = make.training().alphas_cumprod
    for share in signal:
        assert f"{share**0.5:.2f} ×" in texts
        assert f"+ {(1 - share) ** 0.5:.2f} ×" in texts
