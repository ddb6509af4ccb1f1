"""The space that a run's network works in: networks for the latents of ``--space``, and the autoencoder's training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal

if TYPE_CHECKING:
    import torch

    from viz_diffusion.data import Digits
    from viz_diffusion.diffusion.autoencoder import AutoencoderConfig
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.processes import Processes
    from viz_diffusion.training.run import Run

LATENT_CHANNELS, LATENT_EMBEDDING = (32, 32), 128
"""Of a network for latents: feature channels at 7x7 and 4x4, and width of the embedding."""
SPACES = ("pixel", "latent", "latent-2d")
"""Choices of ``--space``; ``latent-2d``: latents of two numbers, the points of a plane."""
FLAT_CHANNELS, FLAT_EMBEDDING = (32, 32), 64
"""The same of a network for latents of two numbers, whose convolutions have one weight for a pair of channels."""
FLAT_LATENT: dict[str, Any] = {
    "latent_channels": 2,
    "fully_connected": True,
    "channels": (96, 64),
    "kl_weight": 2e-4,
    "steps": 8000,
    "batch_size": 128,
}
"""The autoencoder of ``latent-2d``, where it is not the usual one: two numbers take longer training and a smaller KL
weight, which counts per number of the latent."""


def latent_network(
    network: ModelConfig, space: str, seed: int, steps: int | None
) -> tuple[ModelConfig, AutoencoderConfig]:
    """Return the network for the latents of the images that ``network`` is built for, and their autoencoder."""
    from viz_diffusion.diffusion.autoencoder import AutoencoderConfig

    autoencoder = AutoencoderConfig(
        image_size=network.image_size,
        image_channels=network.in_channels,
        seed=seed % 2**32,
        **(FLAT_LATENT if space == "latent-2d" else {}),
    )
    if steps is not None:
        autoencoder = replace(autoencoder, steps=steps)
    channels, side, _ = autoencoder.latent_shape
    latent = replace(network, image_size=side, in_channels=channels, fold=1)
    if autoencoder.fully_connected:
        return replace(latent, channels=FLAT_CHANNELS, embedding_dim=FLAT_EMBEDDING, kernel_size=1), autoencoder
    return replace(latent, channels=LATENT_CHANNELS, embedding_dim=LATENT_EMBEDDING), autoencoder


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as text, such as ``4 × 7 × 7``."""
    return " × ".join(map(str, shape))


def latent_data(
    run: Run, device: torch.device, data: Digits, heldout: Digits, processes: Processes, terminal: Terminal
) -> tuple[Digits, Digits]:
    """Return a run's data as its network is trained on them: encoded, or as they are where it works on pixels.

    Where the run has no autoencoder yet, process 0 trains it first; stopped, that training begins anew.
    """
    from viz_diffusion.training.autoencoder_training import new_autoencoder, train_autoencoder
    from viz_diffusion.training.latent_run import AUTOENCODER, encoded, load_latent_space, save_autoencoder

    config = run.config.autoencoder
    if config is None:
        return data, heldout
    if not processes.is_main:
        processes.wait_for_main()
    elif not (run.path / AUTOENCODER).is_file():
        autoencoder, text = new_autoencoder(config, device), terminal.text("autoencoder")
        with run.lock(), terminal.progress("Training", text, config.steps) as update:
            for step in train_autoencoder(autoencoder, data):
                update(step.step, config.steps, terminal.text("autoencoder_loss", error=step.error))
                processes.working()
            save_autoencoder(run.path, autoencoder)
    if processes.is_main:
        processes.worked()
    space = load_latent_space(run.path, run.config, run.is_finished, device)
    terminal.tell("Encoding", "encoding", count=len(data) + len(heldout))
    return encoded(data, space), encoded(heldout, space)
