"""A tiny run in latents: an untrained autoencoder whose latents are scaled, and a network for them."""

from __future__ import annotations

from pathlib import Path

from training_runs import begin

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.training.autoencoder_training import measure_scale, new_autoencoder
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import encoded, load_latent_space, save_autoencoder
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Trainer

AUTOENCODER = AutoencoderConfig(channels=(8, 8), steps=2, batch_size=4)
MODEL = ModelConfig(
    image_size=7, in_channels=4, channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2, fold=1, num_blocks=1
)


def tiny_autoencoder(digits: Digits, config: AutoencoderConfig = AUTOENCODER) -> Autoencoder:
    """Return an untrained autoencoder with the scale of its latents measured on some digits."""
    autoencoder = new_autoencoder(config)
    measure_scale(autoencoder, digits)
    return autoencoder.eval().requires_grad_(False)


def tiny_space(digits: Digits) -> LatentSpace:
    return LatentSpace(tiny_autoencoder(digits))


def latent_config(steps: int = 3) -> RunConfig:
    return RunConfig(MODEL, TrainConfig(steps=steps, batch_size=4, warmup_steps=2), autoencoder=AUTOENCODER)


def latent_run(path: Path, digits: Digits, config: RunConfig | None = None) -> Run:
    """Train a tiny run in latents to its end."""
    run, state = begin(path, config or latent_config())
    save_autoencoder(path, tiny_autoencoder(digits))
    data = encoded(digits, load_latent_space(path, run.config, check=False))
    list(Trainer(run, state, data, data).run())
    return Run.open(path)


def wrongly_scaled(space: LatentSpace, factor: float) -> LatentSpace:
    """Return a latent space whose latents are ``factor`` times as large."""
    autoencoder = Autoencoder(space.autoencoder.config)
    autoencoder.load_state_dict(space.autoencoder.state_dict())
    autoencoder.latent_deviation.div_(factor)
    return LatentSpace(autoencoder)
