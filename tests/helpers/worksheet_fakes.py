"""Small generations with known noise for tests of worksheets; no network."""

from __future__ import annotations

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.comparison_runs import Generation, kept_steps_left
from viz_diffusion.recording.trajectory import Trajectory

LINEAR = NoiseSchedule.named("linear")
COMMAND = "vizdiff worksheet --digit 5 --seed 31337 --run bundled"


def fake_digit(digit: int) -> np.ndarray:
    """Return a (28, 28) image of background with one rectangle of ink, at another place for each digit."""
    image = np.full((28, 28), -1, np.float32)
    image[6:22, 4 + digit : 14 + digit] = 0.9
    return image


def noisy_states(x0: np.ndarray, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (timesteps, x_t, noise) of a generation with known noise."""
    timesteps = np.round(np.linspace(999, 0, steps)).astype(np.int64)
    eps = np.random.default_rng(seed).standard_normal((steps, 28, 28)).astype(np.float32)
    x_t = LINEAR.add_noise(np.broadcast_to(x0, eps.shape), eps, timesteps)
    return timesteps, x_t, eps


def fake_trajectory(steps: int = 100, digit: int = 5, seed: int = 31337, **changes: object) -> Trajectory:
    x0 = fake_digit(digit)
    timesteps, x_t, eps = noisy_states(x0, steps, 0)
    shape = (1, steps, 1, 28, 28)
    fields = {
        "schedule": LINEAR,
        "timesteps": timesteps,
        "x_t": x_t.reshape(shape),
        "eps_pred": eps.reshape(shape),
        "x0_pred": np.broadcast_to(x0, shape).copy(),
        "x0": x0.reshape(1, 1, 28, 28),
        "labels": np.array([digit]),
        "seeds": np.array([seed]),
        "sampler": "ddim",
        "weights_sha256": "ab" * 32,
    }
    return Trajectory(**{**fields, **changes})


def fake_others(steps: int = 100, label: int = 5) -> list[Generation]:
    left = kept_steps_left(steps, 50)
    others = []
    for digit in (d for d in range(10) if d != label):
        timesteps, x_t, _ = noisy_states(fake_digit(digit), steps, 1)
        rows = steps - left
        states = np.concatenate([x_t[rows], fake_digit(digit)[None]])
        x0_pred = np.repeat(fake_digit(digit)[None], len(left), axis=0)
        others.append(Generation(digit, "ddim", 1.5, steps, timesteps[rows], left, states, x0_pred))
    return others
