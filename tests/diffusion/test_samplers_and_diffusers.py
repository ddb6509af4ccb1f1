"""The samplers against diffusers' schedulers: step by step, and by the golden sums of diffusers' own tests."""

from __future__ import annotations

import diffusers.schedulers.scheduling_ddpm as their_ddpm
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from sampler_inputs import EXACT, SHAPE, half_random, relative, start
from torch import Tensor

from viz_diffusion.diffusion.samplers import ddim_steps, ddpm_steps, dpm_solver_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule, linear_betas
from viz_diffusion.diffusion.timesteps import spaced_timesteps


def in_float64(scheduler: object, schedule: NoiseSchedule) -> object:
    """Give diffusers' scheduler float64 tables; its formulas stay its own."""
    scheduler.alphas_cumprod = torch.from_numpy(schedule.alphas_cumprod)
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


# -- diffusers, step by step -----------------------------------------------------------------------

# In float32 diffusers gets β_t as 1 - ᾱ_t/ᾱ_{t-1}, with an error of some 2^-24 against β_0 = 1e-4.
STOCK = 2 * 2.0**-24 / 1e-4
PRECISIONS = [pytest.param(torch.float32, STOCK, id="stock"), pytest.param(torch.float64, EXACT, id="float64")]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("variance", "theirs"), [("beta", "fixed_large"), ("beta_tilde", "fixed_small")])
def test_ddpm_equals_diffusers_at_every_t(
    dtype: torch.dtype,
    tolerance: float,
    clip: bool,
    variance: str,
    theirs: str,
    fixed_noise: type,
    linear: NoiseSchedule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = DDPMScheduler(variance_type=theirs, clip_sample=clip)
    if dtype == torch.float64:
        in_float64(scheduler, linear)
    visited, injected = [], []
    monkeypatch.setattr(their_ddpm, "randn_tensor", lambda *_, **__: injected.append(1) or step.noise)
    noise = fixed_noise(start(dtype))
    for step in ddpm_steps(half_random, linear, noise, None, variance=variance, clip=clip):
        answer = scheduler.step(step.eps_pred, step.t, step.x_t)
        assert relative(step.x_prev, answer.prev_sample) < tolerance, step.t
        assert relative(step.x0_pred, answer.pred_original_sample) < tolerance, step.t
        visited.append(step.t)
    assert visited == list(range(999, -1, -1))
    assert len(injected) == 999  # at every t but 0


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_equals_diffusers_at_every_t(
    dtype: torch.dtype, tolerance: float, clip: bool, eta: float, fixed_noise: type, linear: NoiseSchedule
) -> None:
    scheduler = DDIMScheduler(set_alpha_to_one=True, timestep_spacing="trailing", clip_sample=clip)
    scheduler.set_timesteps(1000)
    if dtype == torch.float64:
        in_float64(scheduler, linear)
    visited, silent = [], torch.zeros(SHAPE, dtype=dtype)
    for step in ddim_steps(half_random, linear, fixed_noise(start(dtype)), None, eta=eta, clip=clip):
        answer = scheduler.step(
            step.eps_pred,
            step.t,
            step.x_t,
            eta=eta,
            use_clipped_model_output=clip,
            variance_noise=silent if step.noise is None else step.noise,
        )
        assert (step.noise is None) == (eta == 0 or step.t == 0)
        assert relative(step.x_prev, answer.prev_sample) < tolerance, step.t
        assert relative(step.x0_pred, answer.pred_original_sample) < tolerance, step.t
        visited.append(step.t)
    assert visited == list(range(999, -1, -1))


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 333])
@pytest.mark.parametrize(("variance", "theirs"), [("beta", "fixed_large"), ("beta_tilde", "fixed_small")])
def test_ddpm_with_fewer_steps_equals_diffusers(
    steps: int,
    variance: str,
    theirs: str,
    fixed_noise: type,
    linear: NoiseSchedule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visited = spaced_timesteps(1000, steps)
    scheduler = in_float64(DDPMScheduler(variance_type=theirs, clip_sample=True), linear)
    scheduler.set_timesteps(timesteps=visited.tolist())
    monkeypatch.setattr(their_ddpm, "randn_tensor", lambda *_, **__: torch.zeros(()) if z is None else z)
    noise, z = fixed_noise(start(torch.float64)), None
    for step in ddpm_steps(half_random, linear, noise, None, timesteps=visited, variance=variance):
        z = step.noise
        answer = scheduler.step(step.eps_pred, step.t, step.x_t)
        assert relative(step.x_prev, answer.prev_sample) < EXACT, step.t


@pytest.mark.parametrize("steps", [1, 2, 50, 250])
def test_ddim_with_fewer_steps_equals_diffusers(steps: int, fixed_noise: type, linear: NoiseSchedule) -> None:
    scheduler = in_float64(DDIMScheduler(set_alpha_to_one=True, timestep_spacing="trailing", clip_sample=True), linear)
    scheduler.set_timesteps(steps)
    visited = []
    noise = fixed_noise(start(torch.float64))
    for step in ddim_steps(half_random, linear, noise, None, timesteps=spaced_timesteps(1000, steps)):
        answer = scheduler.step(step.eps_pred, step.t, step.x_t, use_clipped_model_output=True)
        assert relative(step.x_prev, answer.prev_sample) < EXACT, step.t
        visited.append(step.t)
    assert visited == scheduler.timesteps.tolist()


THEIR_NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in set_timesteps


def dpm_solver(schedule: NoiseSchedule, timesteps: np.ndarray, order: int = 2) -> DPMSolverMultistepScheduler:
    """Give diffusers' solver these timesteps and float64 tables; it is fed x̂_0, since it never clips."""
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        solver_order=order,
        prediction_type="sample",
        final_sigmas_type="zero",
        lower_order_final=True,
    )
    scheduler.set_timesteps(timesteps=timesteps.tolist())
    shares = schedule.alphas_cumprod[timesteps]
    scheduler.sigmas = torch.from_numpy(np.append(np.sqrt((1 - shares) / shares), 0.0))
    return scheduler


@THEIR_NUMPY
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 14, 15, 50, 333, 1000])
def test_dpm_solver_equals_diffusers_at_every_t(
    steps: int, spacing: str, order: int, clip: bool, fixed_noise: type, linear: NoiseSchedule
) -> None:
    """Diffusers takes its state in float32, whatever it is given: 2^-24 of each of three terms."""
    timesteps = spaced_timesteps(1000, steps, spacing)
    scheduler = dpm_solver(linear, timesteps, order)
    visited = []
    noise = fixed_noise(start(torch.float64))
    for step in dpm_solver_steps(half_random, linear, noise, None, timesteps=timesteps, order=order, clip=clip):
        answer = scheduler.step(step.x0_pred, step.t, step.x_t)
        assert relative(step.x_prev, answer.prev_sample) < 8 * 2.0**-24, step.t
        assert step.noise is None
        visited.append(step.t)
    assert visited == timesteps.tolist()
    assert torch.equal(step.x_prev, step.x0_pred)


@THEIR_NUMPY
@pytest.mark.parametrize("steps", [3, 50, 1000])
def test_the_second_order_makes_a_difference(steps: int, fixed_noise: type, linear: NoiseSchedule) -> None:
    """A control: against diffusers' first order the second-order solver fails."""
    timesteps = spaced_timesteps(1000, steps)
    scheduler = dpm_solver(linear, timesteps, order=1)
    noise = fixed_noise(start(torch.float64))
    apart = [
        relative(step.x_prev, scheduler.step(step.x0_pred, step.t, step.x_t).prev_sample)
        for step in dpm_solver_steps(half_random, linear, noise, None, timesteps=timesteps)
    ]
    assert apart[0] < 8 * 2.0**-24 < max(apart)


# -- golden sums of diffusers' own tests -----------------------------------------------------------


def golden_start() -> Tensor:
    """768 numbers 0 .. 767/768, counted image by image in the last place: (4, 3, 8, 8)."""
    return (torch.arange(4 * 3 * 8 * 8) / (4 * 3 * 8 * 8)).reshape(3, 8, 8, 4).permute(3, 0, 1, 2)


def golden_denoiser(x: Tensor, timesteps: Tensor) -> Tensor:
    t = int(timesteps[0])
    return x * t / (t + 1)


def test_golden_sums_of_ddpm(linear: NoiseSchedule, fixed_noise: type) -> None:
    noise = fixed_noise(golden_start(), seed=0)
    for step in ddpm_steps(golden_denoiser, linear, noise, None, variance="beta_tilde"):
        assert torch.isfinite(step.x_prev).all()
    assert step.x_prev.abs().sum().item() == pytest.approx(258.9606, abs=1e-2)
    assert step.x_prev.abs().mean().item() == pytest.approx(0.3372, abs=1e-3)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_golden_sums_tell_the_two_variances_apart(variance: str, linear: NoiseSchedule, fixed_noise: type) -> None:
    """A control: with the other variance the golden sum is missed."""
    for step in ddpm_steps(golden_denoiser, linear, fixed_noise(golden_start(), seed=0), None, variance=variance):
        last = step.x_prev
    assert (abs(last.abs().sum().item() - 258.9606) < 1e-2) == (variance == "beta_tilde")


def test_golden_sums_of_ddim(fixed_noise: type) -> None:
    schedule = NoiseSchedule(linear_betas(1000, start=0.01))
    visited = np.arange(900, -1, -100)
    for step in ddim_steps(golden_denoiser, schedule, fixed_noise(golden_start()), None, timesteps=visited):
        last = step.x_prev
    assert last.abs().sum().item() == pytest.approx(149.8295, abs=1e-2)
    assert last.abs().mean().item() == pytest.approx(0.1951, abs=1e-3)
