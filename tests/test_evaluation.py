"""Samples judged beside real digits: good ones near the floor, controls far from it."""

from __future__ import annotations

import pytest
import torch

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation import Evaluation, evaluate

COUNT = 300


@pytest.fixture(scope="module")
def training() -> Digits:
    digits = load_digits("train")
    return Digits(digits.images[:5000], digits.labels[:5000])


@pytest.fixture(scope="module")
def real_digits_as_samples(training: Digits) -> Evaluation:
    unseen = load_digits("train")
    return evaluate(unseen.images[5000::180][:COUNT], unseen.labels[5000::180][:COUNT], training, load_digits("test"))


def test_real_digits_in_the_samples_place_reach_the_floor(real_digits_as_samples: Evaluation) -> None:
    found = real_digits_as_samples
    assert found.samples.accuracy.value > 0.98
    assert found.samples.frechet < 1.5 * found.real.frechet
    assert abs(found.samples.kid) < 10
    assert found.samples.precision == pytest.approx(found.real.precision, abs=0.1)
    assert found.samples.recall == pytest.approx(found.real.recall, abs=0.1)
    assert sum(share.count for share in found.samples.by_label) == COUNT


def test_the_control_fails_by_every_measure(real_digits_as_samples: Evaluation) -> None:
    clouds, real = real_digits_as_samples.clouds, real_digits_as_samples.real
    assert clouds.frechet > 5 * real.frechet
    assert clouds.kid > 20 * abs(real.kid)
    assert clouds.precision < 0.5 * real.precision
    assert clouds.accuracy.value < 0.9


def test_one_digit_over_and_over_is_precise_and_not_varied(training: Digits) -> None:
    test = load_digits("test")
    one = test.typical_of(5).expand(COUNT, -1, -1, -1) + 0.01 * torch.randn(COUNT, 1, 28, 28)
    found = evaluate(one, torch.full((COUNT,), 5), training, test).samples
    assert found.accuracy.value == 1
    assert found.precision > 0.9
    assert found.recall < 0.05
    assert found.frechet > 20


def test_copies_of_training_images_are_counted(training: Digits) -> None:
    test = load_digits("test")
    copied = training.images[:COUNT] + 0.005
    found = evaluate(copied, training.labels[:COUNT], training, test)
    assert found.samples.copies.hits > 0.95 * COUNT
    assert found.real.copies.hits < 0.05 * COUNT


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_samples_are_refused(count: int, training: Digits) -> None:
    with pytest.raises(VizdiffInputError, match=f"found {count}"):
        evaluate(torch.zeros(count, 1, 28, 28), torch.zeros(count, dtype=torch.long), training, load_digits("test"))
