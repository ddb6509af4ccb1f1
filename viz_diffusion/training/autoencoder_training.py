"""Training of the autoencoder, and the measurement of its latents' scale.

Reads and writes no files. A stopped training begins anew: it takes a few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.torch_defaults import own_defaults, own_defaults_each_step
from viz_diffusion.errors import VizdiffNonFiniteError


@dataclass(frozen=True)
class AutoencoderStep:
    """The result of one optimizer step."""

    step: int
    """Number of steps done, including this one."""
    error: float
    """Mean squared error per pixel."""
    kl: float
    """KL divergence per number of the latent, in nats."""


@own_defaults()
def new_autoencoder(config: AutoencoderConfig, device: torch.device | str = "cpu") -> Autoencoder:
    """Return an autoencoder before its first step; its weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Autoencoder(config).to(device)


@own_defaults_each_step
def train_autoencoder(model: Autoencoder, data: Digits) -> Iterator[AutoencoderStep]:
    """Train for ``config.steps`` steps, then measure mean and deviation of the latents; yield after each step.

    Raises
    ------
    VizdiffNonFiniteError
        If the loss is not finite.
    """
    config, device = model.config, next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(config.seed)
    model.train()
    for step in range(config.steps):
        rows = torch.randint(len(data), (config.batch_size,), generator=generator)
        noise = torch.randn((config.batch_size, *config.latent_shape), generator=generator)
        error, kl = model.loss(data.images[rows].to(device), noise.to(device))
        loss = error + config.kl_weight * kl
        if not torch.isfinite(loss):
            raise VizdiffNonFiniteError(
                f"step {step + 1} of the autoencoder: the loss is {loss.item()}; begin anew with another `seed`"
            )
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1, (step + 1) / 100) * (1 - step / config.steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield AutoencoderStep(step + 1, error.item(), kl.item())
    measure_scale(model, data)


@torch.no_grad()
def measure_scale(model: Autoencoder, data: Digits) -> None:
    """Set the latents' mean and deviation per channel to those of ``data``, over images and positions."""
    model.latent_mean.zero_()
    model.latent_deviation.fill_(1)
    latents = LatentSpace(model).encode(data.images)
    deviations, means = torch.std_mean(latents.double(), dim=(0, 2, 3), correction=0)
    model.latent_mean.copy_(means)
    model.latent_deviation.copy_(deviations.clamp(min=1e-6))
