"""The figure of the attention to words, with few words and with as many as it holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from viz_diffusion.plots.word_maps import MOST_STEPS, MOST_WORDS, draw_word_maps


@pytest.mark.parametrize("count", [1, 4, MOST_WORDS])
def test_the_timesteps_over_the_columns_stand_apart(count: int) -> None:
    timesteps = np.array([999, 899, 749, 599, 449, 299])
    maps = np.full((MOST_STEPS, count, 7, 7), 0.1)
    figure = draw_word_maps(timesteps, np.zeros((MOST_STEPS, 28, 28)), maps, ["three"] * count)
    heads = [text.get_window_extent() for text in figure.texts if text.get_text().startswith("t = ")]
    assert len(heads) == MOST_STEPS
    assert all(left.x1 < right.x0 for left, right in pairwise(heads))
    assert heads[-1].x1 < figure.bbox.width
