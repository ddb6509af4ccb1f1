"""Sampling with a :class:`SamplerConfig`: the steps of one generation, and finished images in bulk.

The equations of the samplers are in :mod:`viz_diffusion.diffusion.samplers` and
:mod:`viz_diffusion.diffusion.ode_samplers`. Knows nothing about recording or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.latent_space import latent_space_of, pictures_of
from viz_diffusion.diffusion.ode_samplers import euler_steps, heun_steps
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import (
    Denoiser,
    ImageNoise,
    Noise,
    Step,
    ddim_steps,
    ddpm_steps,
    dpm_solver_steps,
)
from viz_diffusion.diffusion.schedule import NoiseSchedule

BATCH_SIZE = 20
"""Bulk sampling pads every batch to this many images, so that an image does not depend on its batch."""


def sampled_as(denoiser: object, config: SamplerConfig) -> SamplerConfig:
    """Return a configuration as a denoiser is sampled with it: latents have no limits, so their x̂_0 is not clipped."""
    return config if latent_space_of(denoiser) is None else replace(config, clip=False)


def sampling_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    config: SamplerConfig | None = None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    guidance_scales: Tensor | None = None,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by the sampler that a configuration names, one :class:`Step` after another.

    Parameters
    ----------
    labels
        (B,) int64 on the denoiser's device, or None for a denoiser that takes no labels.
    config
        How to sample; by default DDPM over all timesteps, without guidance. Latents are not clipped, whatever it says.
    timesteps
        (S,) falling timesteps to visit, in place of those of ``config``.
    guidance_scales
        (B, 1, 1, 1) a guidance scale for each image, in place of that of ``config``.
    null_label
        The label that means "no label".

    Raises
    ------
    VizdiffUsageError
        Where there are more steps than timesteps, the schedule does not preserve variance and the sampler needs that,
        or the denoiser predicts ε and the schedule ends without signal (zero terminal SNR), so that ε̂ implies no x̂_0.
    """
    config = sampled_as(denoiser, config or SamplerConfig())
    if getattr(denoiser, "prediction_type", "epsilon") == "epsilon":
        schedule.require_signal()
    visited = config.timesteps(schedule.num_train_timesteps) if timesteps is None else timesteps
    scale = config.guidance_scale if guidance_scales is None else guidance_scales
    process = (denoiser, schedule, noise, labels)
    if config.sampler == "ddpm":
        return ddpm_steps(
            *process,
            timesteps=visited,
            variance=config.variance,
            guidance_scale=scale,
            clip=config.clip,
            null_label=null_label,
        )
    if config.sampler == "ddim":
        return ddim_steps(
            *process, timesteps=visited, eta=config.eta, guidance_scale=scale, clip=config.clip, null_label=null_label
        )
    solver = {"euler": euler_steps, "heun": heun_steps, "dpm-solver++": dpm_solver_steps}[config.sampler]
    return solver(*process, timesteps=visited, guidance_scale=scale, clip=config.clip, null_label=null_label)


def sample_images(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    labels: Tensor,
    seeds: Sequence[int],
    config: SamplerConfig | None = None,
    *,
    null_label: int = 10,
    image_shape: tuple[int, ...] = (1, 28, 28),
    on_step: Callable[[Step], None] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Tensor]:
    """Sample in bulk: yield finished images, (b, C, H, W) float32 on the CPU, batch after batch.

    Of a network that works in latents they are the pictures that its decoder makes of the finished latents. Every
    batch is padded to ``batch_size``, so that image k is bit-identical whatever the count.

    Parameters
    ----------
    labels
        (N,) int64 on the denoiser's device.
    seeds
        N seeds, one for each image's noise.
    config, null_label
        As in :func:`sampling_steps`; by default DDIM with 50 steps, without guidance.
    image_shape
        (C, H, W) of the network's x; latents have their own.
    on_step
        Observes each step of each batch, its padding included.
    batch_size
        Images of one batch; results depend on it by rounding.
    """
    config = config or SamplerConfig("ddim", 50)
    space = latent_space_of(denoiser)
    shape = image_shape if space is None else space.latent_shape
    for start in range(0, len(seeds), batch_size):
        part = list(seeds[start : start + batch_size])
        padding = batch_size - len(part)
        batch_labels = torch.cat([labels[start : start + batch_size], labels.new_zeros(padding)])
        noise = ImageNoise(part + [0] * padding, shape)
        for step in sampling_steps(denoiser, schedule, noise, batch_labels, config, null_label=null_label):
            x0 = step.x_prev
            if on_step is not None:
                on_step(step)
        yield pictures_of(denoiser, x0)[: len(part)].cpu()
