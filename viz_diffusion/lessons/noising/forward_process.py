"""The forward process on real digits or a recording's own image: closed form, and Markov chain step by step.

Knows nothing about networks, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data import IMAGE_SIZE, Digits
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.frames import pictures

TIMESTEPS = (50, 100, 150, 200, 250, 300, 350, 450, 600, 999)
"""Timesteps of the grid of noised digits, for T = 1000."""
NUM_THUMBNAILS = 6
MOST_IMAGES = 5
CHAINS = (20, 1000)
"""How many times the first digit is noised step by step, quick and full."""


@dataclass(frozen=True, eq=False)
class Chains:
    """Noising step by step, many times from one image, compared with the closed form."""

    count: int
    """N, the number of chains."""
    timesteps: NDArray[np.int64]
    """(K,) int64, rising: where the chains are compared."""
    signal: NDArray[np.float64]
    """(K,) float64: the factor of the image that is left, by least squares; the closed form says √ᾱ."""
    spread: NDArray[np.float64]
    """(K,) float64: the standard deviation about the closed form's mean; the closed form says √(1-ᾱ)."""
    mean_deviation: NDArray[np.float64]
    """(K,) float64: distance of all pixels' means from the closed form, in standard errors of that distance."""
    variance_deviation: NDArray[np.float64]
    """(K,) float64: difference of the variance from the closed form, in standard errors."""

    @property
    def largest(self) -> float:
        """The largest of all deviations, in standard errors."""
        return float(np.abs([self.mean_deviation, self.variance_deviation]).max())


@dataclass(frozen=True, eq=False)
class Noising:
    """Images under one noise at K timesteps, and the schedule."""

    images: NDArray[np.float32]
    """(L, 1+K, H, W) or (L, 1+K, H, W, 3) float32, L at most 5: the image, then x_t at each of the K timesteps; of a
    recording its finished image, L = 1."""
    labels: NDArray[np.int64]
    """(L,) int64: labels of the images; of a recording (1,), -1 where it has none."""
    timesteps: NDArray[np.int64]
    """(K,) int64, rising."""
    schedule: NoiseSchedule
    """The forward process."""
    thumbnails: NDArray[np.float32]
    """(M, 28, 28) float32, or like ``images``: the first image at M timesteps, evenly spaced."""
    thumbnail_timesteps: NDArray[np.int64]
    """(M,) int64, rising."""
    seed: int
    """Seed of the noise."""
    chains: Chains
    """The first image noised step by step."""
    is_recording: bool = False
    """Whether the image is a recording's."""


def run_chains(
    x0: NDArray[np.float32], schedule: NoiseSchedule, timesteps: NDArray[np.int64], count: int, seed: int = 0
) -> Chains:
    """Noise ``x0``, of any shape, ``count`` times, one step after another, and compare with the closed form.

    Each step is x_t = √α x_{t-1} + √β z (Ho et al. 2020, eq. 2), nothing else; that this amounts to
    √ᾱ x_0 + √(1-ᾱ) ε (eq. 4) is what is tested. Of D pixels and N chains, N Σ(mean - √ᾱ x_0)²/(1-ᾱ) is χ² with D
    degrees of freedom, and the variance over all of them has the relative standard error √(2/(ND)).
    """
    rng = np.random.default_rng([seed, 1])
    start = x0.ravel().astype(np.float32)
    x = np.broadcast_to(start, (count, start.size)).copy()
    found: dict[str, list[float]] = {"signal": [], "spread": [], "mean": [], "variance": []}
    for t in range(int(timesteps[-1]) + 1):
        x *= np.float32(np.sqrt(schedule.alphas[t]))
        x += np.float32(np.sqrt(schedule.betas[t])) * rng.standard_normal(x.shape, dtype=np.float32)
        if t not in timesteps:
            continue
        share = schedule.alphas_cumprod[t]
        mean, rest = x.mean(axis=0, dtype=np.float64), x - np.sqrt(share) * start
        distance = count * np.square(mean - np.sqrt(share) * start).sum() / (1 - share)
        variance = float(np.square(rest, dtype=np.float64).mean())
        found["signal"].append(float(mean @ start / np.square(start, dtype=np.float64).sum()))
        found["spread"].append(float(np.sqrt(variance)))
        found["mean"].append((distance - start.size) / np.sqrt(2 * start.size))
        found["variance"].append((variance / (1 - share) - 1) * np.sqrt(x.size / 2))
    arrays = {name: np.array(values) for name, values in found.items()}
    return Chains(count, timesteps, arrays["signal"], arrays["spread"], arrays["mean"], arrays["variance"])


def measure_noising(
    digits: Digits, schedule: NoiseSchedule, digit: int = 5, seed: int = 0, chains: int = CHAINS[0]
) -> Noising:
    """Noise five real digits, ``digit`` first and the next four that there are after it, all with the same noise.

    Of fewer labels each is noised once. The first of them is also noised step by step, ``chains`` times.
    """
    last = schedule.num_train_timesteps - 1
    timesteps = np.unique(np.round(np.array(TIMESTEPS) * last / 999).astype(np.int64))
    later, before = ([one for one in digits.present if (one > digit) is after] for after in (True, False))
    labels = np.array([digit, *later, *(one for one in before if one != digit)][:MOST_IMAGES], np.int64)
    noise = ImageNoise([seed], tuple(digits.images.shape[1:])).draw()[0].numpy()
    clean = np.stack([digits.typical_of(int(label)).numpy() for label in labels])
    x0 = pictures(clean)

    def noised(images: NDArray[np.float32], t: int) -> NDArray[np.float32]:
        return pictures(schedule.add_noise(images, np.broadcast_to(noise, images.shape), t))

    thumbnail_timesteps = np.round(np.linspace(0, last, NUM_THUMBNAILS)).astype(np.int64)
    return Noising(
        images=np.stack([x0, *(noised(clean, int(t)) for t in timesteps)], axis=1),
        labels=labels,
        timesteps=timesteps,
        schedule=schedule,
        thumbnails=np.stack([noised(clean[0], int(t)) for t in thumbnail_timesteps]),
        thumbnail_timesteps=thumbnail_timesteps,
        seed=seed,
        chains=run_chains(clean[0], schedule, timesteps, max(2, chains * IMAGE_SIZE**2 // clean[0].size), seed),
    )


def measure_recording(trajectory: Trajectory) -> Noising | None:
    """Noise a recording's finished image again, by the schedule of the recording.

    Returns
    -------
    None where the signal-to-noise ratio of that schedule never falls below 1, or where the schedule does not preserve
    the variance: the lesson's formula is that of schedules that do.
    """
    schedule, x0 = trajectory.schedule, trajectory.x0[:1]
    if schedule.snr_below_one is None or schedule.scaling != SCALINGS[0]:
        return None
    last = schedule.num_train_timesteps - 1
    timesteps = np.unique(np.round(np.array(TIMESTEPS) * last / 999).astype(np.int64))
    thumbnail_timesteps = np.round(np.linspace(0, last, NUM_THUMBNAILS)).astype(np.int64)
    seed = max(0, int(trajectory.seeds[0]))
    noise = np.random.default_rng(seed).standard_normal(x0.shape, dtype=np.float32)

    def noised(times: NDArray[np.int64]) -> NDArray[np.float32]:
        return pictures(np.concatenate([schedule.add_noise(x0, noise, t) for t in times.tolist()]))

    chains = max(2, CHAINS[0] * 28 * 28 // x0.size)
    return Noising(
        images=np.concatenate([pictures(x0), noised(timesteps)])[None],
        labels=trajectory.labels[:1],
        timesteps=timesteps,
        schedule=schedule,
        thumbnails=noised(thumbnail_timesteps),
        thumbnail_timesteps=thumbnail_timesteps,
        seed=seed,
        chains=run_chains(x0, schedule, timesteps, chains, seed),
        is_recording=True,
    )
