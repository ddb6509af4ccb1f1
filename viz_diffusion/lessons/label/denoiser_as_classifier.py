"""The denoiser as a classifier of real digits: the label under which its predicted noise is least wrong.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

import torch
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.context import Progress, silent

READ_FROM, READ_TO = 300, 650
"""Of T = 1000: between which timesteps a digit is classified."""


@torch.no_grad()
def classify_digits(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    count: int,
    draws: int,
    seed: int = 0,
    progress: Progress = silent,
) -> Share:
    """Classify ``count`` digits by the label with the smallest error of ε̂ (Li et al. 2023; Clark & Jaini 2023).

    All labels are compared under the same ``draws`` of (t, ε).
    """
    T = schedule.num_train_timesteps
    generator = torch.Generator().manual_seed(seed + 1900)
    labels = torch.unique(heldout.labels)
    t = torch.randint(READ_FROM * T // 1000, READ_TO * T // 1000, (draws,), generator=generator)
    noise = torch.randn((draws, *heldout.images.shape[1:]), generator=generator)
    hits = 0
    for done, row in enumerate(torch.randperm(len(heldout), generator=generator)[:count].tolist()):
        x_t = schedule.add_noise(heldout.images[row].expand_as(noise), noise, t)
        errors = [(predict_noise(denoiser, x_t, t, label) - noise).square().sum() for label in labels.tolist()]
        hits += int(labels[torch.stack(errors).argmin()] == heldout.labels[row])
        progress(done + 1, count, "digits read by the denoiser")
    return Share(hits, count)
