"""A tiny run of prompts in latents: untrained encoders of both kinds, and a network for latents that takes prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from latent_runs import MODEL, latent_config, tiny_autoencoder

from viz_diffusion.data import Digits
from viz_diffusion.data.caption_words import VOCABULARY
from viz_diffusion.data.captions import CaptionedDigits
from viz_diffusion.diffusion.text_encoder import TextConfig
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import encoded, load_latent_space, save_autoencoder
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_encoder_training import new_text_encoder
from viz_diffusion.training.text_run import save_text_encoder

TEXT = TextConfig(VOCABULARY, width=16, num_heads=2)


def latent_text_config(steps: int) -> RunConfig:
    """Return the config of a tiny run of prompts in latents."""
    return replace(latent_config(steps), model=replace(MODEL, text=TEXT))


def begin_latent_text(path: Path, digits: CaptionedDigits, steps: int = 6) -> tuple[Run, TrainState, Digits]:
    """Begin such a run; return it, its state, and its digits as latents."""
    config = latent_text_config(steps)
    run = Run.create(path, config)
    save_text_encoder(path, new_text_encoder(TEXT, seed=0))
    save_autoencoder(path, tiny_autoencoder(digits))
    data = encoded(digits, load_latent_space(path, config, check=False))
    return run, TrainState.create(config.training, config.model), data
