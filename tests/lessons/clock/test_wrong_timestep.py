"""Wrong clocks and the border's own: a denoiser that ignores its clock must not be found ruined, and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import deaf_to_time, make_context, mute, told_in_every_language

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.clock import lesson as clock
from viz_diffusion.lessons.clock import wrong_timestep
from viz_diffusion.lessons.clock.border_estimate import estimate_from_border
from viz_diffusion.lessons.clock.no_timestep import ClockStudy, NoTimestep, measure_no_timestep
from viz_diffusion.lessons.clock.wrong_timestep import (
    ARMS,
    WrongTimestep,
    WrongTimesteps,
    given_timesteps,
    measure_wrong_timesteps,
)
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture
def ten_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample in ten steps: enough where samples are compared with each other, and not with digits."""
    monkeypatch.setattr(wrong_timestep, "STEPS", 10)


def test_clocks_tell_what_they_say() -> None:
    told = given_timesteps(1000)
    assert tuple(told) == ARMS
    assert told["right"].tolist() == list(range(1000))
    assert set(told["frozen"]) == {500}
    assert told["reversed"][:3].tolist() == [999, 998, 997]
    assert sorted(told["shuffled"]) == list(range(1000)) != told["shuffled"].tolist()


def test_the_right_clock_changes_no_bit_and_says_that_somebody_stands_between() -> None:
    run = Run.bundled()
    model, _ = run.load_model()
    arm = WrongTimestep(model, given_timesteps(1000)["right"], "right")
    labels = torch.arange(3)
    plain, told = (
        next(sample_images(one, SCHEDULE, labels, range(3), SamplerConfig("ddpm", 6))) for one in (model, arm)
    )
    assert torch.equal(plain, told)
    assert arm.interventions == "clock right"


def test_the_borders_bound_is_the_known_one_and_the_reading_comes_near_it() -> None:
    at = np.array([9, 99, 249, 499, 699])
    error, bound = estimate_from_border(SCHEDULE, 67, at, 2000)
    assert np.all(np.abs(bound[at] - [1.1, 9.3, 26, 77, 205]) <= [0.05, 0.05, 0.5, 0.5, 0.5])  # known rounded
    assert np.all(np.abs(error[:3] / bound[at][:3] - 1) < 0.12)  # later the ends of the schedule are in the way
    fewer, _ = estimate_from_border(SCHEDULE, 17, at, 2000)
    assert fewer[1] == pytest.approx(2 * error[1], rel=0.15)  # a quarter of the pixels, twice the error


def test_control_without_constant_pixels_nothing_tells_the_time() -> None:
    grey = Digits(torch.rand(50, 1, 28, 28), torch.arange(50) % 10)
    found = measure_wrong_timesteps(mute(), SCHEDULE, grey, grey, is_mnist=False, sizes=(20, 10))
    assert found.constant_pixels == 0
    assert found.read is None  # nobody can read these
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims == {"wrong_costs": False, "border_tells": False}


@pytest.mark.usefixtures("ten_steps")
def test_control_a_denoiser_that_never_looks_at_its_clock_is_not_ruined_by_a_wrong_one() -> None:
    context = make_context()
    found = measure_wrong_timesteps(
        deaf_to_time(context.model), SCHEDULE, context.heldout, context.training, sizes=(40, 10)
    )
    assert np.array_equal(found.loss[0], found.loss[1])
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["wrong_costs"] is False
    assert claims["wrong_ruins"] is None or claims["wrong_ruins"] is False

    codes = clock.measure_embeddings(context.network)
    for wrong, verdict in ((found, "Not found"), (replace(found, loss=found.loss * [[1], [9], [9], [9]]), "Found")):
        told = told_in_every_language(
            Finding.of(clock.LESSON, replace(codes, study=ClockStudy(wrong)), full=False), context
        )
        assert told["en"].answers[0].verdict == verdict
        assert len(told["zh"].answers) == 3


def test_the_bundled_network_is_ruined_by_every_wrong_clock() -> None:
    context = make_context()
    found = measure_wrong_timesteps(context.model, SCHEDULE, context.heldout, context.training)
    assert {claim.name: claim.holds for claim in found.claims()} == {
        "wrong_costs": True,
        "wrong_ruins": True,
        "border_tells": True,
    }
    assert found.constant_pixels == 67


def blinded(found: WrongTimesteps, ddim: int, ddpm: int, samples: int = 200, right: int = 196) -> ClockStudy:
    """Return clocks of whose samples 196, and with wrong clocks at most half, are read as asked, and some without."""
    read = np.array([[right, 30, 20, samples // 2], [right, 30, 20, samples // 2]])
    wrong = replace(found, read=read, samples=samples)
    return ClockStudy(wrong, NoTimestep(wrong.loss[0], wrong.images[:, 0], np.array([ddim, ddpm]), (2400, 30_000)))


def test_no_clock_is_judged_beside_wrong_and_right_ones_and_told_every_way() -> None:
    context = make_context(heldout=50)
    found = measure_wrong_timesteps(
        mute(), SCHEDULE, context.heldout, Digits(context.heldout.images, context.heldout.labels), sizes=(20, 10)
    )
    codes = clock.measure_embeddings(context.network)
    for hits, expected in (
        ((195, 194), (True, True)),
        ((150, 150), (True, False)),
        ((195, 90), (None, False)),
        ((195, 60), (False, False)),
        ((190, 182), (True, None)),
        ((190, 184), (True, None)),
        ((110, 190), (None, False)),
    ):
        told = blinded(found, *hits)
        claims = {claim.name: claim.holds for claim in told.claims()}
        assert (claims["none_beats_wrong"], claims["none_as_good"]) == expected, hits
        said = told_in_every_language(Finding.of(clock.LESSON, replace(codes, study=told), full=False), context)
        words = {True: "Found", False: "Not found", None: "Cannot be told"}
        assert {one.verdict for one in said["en"].answers[2:5]} <= set(words.values())
        assert [one.verdict for one in said["en"].answers if "Is no clock" in one.question] == [
            words[e] for e in expected
        ]
    figure = clock.draw(replace(codes, study=told))["wrong_clock"]
    assert sum(len(axes.images) for axes in figure.axes) == 2 * 5 * 10
    assert {"–", "55%", "95%"} <= {text.get_text() for text in figure.texts}


def test_the_share_under_the_right_clock_is_an_estimate_too() -> None:
    """85 of 100 beside 85: the first alone is surely above 75%, but their difference is not surely above -10%."""
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))

    def as_good(mine: int, right: int, samples: int) -> bool | None:
        claims = blinded(found, mine, mine, samples, right).claims()
        return {claim.name: claim.holds for claim in claims}["none_as_good"]

    assert Share(85, 100).interval[0] > 0.85 - 0.1
    assert as_good(85, 85, 100) is None
    assert as_good(850, 850, 1000) is True


def test_what_so_few_samples_cannot_tell_is_not_called_not_found() -> None:
    """2 and 3 of 20 beside 2 and 2 say as little as 29 and 23 of 200 beside 20 and 20; only certainty is a no."""
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))

    def judged(ddim: int, ddpm: int, best_wrong: int, samples: int, right: int) -> tuple[bool | None, bool | None]:
        read = np.array([[right, best_wrong, 0, 0]] * 2)
        wrong = replace(found, read=read, samples=samples)
        told = ClockStudy(wrong, NoTimestep(wrong.loss[0], wrong.images[:, 0], np.array([ddim, ddpm]), (2400, 30_000)))
        claims = {claim.name: claim.holds for claim in told.claims()}
        return claims["none_beats_wrong"], claims["none_as_good"]

    assert judged(2, 3, 2, 20, 19) == (None, False)
    assert judged(29, 23, 20, 200, 194) == (None, False)
    assert judged(0, 0, 2, 20, 19) == (None, False)
    assert judged(0, 0, 20, 200, 194) == (False, False)
    assert judged(17, 17, 2, 20, 19) == (True, None)
    assert judged(15, 15, 2, 20, 18) == (True, None)


def test_a_wrong_clock_is_called_harmless_only_where_that_is_sure() -> None:
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))

    def ruins(right: int, wrong: int, samples: int) -> bool | None:
        one = replace(found, read=np.array([[right, wrong, 0, 0]] * 2), samples=samples)
        return {claim.name: claim.holds for claim in one.claims()}["wrong_ruins"]

    assert ruins(19, 2, 20) is True
    assert ruins(3, 3, 20) is None
    assert ruins(10, 10, 20) is None
    assert ruins(195, 195, 200) is False


def test_a_loss_whose_gap_may_be_chance_is_not_called_harmless() -> None:
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))
    rng = np.random.default_rng(5)
    right = rng.uniform(0, 1, 200)
    for shift, expected in ((0.5, True), (0.001, None), (-0.5, False)):
        loss = np.stack([right, *(right + shift + rng.normal(0, 0.2, (3, 200)))])
        claims = {claim.name: claim.holds for claim in replace(found, loss=loss).claims()}
        assert claims["wrong_costs"] is expected, shift


def test_the_border_tells_only_where_its_error_is_surely_small_enough() -> None:
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))
    for error, expected in ((80.0, True), (98.0, None), (102.0, None), (120.0, False), (np.inf, False)):
        one = replace(found, constant_pixels=67, time_error=np.where(found.timesteps == 499, error, 1.0))
        assert {claim.name: claim.holds for claim in one.claims()}["border_tells"] is expected, error


def test_below_the_bound_the_reading_is_biased_for_it_ends_with_the_schedule() -> None:
    """What the caption says of a dot below the line: on a schedule that goes on, the same t is not read below it."""
    pixels, at = 67, 699
    error, bound = estimate_from_border(SCHEDULE, pixels, np.array([at]), 4000)
    assert error[0] < 0.95 * bound[at]
    longer = NoiseSchedule(np.append(SCHEDULE.betas, SCHEDULE.betas[-1] * np.ones(2000)), "longer")
    further, same = estimate_from_border(longer, pixels, np.array([at]), 4000)
    assert same[at] == pytest.approx(bound[at])
    assert further[0] > same[at]


def test_the_classifier_gives_one_answer_to_all_of_pure_noise() -> None:
    """So the text says; as many as one answer makes right is then no reading."""
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert len(torch.unique(DigitClassifier.bundled()[0].read(noise))) == 1
    found = measure_wrong_timesteps(mute(), SCHEDULE, *[make_context(heldout=20).heldout] * 2, sizes=(20, 10))
    assert replace(found, samples=200).facts().clock_constant == sum(k % 10 == 8 for k in range(200))


def test_the_loss_without_a_clock_is_set_beside_the_mildest_wrong_one_digit_by_digit() -> None:
    context = make_context(heldout=50)
    found = measure_wrong_timesteps(mute(), SCHEDULE, context.heldout, context.heldout, sizes=(20, 10))
    rng = np.random.default_rng(3)
    hard = np.geomspace(0.01, 1, 400)  # digits differ far more than arms do
    right, blind = hard * rng.uniform(0.9, 1.1, 400), 1.5 * hard * rng.uniform(0.9, 1.1, 400)
    codes = clock.measure_embeddings(context.network)
    for factor, expected, verdict in ((1.7, True, "Found"), (1.5, None, "Cannot be told"), (1.3, False, "Not found")):
        mild = factor * hard * rng.uniform(0.9, 1.1, 400)
        wrong = replace(found, loss=np.stack([right, 9 * hard, mild, 20 * hard]))
        clocks_ = blinded(wrong, 20, 20)
        assert clocks_.blind is not None
        told = replace(clocks_, blind=replace(clocks_.blind, loss=blind))
        claim = {one.name: one for one in told.claims()}["none_denoises"]
        assert claim.holds is expected
        assert claim.facts["mildest"] == pytest.approx(mild.mean())
        said = told_in_every_language(Finding.of(clock.LESSON, replace(codes, study=told), full=False), context)
        answer = next(one for one in said["en"].answers if "denoise better" in one.question)
        assert answer.verdict == verdict
        words = answer.text + "".join(one.text for one in said["en"].answers if "better than a wrong" in one.question)
        assert words.count("2400") == words.count("30000") == 2  # how long each was trained is never left out


def test_without_a_control_nothing_is_said_of_a_missing_clock() -> None:
    grey = Digits(torch.rand(50, 1, 28, 28), torch.arange(50) % 10)
    told = ClockStudy(measure_wrong_timesteps(mute(), SCHEDULE, grey, grey, is_mnist=False, sizes=(20, 10)))
    assert {claim.name for claim in told.claims()} == {"wrong_costs", "border_tells"}
    assert told.facts().blind_steps is None


@pytest.mark.usefixtures("ten_steps")
def test_a_denoiser_that_ignores_its_clock_answers_alike_whether_told_or_not() -> None:
    """The blind arm meets the very noise and questions of the others."""
    context = make_context(heldout=50)
    model = deaf_to_time(context.model)
    wrong = measure_wrong_timesteps(model, SCHEDULE, context.heldout, context.heldout, sizes=(20, 10))
    blind = measure_no_timestep(model, SCHEDULE, context.heldout, sizes=(20, 10))
    assert np.array_equal(blind.loss, wrong.loss[0])
    assert np.array_equal(blind.images, wrong.images[:, 0])
    assert wrong.read is not None
    assert np.array_equal(blind.read, wrong.read[:, 0])
