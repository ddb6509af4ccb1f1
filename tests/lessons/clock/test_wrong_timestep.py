"""Wrong timesteps, everywhere and in the embedding only: what follows from planted results, and from real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clock_results import answer_to, judged, planted
from lesson_context import deaf_to_time, make_context, mute

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.clock import arms as sampled_arms
from viz_diffusion.lessons.clock.border_estimate import BORDER_TIMESTEPS, estimate_from_border
from viz_diffusion.lessons.clock.given_timestep import WrongEmbedding, WrongTimestep, given_timesteps
from viz_diffusion.lessons.clock.no_timestep import ClockStudy
from viz_diffusion.lessons.clock.wrong_timestep import ARMS, measure_wrong_timesteps
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


def test_given_timesteps_are_what_their_names_say() -> None:
    given = given_timesteps(1000)
    assert tuple(given) == ARMS[:4]
    assert given["right"].tolist() == list(range(1000))
    assert set(given["frozen"]) == {500}
    assert given["reversed"][:3].tolist() == [999, 998, 997]
    assert sorted(given["shuffled"]) == list(range(1000)) != given["shuffled"].tolist()


@pytest.mark.parametrize("kind", [WrongTimestep, WrongEmbedding])
def test_the_right_timestep_changes_no_bit_and_says_that_it_was_given(kind: type[WrongTimestep]) -> None:
    model, _ = Run.bundled().load_model()
    arm = kind(model, given_timesteps(1000)["right"], "right")
    labels = torch.arange(3)
    plain, told = (
        next(sample_images(one, SCHEDULE, labels, range(3), SamplerConfig("ddpm", 3))) for one in (model, arm)
    )
    assert torch.equal(plain, told)
    assert arm.interventions == "clock right"


def test_control_without_constant_pixels_nothing_tells_the_timestep() -> None:
    grey = Digits(torch.rand(50, 1, 28, 28), torch.arange(50) % 10)
    found = measure_wrong_timesteps(mute(), SCHEDULE, grey, grey, is_mnist=False, sizes=(20, 20))
    assert found.constant_pixels == 0
    assert found.arms.read is None  # no classifier knows these
    assert found.names == ARMS[:4]  # nor has this denoiser an embedding
    assert np.allclose(found.correlation, 1)  # it never looks at t
    assert {claim.name: claim.holds for claim in found.claims()} == {"wrong_costs": False, "border_tells": False}


def test_control_a_denoiser_that_ignores_t_is_not_harmed_by_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled_arms, "STEPS", 5)
    context = make_context(heldout=50)
    found = measure_wrong_timesteps(
        deaf_to_time(context.model), SCHEDULE, context.heldout, context.heldout, sizes=(40, 20)
    )
    assert np.array_equal(found.loss[0], found.loss[1])
    assert np.allclose(found.correlation, 1)
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["wrong_costs"] is False
    assert claims["wrong_unreadable"] is not True


def test_the_bundled_network_keeps_the_digit_under_a_wrong_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """By DDIM in ten steps; full results ship."""
    monkeypatch.setattr(sampled_arms, "STEPS", 10)
    monkeypatch.delitem(sampled_arms.SAMPLERS, "eta_1")
    context = make_context(heldout=1000)
    found = measure_wrong_timesteps(context.model, SCHEDULE, context.heldout, context.heldout, sizes=(100, 20))
    assert {claim.name: claim.holds for claim in found.claims()} == {
        "wrong_costs": True,
        "wrong_unreadable": True,
        "embedding_keeps": True,
        "last_line_adds": True,
        "border_tells": True,
    }
    assert np.allclose(found.correlation[:, 0], 1)
    assert found.correlation_other.shape == (1, 10)


def test_the_digit_is_kept_where_most_are_read_after_denoising_and_not_otherwise() -> None:
    for smoothed, expected, words in (
        ((193, 150, 20, 40, 180, 160, 175), True, ("160 to 180 of 200", "only 20 to 60", "leaves noise behind")),
        ((193, 150, 20, 40, 180, 80, 175), False, ("80 to 180 of 200", "can remove the digit")),
        ((193, 150, 20, 40, 180, 105, 175), None, ("105 to 180 of 200", "too few")),
    ):
        found = planted(smoothed=smoothed)
        assert judged(ClockStudy(found))["embedding_keeps"] is expected
        text = answer_to(ClockStudy(found), "embedding_keeps")
        assert all(word in text for word in words), text


def test_the_last_line_adds_harm_where_correlations_say_so_and_not_otherwise() -> None:
    for correlation, expected, words in (
        (
            (1, 0.7, 0.3, 0.5, 0.9, 0.85, 0.9),
            True,
            ("0.85 to 0.90", "0.30 to 0.70", "at most 0.45", "by 0.19 ± 0.01", "to 0.56 ± 0.01"),
        ),
        ((1, 0.95, 0.3, 0.5, 0.9, 0.85, 0.9), False, ("0.30 to 0.95", "adds nothing")),
        ((1, 0.9, 0.3, 0.5, 0.9, 0.85, 0.9), None, ("too few samples",)),
    ):
        found = planted(correlation=correlation)
        assert judged(ClockStudy(found))["last_line_adds"] is expected
        text = answer_to(ClockStudy(found), "last_line_adds")
        assert all(word in text for word in words), text


def test_without_an_embedding_nothing_is_said_of_one() -> None:
    found = planted(read=(194, 20, 20, 20))
    assert list(judged(ClockStudy(found))) == ["wrong_costs", "wrong_unreadable", "border_tells"]
    assert list(found.facts().clock_loss) == list(ARMS[:4])


def test_unreadable_samples_are_not_called_lost_digits() -> None:
    text = answer_to(ClockStudy(planted()), "wrong_unreadable")
    assert "This does not show that the digit is lost" in text
    assert "right for 20" in text


def test_a_wrong_timestep_is_called_harmless_only_where_that_is_sure() -> None:
    def unreadable(right: int, wrong: int, samples: int) -> bool | None:
        found = planted(read=(right, wrong, 0, 0, 0, 0, 0), smoothed=(0,) * 7, samples=samples)
        return judged(ClockStudy(found))["wrong_unreadable"]

    assert unreadable(19, 2, 20) is True
    assert unreadable(3, 3, 20) is None
    assert unreadable(10, 10, 20) is None
    assert unreadable(195, 195, 200) is False
    assert "surely less than 10%" in answer_to(ClockStudy(planted(read=(195, 195, 0, 0, 0, 0, 0))), "wrong_unreadable")


def test_a_loss_whose_gap_may_be_chance_is_not_called_harmless() -> None:
    rng = np.random.default_rng(5)
    right = rng.uniform(0, 1, 200)
    for shift, expected in ((0.5, True), (0.001, None), (-0.5, False)):
        found = planted(loss=np.stack([right, *(right + shift + rng.normal(0, 0.2, (6, 200)))]))
        assert judged(ClockStudy(found))["wrong_costs"] is expected, shift
        assert f"{found.loss[0].mean():.4f} with the right" in answer_to(ClockStudy(found), "wrong_costs")


def test_the_borders_bound_is_the_known_one_and_the_estimate_comes_near_it() -> None:
    at = np.array(BORDER_TIMESTEPS)
    error, _, bound = estimate_from_border(SCHEDULE, 67, at, 2000)
    assert np.all(np.abs(bound[at] - [1.1, 9.3, 26, 77, 205]) <= [0.05, 0.05, 0.5, 0.5, 0.5])  # known rounded
    assert np.all(np.abs(error[:3] / bound[at][:3] - 1) < 0.12)  # later the ends of the schedule are in the way
    fewer, _, _ = estimate_from_border(SCHEDULE, 17, at, 2000)
    assert fewer[1] == pytest.approx(2 * error[1], rel=0.15)  # a quarter of the pixels, twice the error


def test_below_the_bound_the_estimate_is_biased_for_it_ends_with_the_schedule() -> None:
    """What the caption says of a dot below the line: on a schedule that goes on, the same t is not below it."""
    pixels, at = 67, 699
    error, at_end, bound = estimate_from_border(SCHEDULE, pixels, np.array([at]), 2000)
    assert error[0] < 0.95 * bound[at]
    assert at_end[0] == pytest.approx(0.24, abs=0.05)  # so many estimates are the last t
    longer = NoiseSchedule(np.append(SCHEDULE.betas, SCHEDULE.betas[-1] * np.ones(2000)), "longer")
    further, _, same = estimate_from_border(longer, pixels, np.array([at]), 2000)
    assert same[at] == pytest.approx(bound[at])
    assert further[0] > same[at]


def test_the_border_tells_only_where_its_error_is_surely_small_enough() -> None:
    for error, expected in ((80.0, True), (98.0, None), (102.0, None), (120.0, False)):
        found = planted(time_error=error)
        assert judged(ClockStudy(found))["border_tells"] is expected, error
    assert "do not tell t" in answer_to(ClockStudy(planted(time_error=120)), "border_tells")


def test_the_classifier_gives_one_answer_to_all_of_pure_noise() -> None:
    """So the text says; as many as one answer makes right is then no reading."""
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert len(torch.unique(DigitClassifier.bundled()[0].read(noise))) == 1
    assert planted().facts().clock_constant == sum(k % 10 == 8 for k in range(200))


def test_shares_are_those_of_the_counts() -> None:
    assert planted().arms.shares(0) == [Share(194, 200)] * 2
    assert planted().arms.shares(4, smoothed=True) == [Share(180, 200)] * 2
    assert planted().facts().clock_read_smoothed == {
        name: dict(zip(ARMS, (193, 150, 20, 40, 180, 160, 175), strict=True)) for name in sampled_arms.SAMPLERS
    }
