"""Euler and Heun against diffusers, exact solutions and their orders of convergence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler
from torch import Tensor, nn

from viz_diffusion.diffusion.ode_samplers import euler_steps, heun_steps
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, convert
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step, ddim_steps, ddpm_steps, dpm_solver_steps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

FLOW = NoiseSchedule.named("flow")
FINE_FLOW = NoiseSchedule.named("flow", 6400)
SHAPE = (3, 1, 4, 4)
MEAN = 0.2
SPREADS = torch.linspace(0.2, 1.5, 16, dtype=torch.float64).reshape(1, 1, 4, 4)


class GaussianFlow(nn.Module):
    """The exact velocity E[ε - x_0 | x_σ] of pixels N(MEAN, SPREADS²), which flow from z to MEAN + SPREADS z."""

    prediction_type = "flow"
    null_label = 10

    def __init__(self, num_timesteps: int = 1000, shift: float = 0.0) -> None:
        super().__init__()
        self.num_timesteps = num_timesteps
        self.shift = shift
        self.asked: list[tuple[float, int]] = []

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        self.asked.append((float(timesteps[0]), len(x)))
        sigma = ((timesteps.double() + 1) / self.num_timesteps)[:, None, None, None]
        mean = MEAN if labels is None else MEAN + self.shift * (labels != 10).double()[:, None, None, None]
        power = ((1 - sigma) * SPREADS) ** 2 + sigma**2
        centred = x - (1 - sigma) * mean
        x0 = mean + (1 - sigma) * SPREADS**2 / power * centred
        return sigma / power * centred - x0  # ε̂ - x̂_0


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def half_random(x: Tensor, timesteps: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(int(timesteps[0]))
    return 0.5 * x + torch.randn(x.shape, generator=generator, dtype=x.dtype)


half_random.prediction_type = "flow"


def last(steps: Iterator[Step]) -> Tensor:
    return list(steps)[-1].x_prev


def relative(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


# -- orders of convergence -------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "order"), [(euler_steps, 1), (heun_steps, 2)])
def test_the_error_falls_with_the_order_of_the_method(sampler: Callable, order: int, fixed_noise: type) -> None:
    """Twice the steps, 2^-order of the error, towards the exact end MEAN + SPREADS z."""
    exact = MEAN + SPREADS * start()
    errors = []
    for steps in (100, 200, 400):
        timesteps = spaced_timesteps(6400, steps)
        noise = fixed_noise(start())
        found = last(sampler(GaussianFlow(6400), FINE_FLOW, noise, None, timesteps=timesteps, clip=False))
        errors.append(relative(found, exact))
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(observed - order) < 0.15), (errors, observed)


def test_heun_with_as_many_evaluations_is_closer_than_euler(fixed_noise: type) -> None:
    exact = MEAN + SPREADS * start()
    heun = last(heun_steps(GaussianFlow(), FLOW, fixed_noise(start()), None, timesteps=spaced_timesteps(1000, 10)))
    euler = last(euler_steps(GaussianFlow(), FLOW, fixed_noise(start()), None, timesteps=spaced_timesteps(1000, 19)))
    clip = exact.clamp(-1, 1)
    assert relative(heun, clip) < relative(euler, clip)


@pytest.mark.parametrize(("sampler", "order"), [(euler_steps, 1), (heun_steps, 2)])
def test_they_solve_the_equation_of_a_variance_preserving_process_too(
    sampler: Callable, order: int, fixed_noise: type
) -> None:
    """Against the exact flow of the Gaussian oracle, from x_T to the finished image, in even steps of σ."""
    schedule = NoiseSchedule(FINE_FLOW.betas[:6000])
    rng = np.random.default_rng(0)
    root = rng.normal(size=(16, 16)) / 4
    oracle = GaussianOracle(schedule, rng.normal(size=16) / 4, root @ root.T + 0.05 * np.eye(16))
    exact = oracle.flow(start(), 5999)
    errors = []
    for steps in (100, 200, 400):
        noise, visited = fixed_noise(start()), spaced_timesteps(6000, steps)
        errors.append(relative(last(sampler(oracle, schedule, noise, None, timesteps=visited, clip=False)), exact))
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(observed - order) < 0.15), (errors, observed)


# -- other implementations -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_euler_equals_diffusers(steps: int, fixed_noise: type) -> None:
    visited = spaced_timesteps(1000, steps)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=((visited + 1) / 1000).tolist())
    for step, their_t in zip(
        euler_steps(half_random, FLOW, fixed_noise(start()), None, timesteps=visited, clip=False),
        scheduler.timesteps,
        strict=True,
    ):
        assert step.t == pytest.approx(float(their_t) - 1, abs=1e-3)
        velocity = half_random(step.x_t, torch.tensor([step.t]))
        answer = scheduler.step(velocity, their_t, step.x_t).prev_sample
        assert relative(step.x_prev, answer) < 8 * 2.0**-24, step.t


@pytest.mark.parametrize("steps", [2, 3, 10])
def test_heun_equals_diffusers(steps: int, fixed_noise: type) -> None:
    """Diffusers' scheduler ends at σ = 1/T and then 0, as ``linspace`` does, and takes its states in float32."""
    visited = spaced_timesteps(1000, steps, "linspace")
    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(steps)
    sigmas = torch.from_numpy((visited + 1) / 1000)
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2), torch.zeros(1)])
    x, indices = start(), iter(range(2 * steps - 1))
    for step in heun_steps(half_random, FLOW, fixed_noise(start()), None, timesteps=visited, clip=False):
        assert relative(step.x_t, x) < 1e-6
        for _ in range(2 if step.t > 0 else 1):
            index = next(indices)
            t = visited[(index + 1) // 2]
            answer = scheduler.step(half_random(x, torch.tensor([t])), scheduler.timesteps[index], x)
            x = answer.prev_sample
        assert relative(step.x_prev, x) < 1e-6, step.t


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_euler_is_ddim_on_a_variance_preserving_schedule(
    steps: int, clip: bool, fixed_noise: type, linear: NoiseSchedule
) -> None:
    timesteps = spaced_timesteps(1000, steps)

    def noise(x: Tensor, t: Tensor) -> Tensor:
        return half_random(x, t)

    ddim = ddim_steps(noise, linear, fixed_noise(start()), None, timesteps=timesteps, clip=clip)
    euler = euler_steps(noise, linear, fixed_noise(start()), None, timesteps=timesteps, clip=clip)
    assert all(relative(a.x_prev, b.x_prev) < 1e-9 for a, b in zip(euler, ddim, strict=True))


# -- what they evaluate ------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "evaluations"), [("euler", 5), ("heun", 9)])
def test_evaluations_are_as_many_as_said(sampler: str, evaluations: int) -> None:
    config = SamplerConfig(sampler, 5, guidance_scale=1.5)
    assert config.num_evaluations(1000) == evaluations
    assert config.num_steps(1000) == 5
    denoiser, labels = GaussianFlow(shift=0.3), torch.tensor([1, 2])
    steps = list(sampling_steps(denoiser, FLOW, ImageNoise([0, 1], (1, 4, 4)), labels, config))
    assert len(steps) == 5
    assert [count for _, count in denoiser.asked] == [4] * evaluations  # both halves of guidance in each
    own = [t for t, _ in denoiser.asked][:: 2 if sampler == "heun" else 1]
    assert own == [step.t for step in steps] == [999, 799, 599, 399, 199]
    if sampler == "heun":
        assert [t for t, _ in denoiser.asked][1::2] == own[1:]


def test_guidance_works_in_both_evaluations(fixed_noise: type) -> None:
    """Labels shift the mean by δ; with the scale s the guided velocity is that of a mean shifted by s δ."""
    labels, visited = torch.tensor([1, 2, 3]), spaced_timesteps(1000, 6)
    guided = heun_steps(
        GaussianFlow(shift=0.2), FLOW, fixed_noise(start()), labels, timesteps=visited, guidance_scale=2.5, clip=False
    )
    plain = heun_steps(GaussianFlow(shift=0.5), FLOW, fixed_noise(start()), labels, timesteps=visited, clip=False)
    for a, b in zip(guided, plain, strict=True):
        assert relative(a.x_prev, b.x_prev) < 1e-12
        assert a.eps_cond is not None
        torch.testing.assert_close(a.eps_uncond + 2.5 * (a.eps_cond - a.eps_uncond), a.eps_pred, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", [euler_steps, heun_steps])
def test_a_step_holds_what_its_own_evaluation_implies(sampler: Callable, fixed_noise: type) -> None:
    denoiser = GaussianFlow()
    for step in sampler(denoiser, FLOW, fixed_noise(3 * start()), None, timesteps=spaced_timesteps(1000, 8)):
        sigma = (step.t + 1) / 1000
        velocity = denoiser(step.x_t, torch.full((3,), step.t))
        torch.testing.assert_close(step.x0_raw, step.x_t - sigma * velocity)
        torch.testing.assert_close(step.eps_pred, step.x_t + (1 - sigma) * velocity)
        assert torch.equal(step.x0_pred, step.x0_raw.clamp(-1, 1))
        assert step.noise is None
    assert step.x_prev.abs().max() <= 1 + 1e-12
    torch.testing.assert_close(step.x_prev, step.x0_pred)


# -- other parameterizations in every sampler ------------------------------------------------------


class Converted(nn.Module):
    """An oracle that answers in another parameterization."""

    def __init__(self, oracle: GaussianOracle, kind: str) -> None:
        super().__init__()
        self.oracle, self.prediction_type, self.null_label = oracle, kind, 10

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        schedule, t = self.oracle.schedule, timesteps.numpy()
        scales = schedule.signal_scale[t], schedule.noise_scale[t]
        if self.prediction_type == "sample":
            return self.oracle.predict_x0(x, timesteps)
        return convert(self.oracle(x, timesteps, labels), x, "epsilon", self.prediction_type, *scales)


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("sampler", [ddpm_steps, ddim_steps, dpm_solver_steps, euler_steps, heun_steps])
def test_every_parameterization_is_sampled_alike(
    sampler: Callable, kind: str, fixed_noise: type, linear: NoiseSchedule
) -> None:
    rng = np.random.default_rng(0)
    oracle = GaussianOracle(linear, rng.normal(size=16) / 4, 0.1 * np.eye(16))
    visited, labels = spaced_timesteps(1000, 12), torch.tensor([0, 1, 2])
    options = {"timesteps": visited, "guidance_scale": 1.5}
    own = list(sampler(oracle, linear, fixed_noise(start()), labels, **options))
    other = list(sampler(Converted(oracle, kind), linear, fixed_noise(start()), labels, **options))
    for a, b in zip(own, other, strict=True):
        for name in ("x_t", "eps_pred", "eps_cond", "eps_uncond", "x0_raw", "x0_pred", "x_prev"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["v_prediction", "sample", "flow"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++", "euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3, 1000])
def test_zero_terminal_snr_is_sampled_where_eps_is_not_predicted(sampler: str, kind: str, steps: int) -> None:
    """The oracle's x̂_0 is its mean where nothing of the image is left."""
    schedule = NoiseSchedule.named("zero-snr")

    class XPrediction(nn.Module):
        prediction_type = kind

        def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
            t = timesteps.numpy()
            a, b = (s[t].astype(np.float32).reshape(-1, 1, 1, 1) for s in (schedule.signal_scale, schedule.noise_scale))
            x0 = 0.2 + 0.25 * torch.from_numpy(a / (0.25 * a**2 + b**2)) * (x - 0.2 * torch.from_numpy(a))
            return convert(x0, x, "sample", kind, schedule.signal_scale[t], schedule.noise_scale[t])

    noise, config = ImageNoise([0], (1, 4, 4)), SamplerConfig(sampler, steps)
    found = list(sampling_steps(XPrediction(), schedule, noise, None, config))
    assert found[0].t == 999
    torch.testing.assert_close(found[0].x0_raw, torch.full((1, 1, 4, 4), 0.2), rtol=0, atol=1e-5)
    assert all(torch.isfinite(step.x_prev).all() for step in found)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++"])
def test_samplers_of_variance_preserving_processes_refuse_a_flow(sampler: str) -> None:
    steps = sampling_steps(GaussianFlow(), FLOW, ImageNoise([0], (1, 4, 4)), None, SamplerConfig(sampler, 5))
    with pytest.raises(VizdiffUsageError, match=r"needs a variance-preserving schedule, found flow .*euler and heun"):
        next(steps)


def test_a_flow_ends_without_signal_so_that_an_eps_network_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match="flow schedule leaves no signal at t = 999"):
        sampling_steps(lambda x, _: x, FLOW, ImageNoise([0], (1, 4, 4)), None, SamplerConfig("heun", 5))
