"""DDIM whose coefficients belong to a timestep of each image, such as one that is estimated from its border.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Denoiser, ImageNoise, Noise
from viz_diffusion.diffusion.sampling import BATCH_SIZE
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.clock.arms import SAMPLERS, SEED, STEPS, sample_labels
from viz_diffusion.lessons.clock.border_estimate import estimate_timesteps

Estimate = Callable[[Tensor], Tensor]
"""(B, C, H, W) images x_t -> (B,) int64 timesteps."""


@torch.no_grad()
def ddim_states(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor,
    timesteps: NDArray[np.int64],
    eta: float,
    estimate: Estimate,
) -> Iterator[Tensor]:
    """Sample by DDIM (Song et al. 2021, eq. 12 and 16) with x̂_0 clipped; give each next state (B, C, H, W).

    The noise that a step removes is that of t̂ = ``estimate(x)``, which also the denoiser gets; the noise that it leaves
    is that of the next of the falling ``timesteps``. An estimate below that one counts as one above it: a step never
    adds noise where η is 0.
    """
    x = noise.draw(labels.device)
    for t_next in [*timesteps[1:].tolist(), -1]:
        t = estimate(x).clamp(min=t_next + 1)
        alpha = schedule.alphas_cumprod[t.cpu().numpy()]
        alpha_next = 1.0 if t_next < 0 else schedule.alphas_cumprod[t_next]
        signal, spread = _factor(np.sqrt(alpha), x), _factor(np.sqrt(1 - alpha), x)
        # "predicted x_0", and the ε that it implies once it is clipped
        x0 = ((x - spread * denoiser(x, t, labels)) / signal).clamp(-1, 1)
        direction = (x - signal * x0) / spread
        # σ_t = η √((1-ᾱ_{t-1})/(1-ᾱ_t)) √(1-ᾱ_t/ᾱ_{t-1}) (eq. 16)
        sigma = eta * np.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
        # √ᾱ_{t-1} "predicted x_0" + √(1-ᾱ_{t-1}-σ_t²) "direction pointing to x_t" + σ_t "random noise" (eq. 12)
        x = float(np.sqrt(alpha_next)) * x0 + _factor(np.sqrt(1 - alpha_next - sigma**2), x) * direction
        if eta > 0 and t_next >= 0:
            x = x + _factor(sigma, x) * noise.draw(labels.device)
        yield x


def sample_by_border(
    denoiser: nn.Module, schedule: NoiseSchedule, black: NDArray[np.bool_], sampler: str, samples: int
) -> Tensor:
    """Return (M, C, H, W) samples as ``sample_arm`` does, with t estimated from the pixels of a (C, H, W) mask."""
    labels = sample_labels(samples).to(device_of(denoiser))
    steps = SamplerConfig("ddim", min(STEPS, schedule.num_train_timesteps)).timesteps(schedule.num_train_timesteps)
    mask = torch.from_numpy(black)

    def estimate(x: Tensor) -> Tensor:
        return torch.from_numpy(estimate_timesteps(x.cpu()[:, mask].numpy(), schedule)).to(x.device)

    parts = []
    for first in range(0, samples, BATCH_SIZE):
        part = slice(first, min(first + BATCH_SIZE, samples))
        noise = ImageNoise(range(SEED + part.start, SEED + part.stop), black.shape)
        *_, x0 = ddim_states(denoiser, schedule, noise, labels[part], steps, SAMPLERS[sampler], estimate)
        parts.append(x0.cpu())
    return torch.cat(parts)


def _factor(values: NDArray[np.float64], x: Tensor) -> Tensor:
    """Return (B,) numbers as factors of (B, C, H, W) images."""
    return torch.from_numpy(values).to(x)[:, None, None, None]
