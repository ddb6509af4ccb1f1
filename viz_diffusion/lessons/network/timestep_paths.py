"""By how much the predicted noise moves when t changes on one of its two ways into the network.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.embedded_timestep import embedded_timesteps
from viz_diffusion.diffusion.prediction import PREDICTION_BATCH, device_of
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.evaluation.intervals import half_of_mean

COUNT = 400
"""Noised images."""


@dataclass(frozen=True)
class TimestepPaths:
    """RMS changes of ε̂ over images and pixels, where ε has 1, with another timestep on one way; 95% intervals."""

    last_line: float
    """Where only ᾱ in the last line belongs to another timestep."""
    last_line_half: float
    """Half its interval."""
    embedding: float
    """Where only the time embedding gets another timestep."""
    embedding_half: float
    """Half its interval."""
    count: int
    """Noised images."""
    amplification: float
    """√((1-ᾱ)/ᾱ), the factor of an error of ε̂ in x̂_0, at the last t at which ᾱ is above 0."""
    amplified_at: int
    """That t."""


@torch.no_grad()
def measure_timestep_paths(
    network: SimpleUNet, schedule: NoiseSchedule, heldout: Digits, generator: torch.Generator, count: int = COUNT
) -> TimestepPaths:
    """Predict the noise of held-out images at evenly spaced t, and again with random timesteps on one way each."""
    rows = torch.randint(len(heldout), (count,), generator=generator)
    t = torch.arange(count) * schedule.num_train_timesteps // count
    other = torch.randint(schedule.num_train_timesteps, (count,), generator=generator)
    noise = torch.randn((count, *heldout.images.shape[1:]), generator=generator)
    x_t, labels = schedule.add_noise(heldout.images[rows], noise, t), heldout.labels[rows]

    def predicted(embedded: Tensor, in_last_line: Tensor) -> Tensor:
        found, device = [], device_of(network)
        for part in torch.split(torch.arange(count), PREDICTION_BATCH):
            inputs = (one[part].to(device) for one in (x_t, in_last_line, labels))
            with embedded_timesteps(network, embedded[part].to(device)):
                found.append(network(*inputs).cpu())
        return torch.cat(found)

    right = predicted(t, t)
    changes = (predicted(t, other) - right, predicted(other, t) - right)
    last_line, embedding = (_root_mean(change.square().mean(dim=(1, 2, 3)).double().numpy()) for change in changes)
    last = int(np.flatnonzero(schedule.alphas_cumprod > 0)[-1])
    power = float(schedule.alphas_cumprod[last])
    return TimestepPaths(*last_line, *embedding, count, sqrt((1 - power) / power), last)


def _root_mean(squares: np.ndarray) -> tuple[float, float]:
    """Return the root of the mean of (N,) squares, and half its 95% interval by the delta method."""
    root = float(np.sqrt(squares.mean()))
    return root, float(half_of_mean(squares)) / (2 * root) if root else 0.0
