"""The map of time plus label, and of the bottleneck along generations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots.conditioning import COLOURS, MARKERS

Drawn = Callable[[str], Figure]


def test_every_label_is_a_strand_that_darkens_with_t(drawn: Drawn, make: SimpleNamespace) -> None:
    found = make.conditioning_map()
    maps = [axes for axes in drawn("conditioning_map").axes if axes.collections]
    tsne, pca = (one for axes in maps for one in axes.collections if isinstance(one, PathCollection))
    for shown, points in ((tsne, found.tsne), (pca, found.pca)):
        offsets = np.asarray(shown.get_offsets()).reshape(len(found.timesteps), 10, 2)
        lightness = shown.get_facecolors()[:, :3].sum(axis=1).reshape(offsets.shape[:2])
        for label, wanted in enumerate(points):
            place = [(label - k) % 10 for k in range(len(offsets))]  # each label in turn is drawn last
            assert np.allclose(offsets[range(len(offsets)), place], wanted)
            assert (np.diff(lightness[range(len(offsets)), place]) < 0).all()


def test_each_map_shows_every_generation_by_its_digit(drawn: Drawn, make: SimpleNamespace) -> None:
    found = make.conditioning_map()
    maps = [
        axes
        for axes in drawn("conditioning_map").axes
        if axes.axison and len(axes.lines) == 10 and not axes.collections
    ]
    assert len(maps) == len(found.shown_timesteps)
    for axes, points in zip(maps, found.maps, strict=True):
        for digit, line in enumerate(axes.lines):
            assert np.allclose(line.get_xydata(), points[found.digits == digit])
            assert (line.get_marker(), line.get_color()) == (MARKERS[digit], COLOURS[digit])


def test_the_score_falls_from_noise_at_the_left(
    drawn: Drawn, make: SimpleNamespace, words: Callable[..., list[str]]
) -> None:
    found = make.conditioning_map()
    lines = [line for axes in drawn("conditioning_map").axes for line in axes.lines]
    (score, dots) = [
        line for line in lines if len(line.get_ydata()) == 8 and np.array_equal(line.get_ydata(), found.silhouette)
    ]
    assert np.array_equal(score.get_xdata(), -found.shown_timesteps)
    assert {"with label", "without label", "component 1", "PCA: 88% + 5% of variance", "t = 999"} <= set(
        words(drawn("conditioning_map"))
    )
    assert dots.get_linestyle() == "None"


def test_maps_of_the_wrong_shape_are_refused(make: SimpleNamespace) -> None:
    found = make.conditioning_map()
    with pytest.raises(VizdiffInputError, match="8 timesteps need as many maps"):
        replace(found, maps=found.maps[1:])
    with pytest.raises(VizdiffInputError, match="time plus label"):
        replace(found, pca=found.pca[1:])
