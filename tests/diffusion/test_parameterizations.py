"""The conversion table between ε, x_0, v, velocity and score: round trips, closed forms, and diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from viz_diffusion.diffusion.parameterizations import (
    OBJECTIVES,
    PARAMETERIZATIONS,
    PREDICTION_TYPES,
    convert,
    from_x0_and_eps,
    to_x0_and_eps,
    weights_of,
)
from viz_diffusion.diffusion.scaling import SCALINGS, scales
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError

VARIANCE_EXPLODING = NoiseSchedule.from_sigmas(np.geomspace(0.002, 80, 200), "variance_exploding")
SCHEDULES = {name: NoiseSchedule.named(name) for name in ("linear", "cosine", "zero-snr", "flow")} | {
    "variance-exploding": VARIANCE_EXPLODING
}


def state(schedule: NoiseSchedule, pixels: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x_0, ε and x_t, all (T, pixels) float64: one row for each timestep."""
    rng = np.random.default_rng(7)
    x0, eps = rng.normal(size=(2, schedule.num_train_timesteps, pixels))
    return x0, eps, schedule.add_noise(x0, eps, np.arange(schedule.num_train_timesteps))


def by_hand(kind: str, x0: np.ndarray, eps: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return each prediction by the formula of its paper."""
    if kind == "epsilon":
        return eps
    if kind == "sample":
        return x0
    if kind == "v_prediction":
        alpha, sigma = a / np.sqrt(a**2 + b**2), b / np.sqrt(a**2 + b**2)
        return alpha * eps - sigma * x0
    return eps - x0 if kind == "flow" else -eps / b


@pytest.mark.parametrize("wanted", PARAMETERIZATIONS)
@pytest.mark.parametrize("kind", PARAMETERIZATIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_kind_becomes_every_other_at_every_t(name: str, kind: str, wanted: str) -> None:
    """The condition of a conversion is at most about 1/a or 1/b; where a is 0, ε alone determines no x_0."""
    schedule = SCHEDULES[name]
    x0, eps, x_t = state(schedule)
    a, b = schedule.signal_scale[:, None], schedule.noise_scale[:, None]
    known = (a[:, 0] > 1e-9) | (kind not in ("epsilon", "score")) | (wanted in ("epsilon", "score"))
    given, right = by_hand(kind, x0, eps, a, b), by_hand(wanted, x0, eps, a, b)
    found = convert(given, x_t, kind, wanted, schedule.signal_scale, schedule.noise_scale)
    condition = (1 + 1 / np.maximum(a, 1e-9)) * (1 + 1 / b) ** 2 * (1 + b)
    assert np.all(np.abs(found - right)[known] < 1e-14 * condition[known] * 100)
    assert known.sum() >= len(known) - 1


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("name", ["linear", "flow"])
def test_tensors_are_converted_like_arrays(name: str, kind: str) -> None:
    schedule = SCHEDULES[name]
    x0, eps, x_t = (values[:-1] for values in state(schedule))
    a, b = schedule.signal_scale[:-1], schedule.noise_scale[:-1]
    given = by_hand(kind, x0, eps, a[:, None], b[:, None])
    tensors = torch.from_numpy(given), torch.from_numpy(x_t)
    for wanted in PREDICTION_TYPES:
        exact = convert(given, x_t, kind, wanted, a, b)
        np.testing.assert_array_equal(convert(*tensors, kind, wanted, a, b).numpy(), exact)
        narrow = convert(*(values.float() for values in tensors), kind, wanted, a, b)
        assert narrow.dtype == torch.float32


def test_where_no_signal_is_left_eps_implies_no_x0() -> None:
    """v, x_0 and the velocity still do."""
    one = np.ones((1, 1))
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(to_x0_and_eps(one, one, "epsilon", 0.0, 1.0)[0]).any()
    for kind, x0 in (("v_prediction", -1.0), ("sample", 1.0), ("flow", 0.0)):
        found = to_x0_and_eps(one, one, kind, 0.0, 1.0)
        assert found[0].item() == x0
        assert found[1].item() == 1.0


def test_an_unknown_kind_is_refused() -> None:
    one = np.ones((1, 1))
    with pytest.raises(VizdiffUsageError, match=r"prediction_type must be one of epsilon, v_prediction, .*found 'v'"):
        to_x0_and_eps(one, one, "v", 0.6, 0.8)


def test_objectives_are_the_prediction_types_by_other_names() -> None:
    assert tuple(OBJECTIVES.values()) == PREDICTION_TYPES
    assert tuple(OBJECTIVES) == ("epsilon", "v", "x0", "flow")


# -- v in every scaling ------------------------------------------------------------------------------


def test_v_is_that_of_the_state_of_unit_power() -> None:
    """At one SNR, every scaling has one v: Salimans & Ho's, whose α² + σ² is 1."""
    share = np.array([0.9999, 0.7, 0.1, 1e-4])
    x0, eps = np.random.default_rng(3).normal(size=(2, 4, 6))
    v = np.sqrt(share)[:, None] * eps - np.sqrt(1 - share)[:, None] * x0
    for scaling in SCALINGS:
        a, b = scales(share, scaling)
        x_t = a[:, None] * x0 + b[:, None] * eps
        np.testing.assert_allclose(from_x0_and_eps(x0, eps, "v_prediction", a, b), v, rtol=1e-12, atol=1e-12)
        for found, right in zip(to_x0_and_eps(v, x_t, "v_prediction", a, b), (x0, eps), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-8, atol=1e-8)


def test_v_of_noise_levels_is_that_of_k_diffusion() -> None:
    """Its denoised image is x / (σ² + 1) - v σ / √(σ² + 1), at every σ from 0.002 to 80."""
    sigma = VARIANCE_EXPLODING.noise_scale[:, None]
    x, v = np.random.default_rng(4).normal(size=(2, len(sigma), 5))
    x0, eps = to_x0_and_eps(v, x, "v_prediction", np.ones(len(sigma)), VARIANCE_EXPLODING.noise_scale)
    np.testing.assert_allclose(x0, x / (sigma**2 + 1) - v * sigma / np.sqrt(sigma**2 + 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(x0 + sigma * eps, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["linear", "cosine", "zero-snr"])
def test_where_variance_is_preserved_the_weights_of_v_are_the_scales(name: str) -> None:
    """To the bit, so that what was recorded or trained as v stays what it was."""
    schedule = SCHEDULES[name]
    alpha, beta = weights_of("v_prediction", schedule.signal_scale, schedule.noise_scale)
    np.testing.assert_array_equal(alpha, schedule.signal_scale)
    np.testing.assert_array_equal(beta, -schedule.noise_scale)


# -- closed forms ----------------------------------------------------------------------------------


def test_one_ddpm_step_at_t_500_in_three_spellings(linear: NoiseSchedule) -> None:
    """The mean of DDPM's step from t = 500, linear schedule, T = 1000, in x_0 (eq. 7), in ε (eq. 11) and in the score.

    The four factors by hand: √α(1-ᾱ')/(1-ᾱ), √ᾱ'β/(1-ᾱ), 1/√α and β/(√α√(1-ᾱ)).
    """
    t = 500
    beta, alpha = linear.betas[t], linear.alphas[t]
    share, share_prev = linear.alphas_cumprod[t], linear.alphas_cumprod[t - 1]
    of_x_t, of_x0 = np.sqrt(alpha) * (1 - share_prev) / (1 - share), np.sqrt(share_prev) * beta / (1 - share)
    of_x_t_too, of_eps = 1 / np.sqrt(alpha), beta / np.sqrt(alpha * (1 - share))
    assert [round(value, 4) for value in (of_x_t, of_x0, of_x_t_too, of_eps)] == [0.9941, 0.0031, 1.0051, 0.0105]
    x0, eps = np.random.default_rng(0).normal(size=(2, 1, 100))
    x_t = linear.add_noise(x0, eps, t)
    carved = linear.posterior_mean(x0, x_t, t)
    scales = linear.signal_scale[t], linear.noise_scale[t]
    np.testing.assert_allclose(of_x_t * x_t + of_x0 * x0, carved, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(of_x_t_too * x_t - of_eps * eps, carved, rtol=1e-12, atol=1e-13)
    score = from_x0_and_eps(x0, eps, "score", *scales)
    np.testing.assert_allclose((x_t + beta * score) / np.sqrt(alpha), carved, rtol=1e-12, atol=1e-13)
    v = from_x0_and_eps(x0, eps, "v_prediction", *scales)
    np.testing.assert_allclose(
        linear.posterior_mean(convert(v, x_t, "v_prediction", "sample", *scales), x_t, t),
        carved,
        rtol=1e-12,
        atol=1e-13,
    )


@pytest.mark.parametrize("name", ["linear", "flow", "variance-exploding"])
def test_the_score_of_a_gaussian(name: str) -> None:
    """Of data N(μ, s²), q(x_t) = N(aμ, a²s² + b²); the best ε̂ is its score times -b."""
    schedule, mu, s = SCHEDULES[name], 0.3, 0.7
    a, b = (values[:-1, None] for values in (schedule.signal_scale, schedule.noise_scale))
    x_t = np.random.default_rng(1).normal(size=(len(a), 4))
    variance = a**2 * s**2 + b**2
    best_x0 = mu + a * s**2 / variance * (x_t - a * mu)
    score = convert(best_x0, x_t, "sample", "score", a[:, 0], b[:, 0])
    # x̂_0 is subtracted from x_t and the rest divided by b²
    np.testing.assert_allclose(score, -(x_t - a * mu) / variance, rtol=1e-9, atol=1e-14 / b.min() ** 2)


# -- diffusers ---------------------------------------------------------------------------------------


def test_v_is_that_of_diffusers(linear: NoiseSchedule) -> None:
    scheduler = DDPMScheduler()
    scheduler.alphas_cumprod = torch.from_numpy(linear.alphas_cumprod)
    x0, eps, _ = (torch.from_numpy(values) for values in state(linear))
    theirs = scheduler.get_velocity(x0, eps, torch.arange(1000))
    ours = from_x0_and_eps(x0, eps, "v_prediction", linear.signal_scale, linear.noise_scale)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_x0_is_that_of_diffusers_at_every_t(kind: str, linear: NoiseSchedule) -> None:
    scheduler = DDIMScheduler(prediction_type=kind, clip_sample=False)
    scheduler.set_timesteps(1000)
    scheduler.alphas_cumprod = torch.from_numpy(linear.alphas_cumprod)
    prediction, x_t = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for t in range(1000):
        theirs = scheduler.step(prediction, t, x_t).pred_original_sample
        ours, _ = to_x0_and_eps(prediction, x_t, kind, linear.signal_scale[t], linear.noise_scale[t])
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
