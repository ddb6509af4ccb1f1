"""Samples read as they are and denoised: the filter keeps digits, finds them under noise, and invents none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.clock.arms import (
    BRIGHT,
    DARK,
    KEPT,
    collect_arms,
    correlations,
    sample_labels,
    smooth,
    smooth_and_stretch,
)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits("test").first_of_each(300)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(300, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def accuracy(images: torch.Tensor, labels: torch.Tensor) -> float:
    return float((DigitClassifier.bundled()[0].read(images) == labels).float().mean())


def test_the_filter_keeps_clean_digits_and_finds_them_under_noise(digits: Digits) -> None:
    assert accuracy(smooth_and_stretch(digits.images), digits.labels) > 0.95
    noised = digits.images + 0.6 * noise()
    assert accuracy(noised, digits.labels) < 0.3
    assert accuracy(smooth_and_stretch(noised), digits.labels) > 0.9


def test_control_the_filter_invents_no_digits(digits: Digits) -> None:
    for spread in (0.3, 1.0):
        assert accuracy(smooth_and_stretch(spread * noise()), digits.labels) < 0.2
    assert torch.isfinite(smooth_and_stretch(torch.zeros(2, 1, 28, 28))).all()


def test_the_filters_shares_are_those_of_smoothed_digits(digits: Digits) -> None:
    smoothed = smooth(digits.images)
    assert float((smoothed < -0.99).float().mean()) == pytest.approx(0.69, abs=0.02)
    assert float((smoothed > 0.8).float().mean()) == pytest.approx(1 - BRIGHT, abs=0.01)
    stretched = smooth_and_stretch(0.3 * digits.images + 0.4 * noise()).flatten(1)
    assert np.allclose((stretched == -1).float().mean(dim=1), DARK, atol=0.002)
    assert np.allclose((stretched == 1).float().mean(dim=1), 1 - BRIGHT, atol=0.002)


def test_smoothing_is_the_mean_of_nine() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 0.9
    assert torch.allclose(smooth(image)[0, 0, 1:4, 1:4], torch.full((3, 3), 0.1))
    assert torch.allclose(smooth(torch.full((1, 1, 5, 5), 3.0)), torch.ones(1, 1, 5, 5))  # clipped first


def test_correlation_is_1_with_itself_whatever_the_contrast(digits: Digits) -> None:
    images = 0.5 * digits.images[:20]
    assert np.allclose(correlations(images, images), 1)
    assert np.allclose(correlations(images, 0.6 * images + 0.1), 1)
    assert np.allclose(correlations(images, -images), -1)
    assert np.abs(correlations(noise()[:20], noise(1)[:20])).max() < 0.5
    smoothed = smooth(images).flatten(1).numpy()
    assert correlations(images[:1], images[1:2])[0] == pytest.approx(np.corrcoef(smoothed[0], smoothed[1])[0, 1])


def test_arms_are_counted_for_each_sampler(digits: Digits) -> None:
    """The labels of samples are 0 .. 9 in turn, as those of the digits here."""
    assert torch.equal(digits.labels, sample_labels(300))
    right, wrong = digits.images, digits.images.roll(1, dims=0)
    found = collect_arms([[right, wrong], [wrong, right]], is_mnist=True)
    assert found.read is not None
    assert found.read_smoothed is not None
    assert found.images.shape == (2, 2, KEPT, 28, 28)
    assert np.array_equal(found.images[1, 0], wrong[:KEPT, 0])
    for read in (found.read, found.read_smoothed):
        assert read[0, 0] == read[1, 1] > 280
        assert read[0, 1] == read[1, 0] < 20
    assert [share.hits for share in found.shares(1)] == found.read[:, 1].tolist()
    unread = collect_arms([[right]], is_mnist=False)
    assert (unread.read, unread.read_smoothed) == (None, None)
