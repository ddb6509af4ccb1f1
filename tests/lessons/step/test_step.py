"""A step taken apart, against the sampler's own account and the closed form."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, told_in_every_language
from sampler_arguments import with_config
from step_results import exposure_result, general_result, truth_result

from viz_diffusion.diffusion.oracles import TruthOracle
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.step.directions import measure_directions
from viz_diffusion.lessons.step.step_parts import StepParts, StepStudy, measure_steps
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory

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


def test_all_removals_of_ddim_with_the_true_image_are_one_direction() -> None:
    """Its ε̂ never changes: x_T less its small share of the image. So every removal is a multiple of that."""
    recorded = truth_result("ddim")
    found = measure_directions([measure_steps(recorded)])
    assert np.allclose(found.cosine, 1, atol=1e-5)
    assert found.to_noise[0] == pytest.approx(-1, abs=1e-4)
    answers = outcomes(step.LESSON, measure_steps(recorded))
    assert answers == {"one_direction": True, "removes_noise": True, "enlarging": True}


def test_control_removals_of_ddpm_turn_because_its_noise_is_fresh() -> None:
    """With the true image, ε̂ is the noise that is in x_t, whose oldest part shrinks as fresh noise is injected."""
    found = measure_directions([measure_steps(truth_result("ddpm"))])
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


def _planted(parts: StepParts, kind: str) -> StepParts:
    """Return parts whose removals are one direction, or are not the noise, or in which enlarging adds nothing."""
    if kind == "one_direction":
        return replace(parts, removed=np.repeat(parts.removed[:1], len(parts.removed), axis=0))
    if kind == "removes_noise":
        return replace(parts, removed=-parts.removed)
    return replace(parts, rescaled=np.zeros_like(parts.rescaled))


@pytest.mark.parametrize("kind", ["one_direction", "removes_noise", "enlarging"])
def test_directions_are_told_both_ways(kind: str) -> None:
    recorded = truth_result("ddpm")
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


def test_many_generations_are_told_every_way_and_drawn() -> None:
    recorded = truth_result("ddpm")
    context = make_context(TruthOracle(SCHEDULE, torch.zeros(1, 1, 28, 28)), recorded=recorded, heldout=10)
    exposure = exposure_result(0.04, 0.0)
    for numbers, verdict in (
        ((0.1, -0.98, 27.0), "Yes"),
        ((0.8, -0.98, 27.0), "No"),
        ((0.1, -0.5, 27.0), "No"),
        ((0.1, -0.98, 5.0), "No"),
        ((0.5, -0.98, 27.0), "Undecided"),
    ):
        data = replace(measure_steps(recorded), study=StepStudy(general_result(*numbers), exposure))
        told = told_in_every_language(Finding.of(step.LESSON, data, full=False), context)
        assert told["en"].answers[-4].verdict == verdict
        assert [one.name for one in told["zh"].drawings] == ["ledger", "directions", "exposure"]
    figure = step.draw(data)["directions"]
    words = " ".join(text.get_text() for text in figure.texts)
    wanted = ("enlargement", "removed noise", "+27.0", "distance between the two (in steps)", "−0.98")
    assert all(said in words for said in wanted)


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
