"""Curves of SNR and loss: lines, limits, labels and thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from picture_boxes import picture_boxes

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots import curves, theme

Drawn = Callable[[str], Figure]


def main_axes(figure: Figure) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.axison]
    return axes


def test_snr_axes_run_from_minus_45_to_40_db_with_noise_to_the_right(drawn: Drawn) -> None:
    axes = main_axes(drawn("snr"))
    assert axes.get_ylim() == (-45, 40)
    assert axes.get_xlim() == (0, 999)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["−40", "−20", "0", "20", "40"]


def test_snr_lines_hold_the_values_within_the_range(drawn: Drawn, make: SimpleNamespace) -> None:
    curve = make.snr()
    level, cosine, _, ours, _, dot = main_axes(drawn("snr")).lines  # and a piece of each beside its name
    assert list(level.get_ydata()) == [0, 0]
    assert np.array_equal(ours.get_ydata(), curve.snr_db)
    shown = np.asarray(cosine.get_ydata())
    assert np.array_equal(np.isnan(shown), (curve.cosine_db < -45) | (curve.cosine_db > 40))
    assert np.array_equal(shown[~np.isnan(shown)], curve.cosine_db[~np.isnan(shown)])
    assert cosine.get_linewidth() < ours.get_linewidth()
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (259, 0)


def test_snr_names_crossing_cosine_and_unit(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    crossing = "signal and noise\nequally strong\nat t = 259"
    assert {crossing, "cosine schedule, to compare", "SNR in decibels (dB)"} <= set(words(drawn("snr")))


def test_snr_without_a_crossing_has_no_dot(make: SimpleNamespace) -> None:
    figure = curves.draw_snr(replace(make.snr(), crossing=None))
    assert len(main_axes(figure).lines) == 5


def test_snr_thumbnails_are_at_their_t_unless_they_would_overlap(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any]
) -> None:
    figure, curve = drawn("snr"), make.snr()
    assert np.array_equal(pictures(figure, "gray"), curve.thumbnails)
    plot = main_axes(figure).get_position()
    boxes = picture_boxes(figure)
    middles = np.array([(box.x0 + box.x1) / 2 for box in boxes])
    expected = plot.x0 + curve.thumbnail_timesteps / 999 * plot.width
    assert middles[2:] == pytest.approx(expected[2:], abs=1e-3)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    (leaders,) = [axes for axes in figure.axes if axes.get_zorder() == -1]
    for line, place, t_place in zip(leaders.lines, middles, expected, strict=True):
        xs = np.asarray(line.get_xdata()) / theme.PAGE_WIDTH
        assert (xs[0], xs[-1]) == pytest.approx((t_place, place), abs=1e-3)


def test_snr_needs_as_many_thumbnails_as_timesteps(make: SimpleNamespace) -> None:
    with pytest.raises(VizdiffInputError, match="6 timesteps"):
        curves.draw_snr(replace(make.snr(), thumbnails=make.noise(5)))


def test_loss_lines_hold_the_history(drawn: Drawn, make: SimpleNamespace) -> None:
    history, axes = make.loss(), main_axes(drawn("loss"))
    raw, smooth, *quarters = axes.lines
    assert np.array_equal(raw.get_ydata(), history.train)
    assert same_color(raw.get_color(), theme.FAINT)
    assert np.array_equal(smooth.get_ydata(), history.train_smooth)
    assert len(quarters) == 4
    for column, line in enumerate(quarters):
        assert np.array_equal(line.get_xdata(), history.heldout_steps[1:])  # step 0 has no place on a log axis
        assert np.array_equal(line.get_ydata(), history.heldout[1:, column])
    assert len({line.get_color() for line in quarters}) == 4
    assert axes.get_xscale() == axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low < history.heldout[1:].min()
    assert high > max(history.heldout[1:].max(), history.train.max())


def test_loss_lines_are_labelled_at_their_ends_by_value(drawn: Drawn, words: Callable[..., list[str]]) -> None:
    figure = drawn("loss")
    names = [f"held-out, t {quarter}" for quarter in ("0–249", "250–499", "500–749", "750–999")]
    heights = [text.get_position()[1] for name in names for text in figure.texts if text.get_text() == name]
    assert len(heights) == 4
    assert heights == sorted(heights, reverse=True)
    assert {"training loss", "mean squared error of the predicted noise", "training step"} <= set(words(figure))


def test_loss_samples_are_beneath_by_training_step(
    drawn: Drawn, make: SimpleNamespace, pictures: Callable[..., Any], words: Callable[..., list[str]]
) -> None:
    history = make.loss()
    shown = np.array(pictures(drawn("loss"), "gray")).reshape(8, 4, 28, 28)
    assert np.array_equal(shown, history.samples)
    assert {str(step) for step in history.sample_steps} <= set(words(drawn("loss")))
    plot = main_axes(drawn("loss")).get_position()
    assert all(box.y1 < plot.y0 for box in picture_boxes(drawn("loss")))


@pytest.mark.parametrize("name", ["loss", "loss_without_samples"])
def test_the_training_steps_are_numbered_on_a_log_axis(name: str, drawn: Drawn) -> None:
    figure = drawn(name)
    assert any(axes.images for axes in figure.axes) == (name == "loss")
    plot = main_axes(figure).get_position()
    texts = {text.get_text(): text.get_position() for text in reversed(figure.texts)}
    for step, share in (("10", 0.0), ("100", 1 / np.log10(600)), ("1000", 2 / np.log10(600)), ("6000", 1.0)):
        assert texts[step][0] == pytest.approx(plot.x0 + share * plot.width)
