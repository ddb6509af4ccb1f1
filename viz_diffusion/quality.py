"""Is it good? An independent digit classifier, and how often it reads what was asked for.

The classifier never takes part in training or guiding a denoiser. Knows nothing about samplers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import io_errors, read_json, sha256_bytes

CLASSIFIER_DIR = Path(__file__).parent / "assets" / "classifier"
_Z_95 = 1.959963984540054  # 97.5% quantile of the standard normal


class DigitClassifier(nn.Module):
    """A small convolutional network that reads 28x28 digits; trained by ``scripts/train_classifier.py``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 32, stride=2),
            *_convolution(32, 64),
            *_convolution(64, 64, stride=2),
            *_convolution(64, 128),
            *_convolution(128, 128),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 10) logits of (N, 1, 28, 28) float32 images in [-1, 1]."""
        return self.head(self.features(images))

    @classmethod
    def bundled(cls) -> tuple[DigitClassifier, str]:
        """Load the classifier that comes with the package; return it with its SHA-256."""
        path = CLASSIFIER_DIR / "model.safetensors"
        with io_errors("read", path):
            data = path.read_bytes()
        digest = sha256_bytes(data)
        if digest != read_json(CLASSIFIER_DIR / "provenance.json").get("sha256"):
            raise VizdiffInputError(f"{path} was changed ({digest[:12]}…); install the package again")
        classifier = cls()
        try:
            classifier.load_state_dict(load(data))
        except (SafetensorError, RuntimeError) as error:
            raise VizdiffInputError(f"{path} does not fit this version: {error}") from error
        return classifier.float().eval().requires_grad_(False), digest

    @torch.no_grad()
    def read(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Return (N,) int64, the digit seen in each of (N, 1, 28, 28) images, clipped to [-1, 1]."""
        parts = [self(part.clamp(-1, 1)).argmax(dim=1) for part in torch.split(images, batch_size)]
        return torch.cat(parts)


@dataclass(frozen=True)
class Share:
    """A count out of N with its 95% interval."""

    hits: int
    """How many."""
    count: int
    """Out of how many; at least 1."""

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval (Wilson 1927)."""
        return self.interval_of(_Z_95)

    def interval_of(self, z: float) -> tuple[float, float]:
        """Return the same interval of z standard errors."""
        n, p, z2 = self.count, self.value, z**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits} of {self.count} ({self.value:.1%}, 95% interval {low:.1%} to {high:.1%})"


def share_difference(one: Share, other: Share) -> tuple[float, float]:
    """Return the 95% interval of ``one.value - other.value``, of images that are not paired (Newcombe 1998, method 10).

    It is made of both Wilson intervals, so that it has a width where nothing, or everything, was counted.
    """
    (low, high), (other_low, other_high) = one.interval, other.interval
    apart = one.value - other.value
    below, above = hypot(one.value - low, other_high - other.value), hypot(high - one.value, other.value - other_low)
    return apart - below, apart + above


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], factor: float = 1.0, z: float = _Z_95
) -> tuple[float, float, float]:
    """Return p_1 - factor · p_2 of (N,) answers in pairs, and the ends of its interval.

    Newcombe's (1998, "Improved confidence intervals … paired data", method 10) from the Wilson intervals of both
    shares and the correlation of the pairs; with a factor by Zou & Donner (2008, eq. 5). It has a width even where
    all pairs agree, which a standard error has not.
    """
    n = len(first)
    shares = [Share(int(hits.sum()), n) for hits in (first, second)]
    (p, q), ((low, high), (q_low, q_high)) = [one.value for one in shares], [one.interval_of(z) for one in shares]
    both = float((first & second).mean())
    covariance = both - p * q
    if covariance > 0:  # Newcombe's correction for continuity
        covariance = max(covariance - 1 / (2 * n), 0.0)
    spread = sqrt(p * (1 - p) * q * (1 - q))
    correlation = covariance / spread if spread > 0 else 0.0

    def half(one: float, other: float) -> float:
        return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = p - factor * q
    below, above = half(p - low, factor * (q_high - q)), half(high - p, factor * (q - q_low))
    return difference, difference - below, difference + above


def read_as_asked(images: Tensor, labels: Tensor) -> tuple[Share, str]:
    """Count the images that the bundled classifier reads as their labels; return its SHA-256 too."""
    classifier, digest = DigitClassifier.bundled()
    hits = int((classifier.read(images) == labels).sum())
    return Share(hits, len(labels)), digest


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
