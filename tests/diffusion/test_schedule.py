"""The noise schedule against known numbers, closed forms and diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule, cosine_betas, linear_betas, predict_x0
from viz_diffusion.errors import VizdiffUsageError

COSINE = NoiseSchedule.named("cosine")
UNIT_ROUNDOFF = 2.0**-24  # of float32


def test_known_numbers_of_the_linear_schedule(linear: NoiseSchedule) -> None:
    found = linear.alphas_cumprod[[99, 249, 499, 749, 999]]
    assert [f"{value:.3g}" for value in found] == ["0.897", "0.524", "0.0786", "0.00335", "4.04e-05"]
    assert linear.snr_below_one == 259
    assert round(linear.snr[258], 3) == 1.001
    assert round(linear.snr[259], 4) == 0.9905
    assert round(linear.log_snr[0], 2) == 9.21
    assert round(linear.log_snr[-1], 2) == -10.12


def test_known_numbers_of_the_cosine_schedule() -> None:
    assert COSINE.snr_below_one == 496
    assert f"{np.sqrt(COSINE.alphas_cumprod[-1]):.3g}" == "4.93e-05"
    assert COSINE.betas.max() == 0.999


def test_betas_equal_diffusers() -> None:
    np.testing.assert_allclose(linear_betas(), DDPMScheduler().betas.numpy(), rtol=1e-5)
    theirs = DDPMScheduler(beta_schedule="squaredcos_cap_v2").betas.numpy()
    np.testing.assert_allclose(cosine_betas(), theirs, rtol=1e-5)


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("num_timesteps", [1, 2, 3, 10, 257, 1000, 2000])
def test_every_schedule_is_well_behaved(name: str, num_timesteps: int) -> None:
    schedule = NoiseSchedule.named(name, num_timesteps)
    assert schedule.num_train_timesteps == num_timesteps
    assert np.all(np.diff(schedule.alphas_cumprod) < 0)
    assert schedule.alphas_cumprod[-1] > 0
    assert np.isfinite(schedule.log_snr).all()
    assert schedule.posterior_variance[0] == 0
    assert np.all(schedule.posterior_variance[1:] > 0)
    assert np.all(schedule.posterior_variance <= schedule.betas)


def test_a_schedule_without_any_signal_left_is_refused() -> None:
    """With ᾱ_T = 0 (here by underflow) no ε̂ implies an x̂_0: 1/√ᾱ is infinite."""
    with pytest.raises(VizdiffUsageError, match="betas"):
        NoiseSchedule(np.full(2000, 0.5))


@pytest.mark.parametrize("num_timesteps", [2, 3, 257, 1000])
def test_zero_terminal_snr_equals_diffusers_and_leaves_nothing(num_timesteps: int) -> None:
    schedule = NoiseSchedule.named("zero-snr", num_timesteps)
    theirs = rescale_zero_terminal_snr(torch.from_numpy(linear_betas(num_timesteps))).numpy()
    np.testing.assert_allclose(schedule.betas, theirs, rtol=1e-9)
    assert schedule.betas[-1] == 1
    assert schedule.alphas_cumprod[-1] == schedule.snr[-1] == 0
    assert schedule.log_snr[-1] == schedule.snr_db[-1] == -np.inf
    assert np.isfinite(schedule.log_snr[:-1]).all()
    x0, noise = np.random.default_rng(0).standard_normal((2, 3, 2))
    np.testing.assert_array_equal(schedule.add_noise(x0, noise, num_timesteps - 1), noise)


def test_known_numbers_of_zero_terminal_snr(linear: NoiseSchedule) -> None:
    schedule = NoiseSchedule.named("zero-snr")
    assert schedule.snr_below_one == 258
    assert np.abs(schedule.alphas_cumprod - linear.alphas_cumprod).max() == pytest.approx(0.003, abs=5e-4)


def test_zero_terminal_snr_implies_no_x0() -> None:
    """Even where ᾱ is not yet 0: such a schedule is not for a model that predicts ε."""
    schedule, x = NoiseSchedule.named("zero-snr"), np.zeros((1, 1))
    for t in (0, 999):
        with pytest.raises(VizdiffUsageError, match=r"no signal at t = 999 \(ᾱ = 0\).*ε-prediction.*linear or cosine"):
            schedule.predict_x0(x, x, t)
    with pytest.raises(VizdiffUsageError, match="at least 2 timesteps, found 1"):
        NoiseSchedule.named("zero-snr", 1)


# -- forward ---------------------------------------------------------------------------------------


def test_add_noise_equals_diffusers_at_every_t(linear: NoiseSchedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(1000, 1, 4, 4, generator=generator) * 2 - 1
    noise = torch.randn(1000, 1, 4, 4, generator=generator)
    t = torch.arange(1000)
    ours, theirs = linear.add_noise(x0, noise, t), DDPMScheduler().add_noise(x0, noise, t)
    # diffusers keeps ᾱ in float32: the worst case is √(1-ᾱ_0) = 0.01, off by 2^-24 / (2·0.01) = 3e-6
    worst = UNIT_ROUNDOFF / (2 * np.sqrt(linear.betas[0])) / np.sqrt(linear.betas[0])
    error = (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)
    assert error.max() < worst


def test_add_noise_equals_diffusers_exactly_once_its_tables_are_float64(linear: NoiseSchedule) -> None:
    scheduler = DDPMScheduler()
    scheduler.alphas_cumprod = torch.from_numpy(linear.alphas_cumprod)
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 1000, 1, 4, 4, generator=generator, dtype=torch.float64)
    t = torch.arange(1000)
    torch.testing.assert_close(
        linear.add_noise(x0, noise, t), scheduler.add_noise(x0, noise, t), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_single_steps_add_up_to_the_closed_form(name: str) -> None:
    """x_t = √α_t x_{t-1} + √β_t ε, again and again: its mean and variance, by recursion."""
    schedule = NoiseSchedule.named(name)
    one, nothing = np.ones((1, 1)), np.zeros((1, 1))
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas):
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert schedule.add_noise(one, nothing, t).item() == pytest.approx(mean, rel=1e-11)
        assert schedule.add_noise(nothing, one, t).item() ** 2 == pytest.approx(variance, rel=1e-11)


def test_power_of_noised_digits(linear: NoiseSchedule, test_digits: Digits) -> None:
    """E‖x_t‖²/784 = ᾱ m + 1 - ᾱ, where m is the digits' own mean square (0.9254 for the training set)."""
    x0 = test_digits.images[:5000]
    power = x0.square().mean().item()
    assert power == pytest.approx(0.9254, abs=0.01)
    generator = torch.Generator().manual_seed(0)
    for t in (0, 259, 999):
        x_t = linear.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        share = linear.alphas_cumprod[t]
        # 3.92 million pixels: the mean of ε² has standard deviation √(2/3.92e6) = 7.1e-4
        assert x_t.square().mean().item() == pytest.approx(share * power + 1 - share, abs=5 * 7.2e-4)


# -- back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_predict_x0_and_predict_eps_undo_add_noise_at_every_t(name: str, kind: str) -> None:
    schedule = NoiseSchedule.named(name)
    x0, noise = np.random.default_rng(0).standard_normal((2, 1000, 1, 3, 3))
    t = np.arange(1000)
    if kind == "torch":
        x0, noise, t = torch.from_numpy(x0), torch.from_numpy(noise), torch.from_numpy(t)
    x_t = schedule.add_noise(x0, noise, t)
    # rounding of x_t (about 4·2^-53) is multiplied by 1/√ᾱ, and by 1/√(1-ᾱ) on the way to ε
    gain = 1 / np.sqrt(schedule.alphas_cumprod) + 1 / np.sqrt(1 - schedule.alphas_cumprod)
    bound = 64 * 2.0**-53 * gain
    for found, wanted in (
        (schedule.predict_x0(x_t, noise, t), x0),
        (schedule.predict_eps(x_t, x0, t), noise),
    ):
        error = np.abs(np.asarray(found - wanted)).reshape(1000, -1).max(axis=1)
        assert np.all(error < bound)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_x0_of_any_alphas_cumprod_is_the_schedules(dtype: type, kind: str, linear: NoiseSchedule) -> None:
    x_t, eps = np.random.default_rng(0).standard_normal((2, 4, 6, 1, 3, 3)).astype(dtype)
    before = x_t.copy(), eps.copy()
    t = np.array([999, 700, 333, 40, 1, 0])
    share = linear.alphas_cumprod[t]
    if kind == "torch":
        x_t, eps = torch.from_numpy(x_t), torch.from_numpy(eps)
    found = predict_x0(x_t, eps, share[None])  # of each step, the same for all images
    assert found.dtype == x_t.dtype
    for step, one in enumerate(share):
        single = predict_x0(x_t[:, step], eps[:, step], float(one))
        np.testing.assert_array_equal(single, linear.predict_x0(x_t[:, step], eps[:, step], int(t[step])))
        np.testing.assert_array_equal(single, found[:, step])
    rows = predict_x0(x_t[:, 0], eps[:, 0], share[:4])  # of each image
    for row in range(4):
        np.testing.assert_array_equal(rows[row], predict_x0(x_t[row, 0], eps[row, 0], share[row]))
    assert not np.array_equal(rows[0], predict_x0(x_t[0, 0], eps[0, 0], share[1]))
    for now, then in zip((x_t, eps), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_x0_by_hand() -> None:
    assert predict_x0(np.array([2.0]), np.array([0.5]), 0.64) == pytest.approx([(2 - 0.6 * 0.5) / 0.8], rel=1e-15)
    assert predict_x0(np.array([2.0]), np.array([0.5]), 1.0) == 2  # nothing was noised
    with pytest.raises(VizdiffUsageError, match=r"floating-point.*int64"):
        predict_x0(np.array([2]), np.array([0.5]), 0.64)


def test_error_of_eps_enters_x0_with_the_known_gain(linear: NoiseSchedule) -> None:
    nothing, one = np.zeros((1, 1)), np.ones((1, 1))
    gains = [-linear.predict_x0(nothing, one, t).item() for t in (999, 749, 499, 249)]
    assert [float(f"{gain:.2g}") for gain in gains] == [160, 17, 3.4, 0.95]
    assert round(gains[0]) == 157


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_posterior_is_the_product_of_two_gaussians(name: str) -> None:
    """q(x_{t-1} | x_t, x_0) ∝ N(x_{t-1}; √ᾱ_{t-1} x_0, 1-ᾱ_{t-1}) · N(x_t; √α_t x_{t-1}, β_t)."""
    schedule = NoiseSchedule.named(name)
    share_before = 1.0
    x0, x_t = np.array([[0.7]]), np.array([[-1.3]])
    for t, beta in enumerate(schedule.betas):
        prior_mean, prior_variance = np.sqrt(share_before) * x0.item(), 1 - share_before
        seen_mean, seen_variance = x_t.item() / np.sqrt(1 - beta), beta / (1 - beta)
        total = prior_variance + seen_variance
        mean = (prior_mean * seen_variance + seen_mean * prior_variance) / total
        variance = prior_variance * seen_variance / total
        assert schedule.posterior_mean(x0, x_t, t).item() == pytest.approx(mean, rel=1e-9)
        assert schedule.posterior_variance[t] == pytest.approx(variance, rel=1e-9)
        share_before *= 1 - beta


# -- respacing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [[0], [999], [9, 259, 999], list(range(0, 1000, 7))])
def test_a_respaced_schedule_keeps_the_share_of_signal(kept: list[int], linear: NoiseSchedule) -> None:
    spaced = linear.respaced(np.array(kept))
    assert spaced.num_train_timesteps == len(kept)
    rounding = 8 * 2.0**-53 * len(kept) / spaced.alphas.min()  # α is kept as 1-β
    np.testing.assert_allclose(spaced.alphas_cumprod, linear.alphas_cumprod[kept], rtol=rounding)
    x0, noise = np.full((1, 1), 0.3), np.full((1, 1), -2.0)
    for i, t in enumerate(kept):
        np.testing.assert_allclose(spaced.add_noise(x0, noise, i), linear.add_noise(x0, noise, t), rtol=rounding)


def test_respacing_to_all_timesteps_changes_nothing(linear: NoiseSchedule) -> None:
    np.testing.assert_array_equal(linear.respaced(np.arange(1000)).betas, linear.betas)
