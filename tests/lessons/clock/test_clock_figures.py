"""Rows of samples, with words for each arm and the shares that were counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.lessons.clock.figures import (
    ArmPictures,
    BorderEstimates,
    draw_border_clock,
    draw_no_clock,
    draw_wrong_clock,
)


def pictures(arms: int) -> ArmPictures:
    images = np.random.default_rng(0).uniform(-1, 1, (2, arms, 10, 28, 28)).astype(np.float32)
    read = np.arange(2 * arms).reshape(2, arms)
    return ArmPictures(images, 100, read, read + 50, chance=0.1, steps=50, T=1000)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def drawn_images(figure: Figure) -> int:
    return sum(len(axes.images) for axes in figure.axes)


def test_a_column_for_each_arm_with_both_shares() -> None:
    figure = draw_wrong_clock(pictures(7))
    said = texts(figure)
    assert drawn_images(figure) == 2 * 7 * 4
    assert {f"{k}%" for k in (*range(14), *range(50, 64))} <= set(said)
    assert said.count("reversed:\n999 − t") == said.count("as they are") == said.count("filtered") == 2
    assert "Wrong t in the network’s\ntime embedding only" in said
    assert any("of 100 samples" in one for one in said)


def test_arms_that_are_missing_are_not_named() -> None:
    figure = draw_wrong_clock(pictures(4))
    assert drawn_images(figure) == 2 * 4 * 4
    assert "Wrong t in the network’s\ntime embedding only" not in texts(figure)


def test_without_a_classifier_there_are_no_shares() -> None:
    figure = draw_wrong_clock(replace(pictures(7), read=None, read_smoothed=None))
    assert not any("%" in one or "of 100 samples" in one for one in texts(figure))
    assert not {"as they are", "filtered"} & set(texts(figure))


def test_two_columns_for_each_of_the_twins() -> None:
    figure = draw_no_clock(pictures(4))
    said = texts(figure)
    assert drawn_images(figure) == 2 * 4 * 4
    assert {f"{k}%" for k in range(8)} <= set(said)
    assert {
        "Network without timesteps:\nonly the update step has t",
        "Its twin, trained equally:\nthe network gets t as well",
    } <= set(said)


def test_all_of_it_is_on_the_page_and_no_word_lies_on_another() -> None:
    for figure in (draw_wrong_clock(pictures(7)), draw_no_clock(pictures(4))):
        boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
        for index, (text, box) in enumerate(boxes):
            assert min(box.x0, 3200 - box.x1, box.y0, 1800 - box.y1) > 0, text
            assert not [other for other, place in boxes[index + 1 :] if box.overlaps(place)], text


def border(last_error: float, at_end: float) -> set[str]:
    """Return the words of the figure of three estimates, the last with this error and share at the largest t."""
    black = np.zeros((28, 28), dtype=bool)
    black[0, :5] = True
    estimates = BorderEstimates(
        np.array([9, 99, 499]),
        np.array([1.0, 9.0, last_error]),
        np.array([0, 0, at_end]),
        np.geomspace(1, 500, 1000),
        400,
        black,
        np.zeros((28, 28)),
    )
    figure = draw_border_clock(estimates)
    return {*texts(figure), *(text.get_text() for axes in figure.axes for text in axes.texts)}


def test_dots_bound_and_border_are_named() -> None:
    said = border(90.0, 0.0)
    assert {"timestep t (more noise →)", "root-mean-square (RMS) error of the estimated t"} <= said
    for words in ("Cramér–Rao bound", "most likely t", "400 noised borders", "5 pixels"):
        assert any(words in one for one in said), words


def test_an_error_below_the_bound_is_explained_and_no_other() -> None:
    reason = "25% of the\nestimates are t = 999"
    assert any(reason in one for one in border(20.0, 0.25))  # the bound at t = 499 is 22
    assert not any(reason in one for one in border(90.0, 0.25))
    assert not any("estimates are t = 999" in one for one in border(20.0, 0.0))
