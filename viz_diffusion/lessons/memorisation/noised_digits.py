"""Training digits noised to some t and denoised: copies of known quality, which the detector flags or misses.

Samples by DDIM at the timesteps of the lesson's samples; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import PREDICTION_BATCH, device_of
from viz_diffusion.diffusion.samplers import ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.evaluation.metrics import nearest_neighbours
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
STEPS_LEFT = (1, 3, 5, 10, 15)
"""How many of the sampler's steps are left from each t: with 50 steps of T = 1000, t = 19, 59, 99, 199 and 299."""
DIGITS = (40, 400)
"""Training digits at each t, quick and full."""
SEED = 19_590
"""Of their noise."""


@dataclass(frozen=True)
class NoisedFacts:
    """What texts and JSON files say of training digits noised to D timesteps and denoised."""

    noised_count: int
    """Digits at each timestep."""
    noised_t: tuple[int, ...]
    """(D,) timesteps, rising."""
    noised_flagged: tuple[int, ...]
    """(D,) digits that are flagged as near-copies."""
    noised_share: tuple[float, ...]
    """(D,) their share."""
    noised_low: tuple[float, ...]
    """(D,) lower end of its 95% interval."""
    noised_high: tuple[float, ...]
    """(D,) upper end of it."""
    noised_ratio: tuple[float, ...]
    """(D,) median d₁/d₂."""
    noised_distance: tuple[float, ...]
    """(D,) mean d₁, L2 over the pixels."""
    noised_excluded: tuple[float, ...]
    """(D,) the largest share of the samples that may be copies as near as these: the upper end of the 95% interval of
    the samples' flagged share over the lower end of ``noised_share``'s; at most 1."""


@dataclass(frozen=True, eq=False)
class NoisedDigits:
    """Nearest training digits of N training digits that were noised to D timesteps and denoised."""

    timesteps: NDArray[np.int64]
    """(D,) int64, rising."""
    ratio: Float64
    """(D, N) float64: d₁/d₂ of each, among all training digits."""
    distance: Float64
    """(D, N) float64: d₁, L2 over the pixels."""

    def flagged(self, copy: float) -> tuple[Share, ...]:
        """Return (D,) shares of the digits whose d₁/d₂ is below ``copy``."""
        return tuple(Share(int((row < copy).sum()), len(row)) for row in self.ratio)

    def facts(self, copy: float, samples: Share) -> NoisedFacts:
        """Return the numbers, given the limit of d₁/d₂ and the share of the samples that are flagged."""
        shares = self.flagged(copy)
        most = samples.interval[1]
        lows = [share.interval[0] for share in shares]
        return NoisedFacts(
            noised_count=self.ratio.shape[1],
            noised_t=tuple(self.timesteps.tolist()),
            noised_flagged=tuple(share.hits for share in shares),
            noised_share=tuple(share.value for share in shares),
            noised_low=tuple(lows),
            noised_high=tuple(share.interval[1] for share in shares),
            noised_ratio=tuple(np.median(self.ratio, axis=1).tolist()),
            noised_distance=tuple(self.distance.mean(axis=1).tolist()),
            noised_excluded=tuple(min(1.0, most / low) if low > 0 else 1.0 for low in lows),
        )

    def claim(self, copy: float) -> Claim:
        """Decide whether copies are noticed: surely more than half of the nearest ones, those of the smallest t."""
        low, high = self.flagged(copy)[0].interval
        return Claim("copies_noticed", True if low > 0.5 else False if high < 0.5 else None)


class _Start:
    """A sampler's noise whose first draw is a given state."""

    def __init__(self, state: Tensor) -> None:
        self._state = state

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the state; DDIM draws no more."""
        return self._state.to(device)


@torch.no_grad()
def measure_noised_digits(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    count: int,
    steps: int,
    progress: Progress = silent,
) -> NoisedDigits:
    """Noise ``count`` training digits to each timestep, denoise them by DDIM, and find their nearest training digits.

    Parameters
    ----------
    training
        All digits that the denoiser was trained on; the noised ones are among them, with labels 0 .. 9 in turn.
    steps
        DDIM steps of a whole generation; the digits are denoised at the last of its timesteps.
    """
    visited = spaced_timesteps(schedule.num_train_timesteps, min(steps, schedule.num_train_timesteps))
    left = [min(number, len(visited)) for number in STEPS_LEFT]
    digits = training.first_of_each(count)
    noise = torch.randn(digits.images.shape, generator=torch.Generator().manual_seed(SEED))
    pool, found = training.images.numpy(), []
    for index, number in enumerate(left):
        noised = schedule.add_noise(digits.images, noise, int(visited[-number]))
        parts = [
            _denoised(denoiser, schedule, noised[first:last], digits.labels[first:last], visited[-number:])
            for first, last in pairwise([*range(0, len(noised), PREDICTION_BATCH), len(noised)])
        ]
        found.append(nearest_neighbours(torch.cat(parts).numpy(), pool))
        progress(index + 1, len(left), "training digits noised and denoised")
    first = np.stack([near.first for near in found])
    second = np.stack([near.second for near in found])
    ratio = np.divide(first, second, out=np.zeros_like(first), where=second > 0)
    return NoisedDigits(visited[[-number for number in left]], ratio, first)


def _denoised(
    denoiser: nn.Module, schedule: NoiseSchedule, noised: Tensor, labels: Tensor, visited: NDArray[np.int64]
) -> Tensor:
    """Return the images to which DDIM takes noised ones at the first of the timesteps, without guidance."""
    device = device_of(denoiser)
    for step in ddim_steps(denoiser, schedule, _Start(noised), labels.to(device), timesteps=visited):
        finished = step.x_prev
    return finished.cpu()
