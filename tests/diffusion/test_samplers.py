"""The samplers: one against another, closed forms, what a step holds, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from sampler_arguments import with_config
from sampler_inputs import EXACT, SHAPE, half_random, relative, start
from torch import Tensor

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, ddpm_steps, dpm_solver_steps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

# -- one sampler is another ------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [7, 1000])
def test_ddim_with_eta_one_is_ddpm_with_beta_tilde(
    steps: int, clip: bool, fixed_noise: type, linear: NoiseSchedule
) -> None:
    timesteps = spaced_timesteps(1000, steps)

    def run(sampler: Callable[..., object], **options: object) -> Tensor:
        noise = fixed_noise(start(torch.float64))
        return [s.x_prev for s in sampler(half_random, linear, noise, None, timesteps=timesteps, clip=clip, **options)]

    ddpm, ddim = run(ddpm_steps, variance="beta_tilde"), run(ddim_steps, eta=1.0)
    assert all(relative(a, b) < EXACT for a, b in zip(ddpm, ddim, strict=True))
    other = run(ddim_steps, eta=0.9)
    assert relative(other[-1], ddpm[-1]) > 1e-3


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_dpm_solver_of_first_order_is_ddim(steps: int, clip: bool, fixed_noise: type, linear: NoiseSchedule) -> None:
    timesteps = spaced_timesteps(1000, steps)

    def run(sampler: Callable[..., object], **options: object) -> list[Tensor]:
        noise = fixed_noise(start(torch.float64))
        return [s.x_prev for s in sampler(half_random, linear, noise, None, timesteps=timesteps, clip=clip, **options)]

    ddim, first = run(ddim_steps), run(dpm_solver_steps, order=1)
    assert all(relative(a, b) < EXACT for a, b in zip(first, ddim, strict=True))


# -- truth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [ddpm_steps, ddim_steps, dpm_solver_steps])
@pytest.mark.parametrize("steps", [1000, 50, 7])
def test_the_true_noise_gives_back_the_image(
    sampler: Callable[..., object], steps: int, fixed_noise: type, linear: NoiseSchedule
) -> None:
    x0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1

    def truth(x: Tensor, timesteps: Tensor) -> Tensor:
        share = torch.from_numpy(linear.alphas_cumprod)[timesteps[0]]
        return (x - share.sqrt() * x0) / (1 - share).sqrt()

    visited = spaced_timesteps(1000, steps)
    for step in sampler(truth, linear, fixed_noise(start(torch.float64)), None, timesteps=visited):
        # 1/√ᾱ is 157 at most, and rounding some 1e-16
        assert (step.x0_raw - x0).abs().max() < 1e-12
    assert (step.x_prev - x0).abs().max() < 1e-12


def test_ddim_under_the_added_noise_walks_back_along_the_forward_path(fixed_noise: type, linear: NoiseSchedule) -> None:
    """Fed the very ε that was added, DDIM's x_t is add_noise(x0, ε, t) at every t."""
    generator = torch.Generator().manual_seed(3)
    x0 = torch.rand(SHAPE, generator=generator, dtype=torch.float64) * 2 - 1
    eps = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    first = linear.add_noise(x0, eps, 999)
    for step in ddim_steps(lambda *_: eps, linear, fixed_noise(first), None, clip=False):
        torch.testing.assert_close(step.x_t, linear.add_noise(x0, eps, step.t), rtol=0, atol=1e-12)
    torch.testing.assert_close(step.x_prev, x0, rtol=0, atol=1e-12)


# -- what a step is --------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_steps_hang_together_and_the_last_has_no_noise(variance: str, linear: NoiseSchedule, fixed_noise: type) -> None:
    sigma = np.sqrt(linear.betas if variance == "beta" else linear.posterior_variance)
    noise = fixed_noise(start(torch.float64))
    steps = list(ddpm_steps(half_random, linear, noise, None, variance=variance))
    assert [step.t for step in steps if step.noise is None] == [0]
    for step, following in pairwise(steps):
        assert torch.equal(step.x_prev, following.x_t)
    for step in steps:
        assert torch.equal(step.x0_pred, step.x0_raw.clamp(-1, 1))
        mean = linear.posterior_mean(step.x0_pred, step.x_t, step.t)
        injected = 0 if step.noise is None else sigma[step.t] * step.noise
        torch.testing.assert_close(step.x_prev, mean + injected, rtol=1e-12, atol=1e-12)
    assert torch.equal(steps[-1].x_prev, linear.posterior_mean(steps[-1].x0_pred, steps[-1].x_t, 0))
    assert any(not torch.equal(step.x0_pred, step.x0_raw) for step in steps)  # clipping did something


def test_without_clipping_the_predicted_x0_stays_raw(linear: NoiseSchedule, fixed_noise: type) -> None:
    noise = fixed_noise(start(torch.float32))
    steps = list(ddpm_steps(half_random, linear, noise, None, clip=False))
    assert all(torch.equal(step.x0_pred, step.x0_raw) for step in steps)
    assert max(step.x0_raw.abs().max().item() for step in steps) > 10


@pytest.mark.parametrize("sampler", [ddim_steps, dpm_solver_steps])
def test_a_step_without_fresh_noise_draws_none(sampler: Callable[..., object], linear: NoiseSchedule) -> None:
    noise = ImageNoise([0, 1], (1, 4, 4))
    steps = list(sampler(half_random, linear, noise, None))
    assert all(step.noise is None for step in steps)
    assert torch.equal(noise.draw(), _second_draw())  # only x_T was taken


def _second_draw() -> Tensor:
    noise = ImageNoise([0, 1], (1, 4, 4))
    noise.draw()
    return noise.draw()


def test_sampling_changes_neither_gradients_nor_the_global_generator(linear: NoiseSchedule) -> None:
    before = torch.get_rng_state()
    seen = [
        torch.is_grad_enabled()
        for _ in sampling_steps(half_random, linear, ImageNoise([0], (1, 2, 2)), None, SamplerConfig(steps=5))
    ]
    assert seen == [True] * 5
    assert torch.equal(torch.get_rng_state(), before)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "said"), [(-1, "at least 1, found -1"), (0, "at least 1"), (1001, r"1\.\.1000, found 1001")]
)
def test_impossible_step_counts_are_refused(steps: int, said: str, linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        sampling_steps(half_random, linear, ImageNoise([0]), None, SamplerConfig(steps=steps))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sampler": "lms"}, r"sampler.*ddpm, ddim, dpm-solver\+\+, euler, heun, found 'lms'"),
        ({"variance": "learned"}, "variance must be beta or beta_tilde, found 'learned'"),
        ({"sampler": "ddim", "variance": "beta_tilde"}, "variance goes with sampler ddpm, not with ddim"),
        ({"sampler": "ddim", "eta": -0.1}, r"eta must lie in 0\.\.1, found -0\.1"),
        ({"sampler": "ddim", "eta": 1.1}, r"eta must lie in 0\.\.1, found 1\.1"),
        ({"sampler": "ddim", "eta": float("nan")}, "eta"),
        ({"eta": 0.5}, "eta goes with sampler ddim, not with ddpm"),
        ({"sampler": "dpm-solver++", "eta": 0.5}, r"eta goes with sampler ddim, not with dpm-solver\+\+"),
        ({"timestep_spacing": "leading"}, "timestep_spacing must be trailing or linspace, found 'leading'"),
    ],
)
def test_impossible_values_are_refused_before_the_denoiser_is_evaluated(
    options: dict[str, object], named: str, linear: NoiseSchedule
) -> None:
    with pytest.raises(VizdiffUsageError, match=named):
        sampling_steps(half_random, linear, ImageNoise([0]), None, **with_config(options))


def test_zero_terminal_snr_is_refused_with_its_reason() -> None:
    schedule = NoiseSchedule.named("zero-snr")
    with pytest.raises(VizdiffUsageError, match=r"zero-snr schedule leaves no signal at t = 999 .*ε-prediction"):
        sampling_steps(half_random, schedule, ImageNoise([0]), None)
    with pytest.raises(VizdiffUsageError, match="ε-prediction"):
        list(ddim_steps(half_random, schedule, ImageNoise([0], (1, 2, 2)), None))
    with pytest.raises(VizdiffUsageError, match="order"):
        next(dpm_solver_steps(half_random, NoiseSchedule.named("linear"), ImageNoise([0]), None, order=3))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++"])
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 333])
def test_a_sampler_visits_the_given_timesteps(sampler: str, spacing: str, steps: int, linear: NoiseSchedule) -> None:
    noise = ImageNoise([0], (1, 2, 2))
    options = {"sampler": sampler, "steps": steps, "timestep_spacing": spacing}
    evaluated: list[int] = []

    def listening(x: Tensor, timesteps: Tensor) -> Tensor:
        evaluated.append(int(timesteps[0]))
        return half_random(x, timesteps)

    found = [step.t for step in sampling_steps(listening, linear, noise, None, **with_config(options))]
    assert found == evaluated == spaced_timesteps(1000, steps, spacing).tolist()


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++"])
def test_timesteps_may_be_given_one_by_one(sampler: str, linear: NoiseSchedule) -> None:
    wanted = np.array([700, 31, 5])
    noise = ImageNoise([0], (1, 2, 2))
    found = sampling_steps(half_random, linear, noise, None, SamplerConfig(sampler, 2), timesteps=wanted)
    assert [step.t for step in found] == wanted.tolist()


def test_the_clipped_share_is_counted_before_clipping(linear: NoiseSchedule, fixed_noise: type) -> None:
    for clip in (True, False):
        for step in ddim_steps(half_random, linear, fixed_noise(start(torch.float32)), None, clip=clip):
            wanted = [sum(abs(v) > 1 for v in image.flatten().tolist()) / 16 for image in step.x0_raw]
            assert step.clipped_share.tolist() == wanted
        assert step.clipped_share.shape == (2,)
