"""The decision's figures by their artists: curves over t with noise at the left, ticks, window; the tree of forks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from picture_boxes import picture_boxes

from viz_diffusion.lessons.decision.figures import (
    Quartiles,
    Settled,
    draw_decision,
    draw_forks,
    draw_settled_share,
    draw_settling,
)
from viz_diffusion.plots import theme

T = np.array([899, 499, 99])
IDEAL, MEAN = np.array([0.1, 0.5, 0.97]), np.array([0.12, 0.4, 0.9])
STRIP = np.random.default_rng(0).uniform(-1, 1, (3, 28, 28)).astype(np.float32)
SETTLED = np.array([200, 300, 480])


def drawn(read: bool = True) -> Figure:
    estimate = (MEAN, MEAN - 0.05, MEAN + 0.05) if read else None
    return draw_decision(T, IDEAL, estimate, estimate, (665, 435), STRIP, T, 1000, 300)


def test_noise_is_at_the_left_and_every_value_is_drawn(pictures: Callable[..., Any]) -> None:
    figure = drawn()
    axes = next(axes for axes in figure.axes if axes.axison)
    assert axes.get_xlim() == (-999, 0)
    ideal, guess, dots = axes.lines
    for line, values in ((ideal, IDEAL), (guess, MEAN), (dots, MEAN)):
        assert np.array_equal(line.get_xdata(), -T)
        assert np.array_equal(line.get_ydata(), values)
    assert ideal.get_linestyle() == "--"
    assert same_color(dots.get_color(), theme.ORANGE)
    (window,) = axes.patches
    assert (window.get_x(), window.get_x() + window.get_width()) == (-665, -435)
    assert np.array_equal(pictures(figure, "gray"), STRIP)
    assert any("300 test digits" in text.get_text() for text in figure.texts)


def test_every_image_of_the_strip_stands_under_its_t() -> None:
    figure = drawn()
    axes = next(axes for axes in figure.axes if axes.axison)
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(t) for t in T]
    for tick, frame in zip(axes.get_xticks(), picture_boxes(figure), strict=True):
        at = figure.transFigure.inverted().transform(axes.transData.transform((tick, 0)))[0]
        assert at == pytest.approx((frame.x0 + frame.x1) / 2, abs=2 / 3200)


def test_ticks_stand_where_generations_settle_with_median_and_quartiles_over_them() -> None:
    quartiles = Quartiles(300, 250, 390, 210, 470)
    rows = [Settled("network", SETTLED, quartiles, theme.PURPLE), Settled("ideal", SETTLED + 9, None, theme.MUTED)]
    figure = draw_settling([("by_x0", rows)], 1000, 0.9, 100)
    ticks, others = (axes for axes in figure.axes if not axes.axison and axes.get_xlim() == (-999, 0))
    assert len(others.collections[0].get_segments()) == 3
    assert not others.lines
    said = {text.get_text() for text in figure.texts}
    assert {"network", "median t = 300, n = 3", "ideal denoiser", "n = 3"} <= said
    assert any("at least 90%" in one for one in said)
    assert any("only at t < 100" in one for one in said)
    (marks,) = ticks.collections
    assert [segment[0][0] for segment in marks.get_segments()] == [-200, -300, -480]
    quarters, interval, median = ticks.lines
    assert list(quarters.get_xdata()) == [-390, -250]
    assert list(interval.get_xdata()) == [-470, -210]
    assert list(median.get_xdata()) == [-300]


def test_where_nobody_can_read_only_the_ideal_is_drawn() -> None:
    axes = next(axes for axes in drawn(read=False).axes if axes.axison)
    assert len(axes.lines) == 1


def test_every_row_of_forks_begins_with_its_state_and_has_its_numbers(
    pictures: Callable[..., Any], words: Callable[..., list[str]]
) -> None:
    tree = np.random.default_rng(1).uniform(-1, 1, (3, 5, 28, 28)).astype(np.float32)
    figure = draw_forks(tree, T, np.array([1.0, 0.5, 0.04]), np.array([0.1, 0.4, 1.0]), 16)
    assert np.array_equal(pictures(figure, "gray"), tree.reshape(-1, 28, 28))
    assert {"899", "499", "99", "1.00", "0.50", "0.04", "10%", "40%", "100%"} <= set(words(figure))
    fans = figure.axes[0].lines
    reach = [
        max(line.get_ydata()[1] for line in fans[5 * row : 5 * row + 5]) - fans[5 * row].get_ydata()[0]
        for row in range(3)
    ]
    assert reach[0] > reach[1] > reach[2]


@pytest.mark.parametrize(("median", "side"), [(700.0, "left"), (300.0, "right")])
def test_the_share_of_settled_generations_rises_to_the_right_with_the_median_below(median: float, side: str) -> None:
    quartiles = Quartiles(median, median - 90, median + 80, median - 30, median + 20)
    figure = draw_settled_share(T, (MEAN, MEAN - 0.05, MEAN + 0.05), quartiles, 1000, 0.9, "12 generations")
    panel = next(axes for axes in figure.axes if axes.axison)
    assert panel.get_xlim() == (-999, 0)
    (curve,) = panel.lines
    assert np.array_equal(curve.get_xdata(), -T)
    assert np.array_equal(curve.get_ydata(), MEAN)
    wide, thin, dot = next(axes for axes in figure.axes if axes.lines and not axes.axison).lines
    assert dot.get_xdata() == [-median]
    assert sorted(thin.get_xdata()) == [-median - 20, -median + 30]
    assert sorted(wide.get_xdata()) == [-median - 80, -median + 90]
    texts = {text.get_text(): text for text in figure.texts}
    assert texts[f"median t = {median:.0f} ({median - 30:.0f} to {median + 20:.0f})"].get_ha() == side
    assert "12 generations" in texts
    without = draw_settled_share(T, (MEAN, MEAN, MEAN), None, 1000, 0.9, "12 generations")
    assert not any("median t" in text.get_text() for text in without.texts)
