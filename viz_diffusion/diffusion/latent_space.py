"""The latent space that a network works in: pictures to its x, and its x to pictures, in batches.

Knows nothing about noise schedules, recordings or files.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from viz_diffusion.diffusion.autoencoder import Autoencoder
from viz_diffusion.diffusion.torch_defaults import own_defaults

BATCH = 250
"""Images that are encoded or decoded at once."""


class LatentSpace:
    """A trained autoencoder, used for its latents; :attr:`SimpleUNet.latent_space` of a network that works in them.

    It is no module of the network: weights, parameters and names of layers are those of the denoiser alone.

    Parameters
    ----------
    autoencoder
        The autoencoder, with the scale of its latents measured.
    sha256
        SHA-256 of its weights file, or nothing where it is not known.
    """

    def __init__(self, autoencoder: Autoencoder, sha256: str = "") -> None:
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.sha256 = sha256

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a latent: of the network's x."""
        return self.autoencoder.config.latent_shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a picture."""
        return self.autoencoder.config.image_shape

    def encode(self, images: Tensor) -> Tensor:
        """Return the (N, c, h, w) float32 latents of (N, C, H, W) images in [-1, 1], on the images' device."""
        return self._in_batches(self.autoencoder.encode, images, self.latent_shape)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the (N, C, H, W) float32 pictures in [-1, 1] of (N, c, h, w) latents, on the latents' device."""
        return self._in_batches(self.autoencoder.decode, latents, self.image_shape)

    @own_defaults()
    @torch.no_grad()
    def _in_batches(self, convert: Callable[[Tensor], Tensor], values: Tensor, shape: tuple[int, int, int]) -> Tensor:
        device = self.autoencoder.latent_mean.device
        parts = [convert(part.to(device, torch.float32)).to(values.device) for part in torch.split(values, BATCH)]
        return torch.cat(parts) if parts else torch.zeros((0, *shape), device=values.device)


def latent_space_of(denoiser: object) -> LatentSpace | None:
    """Return the latent space that a denoiser works in; None where its x are pictures."""
    space: LatentSpace | None = getattr(denoiser, "latent_space", None)
    return space


def pictures_of(denoiser: object, x: Tensor) -> Tensor:
    """Return the (B, C, H, W) pictures of finished x: what a latent network's decoder makes of it, else x itself."""
    space = latent_space_of(denoiser)
    return x if space is None else space.decode(x)
