"""Walks between two digits: between their latents, decoded, and between their pixels.

Knows nothing about denoisers, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.evaluation.classifier import DigitClassifier

FRAMES = 9
"""Images of a walk, its ends among them."""
SURE = 0.9
"""A classifier's calibrated probability from which on its reading counts as sure."""


@dataclass(frozen=True, eq=False)
class Walks:
    """Straight lines between P pairs of test digits of different labels: the middles read, and few walks drawn."""

    latent_sure: NDArray[np.bool_]
    """(P,) bool: middles between latents, decoded, that the classifier reads surely as any digit."""
    pixel_sure: NDArray[np.bool_]
    """(P,) bool: the same of the middles between pixels."""
    end_sure: NDArray[np.bool_]
    """(P,) bool: the same of the pairs' first digits, decoded from their latents."""
    latent_ends: NDArray[np.bool_]
    """(P,) bool: middles between latents that are read as one of the two digits."""
    pixel_ends: NDArray[np.bool_]
    """(P,) bool: the same between pixels."""
    latent_frames: NDArray[np.float32]
    """(D, F, H, W) float32: drawn walks between latents, decoded."""
    pixel_frames: NDArray[np.float32]
    """(D, F, H, W) float32: the same between pixels."""
    latent_read: NDArray[np.int64]
    """(D, F) int64: the digit that is read."""
    pixel_read: NDArray[np.int64]
    """(D, F) int64."""
    latent_probability: NDArray[np.float64]
    """(D, F) float64: its calibrated probability."""
    pixel_probability: NDArray[np.float64]
    """(D, F) float64."""


def measure_walks(
    space: LatentSpace, digits: Digits, classifier: DigitClassifier, temperature: float, count: int, drawn: int = 2
) -> Walks:
    """Walk between ``count`` pairs of different digits, or as many as there are; draw the first ``drawn`` pairs.

    ``temperature`` calibrates the classifier.
    """
    first, second = _pairs(digits.labels, count)
    one, other = digits.images[first], digits.images[second]
    middles = space.decode((space.encode(one) + space.encode(other)) / 2), (one + other) / 2
    read = [classifier.probabilities(images, temperature=temperature) for images in middles]
    ends = classifier.probabilities(space.decode(space.encode(one)), temperature=temperature)
    labels = torch.stack([digits.labels[first], digits.labels[second]])
    either = [(probability.argmax(dim=1) == labels).any(dim=0).numpy() for probability in read]
    latent, pixel = _walks(space, one[:drawn], other[:drawn])
    frames = [_read(classifier, images, temperature) for images in (latent, pixel)]
    return Walks(
        latent_sure=_sure(read[0]),
        pixel_sure=_sure(read[1]),
        end_sure=_sure(ends),
        latent_ends=either[0],
        pixel_ends=either[1],
        latent_frames=latent[:, :, 0].numpy(),
        pixel_frames=pixel[:, :, 0].numpy(),
        latent_read=frames[0][0],
        pixel_read=frames[1][0],
        latent_probability=frames[0][1],
        pixel_probability=frames[1][1],
    )


def _pairs(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return (count,) rows of the first and second digits of pairs with different labels.

    Pair k is of the labels k and k + 1 + k // 10, modulo the number of labels; no digit is used twice.
    """
    present = torch.unique(labels).tolist()
    rows = {label: iter(torch.nonzero(labels == label)[:, 0].tolist()) for label in present}
    first, second = [], []
    for k in range(count):
        gap = 1 + k // len(present) % (len(present) - 1)
        pair = [present[k % len(present)], present[(k + gap) % len(present)]]
        found = [next(rows[label], None) for label in pair]
        if found[0] is None or found[1] is None:
            break
        first.append(found[0])
        second.append(found[1])
    return torch.tensor(first), torch.tensor(second)


def _walks(space: LatentSpace, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return (D, F, C, H, W) walks between latents, decoded, and between pixels."""
    shares = torch.linspace(0, 1, FRAMES)[None, :, None, None, None]
    ends = space.encode(one)[:, None], space.encode(other)[:, None]
    latents = (1 - shares) * ends[0] + shares * ends[1]
    decoded = torch.unflatten(space.decode(latents.flatten(0, 1)), 0, latents.shape[:2])
    return decoded, (1 - shares) * one[:, None] + shares * other[:, None]


def _read(
    classifier: DigitClassifier, images: Tensor, temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (D, F) labels that are read in (D, F, C, H, W) images, and their probabilities."""
    probability = classifier.probabilities(images.flatten(0, 1), temperature=temperature)
    most, label = torch.unflatten(probability, 0, images.shape[:2]).max(dim=2)
    return label.numpy(), most.double().numpy()


def _sure(probability: Tensor) -> NDArray[np.bool_]:
    return np.asarray((probability.max(dim=1).values >= SURE).numpy())
