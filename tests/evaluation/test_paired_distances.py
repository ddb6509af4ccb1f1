"""FID and KID with their intervals: against another implementation, by hand, and in repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from viz_diffusion.evaluation.metrics import frechet_distance
from viz_diffusion.evaluation.paired_distances import (
    GROUPS,
    Estimate,
    GroupedFeatures,
    deal_groups,
    frechet_estimate,
    kernel_estimate,
    mean_estimate,
)

RNG = np.random.default_rng(0)


def grouped(values: np.ndarray, num_labels: int = 1) -> GroupedFeatures:
    """Return features whose labels stand in turn."""
    labels = np.arange(len(values)) % num_labels
    return GroupedFeatures(values, deal_groups(labels), labels)


def test_kid_of_whole_sets_agrees_with_torch_fidelity() -> None:
    a = RNG.normal(0, 1, (600, 12)) @ RNG.normal(0, 1, (12, 12))
    b = RNG.normal(0.2, 1.3, (600, 12)) @ RNG.normal(0, 1, (12, 12))
    theirs = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=1, kid_subset_size=600, verbose=False
    )
    found = kernel_estimate(grouped(a), grouped(b))
    assert found.whole == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    kept = [x[deal_groups(np.zeros(600, np.int64)) != 3] for x in (a, b)]
    fewer = kernel_estimate(*(grouped(x) for x in kept))
    assert found.without[3] == pytest.approx(fewer.whole, rel=1e-9)


def test_kid_by_hand() -> None:
    """Points 0, 1, 2 and points 1, 2, 3 in one dimension, with the kernel (uv + 1)³ of every pair."""
    found = kernel_estimate(grouped(np.array([[0.0], [1.0], [2.0]])), grouped(np.array([[1.0], [2.0], [3.0]])))
    between = (1 + 1 + 1) + (8 + 27 + 64) + (27 + 125 + 343)
    assert found.whole == pytest.approx((1 + 1 + 27) / 3 + (27 + 64 + 343) / 3 - 2 * between / 9)


def labelled(count: int) -> GroupedFeatures:
    """Return as many draws of each of two labels, which lie far apart."""
    features = grouped(RNG.normal(size=(count, 4)), 2)
    return GroupedFeatures(features.values + 3.0 * features.label[:, None], features.group, features.label)


def test_kid_of_two_draws_with_the_same_labels_is_zero_on_average() -> None:
    found = np.array([kernel_estimate(labelled(40), labelled(40)).whole for _ in range(200)])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean()) < 3 * error
    # with equal weights for all pairs it would not be: a set has fewer pairs of one label within it than between two
    plain = np.array([kernel_estimate(*(_of_one_label(labelled(40)) for _ in range(2))).whole for _ in range(200)])
    assert plain.mean() < -10 * plain.std() / np.sqrt(len(plain))


def _of_one_label(x: GroupedFeatures) -> GroupedFeatures:
    return GroupedFeatures(x.values, x.group, np.zeros_like(x.label))


def test_intervals_hold_the_difference_of_two_distributions() -> None:
    """Shifted by 0.3 in 5 dimensions: the squared Fréchet distance of the distributions is 0.45."""
    covered, halves = 0, []
    for _ in range(40):
        sample, real, reference = (grouped(RNG.normal(shift, 1, (200, 5)), 10) for shift in (0.3, 0, 0))
        excess = frechet_estimate(sample, reference) - frechet_estimate(real, reference)
        covered += abs(excess.whole - 0.45) <= excess.half
        halves.append(excess.half)
    assert covered >= 35
    assert 0.1 < np.mean(halves) < 0.45


def test_the_jackknife_of_a_mean_has_its_standard_error() -> None:
    values = RNG.normal(size=GROUPS)
    without = (values.sum() - values) / (GROUPS - 1)
    half = Estimate(float(values.mean()), without).half
    assert half == pytest.approx(2.262157 * values.std(ddof=1) / np.sqrt(GROUPS), rel=1e-6)


def test_one_group_is_left_out_at_a_time_and_means_are_of_the_same_groups() -> None:
    a, b = grouped(RNG.normal(size=(50, 3))), grouped(RNG.normal(size=(50, 3)) + 1)
    found = frechet_estimate(a, b)
    assert found.whole == pytest.approx(frechet_distance(a.values, b.values))
    assert found.without[7] == pytest.approx(frechet_distance(a.values[a.group != 7], b.values[b.group != 7]))
    mean = mean_estimate([found, found - found])
    assert mean.whole == pytest.approx(found.whole / 2)
    assert mean.without == pytest.approx(found.without / 2)


def test_every_label_is_dealt_evenly_to_the_groups() -> None:
    groups = deal_groups(np.arange(300) % 3)
    for label in range(3):
        assert np.bincount(groups[label::3]).tolist() == [10] * GROUPS


def test_labels_with_a_single_image_do_not_break_kid() -> None:
    found = kernel_estimate(grouped(RNG.normal(size=(20, 3)), 15), grouped(RNG.normal(size=(20, 3)), 15))
    assert np.isfinite([found.whole, *found.without]).all()
