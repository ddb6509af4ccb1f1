"""Is it good? Samples judged beside real digits and beside a control that must fail.

Everything is measured in the features of the bundled classifier, so every distance carries its hash. Knows
nothing about runs, commands or figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.distances import (
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
    precision_recall,
)
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.intervals import Share
from viz_diffusion.quality import DigitClassifier

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SetQuality:
    """One set of N images, judged against N real test digits."""

    accuracy: Share
    """How many the classifier reads as their labels."""
    by_label: tuple[Share, ...]
    """The same for each label."""
    frechet: float
    """Fréchet distance of its features to the test digits' ("FID-MNIST(hash)")."""
    kid: float
    """KID of the same features, times 1000."""
    kid_spread: float
    """Its standard deviation over subsets, times 1000."""
    precision: float
    """Share of the set that lies among real digits, k = 3."""
    recall: float
    """Share of the real digits that lie among the set, k = 3."""
    copies: Share
    """How many are near-copies of one training image (d1/d2 < 1/3)."""
    nearest: float
    """Median L2 distance to the nearest training image, over the pixels."""


@dataclass(frozen=True)
class Evaluation:
    """Samples, the floor that real digits set, and the control that must fail; all of one size."""

    classifier_sha256: str
    """The extractor of every feature."""
    count: int
    """N, images in each set."""
    samples: SetQuality
    """What the model made."""
    real: SetQuality
    """Training digits in the samples' place: what comes out better is so by chance. Its nearest neighbours and copies
    are those of the test digits, since a training digit is its own nearest."""
    clouds: SetQuality
    """Draws from one Gaussian a label with the digits' own means and covariances: these must do badly."""


def evaluate(images: Tensor, labels: Tensor, training: Digits, test: Digits, seed: int = 2006) -> Evaluation:
    """Judge samples.

    Parameters
    ----------
    images, labels
        (N, 1, 28, 28) float32 samples in [-1, 1] and (N,) int64, what was asked for; N at least 20.
    training, test
        Real digits: N of the training ones stand in as the floor, N of the test ones are the reference.

    Raises
    ------
    VizdiffInputError
        Where there are too few samples, or fewer real digits than samples.
    """
    count = len(images)
    if not 20 <= count <= min(len(test), len(training)):
        raise VizdiffInputError(f"an evaluation needs 20 to {min(len(test), len(training))} samples, found {count}")
    classifier, digest = DigitClassifier.bundled()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(test), generator=generator)[:count]
    reference = test.images[chosen]
    stand_in = torch.randperm(len(training), generator=generator)[:count]
    clouds = _clouds(training, labels, generator)
    pool = training.images.numpy()

    def judge(made: Tensor, asked: Tensor, compared: Tensor) -> SetQuality:
        right = classifier.read(made) == asked
        features, real = _features(classifier, made), _features(classifier, reference)
        kid, spread = kernel_distance(features, real)
        precision, recall = precision_recall(real, features)
        near = nearest_neighbours(compared.numpy(), pool)
        return SetQuality(
            accuracy=Share(int(right.sum()), count),
            by_label=tuple(
                Share(int(right[asked == k].sum()), int((asked == k).sum())) for k in torch.unique(asked).tolist()
            ),
            frechet=frechet_distance(features, real),
            kid=1000 * kid,
            kid_spread=1000 * spread,
            precision=precision,
            recall=recall,
            copies=Share(near.num_copies, count),
            nearest=float(np.median(near.first)),
        )

    return Evaluation(
        digest,
        count,
        samples=judge(images, labels, images),
        real=judge(training.images[stand_in], training.labels[stand_in], reference),
        clouds=judge(clouds, labels, clouds),
    )


@torch.no_grad()
def _features(classifier: DigitClassifier, images: Tensor) -> Float64:
    """Return (N, 128) float64 penultimate features of images clipped to [-1, 1]."""
    parts = [classifier.features(part.clamp(-1, 1)) for part in torch.split(images, 500)]
    return np.asarray(torch.cat(parts).double().numpy())


def _clouds(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, 28, 28) draws from each label's Gaussian in pixel space, clipped to [-1, 1]."""
    made = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels):
        kind = digits.images[digits.labels == k].flatten(1).double()
        values, vectors = torch.linalg.eigh(torch.cov(kind.T))
        here = labels == k
        draws = torch.randn(int(here.sum()), kind.shape[1], generator=generator, dtype=torch.float64)
        pixels = kind.mean(dim=0) + (draws * values.clamp(min=0).sqrt()) @ vectors.T
        made[here] = pixels.float().reshape(-1, *digits.images.shape[1:]).clamp(-1, 1)
    return made
