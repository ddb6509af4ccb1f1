"""A step taken apart, against the sampler's own account and the closed form."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from sampler_arguments import with_config

from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.lessons.step.step_parts import measure_steps
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
    ("sampler", "steps", "name"), [("ddpm", None, "$x_{t-1}$"), ("ddim", 50, "$x_{t-20}$"), ("ddim", 7, "$x_{t'}$")]
)
def test_what_is_there_after_a_step_is_named_by_how_far_it_goes(sampler: str, steps: int | None, name: str) -> None:
    figure = step.draw(measure_steps(_record(sampler, steps)))["ledger"]
    written = {text.get_text() for axes in figure.axes for text in axes.texts} | {t.get_text() for t in figure.texts}
    assert {text for text in written if text.startswith(("$x_{t-", "$x_{t'"))} == {name}
