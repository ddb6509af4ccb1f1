"""Quality of samples compared with real digits: real digits reach it, the control does not."""

from __future__ import annotations

import pytest
import torch

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, Evaluation, draw_with_labels, evaluate

COUNT = 300


@pytest.fixture(scope="module")
def training() -> Digits:
    digits = load_digits("train")
    return Digits(digits.images[:5000], digits.labels[:5000])


def even(digits: Digits, first: int) -> Digits:
    """Give ``COUNT`` digits from ``first`` on, as many of each label, far apart: neighbours are of one writer."""
    rows = [torch.nonzero(digits.labels[first:] == k)[::150, 0][: COUNT // 10] + first for k in range(10)]
    chosen = torch.cat(rows)
    return Digits(digits.images[chosen], digits.labels[chosen])


@pytest.fixture(scope="module")
def real_digits_as_samples(training: Digits) -> Evaluation:
    unseen = even(load_digits("train"), 5000)
    return evaluate(unseen.images, unseen.labels, training, load_digits("test"))


def test_real_digits_as_samples_reach_the_quality_of_real_digits(real_digits_as_samples: Evaluation) -> None:
    found = real_digits_as_samples
    assert found.samples.accuracy.value > 0.98
    assert found.samples.frechet == pytest.approx(found.real.frechet, rel=0.25)
    assert abs(found.samples.kid) < 2 * found.samples.kid_half
    assert abs(found.excess) < 1.5 * found.excess_half
    assert found.excess == pytest.approx(found.samples.frechet - found.real.frechet)
    assert found.is_worse is not True
    assert found.compared == found.count == COUNT
    assert found.samples.precision == pytest.approx(found.real.precision, abs=0.1)
    assert found.samples.recall == pytest.approx(found.real.recall, abs=0.1)
    assert sum(share.count for share in found.samples.by_label) == COUNT


def test_the_real_digits_have_the_samples_labels_and_are_a_mean(
    real_digits_as_samples: Evaluation, training: Digits
) -> None:
    found = real_digits_as_samples
    assert [share.count for share in found.real.by_label] == [FLOOR_DRAWS * COUNT // 10] * 10
    assert 0 < found.real_spread < 0.2 * found.real.frechet
    assert abs(found.real.kid) < 2 * found.real.kid_half, "two sets of real digits: 0 on average"
    # a set of one digit: reference and real digits are of that digit too, no farther from each other than ten digits
    ones = training.images[training.labels == 1][:COUNT]
    one = evaluate(ones, torch.ones(COUNT, dtype=torch.long), training, load_digits("test"))
    assert one.real.by_label == (one.real.accuracy,)
    assert one.real.frechet < 2 * found.real.frechet


def test_reference_and_real_digits_are_test_digits_which_the_classifier_did_not_see(training: Digits) -> None:
    test = load_digits("test")
    samples = Digits(test.images[:COUNT], test.labels[:COUNT])
    inverted = Digits(-training.images, training.labels)  # black on white: nothing like the test digits
    found = evaluate(samples.images, samples.labels, inverted, test)
    assert found.samples.frechet < 4
    assert found.real.frechet < 4, "the real digits are no training digits"
    assert found.control.frechet > 20, "the Gaussians are of training digits"
    black = evaluate(-samples.images, samples.labels, inverted, test)
    assert black.excess > 20
    assert black.is_worse is True


def test_digits_are_drawn_by_their_labels_and_none_twice(training: Digits) -> None:
    numbered = Digits(torch.arange(5000.0)[:, None, None, None].expand(-1, 1, 28, 28), training.labels)
    labels = torch.tensor([3, 3, 8, 1] * 100)
    drawn = draw_with_labels(numbered, labels, torch.Generator().manual_seed(0))[:, 0, 0, 0].long()
    assert training.labels[drawn].equal(labels)
    assert len(drawn.unique()) == len(labels)
    with pytest.raises(VizdiffInputError, match=r"700 of 5 are needed, found \d+"):
        draw_with_labels(training, torch.full((700,), 5), torch.Generator())


@pytest.fixture(scope="module")
def threes_and_eights(training: Digits) -> Digits:
    """Return 120 training digits of two labels: copies need no more, and each label costs a Gaussian of 784 pixels."""
    rows = torch.nonzero((training.labels == 3) | (training.labels == 8))[:120, 0]
    return Digits(training.images[rows], training.labels[rows])


def test_near_copies_are_of_the_networks_training_digits(training: Digits, threes_and_eights: Digits) -> None:
    images, labels = threes_and_eights.images, threes_and_eights.labels
    seen, unseen = Digits(images[:60], labels[:60]), Digits(images[60:], labels[60:])
    test, copied = load_digits("test"), seen.images + 0.005
    assert evaluate(copied, seen.labels, training, test, trained_on=seen).samples.copies.hits > 0.95 * 60
    assert evaluate(copied, seen.labels, training, test, trained_on=unseen).samples.copies.hits < 0.05 * 60


def test_the_control_fails_by_every_measure(real_digits_as_samples: Evaluation) -> None:
    control, real = real_digits_as_samples.control, real_digits_as_samples.real
    assert control.frechet > 5 * real.frechet
    assert control.kid > 20 * abs(real.kid)
    assert control.precision < 0.6 * real.precision
    assert control.accuracy.value < 0.9


def test_one_digit_over_and_over_is_precise_and_not_varied(training: Digits) -> None:
    test = load_digits("test")
    one = test.typical_of(5).expand(COUNT, -1, -1, -1) + 0.01 * torch.randn(COUNT, 1, 28, 28)
    found = evaluate(one, torch.full((COUNT,), 5), training, test).samples
    assert found.accuracy.value == 1
    assert found.precision > 0.9
    assert found.recall < 0.05
    assert found.frechet > 5


def test_copies_of_training_images_are_counted(training: Digits, threes_and_eights: Digits) -> None:
    copied = threes_and_eights.images + 0.005
    found = evaluate(copied, threes_and_eights.labels, training, load_digits("test"))
    assert found.samples.copies.hits > 0.95 * 120
    assert found.real.copies.hits < 0.05 * 120


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_samples_are_refused(count: int, training: Digits) -> None:
    with pytest.raises(VizdiffInputError, match=f"found {count}"):
        evaluate(torch.zeros(count, 1, 28, 28), torch.zeros(count, dtype=torch.long), training, load_digits("test"))
