"""What the noise schedule takes: arrays and tensors alike, t within 0 .. T-1; and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError

UNIT_ROUNDOFF = 2.0**-24  # of float32

# -- NumPy and tensors -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add_noise", "predict_x0", "predict_eps", "posterior_mean"])
@pytest.mark.parametrize("t", [0, 500, 999, [0, 500, 999]])
def test_numpy_and_tensors_agree(method: str, t: int | list[int], linear: NoiseSchedule) -> None:
    formula = getattr(linear, method)
    first, second = np.random.default_rng(0).standard_normal((2, 3, 1, 5, 5))
    t_numpy = np.array(t) if isinstance(t, list) else t
    t_torch = torch.tensor(t) if isinstance(t, list) else t
    wide = formula(first, second, t_numpy)
    assert wide.dtype == np.float64
    found = formula(torch.from_numpy(first), torch.from_numpy(second), t_torch)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), wide, rtol=1e-14, atol=1e-14)
    narrow = formula(first.astype(np.float32), second.astype(np.float32), t_numpy)
    assert narrow.dtype == np.float32
    # each rounding is 2^-24 of a term; the terms of predict_* are up to 1/√ᾱ or 1/√(1-ᾱ) in size
    for dtype, roundoff in ((torch.float32, 2.0**-24), (torch.bfloat16, 2.0**-8), (torch.float16, 2.0**-11)):
        found = formula(torch.from_numpy(first).to(dtype), torch.from_numpy(second).to(dtype), t_torch)
        assert found.dtype == dtype
        error = np.abs(found.double().numpy() - wide).max(axis=(1, 2, 3))
        assert np.all(error < 16 * roundoff * _largest_factor(linear, method, t_numpy))
    error = np.abs(narrow - wide).max(axis=(1, 2, 3))
    assert np.all(error < 16 * UNIT_ROUNDOFF * _largest_factor(linear, method, t_numpy))


def _largest_factor(schedule: NoiseSchedule, method: str, t: int | np.ndarray) -> np.ndarray:
    share = schedule.alphas_cumprod[t]
    if method == "predict_x0":
        return 1 / np.sqrt(share)
    return 1 / np.sqrt(1 - share) if method == "predict_eps" else np.ones_like(share)


def test_t_for_each_image_is_taken_row_by_row(linear: NoiseSchedule) -> None:
    x0, noise = np.random.default_rng(0).standard_normal((2, 4, 1, 2, 2))
    together = linear.add_noise(x0, noise, np.array([3, 999, 0, 259]))
    for row, t in enumerate((3, 999, 0, 259)):
        np.testing.assert_array_equal(together[row], linear.add_noise(x0[row], noise[row], t))
    assert not np.array_equal(together[0], linear.add_noise(x0[0], noise[0], 4))


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add_noise", "predict_x0", "predict_eps", "posterior_mean"])
@pytest.mark.parametrize("t", [-1, 1000, [0, 1000], [-1, 5]])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_t_outside_is_refused(method: str, t: int | list[int], kind: str, linear: NoiseSchedule) -> None:
    array = np.zeros((2, 1)) if kind == "numpy" else torch.zeros(2, 1)
    steps = t if isinstance(t, int) else np.array(t) if kind == "numpy" else torch.tensor(t)
    with pytest.raises(VizdiffUsageError, match=r"0\.\.999.*found.*(-1|1000)"):
        getattr(linear, method)(array, array, steps)


@pytest.mark.parametrize(
    "betas",
    [[], [0.0], [1.0, 1.0], [1.0, 0.5], [0.5, 1.1], [-0.1], [0.5, np.nan], [np.inf], [[0.1, 0.2]], 0.1],
    ids=str,
)
def test_bad_betas_are_refused(betas: object) -> None:
    with pytest.raises(VizdiffUsageError, match="betas"):
        NoiseSchedule(np.array(betas))


def test_unknown_schedule_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match=r"sigmoid.*linear, cosine, zero-snr"):
        NoiseSchedule.named("sigmoid")


def test_betas_are_copied_and_cannot_be_written() -> None:
    mine = np.array([0.1, 0.2])
    schedule = NoiseSchedule(mine)
    mine[0] = 0.9
    assert schedule.betas[0] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        schedule.betas[0] = 0.5


def test_a_schedule_may_be_one_step_from_pure_noise() -> None:
    """Where a sampler of one step begins at zero terminal SNR."""
    schedule = NoiseSchedule.named("flow").respaced(np.array([999]))
    assert (schedule.signal_scale, schedule.noise_scale) == (0, 1)
    assert schedule.alphas_cumprod_prev == 1
