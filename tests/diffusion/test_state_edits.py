"""Edits of a state: closed forms, and the process that they must not leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.state_edits import FINISHED, hold, paint, renoise

SCHEDULES = [NoiseSchedule.named(name) for name in ("linear", "cosine", "flow")]


def images(count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, 1, 6, 6), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one.name)
@pytest.mark.parametrize("t", [0, 300, 900])
def test_a_painted_state_is_that_of_the_painted_image(schedule: NoiseSchedule, t: int) -> None:
    """Where x̂_0 is exact, painting x_t is the same as painting x_0 and adding the same noise."""
    x0, noise = images().clamp(-1, 1), images(seed=1)
    coverage = torch.rand((6, 6), generator=torch.Generator().manual_seed(2))
    painted = paint(schedule.add_noise(x0, noise, t), x0, coverage, 0.5, schedule, t)
    wanted = schedule.add_noise(x0 + coverage * (0.5 - x0), noise, t)
    assert torch.allclose(painted, wanted, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one.name)
def test_held_pixels_are_the_known_ones_at_their_noise_level(schedule: NoiseSchedule) -> None:
    x, known, noise = images(), images(seed=3).clamp(-1, 1), images(seed=1)
    mask = (torch.arange(36).reshape(6, 6) % 3 == 0).float()
    found = hold(x, mask, known[0], noise, schedule, 500)
    assert torch.equal(found[..., mask == 0], x[..., mask == 0])
    assert torch.allclose(found[..., mask == 1], schedule.add_noise(known, noise, 500)[..., mask == 1], atol=1e-6)
    finished = hold(x, mask, known[0], noise, schedule, FINISHED)
    assert torch.equal(finished[..., mask == 1], known[..., mask == 1])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one.name)
def test_noised_again_a_state_has_the_signal_and_the_noise_of_its_timestep(schedule: NoiseSchedule) -> None:
    x0 = np.ones((40_000, 1))
    first, second = np.random.default_rng(0).standard_normal((2, 40_000, 1))
    state = renoise(schedule.add_noise(x0, first, 200), second, schedule, 200, 700)
    assert state.mean() == pytest.approx(schedule.signal_scale[700], abs=0.02)
    assert state.std() == pytest.approx(schedule.noise_scale[700], rel=0.02)


def test_one_step_of_noise_is_the_forward_process() -> None:
    """q(x_t | x_{t-1}) = √(1-β) x + √β z (Ho et al. 2020, eq. 2)."""
    schedule, x, z = SCHEDULES[0], images(), images(seed=1)
    beta = schedule.betas[500]
    wanted = np.sqrt(1 - beta) * x + np.sqrt(beta) * z
    assert torch.allclose(renoise(x, z, schedule, 499, 500), wanted.float(), atol=1e-6)
