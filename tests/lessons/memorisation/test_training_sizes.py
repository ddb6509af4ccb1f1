"""Pairs of networks on disjoint halves: denoisers that copy or agree by construction must be told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, told_in_every_language

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle, GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.memorisation import lesson as memorisation
from viz_diffusion.lessons.memorisation.nearest_digits import COPY, Memorisation
from viz_diffusion.lessons.memorisation.training_halves import halves, measure_training_sizes
from viz_diffusion.lessons.memorisation.training_sizes import (
    SIZES,
    TrainingSizes,
    read_training_sizes,
    write_training_sizes,
)
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def training() -> Digits:
    return load_digits("train").first_of_each(2000)


@pytest.fixture(scope="module")
def measured(training: Digits) -> TrainingSizes:
    """Return what is measured of networks that copy (20 digits each) and of two that are one (200 digits each)."""
    few = halves(training, 20)
    copying = tuple(EmpiricalOracle(SCHEDULE, half.images, half.labels) for half in few)
    one = GaussianOracle.fit(SCHEDULE, training.images)
    return measure_training_sizes([(copying[0], copying[1]), (one, one)], SCHEDULE, training, (20, 200), 0, 20)


def test_halves_share_no_digit_and_small_ones_are_parts_of_large_ones(training: Digits) -> None:
    pools = {count: halves(training, count) for count in (20, 200, 1000)}
    for count, pair in pools.items():
        flat = [{image.tobytes() for image in half.images.numpy()} for half in pair]
        assert [len(half) for half in pair] == [count, count]
        assert len(flat[0]) == len(flat[1]) == count
        assert not flat[0] & flat[1]
        assert all((torch.bincount(half.labels) == count // 10).all() for half in pair)
    for index in (0, 1):
        large = {image.tobytes() for image in pools[200][index].images.numpy()}
        assert all(image.tobytes() in large for image in pools[20][index].images.numpy())


def test_perfect_memories_copy_their_own_digits_only_and_one_network_agrees_with_itself(
    measured: TrainingSizes,
) -> None:
    own, other = measured.copies(COPY), measured.other_copies(COPY)
    assert (own[0].value, other[0].value) == (1, 0)
    assert own[1].value == 0
    assert measured.alike[1] == pytest.approx(np.ones(20), abs=1e-5)
    assert measured.unlike[1].mean() < 0.9
    # each memory draws its own digits: the same noise makes them hardly more alike than other noise does
    assert measured.alike[0].mean() - measured.unlike[0].mean() < 0.3


def test_correlations_are_those_of_numpy(measured: TrainingSizes) -> None:
    for size in (0, 1):
        first, second = (images.reshape(5, -1) for images in measured.images[size])
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
        assert measured.alike[size, :5] == pytest.approx(expected, abs=1e-5)


def _study(flagged: tuple[float, float], other: float, alike: tuple[float, float]) -> TrainingSizes:
    """Return a study of two numbers of digits with these shares of copies and correlations (controls: 0.4)."""
    count, spread = 200, 0.05 * np.resize([-1, 1], 200)

    def ratios(share: float, turn: int = 1) -> np.ndarray:
        copied = np.where(np.arange(count) < share * count, 0.1, 0.9)
        return np.tile(copied, (2, 1)) + 0.1 * spread[::turn]

    return TrainingSizes(
        sizes=np.array(SIZES),
        steps=np.array(1500),
        ratio=np.stack([ratios(share) for share in np.linspace(*flagged, 4)]),
        other_ratio=np.stack([ratios(other, -1)] * 4),
        alike=np.stack([mean + spread for mean in np.linspace(*alike, 4)]),
        unlike=np.stack([0.4 + spread[::-1]] * 4),
        right=np.ones((4, 2, count), bool),
        images=np.zeros((4, 2, 5, 28, 28), np.float32),
    )


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (_study((0.6, 0.0), 0.0, (0.45, 0.95)), (True, True)),
        (_study((0.0, 0.6), 0.0, (0.95, 0.45)), (False, False)),
        (_study((0.0, 0.0), 0.0, (0.95, 0.95)), (None, None)),
        (_study((0.6, 0.0), 0.0, (0.45, 0.85)), (True, False)),  # alike, but not nearly the same
        (_study((0.6, 0.0), 0.0, (0.45, 0.9)), (True, None)),
        (_study((0.6, 0.6), 0.6, (0.95, 0.95)), (None, None)),  # no copies: the other digits are as near
    ],
)
def test_sizes_are_told_every_way(study: TrainingSizes, said: tuple[bool | None, bool | None]) -> None:
    results = load_results([memorisation.LESSON], Run.bundled().load_model()[1])[Memorisation]
    data = replace(results, sizes=study)
    found = outcomes(memorisation.LESSON, data)
    assert (found["sizes_copy_less"], found["sizes_same_images"]) == said
    told = told_in_every_language(Finding.of(memorisation.LESSON, data, full=False), make_context(heldout=10))
    verdicts = {True: "Yes", False: "No", None: "Undecided"}
    assert [answer.verdict for answer in told["en"].answers[-2:]] == [verdicts[one] for one in said]


def test_the_shipped_samples_copy_among_few_digits_only() -> None:
    gap, half = read_training_sizes().gap()
    assert gap[0] == pytest.approx(-0.530, abs=0.001)
    assert (gap[:2] + half[:2] < 0).all()
    assert (np.abs(gap[2:]) < half[2:]).all()


def test_what_ships_is_the_study_that_was_measured() -> None:
    shipped = load_results([memorisation.LESSON], Run.bundled().load_model()[1])[Memorisation].sizes
    study = read_training_sizes()
    assert shipped is not None
    assert shipped.sizes.tolist() == list(SIZES)
    for name in ("ratio", "other_ratio", "alike", "unlike", "right", "images"):
        assert np.array_equal(getattr(shipped, name), getattr(study, name)), name


def test_the_study_is_read_as_it_was_written_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path, study = tmp_path / "sizes.npz", read_training_sizes()
    write_training_sizes(study, path)
    assert np.array_equal(read_training_sizes(path).ratio, study.ratio)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(VizdiffInputError, match=r"sizes\.npz is damaged"):
        read_training_sizes(path)
