"""The guess beside the ideal one, and a step beside its formula: oracles that must pass, others that must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, mute, outcomes, speckle, told_in_every_language

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle, TruthOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.context import LessonContext, record_traces
from viz_diffusion.lessons.guess import lesson as guess
from viz_diffusion.lessons.guess.figures import IdealFrames, draw_ideal
from viz_diffusion.lessons.guess.ideal_denoiser import compare_with_ideal
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.step.step_parts import StepParts, deviation_from_ddim
from viz_diffusion.plots.words import use_texts
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.views import strip as strip_view

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def some() -> tuple[Digits, Digits]:
    """Return held-out and training digits, few of them."""
    test, training = load_digits("test"), load_digits("train")
    return Digits(test.images[:300], test.labels[:300]), Digits(training.images[:2000], training.labels[:2000])


def test_the_ideal_denoiser_is_its_own_measure(some: tuple[Digits, Digits]) -> None:
    heldout, training = some
    oracle = EmpiricalOracle(SCHEDULE, training.images, training.labels)
    found = compare_with_ideal(oracle, SCHEDULE, heldout, training, count=30)
    assert np.allclose(found.error[1:], found.ideal_error[1:], rtol=1e-3, atol=1e-4)
    claims = {claim.name: claim.holds for claim in found.claims()}
    assert claims["blur_is_right"] is True
    assert claims["beats_memory"] is not True  # it is the memory
    assert found.gain[0] == pytest.approx(157.4, abs=0.05)


def test_an_error_of_the_noise_reaches_the_guess_times_the_gain(some: tuple[Digits, Digits]) -> None:
    heldout, training = some
    found = compare_with_ideal(mute(), SCHEDULE, heldout, training, count=30)
    assert np.allclose(np.sqrt(found.error.mean(axis=1)), found.gain * found.eps_error, rtol=1e-4)


def test_control_whoever_knows_the_picture_beats_the_ideal_and_whoever_sees_nothing_does_not(
    some: tuple[Digits, Digits],
) -> None:
    heldout, training = some
    generator = torch.Generator().manual_seed(3001)
    rows = torch.randperm(len(heldout), generator=generator)[:30]
    x0 = torch.cat([heldout.typical_of(5)[None], heldout.images[rows]])
    knowing = compare_with_ideal(TruthOracle(SCHEDULE, x0), SCHEDULE, heldout, training, count=30)
    assert knowing.error.max() < 1e-3
    assert all(claim.holds for claim in knowing.claims())
    blind = compare_with_ideal(mute(), SCHEDULE, heldout, training, count=30)
    assert [claim.holds for claim in blind.claims()] == [False, False]


def test_a_blur_is_not_called_speckle_nor_speckle_a_blur(some: tuple[Digits, Digits]) -> None:
    training = some[1]
    visited = np.arange(0, 1000, 50)[::-1]
    blurred = record_traces(EmpiricalOracle(SCHEDULE, training.images, training.labels), SCHEDULE, 1, visited)
    speckled = record_traces(speckle(), SCHEDULE, 1, visited)
    facts = strip_view.facts(strip_view.measure(blurred))
    assert (facts["speckle_left"], facts["first_far"]) == (0, 0.0)
    facts = strip_view.facts(strip_view.measure(speckled))
    assert facts["first_far"] > 0.9  # an error of 1 reaches the guess 70 times as large at t = 950
    assert 1 <= facts["speckle_left"] < 10  # for more than half of the 20 steps


def test_the_guess_is_told_both_ways(some: tuple[Digits, Digits]) -> None:
    _, training = some
    oracle = EmpiricalOracle(SCHEDULE, training.images, training.labels)
    for denoiser, verdict in ((oracle, "Yes"), (mute(), "No")):
        context = make_context(denoiser, recorded_steps=6, given_training=training)
        told = told_in_every_language(Finding.measure(guess.LESSON, context), context)
        assert told["en"].answers[0].verdict == verdict
        assert [drawing.name for drawing in told["zh"].drawings] == ["steps", "ideal"]


@pytest.fixture(scope="module")
def context() -> LessonContext:
    return make_context(mute(), recorded_steps=20)


@pytest.fixture(scope="module")
def data(context: LessonContext) -> StepParts:
    return step.LESSON.measure(context)


def test_ddim_ends_where_its_formula_says_and_a_hidden_eta_is_caught(context: LessonContext, data: StepParts) -> None:
    found = outcomes(step.LESSON, data)
    assert (found["injects_more"], found["ddim_injects_nothing"]) == (True, True)
    noisy = record_generation(
        context.model, SCHEDULE, torch.tensor([5]), [0], SamplerConfig("ddim", 20, guidance_scale=1.0, eta=0.3)
    )
    caught = replace(data, ddim_rest=deviation_from_ddim(replace(noisy, eta=0.0)))
    assert outcomes(step.LESSON, caught)["ddim_injects_nothing"] is False


def test_no_distance_at_all_is_called_0_and_a_small_one_keeps_its_digits(data: StepParts) -> None:
    for rest, told in ((0.0, "0"), (1.2e-7, "1.2e-07")):
        assert step.facts(replace(data, ddim_rest=np.array([0.0, rest]))).ddim_rest_told == told


def test_steps_are_told_both_ways(context: LessonContext, data: StepParts) -> None:
    contrary = replace(data, injected=data.injected * 1e-3, ddim_rest=np.array([0.2]))
    for found, verdict in ((data, "Yes"), (contrary, "No")):
        told = told_in_every_language(Finding.of(step.LESSON, found, full=False), context)
        verdicts = dict(zip(outcomes(step.LESSON, found), (one.verdict for one in told["en"].answers), strict=True))
        assert (verdicts["injects_more"], verdicts["ddim_injects_nothing"]) == (verdict, verdict)


@pytest.mark.parametrize("missing", ["heldout", "given_training"])
def test_the_comparison_is_left_out_where_no_image_has_the_label(missing: str, some: tuple[Digits, Digits]) -> None:
    """Of a prompt that was held out of training, training has no image: nothing is encoded or compared."""
    heldout, training = some
    context = replace(make_context(mute(), recorded_steps=3), heldout=heldout, given_training=training)
    assert guess._has_others(context)
    digits = getattr(context, missing)
    without = digits.take(torch.nonzero(digits.labels != context.digit)[:, 0])
    left = replace(context, **{missing: without})
    assert not guess._has_others(left)
    assert guess.measure(left).ideal is None


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("space", ["pixel", "latent"])
def test_the_figure_of_the_ideal_denoiser_names_a_prompt_and_stays_on_its_page(lang: str, space: str) -> None:
    prompts = ("a thick slanted seven", "a thin wide upright eight")
    texts = load_texts(lang).for_classes(prompts).for_space(space).for_prompts(prompts)
    frames = IdealFrames(np.array([999, 500]), *(np.zeros((2, 28, 28)) for _ in range(3)), np.zeros((28, 28)))
    with use_texts(texts):
        figure = draw_ideal(frames, np.ones(2), np.ones(2), 100, 1)
    said = [text for text in figure.texts if "“" in text.get_text()]
    assert said
    assert all("eight" in text.get_text() and "“1”" not in text.get_text() for text in said)
    assert all(text.get_window_extent().x1 <= figure.bbox.width for text in figure.texts)
