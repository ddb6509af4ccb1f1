"""Sampler mistakes: detectors against closed forms, each mistake caught by its own and a correct sampler by none."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lesson_context import Answering, make_context, mute, outcomes, told_in_every_language

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.samplers import Step, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.mistakes import buggy_samplers as bugs
from viz_diffusion.lessons.mistakes import lesson as mistakes
from viz_diffusion.lessons.mistakes.detectors import LIMITS, Mistakes, measure_mistakes

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def training() -> Digits:
    digits = load_digits("train")
    return Digits(digits.images[:2000], digits.labels[:2000])


@pytest.fixture(scope="module")
def oracle(training: Digits) -> Answering:
    """Return the best denoiser of one Gaussian, wrong by 1% of ε̂, as every network is."""
    gaussian = GaussianOracle.fit(SCHEDULE, training.images)
    return Answering(lambda x, t, _: 1.01 * gaussian(x, t))


@pytest.fixture(scope="module")
def found(oracle: Answering, training: Digits) -> Mistakes:
    return measure_mistakes(oracle, SCHEDULE, training, is_mnist=False, samples=20)


def test_each_mistake_is_caught_by_its_own_detector_alone_and_the_correct_sampler_by_none(
    found: Mistakes,
) -> None:
    expected = np.concatenate([np.zeros((2, 6), bool), np.eye(6, dtype=bool)])
    assert np.array_equal(found.caught, expected)
    assert outcomes(mistakes.LESSON, found) == {"caught": True, "clean": True}


def test_what_the_detectors_read_is_known_in_closed_form(found: Mistakes) -> None:
    own = found.values[2 + np.arange(6), np.arange(6)]
    visited = spaced_timesteps(1000, 50)
    spaced = SCHEDULE.respaced(visited[::-1])
    # noise of variance 1 - ᾱ at the last visited t is left on the finished image
    assert own[0] == pytest.approx(np.sqrt(1 - SCHEDULE.alphas_cumprod[visited[-1]]), rel=0.03)
    assert own[1] == 1
    # σ² z has the power σ⁴: over σ² it is β on average, the first step's at t = 0 apart
    assert own[2] == pytest.approx(1 - spaced.betas[1:].mean(), abs=0.01)
    assert own[4] == pytest.approx(2, abs=0.1)
    # without the step from the smallest t, the finished image is the mean of the step before it (Ho et al. 2020, eq. 7)
    kept = np.sqrt(spaced.alphas[1]) * (1 - spaced.alphas_cumprod[0]) / (1 - spaced.alphas_cumprod[1])
    assert own[5] == pytest.approx(kept, rel=1e-4)
    assert (found.values[:2, 1] == 0).all()
    assert found.values[:2, [0, 5]].max() < 1e-9
    assert found.values[:2, 2].max() < 0.01


def test_the_strip_shows_the_mistake_it_is_named_after(found: Mistakes) -> None:
    strips = dict(zip(bugs.SAMPLERS, found.strips, strict=True))
    assert np.array_equal(strips["reversed"][0], strips["right"][-1])
    assert np.array_equal(strips["reversed"][-1], strips["right"][0])
    assert np.array_equal(strips["last_noise"][:-1], strips["right"][:-1])
    assert not np.array_equal(strips["last_noise"][-1], strips["right"][-1])
    assert strips["normalisation"][-1].min() > -1e-6
    assert np.array_equal(strips["range_one"][0], strips["right"][0])
    assert np.abs(strips["range_one"][-1] - strips["right"][-1]).max() > 0.05  # noise is left
    assert found.steps_left[[0, -1]].tolist() == [50, 0]


def test_what_is_told_under_the_cosine_schedule_has_its_snr() -> None:
    cosine = NoiseSchedule.named("cosine")
    given = bugs.nearest_by_snr(cosine, SCHEDULE)
    reachable = cosine.alphas_cumprod > SCHEDULE.alphas_cumprod[-1]
    middle = reachable & (np.arange(1000) > 50)
    assert np.abs(SCHEDULE.log_snr[given] - cosine.log_snr)[middle].max() < 0.03
    assert (given[~reachable] == 999).all()


def test_control_a_model_of_grey_clouds_fails_a_detector_though_its_sampler_is_right(training: Digits) -> None:
    grey = Answering(lambda x, t, _: SCHEDULE.predict_eps(x, torch.full_like(x, 0.5), t))
    found = measure_mistakes(grey, SCHEDULE, training, is_mnist=False, samples=10)
    assert found.caught[0].tolist() == [False, False, False, True, False, False]
    assert outcomes(mistakes.LESSON, found) == {"caught": True, "clean": False}


def test_control_a_mistake_that_does_no_harm_is_not_said_to_be_caught(training: Digits) -> None:
    """Where digits do lie in [0, 1], clipping to it is no mistake."""
    bright = Digits(torch.full_like(training.images[:10], 0.5), training.labels[:10])
    answer = Answering(lambda x, t, _: SCHEDULE.predict_eps(x, torch.full_like(x, 0.5), t))
    found = measure_mistakes(answer, SCHEDULE, bright, is_mnist=False, samples=10)
    assert outcomes(mistakes.LESSON, found) == {"caught": False, "clean": True}


def test_too_near_to_a_limit_is_open(found: Mistakes) -> None:
    near = found.values.copy()
    near[2 + 3, 3] = near[0, 3] = LIMITS[3]
    halves = found.halves.copy()
    halves[:, 3] = 0.05
    assert outcomes(mistakes.LESSON, replace(found, values=near, halves=halves)) == {"caught": None, "clean": None}


def classified_like(wrong: dict[str, int], samples: int = 400) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return (8, N) correct classifications, but for the first so many of a sampler."""
    misread = np.array([wrong.get(name, 0) for name in bugs.SAMPLERS])
    return np.arange(samples) >= misread[:, None]


def test_a_mistake_is_unseen_where_surely_few_digits_are_lost_and_the_reversed_strip_does_not_count(
    found: Mistakes,
) -> None:
    def unseen(wrong: dict[str, int], samples: int = 400) -> tuple[bool | None, int, int]:
        data = replace(found, samples=samples, correct=classified_like(wrong, samples))
        claim = {one.name: one for one in mistakes.LESSON.claims(data)}["unseen"]
        return claim.holds, claim.facts["unseen"], claim.facts["seen"]

    five = ("last_noise", "off_by_one", "no_root", "normalisation", "range_one")
    assert unseen({}) == (True, 5, 0)
    # the images of the reversed strip are the correct sampler's own, and prove nothing
    assert unseen(dict.fromkeys(five, 100)) == (False, 0, 5)
    assert unseen(dict.fromkeys(five, 100) | {"no_root": 5}) == (True, 1, 4)
    # one of 40 is lost: neither surely any nor surely less than a twentieth
    assert unseen(dict.fromkeys(five, 20) | {"no_root": 1}, 40) == (None, 0, 4)


def test_mistakes_are_told_every_way(found: Mistakes) -> None:
    context = make_context(mute(), heldout=10)
    seen = replace(found, samples=400, correct=classified_like({"normalisation": 360}))
    few = replace(found, correct=classified_like({}, 20))
    ruined = dict.fromkeys(bugs.MISTAKES, 300) | {"reversed": 0}
    ruins = replace(found, samples=400, correct=classified_like(ruined), values=found.values[::-1])
    for data, verdicts in (
        (seen, ["Yes"] * 3),
        (few, ["Yes", "Yes", "Undecided"]),
        (ruins, ["No"] * 3),
    ):
        told = told_in_every_language(Finding.of(mistakes.LESSON, data, full=False), context)
        assert [one.verdict for one in told["en"].answers] == verdicts
        assert len(told["zh"].table.rows) == 6
    own = [row[2] for row in told["en"].table.rows]
    assert ["±" in number for number in own] == [False, False, True, True, False, False]


def test_the_mistaken_noise_of_the_last_step_is_not_the_first_states(oracle: Answering) -> None:
    labels, seeds = torch.arange(2), range(7, 9)
    right, noisy = (bugs.run_sampler(name, oracle, SCHEDULE, labels, seeds) for name in ("right", "last_noise"))
    added = (noisy.x0 - right.x0)[0, 0].numpy()
    assert abs(np.corrcoef(added.ravel(), right.strip[0].ravel())[0, 1]) < 0.15  # of 784 independent draws: 0.036


def test_no_step_is_kept_while_a_sampler_is_looked_at(oracle: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """At full size all steps of one sampler would be hundreds of megabytes."""
    alive: list[weakref.ref[Step]] = []
    most = 0

    def watched(*args: Any, **options: Any) -> Iterator[Step]:
        nonlocal most
        for step in ddpm_steps(*args, **options):
            alive.append(weakref.ref(step))
            most = max(most, sum(ref() is not None for ref in alive))
            yield step

    monkeypatch.setattr(bugs, "ddpm_steps", watched)
    bugs.run_sampler("right", oracle, SCHEDULE, torch.arange(2), range(2))
    assert len(alive) == 50
    assert most <= 2


def test_every_number_of_the_table_stands_in_the_picture_and_only_what_is_caught_is_marked(
    found: Mistakes,
) -> None:
    figure = mistakes.draw(found)["mistakes"]
    bold = [text.get_text() for text in figure.texts if text.get_weight() == "bold"]
    assert len(bold) == 6
    assert bold[1] == "1"
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == found.strips.shape[0] * found.strips.shape[1]
