"""Runs compared: a run without a curve is named, and a curve of one point is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from viz_diffusion.plots.run_comparison import DrawnRun, draw_run_comparison

IMAGES = np.zeros((2, 28, 28), np.float32)
RUN = DrawnRun("long", ("steps 60",), np.array([10, 60]), np.array([0.5, 0.2]), IMAGES, (1.0, 0.8, 1.0))
SHORT = replace(RUN, name="short", steps=np.array([60]), heldout=np.array([0.3]))
NONE = replace(RUN, name="bundled-flow", steps=np.array([]), heldout=np.array([]))


def test_a_run_that_was_evaluated_once_is_a_dot() -> None:
    axes = next(axes for axes in draw_run_comparison([RUN, SHORT], [0, 1]).figure.axes if axes.axison)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in dots] == [([60], [0.3])]


def test_runs_without_losses_are_named_whole_in_a_line_of_their_own() -> None:
    figure = draw_run_comparison([RUN, NONE], [0, 1])
    texts = {text.get_text(): text for text in figure.texts}
    named = texts["Without held-out losses: bundled-flow."]
    note = texts["A column has one noise and one label. In brackets: 95% confidence intervals."]
    assert named.get_position()[1] > note.get_position()[1]
    assert not any("Without" in text.get_text() for text in draw_run_comparison([NONE, NONE], [0, 1]).texts)
