"""The autoencoder of latent diffusion: images of 28x28 pixels to latents of 4x7x7 numbers, or of two, and back.

A variational autoencoder (Kingma & Welling 2014), used as in Rombach et al. 2022. Knows nothing about noise schedules,
sampling or files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

FACTOR = 4
"""The latent has a quarter of the image's height and width."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """The architecture of an :class:`Autoencoder`, and how it is trained.

    Raises
    ------
    VizdiffUsageError
        Where a value is impossible; the message names it.
    """

    image_size: int = 28
    """Height and width of the images, in pixels; divisible by 4."""
    image_channels: int = 1
    """Channels of the images: 1 for grey."""
    latent_channels: int = 4
    """Channels of the latent."""
    channels: tuple[int, int] = (24, 48)
    """Feature channels at half and at a quarter of the image's resolution; divisible by 8."""
    kl_weight: float = 2e-3
    """β: weight of the KL divergence per number of the latent, against the squared error per pixel (Higgins et al.
    2017)."""
    steps: int = 1500
    """Number of optimizer steps."""
    batch_size: int = 64
    """Images per step."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW; it falls linearly to 0."""
    fully_connected: bool = False
    """Whether all layers are fully connected: the latent then has one number for each channel, and no rows and columns;
    ``channels`` are the widths of the layers next to the image and next to the latent."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the noise of each step."""

    def __post_init__(self) -> None:
        whole = ("image_size", "image_channels", "latent_channels", "steps", "batch_size")
        for name in whole:
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= 65536:
                raise VizdiffUsageError(
                    f"the autoencoder's {name} must be a whole number of at least 1, found {getattr(self, name)!r}"
                )
        if type(self.seed) is not int or self.seed < 0:
            raise VizdiffUsageError(f"the autoencoder's seed must be a whole number of at least 0, found {self.seed!r}")
        if type(self.fully_connected) is not bool:
            raise VizdiffUsageError(
                f"the autoencoder's fully_connected must be true or false, found {self.fully_connected!r}"
            )
        if self.image_size % FACTOR:
            raise VizdiffUsageError(
                f"the autoencoder's image_size must be divisible by {FACTOR}, found {self.image_size}"
            )
        for name, least in (("kl_weight", 0.0), ("learning_rate", 1e-9)):
            number = getattr(self, name)
            if type(number) not in (int, float) or not least <= number < float("inf"):
                raise VizdiffUsageError(f"the autoencoder's {name} must be a number above 0, found {number!r}")
        widths = self.channels
        if len(widths) != 2 or not all(type(n) is int and 8 <= n <= 1024 and n % 8 == 0 for n in widths):
            raise VizdiffUsageError(
                f"the autoencoder's channels must be two numbers divisible by 8, found {list(widths)}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AutoencoderConfig:
        """Build a config from JSON values.

        Raises
        ------
        VizdiffInputError
            Where an entry is unknown or has no possible value; the message names it.
        """
        try:
            return cls(**{**values, "channels": tuple(values.get("channels", cls.channels))})
        except (TypeError, VizdiffUsageError) as error:
            raise VizdiffInputError(f"the autoencoder's config does not fit this version: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON values by name; older ones lack ``fully_connected``."""
        values = asdict(self) | {"channels": list(self.channels)}
        if not self.fully_connected:
            del values["fully_connected"]
        return values

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return (self.image_channels, self.image_size, self.image_size)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latents."""
        side = 1 if self.fully_connected else self.image_size // FACTOR
        return (self.latent_channels, side, side)


class Posterior(NamedTuple):
    """q(z | x): an independent normal distribution for each number of the latent, (B, C, H, W) each."""

    mean: Tensor
    """Its means."""
    log_variance: Tensor
    """The logarithms of its variances."""

    def kl(self) -> Tensor:
        """Return (B, C, H, W) KL(q(z | x) ‖ N(0, 1)) in nats (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)


class Autoencoder(nn.Module):
    """A variational autoencoder: encoder q(z | x), decoder x̂(z), and the scale of its latents.

    The image is first folded 2x2, so that the work is done at a half and a quarter of its resolution. ``encode`` gives
    the latents that a denoiser is trained on: the means of q(z | x), shifted and scaled so that each channel has mean 0
    and deviation 1 on the training images. The noise schedule then means the same in latents as in other data of unit
    variance (Rombach et al. 2022, appendix G, scale all channels by one number).

    With ``config.fully_connected`` the latent is a few numbers without places: with two of them, a point of a plane.
    """

    latent_mean: Tensor
    latent_deviation: Tensor

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_deviation", torch.ones(config.latent_channels))
        self.encoder, self.decoder = (_fully_connected if config.fully_connected else _convolutional)(config)

    def posterior(self, images: Tensor) -> Posterior:
        """Return q(z | x) of (B, C, H, W) images in [-1, 1], before its latents are scaled."""
        return Posterior(*self.encoder(images).chunk(2, dim=1))

    def reconstruct(self, z: Tensor) -> Tensor:
        """Return the (B, C, H, W) images that the decoder makes of (B, C, H, W) unscaled latents."""
        images: Tensor = self.decoder(z)
        return images

    def encode(self, images: Tensor) -> Tensor:
        """Return the (B, C, H, W) float32 latents of (B, C, H, W) images in [-1, 1].

        Of the training images each channel has mean 0 and deviation 1.
        """
        mean, deviation = self._scale()
        return (self.posterior(images).mean - mean) / deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Return the (B, C, H, W) float32 images in [-1, 1] that latents as of :meth:`encode` stand for."""
        mean, deviation = self._scale()
        return self.reconstruct(latents * deviation + mean).clamp(-1, 1)

    def _scale(self) -> tuple[Tensor, Tensor]:
        return self.latent_mean[:, None, None], self.latent_deviation[:, None, None]

    def loss(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of the loss, each a mean over the batch: squared error per pixel, KL per latent number.

        ``noise`` is (B, C, H, W) standard normal and shaped like the latents: z = mean + deviation · noise
        (Kingma & Welling 2014, eq. 10). Training minimises the sum, the second part times ``config.kl_weight``.
        """
        posterior = self.posterior(images)
        z = posterior.mean + (posterior.log_variance / 2).exp() * noise
        return functional.mse_loss(self.reconstruct(z), images), posterior.kl().mean()


def _convolutional(config: AutoencoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Return encoder and decoder at a half and a quarter of the image's resolution."""
    outer, inner = config.channels
    folded = 4 * config.image_channels
    encoder = nn.Sequential(
        nn.PixelUnshuffle(2),
        nn.Conv2d(folded, outer, 3, padding=1),
        _Block(outer),
        nn.Conv2d(outer, inner, 3, stride=2, padding=1),
        _Block(inner),
        nn.GroupNorm(8, inner),
        nn.SiLU(),
        nn.Conv2d(inner, 2 * config.latent_channels, 1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(config.latent_channels, inner, 3, padding=1),
        _Block(inner),
        nn.ConvTranspose2d(inner, outer, 2, stride=2),
        _Block(outer),
        nn.GroupNorm(8, outer),
        nn.SiLU(),
        nn.Conv2d(outer, folded, 3, padding=1),
        nn.PixelShuffle(2),
    )
    return encoder, decoder


def _fully_connected(config: AutoencoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Return encoder and decoder of fully connected layers (Hinton & Salakhutdinov 2006)."""
    outer, inner = config.channels
    pixels, numbers = prod(config.image_shape), config.latent_channels
    encoder = [*_layers(pixels, outer, outer, inner, 2 * numbers), nn.Unflatten(1, (2 * numbers, 1, 1))]
    decoder = [*_layers(numbers, inner, outer, outer, pixels), nn.Unflatten(1, config.image_shape)]
    return nn.Sequential(nn.Flatten(), *encoder), nn.Sequential(nn.Flatten(), *decoder)


def _layers(*widths: int) -> list[nn.Module]:
    """Return fully connected layers of these widths, with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.SiLU(), nn.Linear(before, after)]
    return layers[1:]


class _Block(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) from (B, C, H, W)."""
        out: Tensor = x + self.layers(x)
        return out
