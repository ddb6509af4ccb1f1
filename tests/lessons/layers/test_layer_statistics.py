"""Statistics of lesson layers: ties, intervals of rises, and the correlation that ships."""

from __future__ import annotations

import numpy as np
import pytest

from viz_diffusion.lessons.layers import lesson as layers
from viz_diffusion.lessons.layers.block_timesteps import Layers
from viz_diffusion.lessons.layers.label_geometry import (
    correlate_distances,
    rise_of_correlation,
)
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.run import Run


def test_ties_share_their_rank_and_points_all_alike_follow_nothing() -> None:
    flat = correlate_distances(np.ones((10, 4)), np.random.default_rng(0).standard_normal((10, 4)))
    assert flat.rho == 0
    assert flat.p == 1


def test_the_jackknife_of_a_rise_covers_it_and_is_zero_where_nothing_rose() -> None:
    """Points that follow the images beside points that do not; the same points twice have not risen."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((10, 30))
    random = rng.standard_normal((10, 30))
    rise, half = rise_of_correlation(images, random, images)
    assert rise == pytest.approx(1 - correlate_distances(random, images).rho)
    assert 0 < half < rise
    assert rise_of_correlation(random, random, images) == (0, 0)
    near = images + 0.7 * rng.standard_normal((10, 30))
    rise, half = rise_of_correlation(near + 0.1 * random, near, images)
    assert abs(rise) < half


def test_the_shipped_correlation_is_not_above_all_untrained_networks_for_sure() -> None:
    data = load_results([layers.LESSON], Run.bundled().load_model()[1])[Layers]
    found = data.labels.facts().conditioning
    answers = {claim.name: claim.holds for claim in layers.claims(data)}
    assert found.start < found.untrained_most < found.rho
    assert answers["told"] is (None if found.change < found.change_half else True)
    assert data.labels.change == pytest.approx(
        [data.labels.vectors.rho - data.labels.untrained_rho[0, 0], found.rho - found.start]
    )
