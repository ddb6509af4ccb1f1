"""The samplers against diffusers' schedulers, closed forms and golden sums."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import diffusers.schedulers.scheduling_ddpm as their_ddpm
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from sampler_arguments import with_config
from torch import Tensor

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, ddpm_steps, dpm_solver_steps, guided_eps
from viz_diffusion.diffusion.sampling import BATCH_SIZE, sample_images, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule, linear_betas
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

SHAPE = (2, 1, 4, 4)


def half_random(x: Tensor, timesteps: Tensor) -> Tensor:
    """Give an ε̂ that depends on x and, unpredictably, on t."""
    generator = torch.Generator().manual_seed(int(timesteps[0]))
    return 0.5 * x + torch.randn(x.shape, generator=generator, dtype=x.dtype)


def start(dtype: torch.dtype) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def relative(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


def in_float64(scheduler: object, schedule: NoiseSchedule) -> object:
    """Give diffusers' scheduler float64 tables; its formulas stay its own."""
    scheduler.alphas_cumprod = torch.from_numpy(schedule.alphas_cumprod)
    scheduler.one = scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


# -- diffusers, step by step -----------------------------------------------------------------------

# In float32 diffusers gets β_t as 1 - ᾱ_t/ᾱ_{t-1}, with an error of some 2^-24 against β_0 = 1e-4.
STOCK = 2 * 2.0**-24 / 1e-4
EXACT = 1e-10
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


# -- guidance --------------------------------------------------------------------------------------


class Labelled:
    """A denoiser whose output depends on the label; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []

    def __call__(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        assert len(x) == len(timesteps) == len(labels)
        self.calls.append((len(x), labels.tolist()))
        return 0.3 * x + 0.01 * (labels.to(x.dtype) ** 2)[:, None, None, None] + 0.001 * timesteps[0]


@pytest.mark.parametrize("scale", [0.0, 1.5, 3.0])
def test_guidance_mixes_two_predictions(scale: float) -> None:
    denoiser, x, labels = Labelled(), torch.randn(3, 1, 2, 2), torch.tensor([0, 5, 9])
    eps, eps_cond, eps_uncond = guided_eps(denoiser, x, 7, labels, scale, 10)
    assert denoiser.calls == [(6, [0, 5, 9, 10, 10, 10])]
    timesteps = torch.full((3,), 7)
    wanted_cond, wanted_uncond = (Labelled()(x, timesteps, y) for y in (labels, torch.full((3,), 10)))
    assert torch.equal(eps_cond, wanted_cond)
    assert torch.equal(eps_uncond, wanted_uncond)
    torch.testing.assert_close(eps, wanted_uncond + scale * (wanted_cond - wanted_uncond), rtol=0, atol=1e-6)
    if scale == 0:
        assert torch.equal(eps, wanted_uncond)


def test_scale_one_evaluates_the_plain_batch_once() -> None:
    denoiser, x, labels = Labelled(), torch.randn(3, 1, 2, 2), torch.tensor([0, 5, 9])
    eps, eps_cond, eps_uncond = guided_eps(denoiser, x, 7, labels, 1.0, 10)
    assert denoiser.calls == [(3, [0, 5, 9])]
    assert (eps_cond, eps_uncond) == (None, None)
    assert torch.equal(eps, Labelled()(x, torch.full((3,), 7), labels))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_scale_zero_is_sampling_without_a_label(sampler: str, linear: NoiseSchedule) -> None:
    def last(labels: list[int], scale: float) -> Tensor:
        noise = ImageNoise([1, 2, 3], (1, 2, 2))
        for step in sampling_steps(
            Labelled(), linear, noise, torch.tensor(labels), SamplerConfig(sampler, 9, guidance_scale=scale, clip=False)
        ):
            images = step.x_prev
        return images

    assert torch.equal(last([0, 5, 9], 0.0), last([10, 10, 10], 1.0))
    assert not torch.equal(last([0, 5, 9], 1.0), last([10, 10, 10], 1.0))


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_steps_carry_the_halves_of_guidance(scale: float, linear: NoiseSchedule) -> None:
    noise = ImageNoise([1, 2], (1, 2, 2))
    for step in sampling_steps(
        Labelled(), linear, noise, torch.tensor([3, 4]), SamplerConfig(steps=5, guidance_scale=scale)
    ):
        if scale == 1:
            assert step.eps_cond is None
            assert step.eps_uncond is None
            continue
        mixed = step.eps_uncond + scale * (step.eps_cond - step.eps_uncond)
        torch.testing.assert_close(step.eps_pred, mixed, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            step.eps_cond - step.eps_uncond,
            (0.01 * (torch.tensor([3, 4]) ** 2 - 100.0))[:, None, None, None].expand(2, 1, 2, 2),
            rtol=0,
            atol=1e-5,
        )


# -- noise and batches -----------------------------------------------------------------------------


def test_an_images_noise_does_not_depend_on_its_company() -> None:
    alone, among, turned = ImageNoise([3]), ImageNoise([1, 2, 3]), ImageNoise([3, 1])
    for _ in range(5):
        draws = alone.draw()[0], among.draw(), turned.draw()
        assert torch.equal(draws[0], draws[1][2])
        assert torch.equal(draws[0], draws[2][0])
        assert torch.equal(draws[1][0], draws[2][1])
        assert not torch.equal(draws[1][0], draws[1][1])


def test_image_noise_is_standard_normal_and_fresh_at_each_draw() -> None:
    noise = ImageNoise(range(200))
    first, second = noise.draw(), noise.draw()
    assert first.dtype == torch.float32
    assert first.shape == (200, 1, 28, 28)
    count = first.numel()
    # five standard errors of the mean, of the variance, and of a correlation
    assert abs(first.mean()) < 5 / count**0.5
    assert abs(first.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((first * second).mean()) < 5 / count**0.5
    assert abs((first[:-1] * first[1:]).mean()) < 5 / count**0.5  # neighbouring seeds


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_bulk_images_do_not_depend_on_how_many_are_drawn(
    sampler: str, make_unet: Callable, linear: NoiseSchedule
) -> None:
    unet, labels, seeds = make_unet(), torch.arange(25) % 10, list(range(100, 125))

    def draw(count: int) -> Tensor:
        parts = list(
            sample_images(
                unet,
                linear,
                labels[:count],
                seeds[:count],
                SamplerConfig(sampler, 4, guidance_scale=1.5),
                null_label=10,
            )
        )
        return torch.cat(parts)

    most = draw(25)
    assert most.shape == (25, 1, 28, 28)
    for count in (1, 7, 20, 21):
        assert torch.equal(draw(count), most[:count])
    assert not torch.equal(most[0], most[10])  # the same digit, another seed
    assert torch.equal(draw(25), most)


def test_a_bulk_image_follows_its_own_label_and_seed(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    one = torch.cat(list(sample_images(unet, linear, torch.tensor([4, 7]), [8, 9], SamplerConfig("ddim", 4))))
    other = torch.cat(list(sample_images(unet, linear, torch.tensor([4, 1]), [8, 9], SamplerConfig("ddim", 4))))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    noise = ImageNoise([8, 9] + [77] * (BATCH_SIZE - 2))
    labels = torch.tensor([4, 7] + [3] * (BATCH_SIZE - 2))
    for step in sampling_steps(unet, linear, noise, labels, SamplerConfig("ddim", 4)):
        by_hand = step.x_prev
    assert torch.equal(one, by_hand[:2])
