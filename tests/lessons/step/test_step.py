"""A step taken apart, against the sampler's own account and the closed form."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, told_in_every_language
from sampler_arguments import with_config

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle, TruthOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.step.directions import StepDirections, half_interval, measure_directions
from viz_diffusion.lessons.step.exposure_bias import ExposureBias, longer, measure_exposure
from viz_diffusion.lessons.step.exposure_facts import exposure_claims, exposure_facts
from viz_diffusion.lessons.step.step_parts import StepParts, StepStudy, measure_steps
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run

SCHEDULE = NoiseSchedule.named("linear")


@functools.cache
def _record(sampler: str, steps: int | None, clip: bool = True, **options: object) -> Trajectory:
    torch.manual_seed(0)
    model = SimpleUNet(ModelConfig(channels=(8, 16), embedding_dim=24)).eval()
    torch.nn.init.normal_(model.conv_out.weight, std=0.1)
    options = {"sampler": sampler, "steps": steps, "clip": clip, **options}
    return record_generation(model, SCHEDULE, torch.tensor([3]), [11], **with_config(options, guidance_scale=1.5))


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 40), ("ddim", 40), ("ddpm", 1), ("dpm-solver++", 12)])
def test_the_parts_add_up_to_the_change(sampler: str, steps: int) -> None:
    recorded = _record(sampler, steps)
    parts = measure_steps(recorded)
    after = np.concatenate([recorded.x_t[0, 1:], recorded.x0])
    total = recorded.x_t[0] + parts.rescaled + parts.removed + parts.injected
    # float32 loses a share of the largest part: one step from t = 999 enlarges the picture 157 times
    largest = max(1.0, np.abs(parts.rescaled).max())
    assert np.abs(total - after).max() < 1e-5 * largest


def test_what_ddpm_injects_is_the_seeds_own_noise_times_sigma() -> None:
    recorded = _record("ddpm", None)
    parts = measure_steps(recorded)
    noise = ImageNoise([11])
    noise.draw()  # the block of noise itself
    for index in range(999):
        z = noise.draw()[0, 0].numpy()
        sigma = np.sqrt(SCHEDULE.betas[999 - index])
        assert np.abs(parts.injected[index, 0] - sigma * z).max() < 2e-5, index
    assert not parts.injected[999].any()  # the last step injects nothing


def test_without_clipping_what_is_removed_is_the_papers_multiple_of_the_predicted_noise() -> None:
    recorded = _record("ddpm", None, clip=False)
    parts = measure_steps(recorded)
    for index in (0, 300, 700, 998):
        t = 999 - index
        factor = SCHEDULE.betas[t] / np.sqrt(SCHEDULE.alphas[t] * (1 - SCHEDULE.alphas_cumprod[t]))
        expected = -factor * recorded.eps_pred[0, index]
        assert np.abs(parts.removed[index] - expected).max() < 1e-4 * max(1.0, np.abs(recorded.x_t[0, index]).max())


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_what_ddim_injects_with_eta_is_the_seeds_own_noise_times_its_sigma(spacing: str) -> None:
    recorded = _record("ddim", 40, eta=0.5, timestep_spacing=spacing)
    parts = measure_steps(recorded)
    spaced = SCHEDULE.respaced(recorded.timesteps[::-1])
    noise = ImageNoise([11])
    noise.draw()
    for index in range(39):
        z = noise.draw()[0, 0].numpy()
        sigma = 0.5 * np.sqrt(spaced.posterior_variance[39 - index])
        assert np.abs(parts.injected[index, 0] - sigma * z).max() < 2e-5, index
    assert np.abs(parts.injected[39]).max() < 1e-6  # rounding: the last step injects nothing


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
def test_without_fresh_noise_nothing_is_injected_at_all(sampler: str) -> None:
    facts = step.facts(measure_steps(_record(sampler, 40)))
    assert facts.injects_more == 0
    assert set(facts.injected) == {0.0}


def test_ddpm_injects_more_than_it_removes_as_the_closed_form_says() -> None:
    facts = step.facts(measure_steps(_record("ddpm", None)))
    at = facts.told_left.index(500)
    # sigma = sqrt(beta) at t = 499, times the norm of 784 standard normal numbers, about 28
    assert facts.injected[at] == pytest.approx(np.sqrt(SCHEDULE.betas[499]) * 28, rel=0.1)
    assert facts.injects_more > 900


def test_the_pixels_account_balances() -> None:
    before, rescaled, removed, injected, after = step.facts(measure_steps(_record("ddpm", 40))).pixel
    assert before + rescaled + removed + injected == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize(
    ("sampler", "steps", "name"), [("ddpm", None, "xₜ₋₁"), ("ddim", 50, "xₜ₋₂₀"), ("ddim", 7, "xₜ′")]
)
def test_what_is_there_after_a_step_is_named_by_how_far_it_goes(sampler: str, steps: int | None, name: str) -> None:
    figure = step.draw(measure_steps(_record(sampler, steps)))["ledger"]
    written = {text.get_text() for axes in figure.axes for text in axes.texts} | {t.get_text() for t in figure.texts}
    assert {text for text in written if text.startswith(("xₜ₋", "xₜ′"))} == {name}


def test_no_column_of_changes_is_blank_and_each_bar_is_as_long_as_its_norm() -> None:
    """The enlargement is a tenth of the injected noise: on one scale it would be white."""
    figure = step.draw(measure_steps(_record("ddpm", None)))["ledger"]
    changes = [image.get_array() for axes in figure.axes for image in axes.images if image.get_cmap().name == "PuOr"]
    changes = [values for values in changes if values.shape[0] == values.shape[1]]
    assert len(changes) == 9
    strongest = np.array([np.abs(values).max() for values in changes]).reshape(3, 3).max(axis=1)
    assert (strongest > 1.5).all()  # half of the colour scale, in every column
    bars = [patch for axes in figure.axes for patch in axes.patches]
    shares = np.array([bar.get_width() for bar in bars[1::2]]) / bars[0].get_width()
    said = [text.get_text().removeprefix("size ") for text in figure.texts if text.get_text().startswith("size ")]
    norms = [float(number) for number in said]
    assert np.allclose(shares, np.array(norms) / max(norms), atol=0.01)


def _truth(sampler: str, clip: bool = False) -> Trajectory:
    """Record generations of a denoiser that knows the image, which is one of noise."""
    x0 = torch.randn((1, 1, 28, 28), generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    arguments = with_config({"sampler": sampler, "steps": 100, "clip": clip}, guidance_scale=1.0)
    oracle = TruthOracle(SCHEDULE, x0)
    return record_generation(oracle, SCHEDULE, torch.tensor([0]), [0], **arguments)


def test_all_removals_of_ddim_with_the_true_image_are_one_direction() -> None:
    """Its ε̂ never changes: x_T less its small share of the image. So every removal is a multiple of that."""
    recorded = _truth("ddim")
    found = measure_directions([measure_steps(recorded)])
    assert np.allclose(found.cosine, 1, atol=1e-5)
    assert found.to_noise[0] == pytest.approx(-1, abs=1e-4)
    answers = outcomes(step.LESSON, measure_steps(recorded))
    assert answers == {"one_direction": True, "removes_noise": True, "enlarging": True}


def test_control_removals_of_ddpm_turn_because_its_noise_is_fresh() -> None:
    """With the true image, ε̂ is the noise that is in x_t, whose oldest part shrinks as fresh noise is injected."""
    found = measure_directions([measure_steps(_truth("ddpm"))])
    assert found.cosine[0, 0] > 0.85
    assert abs(found.cosine[0, found.told(0.4)]) < 0.2
    assert found.to_noise[0] < -0.95


def test_contributions_add_up_to_the_finished_image() -> None:
    recorded = _record("ddpm", 40)
    found = measure_directions([measure_steps(recorded)])
    assert found.along.sum() == pytest.approx(np.linalg.norm(recorded.x0[0]), rel=1e-3)
    one = _record("ddpm", 1)
    alone = measure_directions([measure_steps(one)])
    assert alone.lags.tolist() == [0]
    assert set(outcomes(step.LESSON, measure_steps(one))) == {"injects_more"}  # one step has no other to point with


def test_cosines_are_those_of_known_vectors() -> None:
    """Removals that turn by a fixed angle from step to step have the cosine of so many angles."""
    parts = measure_steps(_record("ddpm", 40))
    angle = 0.05 * np.arange(40)
    removed = np.zeros_like(parts.removed)
    removed[:, 0, 0, 0], removed[:, 0, 0, 1] = np.cos(angle) * (1 + angle), np.sin(angle) * (1 + angle)
    found = measure_directions([replace(parts, removed=removed)])
    assert np.allclose(found.cosine[0], np.cos(0.05 * found.lags), atol=1e-6)


def _general(far: float, to_noise: float, enlarging: float, spread: float = 0.01) -> StepDirections:
    """Return directions in 20 generations with these means, spread about them."""
    deviation = spread * np.resize([-1, 1], 20)
    lags = np.array([1, 100, 400])
    cosine = np.stack([np.full(20, 0.99), np.full(20, 0.5), far + deviation], axis=1)
    along = np.stack([np.zeros(20), enlarging + deviation, 27 - enlarging - deviation, np.zeros(20)], axis=1)
    return StepDirections(1000, lags, cosine, to_noise + deviation, deviation, deviation, along)


def _planted(parts: StepParts, kind: str) -> StepParts:
    """Return parts whose removals are one direction, or are not the noise, or in which enlarging adds nothing."""
    if kind == "one_direction":
        return replace(parts, removed=np.repeat(parts.removed[:1], len(parts.removed), axis=0))
    if kind == "removes_noise":
        return replace(parts, removed=-parts.removed)
    return replace(parts, rescaled=np.zeros_like(parts.rescaled))


@pytest.mark.parametrize("kind", ["one_direction", "removes_noise", "enlarging"])
def test_directions_are_told_both_ways(kind: str) -> None:
    recorded = _truth("ddpm")
    parts = measure_steps(recorded)
    context = make_context(TruthOracle(SCHEDULE, torch.zeros(1, 1, 28, 28)), recorded=recorded, heldout=10)
    usual = {"one_direction": False, "removes_noise": True, "enlarging": True}
    for data, holds in ((parts, usual[kind]), (_planted(parts, kind), not usual[kind])):
        finding = Finding.of(step.LESSON, data, full=False)
        place = next(k for k, claim in enumerate(finding.claims) if claim.name == kind)
        told = told_in_every_language(finding, context)
        assert finding.claims[place].holds is holds
        assert told["en"].answers[place].text.startswith("Yes." if holds else "No.")
        assert told["zh"].answers[place].text.startswith("是。" if holds else "否。")


def _exposure(own: float, tilde: float, *, near: float | None = None, too_long: float = 0.0) -> ExposureBias:
    """Return lengths of 20 generations, with these excesses from t = 10 down, and of 20 digits.

    ``near`` is the excess with β at t = 10 where it is another; digits are ``too_long`` by this share.
    """
    deviation = 0.002 * np.resize([-1, 1], (20, 1))
    at_end = np.array([0.0, 0.0, 1.0, 1.0])
    finished = np.full((20, 4), 27.0)
    excess = own * at_end if near is None else own * at_end + np.array([0, 0, near - own, 0])
    return ExposureBias(
        timesteps=np.array([900.0, 100.0, 10.0, 0.0]),
        num_train_timesteps=1000,
        pixels=784,
        draws=4,
        generated=finished * (1 + excess + deviation),
        finished=finished,
        real=finished,
        power=np.full((20, 4), 0.9),
        overlap=np.full((20, 4), 0.9 * too_long) + deviation,
        tilde=tilde * at_end + deviation,
        exact=0.3 * at_end,
        exact_tilde=0.02 * at_end,
    )


def test_many_generations_are_told_every_way_and_drawn() -> None:
    recorded = _truth("ddpm")
    context = make_context(TruthOracle(SCHEDULE, torch.zeros(1, 1, 28, 28)), recorded=recorded, heldout=10)
    exposure = _exposure(0.04, 0.0)
    for numbers, verdict in (
        ((0.1, -0.98, 27.0), "Yes"),
        ((0.8, -0.98, 27.0), "No"),
        ((0.1, -0.5, 27.0), "No"),
        ((0.1, -0.98, 5.0), "No"),
        ((0.5, -0.98, 27.0), "Undecided"),
    ):
        data = replace(measure_steps(recorded), study=StepStudy(_general(*numbers), exposure))
        told = told_in_every_language(Finding.of(step.LESSON, data, full=False), context)
        assert told["en"].answers[-4].verdict == verdict
        assert [one.name for one in told["zh"].drawings] == ["ledger", "directions", "exposure"]
    figure = step.draw(data)["directions"]
    words = " ".join(text.get_text() for text in figure.texts)
    wanted = ("enlargement", "removed noise", "+27.0", "distance between the two (in steps)", "−0.98")
    assert all(said in words for said in wanted)


def test_exposure_bias_is_told_every_way() -> None:
    parts, general = measure_steps(_truth("ddpm")), _general(0.1, -0.98, 27.0)
    for exposure, said in (
        (_exposure(0.04, 0.0), (True, True, False)),
        (_exposure(0.04, 0.04), (True, True, True)),
        (_exposure(0.04, 0.02), (True, True, None)),
        (_exposure(0.0, 0.0), (True, None, None)),
        (_exposure(-0.04, -0.04), (True, False, None)),
        (_exposure(0.04, 0.01, near=0.0), (True, True, None)),  # the two timesteps differ
        (_exposure(0.0, 0.0, near=0.04), (True, None, None)),  # a difference before the end only
        (_exposure(0.04, 0.0, too_long=0.2), (False, True, False)),
        (_exposure(0.04, 0.0, too_long=0.02), (None, True, False)),
    ):
        found = outcomes(step.LESSON, replace(parts, study=StepStudy(general, exposure)))
        assert tuple(found[name] for name in ("shorter", "exposure", "exposure_network")) == said


def test_from_which_timestep_on_the_prediction_is_longer_is_measured() -> None:
    """All timesteps are compared together: an interval of one alone would call a small difference sure."""
    claim = exposure_claims(_exposure(0.04, 0.0))[1]
    assert (claim.facts["exposure_from_t"], claim.facts["exposure_before"]) == (10, 2)
    assert claim.facts["exposure_before_sure"] == 0
    one = exposure_claims(_exposure(0.04, 0.0, near=0.0))[1]
    assert (one.facts["exposure_from_t"], one.facts["exposure_before"]) == (0, 3)
    alone = half_interval(_exposure(0.0, 0.0).excess)[-1]
    assert exposure_claims(_exposure(1.2 * float(alone), 0.0))[1].holds is None
    shifted = _exposure(0.04, 0.0)
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
    assert facts.end_excess == pytest.approx((0.035, 0.225), abs=0.001)
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


def test_many_generations_are_measured_on_the_traces() -> None:
    context = make_context(heldout=10, recorded_steps=12, traced=(3, 12))
    data = step.measure(context)
    assert data.study is not None
    general = data.study.directions
    assert general.to_noise.shape == (3,)
    own = measure_directions([measure_steps(context.traces, 1)])
    assert general.along[1] == pytest.approx(own.along[0])
    assert np.abs(general.to_other_noise).max() < 0.3  # another generation's noise
    assert general.to_noise.max() < -0.8
    traces, exposure = context.traces, data.study.exposure
    assert exposure.generated[1, -1] == pytest.approx(np.linalg.norm(traces.eps_pred[1, -1]))
    assert step.measure(replace(context, measure_slow=False)).study is None


def test_a_network_that_predicts_nothing_has_no_excess() -> None:
    """Before its first training step a network may predict 0 everywhere: a length of 0 is not longer than one of 0."""
    assert longer(np.array([0.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx([0, 0.5])
    nothing = _exposure(0.0, 0.0)
    zeros = np.zeros_like(nothing.generated)
    data = replace(nothing, generated=zeros, finished=zeros, real=zeros, power=zeros, overlap=zeros)
    facts = exposure_facts(data)
    assert (facts.end_excess, facts.end_to_real) == ((0, 0), (0, 0))
