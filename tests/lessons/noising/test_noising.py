"""The closed form of the forward process, tested step by step; and chains that must fail."""

from __future__ import annotations

import numpy as np
import pytest
from lesson_context import make_context, mute, outcomes, told_in_every_language

from viz_diffusion.diffusion.schedule import NoiseSchedule, linear_betas
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.noising import lesson as noising
from viz_diffusion.lessons.noising.forward_process import measure_noising, run_chains

T = np.array([0, 50, 250, 999])


def blot() -> np.ndarray:
    image = np.full((28, 28), -1, np.float32)
    image[8:20, 10:18] = 1
    return image


def test_chains_follow_the_closed_form() -> None:
    schedule = NoiseSchedule.named("linear")
    chains = run_chains(blot(), schedule, T, 40)
    assert chains.largest < noising.LARGEST_DEVIATION
    assert np.allclose(chains.signal, np.sqrt(schedule.alphas_cumprod[T]), atol=4 / np.sqrt(40 * 784))
    assert np.allclose(chains.spread, np.sqrt(1 - schedule.alphas_cumprod[T]), rtol=4 / np.sqrt(2 * 40 * 784))


@pytest.mark.parametrize("mistake", ["no square root", "off by one"])
def test_control_a_wrong_closed_form_is_noticed(mistake: str) -> None:
    schedule = NoiseSchedule.named("linear")
    if mistake == "no square root":
        vars(schedule)["alphas"] = (1 - schedule.betas) ** 2
    else:
        vars(schedule)["alphas_cumprod"] = np.concatenate([[1 - 1e-9], schedule.alphas_cumprod[:-1]])
    assert run_chains(blot(), schedule, T[1:], 150).largest > 2 * noising.LARGEST_DEVIATION


def test_a_schedule_that_leaves_no_signal_ends_at_minus_infinity() -> None:
    data = measure_noising(make_context(mute(), heldout=400).heldout, NoiseSchedule.named("zero-snr"), chains=2)
    facts = noising.facts(data)
    assert facts.crossing == 258
    assert facts.snr_db[-1] is None
    assert facts.snr_db_last == "-∞"


def test_what_was_found_is_told_both_ways() -> None:
    context = make_context(mute(), heldout=400)
    found = Finding.measure(noising.LESSON, context)
    assert [claim.holds for claim in found.claims] == [True, True]
    told = told_in_every_language(found, context)
    assert "0.991 at t = 259" in told["en"].answers[1].text

    gentle = NoiseSchedule(linear_betas() / 40, "custom")  # never below 1
    vars(gentle)["alphas"] = 1 - gentle.betas * 1.3
    data = measure_noising(context.heldout, gentle, chains=20)
    assert outcomes(noising.LESSON, data) == {"closed_form": False, "crossing": False}
    told = told_in_every_language(Finding.of(noising.LESSON, data, full=False), context)
    assert [one.verdict for one in told["en"].answers] == ["No", "No"]
    assert [one.verdict for one in told["zh"].answers] == ["否", "否"]
