"""A recording of several chunks of samples and of steps, and where its chunks lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.trajectory import Trajectory


def long(samples: int = 18, steps: int = 120) -> Trajectory:
    """Make a recording of two chunks of samples and three of steps."""
    rng = np.random.default_rng(5)
    images = rng.standard_normal((samples, steps, 1, 4, 4)).astype(np.float32)
    return Trajectory(
        schedule=NoiseSchedule.named("linear"),
        timesteps=np.arange(steps)[::-1].copy(),
        x_t=images,
        eps_pred=images + 1,
        x0_pred=images + 2,
        x0=images[:, 0],
        labels=np.arange(samples),
        seeds=np.arange(samples),
        activations={
            "mid": rng.standard_normal((samples, 3, 2, 4, 4)).astype(np.float32),
            "time_mlp": rng.standard_normal((samples, 3, 7)).astype(np.float32),
        },
        activation_steps=np.array([0, 60, 119]),
        decoded=rng.standard_normal((samples, 2, 3, 8, 8)).astype(np.float32),
        decoded_steps=np.array([0, 120]),
    )


def chunk(path: Path, *numbers: int, name: str = "x_t") -> Path:
    return path / name / ".".join(["c", *map(str, (*numbers, 0, 0, 0))])
