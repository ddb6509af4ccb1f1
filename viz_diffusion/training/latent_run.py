"""What a run in latents has besides its network: the autoencoder's file, and its images as latents."""

from __future__ import annotations

from pathlib import Path

import torch

from viz_diffusion.data import Digits, EncodedDigits
from viz_diffusion.diffusion.autoencoder import Autoencoder
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.files import read_checked, read_regular, sha256_bytes, write_bytes
from viz_diffusion.training.checkpoint import load_weights, parse_tensors, to_bytes
from viz_diffusion.training.config import RunConfig

AUTOENCODER = "autoencoder.safetensors"
"""The autoencoder's weights and the scale of its latents, in a run's folder."""


@own_defaults()
def load_latent_space(
    folder: Path, config: RunConfig, check: bool, device: torch.device | str = "cpu"
) -> LatentSpace | None:
    """Return the latent space that a run's network works in; None where it works on pixels.

    Parameters
    ----------
    check
        Compare the file with the folder's manifest, which only a finished run has.

    Raises
    ------
    VizdiffInputError
        If the autoencoder's file is missing or damaged, or does not fit the config.
    """
    if config.autoencoder is None:
        return None
    path = folder / AUTOENCODER
    data = read_checked(folder, AUTOENCODER)[0] if check else read_regular(path)
    autoencoder = Autoencoder(config.autoencoder)
    load_weights(autoencoder, parse_tensors(path, data), path)
    return LatentSpace(autoencoder.to(device), sha256_bytes(data))


def save_autoencoder(folder: Path, autoencoder: Autoencoder) -> None:
    """Write an autoencoder that is trained and whose latents' scale is measured."""
    write_bytes(folder / AUTOENCODER, to_bytes(autoencoder.state_dict()))


def encoded(data: Digits, space: LatentSpace | None) -> Digits:
    """Return data as a run's network is trained on them: encoded, or as they are where it works on pixels."""
    if space is None:
        return data
    return EncodedDigits(space.encode(data.images), data.labels, data.class_names, data, space.sha256)
