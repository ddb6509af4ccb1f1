"""Rows of samples, with words for each arm and the shares that were counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.lessons.clock.figures import ArmPictures, draw_border_clock, draw_no_clock, draw_wrong_clock


def pictures(arms: int) -> ArmPictures:
    images = np.random.default_rng(0).uniform(-1, 1, (2, arms, 10, 28, 28)).astype(np.float32)
    read = np.arange(2 * arms).reshape(2, arms)
    return ArmPictures(images, 100, read, read + 50)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def drawn_images(figure: Figure) -> int:
    return sum(len(axes.images) for axes in figure.axes)


def test_a_column_for_each_arm_with_both_shares() -> None:
    figure = draw_wrong_clock(pictures(7))
    said = texts(figure)
    assert drawn_images(figure) == 2 * 7 * 4
    assert {f"{k}%" for k in (*range(14), *range(50, 64))} <= set(said)
    assert said.count("reversed") == said.count("as they are") == said.count("after a filter") == 2
    assert "Wrong timestep\nin the embedding only" in said
    assert any("of 100 samples" in one for one in said)


def test_arms_that_are_missing_are_not_named() -> None:
    figure = draw_wrong_clock(pictures(4))
    assert drawn_images(figure) == 2 * 4 * 4
    assert "Wrong timestep\nin the embedding only" not in texts(figure)


def test_without_a_classifier_there_are_no_shares() -> None:
    figure = draw_wrong_clock(replace(pictures(7), read=None, read_smoothed=None))
    assert not any("%" in one or "of 100 samples" in one for one in texts(figure))
    assert not {"as they are", "after a filter"} & set(texts(figure))


def test_two_columns_for_each_of_the_twins() -> None:
    figure = draw_no_clock(pictures(4))
    said = texts(figure)
    assert drawn_images(figure) == 2 * 4 * 4
    assert {f"{k}%" for k in range(8)} <= set(said)
    assert {"Network\nwithout timesteps", "Its twin with timesteps,\ntrained equally"} <= set(said)


def test_all_of_it_is_on_the_page_and_no_word_lies_on_another() -> None:
    for figure in (draw_wrong_clock(pictures(7)), draw_no_clock(pictures(4))):
        boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
        for index, (text, box) in enumerate(boxes):
            assert min(box.x0, 3200 - box.x1, box.y0, 1800 - box.y1) > 0, text
            assert not [other for other, place in boxes[index + 1 :] if box.overlaps(place)], text


def test_dots_and_bound_of_the_border_are_named() -> None:
    timesteps, bound = np.array([9, 99, 499]), np.geomspace(1, 500, 1000)
    figure = draw_border_clock(timesteps, np.array([1.0, 9.0, 90.0]), bound, 999)
    said = {*texts(figure), *(text.get_text() for axes in figure.axes for text in axes.texts)}
    assert {"timestep t (noise to the right)", "error of the estimated timestep (RMS, in timesteps)"} <= said
    assert [any(word in one for one in said) for word in ("Cramér–Rao bound", "most likely t")] == [True, True]
