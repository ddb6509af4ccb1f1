"""Distances between sets, against closed forms, hand counts and another implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.evaluation.metrics import frechet_distance, nearest_neighbours, precision_recall

RNG = np.random.default_rng(0)
A = RNG.normal(0, 1, (700, 12)) @ RNG.normal(0, 1, (12, 12))
B = RNG.normal(0.2, 1.3, (650, 12)) @ RNG.normal(0, 1, (12, 12))


def test_frechet_agrees_with_torch_fidelity() -> None:
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (A, B)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(A, B) == pytest.approx(theirs, rel=1e-6)


def test_frechet_of_known_gaussians() -> None:
    """Diagonal Gaussians: the sum of (μ1-μ2)² + (σ1-σ2)² over the axes, here 9 + 4."""
    x = RNG.normal(0, 1, (20000, 2))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    assert frechet_distance(x, x * [1, 3] + [3, 0]) == pytest.approx(13, rel=1e-9)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_frechet_of_fewer_images_than_features_is_finite() -> None:
    assert 0 < frechet_distance(A[:6], B[:6]) < 1e4


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    theirs = prc_features_to_metric(
        torch.from_numpy(A), torch.from_numpy(B), prc_neighborhood=3, prc_batch_size=200, verbose=False
    )
    precision, recall = precision_recall(A, B)
    found = sorted((precision, recall))
    assert found == pytest.approx(sorted((float(theirs["precision"]), float(theirs["recall"]))), abs=0.004)


def test_precision_and_recall_by_hand() -> None:
    real = np.array([[0.0], [1.0], [2.0], [3.0]])
    made = np.array([[1.5], [1.6], [1.7], [90.0], [91.0]])
    # k = 1: every real point reaches 1 far, and covers three of the five made points; the made ones reach
    # 0.1 (three of them) and 1, and cover no real point
    assert precision_recall(real, made, neighbours=1) == (0.6, 0.0)


def test_nearest_training_images_and_copies_by_hand() -> None:
    training = np.array([[0.0, 0.0], [3.0, 4.0], [30.0, 40.0]]).reshape(3, 1, 2)
    images = np.array([[0.0, 1.0], [30.0, 41.0]]).reshape(2, 1, 2)
    near = nearest_neighbours(images, training)
    assert near.index.tolist() == [0, 2]
    assert near.first == pytest.approx([1, 1])
    assert near.second == pytest.approx([np.hypot(3, 3), np.hypot(27, 37)])
    assert near.num_copies == 2  # 1/4.24 and 1/45.8 are both below a third
    assert nearest_neighbours(images + np.array([0, 1.0]), training).num_copies == 1  # 2/3.6 is not


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(VizdiffInputError, match=r"\(N, D\)"):
        frechet_distance(A[0], B)
    with pytest.raises(VizdiffInputError, match="more than 3"):
        precision_recall(A[:3], B)
    with pytest.raises(VizdiffNonFiniteError):
        frechet_distance(A, B * np.nan)
