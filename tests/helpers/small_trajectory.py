"""Small recordings made of random numbers, and a comparison of two recordings field by field."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.trajectory import Trajectory

B, S, C, H, W = 3, 5, 1, 4, 6
ARRAYS = ("timesteps", "x_t", "eps_pred", "x0_pred", "x0", "labels", "seeds", "eps_cond", "eps_uncond")


def make_trajectory(**changes: object) -> Trajectory:
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((B, S, C, H, W)).astype(np.float32) for _ in range(5)]
    images[0][0, 0] = 0.0
    images[1][...] = 0.0  # a field of zeros is there all the same
    whole = Trajectory(
        schedule=NoiseSchedule.named("cosine"),
        timesteps=np.array([999, 500, 259, 7, 0]),
        x_t=images[0],
        eps_pred=images[1],
        x0_pred=images[2],
        x0=rng.standard_normal((B, C, H, W)).astype(np.float32),
        labels=np.array([0, 9, -1]),
        seeds=np.array([0, 2**63 - 1, -1]),
        eps_cond=images[3],
        eps_uncond=images[4],
        sampler="ddpm",
        variance="beta",
        guidance_scale=1.5,
        clip=False,
        weights_sha256="0" * 64,
    )
    return replace(whole, **changes)


def assert_same(first: Trajectory, second: Trajectory) -> None:
    np.testing.assert_array_equal(first.schedule.betas, second.schedule.betas)
    assert first.schedule.name == second.schedule.name
    for name in (field.name for field in fields(Trajectory) if field.name != "schedule"):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert type(ours) is type(theirs), name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        if name in ARRAYS and ours is not None:
            assert ours.dtype == theirs.dtype, name
