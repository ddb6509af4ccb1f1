"""Results of lesson ``latent`` made by hand, and a latent space whose decoder is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from viz_diffusion.lessons.latent.cost import Cost
from viz_diffusion.lessons.latent.latent_map import SHADES, STEPS_LEFT, LatentMap
from viz_diffusion.lessons.latent.latent_study import LatentStudy
from viz_diffusion.lessons.latent.reconstruction import Channels, Reconstruction
from viz_diffusion.lessons.latent.sample_quality import Quality, SampleQuality
from viz_diffusion.lessons.latent.walks import Walks


class Folded:
    """A latent space of 16 channels of 7 × 7: the image, folded 4 × 4. Nothing is lost, and each place is a place."""

    latent_shape = (16, 7, 7)
    image_shape = (1, 28, 28)

    def encode(self, images: Tensor) -> Tensor:
        return functional.pixel_unshuffle(images, 4)

    def decode(self, latents: Tensor) -> Tensor:
        return functional.pixel_shuffle(latents, 4).clamp(-1, 1)


def hits(count: int, share: float) -> NDArray[np.bool_]:
    """Return (count,) bool: the first ones are hits."""
    return np.arange(count) < round(count * share)


def arm(count: int = 2000, accuracy: float = 0.98, excess: float = 0.5, **changed: Any) -> SampleQuality:
    values: dict[str, Any] = {
        "right": hits(count, accuracy),
        "frechet": 1 + excess,
        "excess": excess,
        "excess_half": 0.05,
        "kid": 1.0,
        "kid_half": 0.1,
        "images": np.zeros((10, 28, 28), np.float32),
        "steps": 4000,
        "products": 10**13,
        "seconds": 480.0,
        "threads": 2,
    }
    return SampleQuality(**values | changed)


def quality(
    latent: SampleQuality, pixel: SampleQuality, short: SampleQuality | None, scaled: Sequence[float]
) -> Quality:
    """Return the quality of three networks, with the control's distances from real digits."""
    controls = tuple(arm(500, 0.9, excess) for excess in scaled)
    return Quality(latent, pixel, short, 1.0, 2000, 1.5, 50, np.array([1.0, 1 / 3, 3.0]), controls, "c" * 64)


def plane(read: NDArray[np.int64] | None = None, **changed: Any) -> LatentMap:
    """Return a map on which each path ends in the region of its label, or where ``read`` (10, P) says."""
    if read is None:
        read = np.repeat(np.arange(10)[:, None], 100, axis=1)
    angles = 2 * np.pi * np.arange(10) / 10
    ends = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shares = np.linspace(0, 1, 51)[:, None]
    paths = (1 - shares) * np.array([0.5, -0.5]) + shares * ends[:, None, None]  # (10, 1, 51, 2)
    tiles = np.zeros((3, 3, 28, 28), np.uint8)
    tiles[:, :, 10:18, 10:18] = SHADES - 1
    middles = np.linspace(-2, 2, 9)
    near = np.exp(-np.square(middles[:, None] - ends[:, None, None, 1]) - np.square(middles - ends[:, None, None, 0]))
    values: dict[str, Any] = {
        "tiles": tiles,
        "probability": np.rint(255 * near).astype(np.uint8),
        "points": ends.astype(np.float32),
        "point_labels": np.arange(10),
        "right": hits(10_000, 0.8),
        "outside": 0.02,
        "paths": np.repeat(paths, 2, axis=1).astype(np.float32),
        "read": np.stack([*[np.zeros_like(read)] * (len(STEPS_LEFT) - 1), read]),
        "steps_left": np.array(STEPS_LEFT),
        "digit": 5,
        "frames": np.zeros((len(STEPS_LEFT), 28, 28), np.float32),
        "sha256": "d" * 64,
    }
    return LatentMap(**values | changed)


def study(**changed: Any) -> LatentStudy:
    """Return results in which each claim is decided."""
    digits, latents = np.zeros((10, 28, 28), np.float32), np.zeros((10, 4, 7, 7), np.float32)
    count, drawn = 500, np.zeros((2, 9, 28, 28), np.float32)
    read, sure = np.zeros((2, 9), np.int64), np.full((2, 9), 0.5)
    walks = [hits(count, share) for share in (0.8, 0.5, 0.99, 0.9, 0.7)]
    values: dict[str, Any] = {
        "reconstruction": Reconstruction(
            hits(10_000, 0.997),
            hits(10_000, 0.992),
            np.full(10_000, 0.01),
            np.zeros(4),
            np.ones(4),
            digits,
            latents,
            digits,
        ),
        "channels": Channels(
            digits[:4],
            digits[0],
            hits(1000, 0.99),
            np.stack([hits(1000, 0.8)] * 4),
            np.full((4, 28, 28), 0.1, np.float32),
            np.linspace(0.85, 0.95, 40),
            0.24,
        ),
        "walks": Walks(*walks, drawn, drawn, read, read, sure, sure),
        "cost": Cost(
            np.linspace(0.9, 1.1, 7) * 2e-3,
            np.linspace(0.9, 1.1, 7) * 1e-2,
            50,
            64,
            1,
            "cpu",
            4_000_000,
            29_000_000,
            4_500_000,
            238_500,
            1_098_852,
            64_000,
            60_000,
        ),
        "quality": quality(
            arm(accuracy=0.97, excess=0.5), arm(accuracy=0.99, excess=0.1), arm(excess=0.9), [0.5, 9.0, 4.0]
        ),
        "kl_weight": 2e-3,
        "latent_sha256": "a" * 64,
        "autoencoder_sha256": "b" * 64,
        "text_parameters": None,
        "plane": plane(),
    }
    return LatentStudy(**values | changed)
