"""What recordings of other programs show by themselves: a step taken apart, the picture destroyed, players."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from foreign_recordings import record

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.lessons.noising import lesson as noising
from viz_diffusion.lessons.step import lesson as step
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.player import MOST_PIXELS
from viz_diffusion.report.recording_assembly import player
from viz_diffusion.study.recording_study import study_recording

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ALONE = tuple(lesson for lesson in all_lessons() if lesson.measure_recording is not None)

# -- a step taken apart by what the recording shows ------------------------------------------------


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_what_ddpm_throws_on_is_the_generators_own_noise(variance: str) -> None:
    found = record(DDPMScheduler(variance_type=variance))
    parts = step.measure_recording(found)
    assert parts is not None
    generator = torch.Generator().manual_seed(3)
    draws = [torch.randn((1, 3, 8, 8), generator=generator).numpy()[0] for _ in range(20)]
    assert np.array_equal(found.x_t[0, 0], draws[0])
    spaced = found.schedule.respaced(found.timesteps[::-1])
    sigma = np.sqrt(spaced.betas if variance == "fixed_large" else spaced.posterior_variance)[::-1]
    for index in range(19):
        np.testing.assert_allclose(parts.injected[index], sigma[index] * draws[index + 1], atol=1e-4)
    assert np.abs(parts.injected[19]).max() < 1e-6
    assert step.facts(parts).is_ddpm


@pytest.mark.parametrize(
    "scheduler",
    [DDIMScheduler, partial(DDIMScheduler, clip_sample=False), EulerDiscreteScheduler],
    ids=["ddim", "ddim, not clipped", "euler, fractional t"],
)
def test_samplers_without_fresh_noise_throw_nothing_on(scheduler: Callable[[], Any]) -> None:
    found = record(scheduler())
    parts = step.measure_recording(found)
    assert parts is not None
    assert not parts.injected.any()
    assert (found.timesteps.dtype.kind == "f") == (found.sampler == "EulerDiscrete")


def test_ddim_that_derives_its_noise_anew_from_the_clipped_guess_is_known_too() -> None:
    assert step.measure_recording(record(DDIMScheduler(), use_clipped_model_output=True)) is not None


def test_the_noise_of_ddims_eta_is_told_where_eta_is() -> None:
    found = record(DDIMScheduler(), eta=1.0)
    assert step.measure_recording(found) is None, "the recording does not know η"
    parts = step.measure_recording(replace(found, eta=1.0))
    assert parts is not None
    assert np.all(np.abs(parts.injected[:-1]).max(axis=(1, 2, 3)) > 0)


@pytest.mark.parametrize(
    "scheduler", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler], ids=["2M", "ancestral"]
)
def test_what_follows_neither_formula_is_left_out(scheduler: Callable[[], Any]) -> None:
    found = record(scheduler())
    assert step.measure_recording(found) is None
    assert [lesson.name for lesson in study_recording(found, ALONE).not_shown] == ["step"]


def test_control_a_wrong_variance_is_noticed() -> None:
    """Fresh noise of another size than the scheduler is said to use must not pass as its own."""
    found = record(DDPMScheduler(variance_type="fixed_large"), steps=4)
    assert step.measure_recording(found) is not None
    assert step.measure_recording(replace(found, variance="beta_tilde")) is None
    assert step.measure_recording(replace(found, variance="")) is None


# -- its finished picture, destroyed again ----------------------------------------------------------


def test_the_finished_picture_is_destroyed_by_its_own_schedule() -> None:
    found = record(DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    data = noising.measure_recording(found)
    assert data is not None
    assert data.schedule is found.schedule
    x0 = np.moveaxis(found.x0[0], 0, -1)
    np.testing.assert_array_equal(data.images[0, 0], x0)
    shares = found.schedule.alphas_cumprod[data.timesteps]
    noise = (data.images[0, 1:] - np.sqrt(shares)[:, None, None, None] * x0) / np.sqrt(1 - shares)[:, None, None, None]
    np.testing.assert_allclose(noise, np.broadcast_to(noise[-1], noise.shape), atol=2e-3)  # one noise throughout
    assert 0.8 < noise[-1].std() < 1.2
    assert data.chains.count * x0.size <= noising.CHAINS[0] * 784
    assert {claim.name: claim.holds for claim in noising.claims(data)} == {"closed_form": True, "crossing": True}
    assert list(noising.draw(data)) == ["snr"]


def test_a_schedule_that_leaves_the_signal_stronger_is_left_out() -> None:
    found = record(DDPMScheduler(num_train_timesteps=50))
    assert noising.measure_recording(found) is None
    assert [lesson.name for lesson in study_recording(found, ALONE).not_shown] == ["noising"]


# -- players ---------------------------------------------------------------------------------------


def test_the_player_holds_the_recordings_own_pixels() -> None:
    found = record(EulerDiscreteScheduler())
    played = player(found)
    assert played.digit is None
    np.testing.assert_array_equal(played.x_t[4, ..., 1], found.x_t[0, 4, 1])
    np.testing.assert_array_equal(played.x_t[-1, ..., 2], found.x0[0, 2])
    np.testing.assert_allclose(played.eps_pred[4], found.eps_pred[0, 4].sum(axis=0) / np.sqrt(3), rtol=1e-6)
    np.testing.assert_array_equal(played.shares, found.alphas_cumprod)
    assert len(played.x_t) == 21


def test_a_recording_of_many_pixels_keeps_evenly_spread_steps() -> None:
    side, steps = 256, 100
    shape = (1, steps, 1, side, side)
    zeros = np.zeros(shape, np.float32)
    found = Trajectory(
        NoiseSchedule.named("linear"),
        np.arange(steps)[::-1],
        zeros,
        zeros,
        zeros,
        zeros[:, 0],
        np.array([-1]),
        np.array([-1]),
        sampler="DDPM",
    )
    played = player(found)
    assert 50 < len(played.timesteps) <= MOST_PIXELS // side**2
    assert (played.timesteps[0], played.timesteps[-1], played.total) == (steps - 1, 0, steps)
