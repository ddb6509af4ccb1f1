"""Wrong clocks and the border's own: a denoiser that ignores its clock must not be found ruined, and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_material import deaf_to_time, make_material, mute, told_in_every_language

from viz_diffusion.data import Digits
from viz_diffusion.lessons import clock
from viz_diffusion.lessons.lesson import Finding
from viz_diffusion.lessons.wrong_clock import ARMS, WrongClock, clocks, read_border, tell_wrong_times
from viz_diffusion.run import Run
from viz_diffusion.sample import sample_images
from viz_diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.named("linear")


def test_clocks_tell_what_they_say() -> None:
    told = clocks(1000)
    assert tuple(told) == ARMS
    assert told["right"].tolist() == list(range(1000))
    assert set(told["frozen"]) == {500}
    assert told["reversed"][:3].tolist() == [999, 998, 997]
    assert sorted(told["shuffled"]) == list(range(1000)) != told["shuffled"].tolist()


def test_the_right_clock_changes_no_bit_and_says_that_somebody_stands_between() -> None:
    run = Run.bundled()
    model, _ = run.load_model()
    arm = WrongClock(model, clocks(1000)["right"], "right")
    labels = torch.arange(3)
    plain, told = (
        next(sample_images(one, SCHEDULE, labels, range(3), sampler="ddpm", steps=6)) for one in (model, arm)
    )
    assert torch.equal(plain, told)
    assert arm.interventions == "clock right"


def test_the_borders_bound_is_the_known_one_and_the_reading_comes_near_it() -> None:
    at = np.array([9, 99, 249, 499, 699])
    error, bound = read_border(SCHEDULE, 67, at, 2000)
    assert np.all(np.abs(bound[at] - [1.1, 9.3, 26, 77, 205]) <= [0.05, 0.05, 0.5, 0.5, 0.5])  # known rounded
    assert np.all(np.abs(error[:3] / bound[at][:3] - 1) < 0.12)  # later the ends of the schedule are in the way
    fewer, _ = read_border(SCHEDULE, 17, at, 2000)
    assert fewer[1] == pytest.approx(2 * error[1], rel=0.15)  # a quarter of the pixels, twice the error


def test_control_without_constant_pixels_nothing_tells_the_time() -> None:
    grey = Digits(torch.rand(50, 1, 28, 28), torch.arange(50) % 10)
    found = tell_wrong_times(mute(), SCHEDULE, grey, grey, is_mnist=False, sizes=(20, 10))
    assert found.constant_pixels == 0
    assert found.read is None  # nobody can read these
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims == {"wrong_costs": False, "border_tells": False}


def test_control_a_denoiser_that_never_looks_at_its_clock_is_not_ruined_by_a_wrong_one() -> None:
    material = make_material()
    found = tell_wrong_times(
        deaf_to_time(material.model), SCHEDULE, material.heldout, material.training, sizes=(40, 10)
    )
    assert np.array_equal(found.loss[0], found.loss[1])
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["wrong_costs"] is False
    assert claims["wrong_ruins"] is None or claims["wrong_ruins"] is False

    codes = clock.measure(material.network)
    for wrong, verdict in ((found, "Not found"), (replace(found, loss=found.loss * [[1], [9], [9], [9]]), "Found")):
        told = told_in_every_language(Finding.of(clock.LESSON, replace(codes, wrong=wrong), full=False), material)
        assert told["en"].answers[0].verdict == verdict
        assert len(told["zh"].answers) == 3


def test_the_bundled_network_is_ruined_by_every_wrong_clock() -> None:
    material = make_material()
    found = tell_wrong_times(material.model, SCHEDULE, material.heldout, material.training)
    assert {claim.name: claim.holds for claim in found.claims()} == {
        "wrong_costs": True, "wrong_ruins": True, "border_tells": True
    }  # fmt: skip
    assert found.constant_pixels == 67
