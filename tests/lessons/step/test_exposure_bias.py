"""Exposure bias: the length of the predicted noise on generated states, against exact denoisers and both ways."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import outcomes
from step_results import exposure_result, general_result, truth_result

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.step.directions import half_interval
from viz_diffusion.lessons.step.exposure_bias import ExposureBias, longer, measure_exposure
from viz_diffusion.lessons.step.exposure_facts import exposure_claims, exposure_facts
from viz_diffusion.lessons.step.step_parts import StepStudy, measure_steps
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


def test_exposure_bias_is_told_every_way() -> None:
    parts, general = measure_steps(truth_result("ddpm")), general_result(0.1, -0.98, 27.0)
    for exposure, said in (
        (exposure_result(0.04, 0.0), (True, True, False)),
        (exposure_result(0.04, 0.04), (True, True, True)),
        (exposure_result(0.04, 0.02), (True, True, None)),
        (exposure_result(0.0, 0.0), (True, None, None)),
        (exposure_result(-0.04, -0.04), (True, False, None)),
        (exposure_result(0.04, 0.01, near=0.0), (True, True, None)),  # the two timesteps differ
        (exposure_result(0.0, 0.0, near=0.04), (True, None, None)),  # a difference before the end only
        (exposure_result(0.04, 0.0, too_long=0.2), (False, True, False)),
        (exposure_result(0.04, 0.0, too_long=0.02), (None, True, False)),
    ):
        found = outcomes(step.LESSON, replace(parts, study=StepStudy(general, exposure)))
        assert tuple(found[name] for name in ("shorter", "exposure", "exposure_network")) == said


def test_from_which_timestep_on_the_prediction_is_longer_is_measured() -> None:
    """All timesteps are compared together: an interval of one alone would call a small difference sure."""
    claim = exposure_claims(exposure_result(0.04, 0.0))[1]
    assert (claim.facts["exposure_from_t"], claim.facts["exposure_before"]) == (10, 2)
    assert claim.facts["exposure_before_sure"] == 0
    one = exposure_claims(exposure_result(0.04, 0.0, near=0.0))[1]
    assert (one.facts["exposure_from_t"], one.facts["exposure_before"]) == (0, 3)
    alone = half_interval(exposure_result(0.0, 0.0).excess)[-1]
    assert exposure_claims(exposure_result(1.2 * float(alone), 0.0))[1].holds is None
    shifted = exposure_result(0.04, 0.0)
    early = replace(shifted, generated=shifted.generated * np.array([0.9, 1, 1, 1]))
    assert exposure_claims(early)[1].facts["exposure_before_sure"] == 1


def test_the_shipped_answer_is_that_of_the_last_steps() -> None:
    """A mean over the compared timesteps, eight of which are below 76, would not be one over the last half."""
    study = load_results([step.LESSON], Run.bundled().load_model()[1])[StepStudy]
    claim = exposure_claims(study.exposure)[1]
    facts = exposure_facts(study.exposure)
    assert claim.holds is True
    assert claim.facts["exposure_from_t"] < 100
    assert claim.facts["exposure_before_sure"] == 0
    assert facts.end_t == (10, 0)
    assert facts.end_excess == pytest.approx((0.037, 0.228), abs=0.001)
    assert facts.end_exact == pytest.approx((0.039, 0.330), abs=0.001)
    assert facts.end_exact_tilde == pytest.approx((0.011, 0.021), abs=0.001)


@functools.cache
def _measured_exposure() -> ExposureBias:
    """Return what is measured of the exact denoiser of one Gaussian, on generations by it and on draws from it."""
    training = load_digits("train").first_of_each(600)
    gaussian = GaussianOracle.fit(SCHEDULE, training.images)
    mean, covariance = training.images.flatten(1).mean(dim=0), torch.cov(training.images.flatten(1).T)
    values, directions = torch.linalg.eigh(covariance)
    z = torch.randn((40, 784), generator=torch.Generator().manual_seed(0))
    drawn = mean + (z * values.clamp(min=0).sqrt()) @ directions.T
    heldout = Digits(drawn.reshape(-1, 1, 28, 28), torch.arange(40) % 10)
    config = SamplerConfig(steps=100, clip=False)
    traces = record_generation(gaussian, SCHEDULE, torch.arange(12) % 10, list(range(12)), config)
    return measure_exposure(gaussian, traces, heldout, training, (4, 12))


def test_an_exact_denoiser_is_as_long_as_a_conditional_mean_and_longer_on_its_own_states() -> None:
    """The exact denoiser cannot be at fault: its excess with β is the sampler's, and β̃ takes it away."""
    data = _measured_exposure()
    ratio, half = data.too_long()
    assert np.abs(ratio).max() < 0.02
    assert (np.abs(ratio) < 3 * half + 1e-3).all()
    facts = exposure_facts(data)
    # ε̂ of the last state, with the variance β: the noise of two timesteps' difference stays in it
    assert facts.exposure_excess[-1] > 0.1
    assert abs(facts.end_tilde[1]) < facts.end_excess[1] / 2
    # sampling it agrees with the closed form
    for sampled, closed in ((data.excess, data.exact), (data.tilde[:, :6], data.exact_tilde[:6])):
        assert np.abs(sampled.mean(axis=0) - closed).max() < 0.05
    assert facts.shorter_expected == pytest.approx(facts.shorter_length, rel=0.01)
    told = {claim.name: claim.holds for claim in exposure_claims(data)}
    assert told["exposure"] is True
    assert told["exposure_network"] is False


def test_control_a_prediction_that_is_too_long_is_no_conditional_mean() -> None:
    data = _measured_exposure()
    longer = replace(data, power=1.21 * data.power, overlap=1.21 * data.overlap + 0.11 * data.power)
    assert exposure_claims(longer)[0].holds is False


def test_a_network_that_predicts_nothing_has_no_excess() -> None:
    """Before its first training step a network may predict 0 everywhere: a length of 0 is not longer than one of 0."""
    assert longer(np.array([0.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx([0, 0.5])
    nothing = exposure_result(0.0, 0.0)
    zeros = np.zeros_like(nothing.generated)
    data = replace(nothing, generated=zeros, finished=zeros, real=zeros, power=zeros, overlap=zeros)
    facts = exposure_facts(data)
    assert (facts.end_excess, facts.end_to_real) == ((0, 0), (0, 0))
