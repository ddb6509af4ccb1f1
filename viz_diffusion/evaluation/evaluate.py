"""Evaluation of samples: accuracy, FID, KID, precision and recall, compared with real digits and a control.

Distances are between features of the bundled classifier, so every result holds its hash. Knows nothing about runs,
commands or figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.evaluation.likelihood import DIRECT_SIZE
from viz_diffusion.evaluation.metrics import (
    Nearest,
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
    precision_recall,
)

Float64 = NDArray[np.float64]
FLOOR_DRAWS = 5
"""Sets of real digits over which their metrics are averaged: those of one set may be a third too low or too high."""


@dataclass(frozen=True)
class QualityMetrics:
    """Quality of one set of N images, compared with N real test digits."""

    accuracy: Share
    """Images that are classified as their labels."""
    by_label: tuple[Share, ...]
    """Accuracy of each label that occurs."""
    frechet: float
    """Fréchet distance of its features to the test digits' ("FID-MNIST(hash)")."""
    kid: float
    """KID of the same features, times 1000."""
    kid_spread: float
    """Its standard deviation over subsets, times 1000."""
    precision: float
    """Share of the set within the reach of a real digit, k = 3; see :func:`precision_recall`."""
    recall: float
    """Share of the real digits within the reach of an image of the set, k = 3."""
    copies: Share
    """Near-copies of one training image (d1/d2 < 1/3)."""
    nearest: float
    """Median L2 distance to the nearest training image, over the pixels."""


@dataclass(frozen=True)
class Evaluation:
    """Quality of samples, of real digits and of a control, at the same number of images."""

    classifier_sha256: str
    """Of the classifier whose features are compared."""
    count: int
    """N, images in each set."""
    samples: QualityMetrics
    """The model's samples."""
    real: QualityMetrics
    """Training digits with the labels of the samples: the mean over ``FLOOR_DRAWS`` draws, shares pooled. Its nearest
    neighbours and copies are those of the test digits, since a training digit is its own nearest neighbour."""
    real_spread: float
    """The standard deviation of those draws' Fréchet distances."""
    control: QualityMetrics
    """Samples of one Gaussian per label, with the mean and covariance of its digits: the metrics must be poor."""


@own_defaults()
def evaluate(
    images: Tensor,
    labels: Tensor,
    training: Digits,
    test: Digits,
    seed: int = 2006,
    *,
    trained_on: Digits | None = None,
    judge: tuple[DigitClassifier, str] | None = None,
) -> Evaluation:
    """Measure the quality of samples, of real digits and of the control.

    Features differ most between digits. So the real digits have the labels of the samples: with the label frequencies
    of the data, their distances would be others.

    Parameters
    ----------
    images, labels
        (N, 1, 28, 28) float32 samples in [-1, 1] and (N,) int64, their requested digits; N at least 20.
    training, test
        Real digits: the training digits give the real sets and the Gaussians, N test digits are the reference.
    trained_on
        The network's training digits, where they are not ``training``; near-copies are of these.
    judge
        The classifier of these data with its SHA-256; by default the bundled one, of MNIST.

    Raises
    ------
    VizdiffInputError
        Where there are too few samples, fewer test digits than samples, or too few training digits of a label.
    """
    count = len(images)
    check_count(count, training, test)
    classifier, digest = DigitClassifier.bundled() if judge is None else judge
    generator = torch.Generator().manual_seed(seed)
    reference = test.images[torch.randperm(len(test), generator=generator)[:count]]
    real_sets = [draw_with_labels(training, labels, generator) for _ in range(FLOOR_DRAWS)]
    control = _gaussian_samples(training, labels, generator)
    pool = (training if trained_on is None else trained_on).images.numpy()
    reference_features = classifier.penultimate_features(reference)

    def measure(images: Tensor, near: Nearest) -> QualityMetrics:
        return _measure(classifier, images, labels, reference_features, near)

    near = nearest_neighbours(reference.numpy(), pool)
    real = [measure(digits, near) for digits in real_sets]
    return Evaluation(
        digest,
        count,
        samples=measure(images, nearest_neighbours(images.numpy(), pool)),
        real=_mean(real),
        real_spread=float(np.std([metrics.frechet for metrics in real], ddof=1)),
        control=measure(control, nearest_neighbours(control.numpy(), pool)),
    )


def _measure(
    classifier: DigitClassifier, images: Tensor, labels: Tensor, reference: Float64, near: Nearest
) -> QualityMetrics:
    """Return the quality of (N, 1, 28, 28) images, compared with the (N, D) features of the reference digits."""
    correct = classifier.read(images) == labels
    features = classifier.penultimate_features(images)
    kid, kid_spread = kernel_distance(features, reference)
    precision, recall = precision_recall(reference, features)
    return QualityMetrics(
        accuracy=Share(int(correct.sum()), len(images)),
        by_label=tuple(
            Share(int(correct[labels == k].sum()), int((labels == k).sum())) for k in torch.unique(labels).tolist()
        ),
        frechet=frechet_distance(features, reference),
        kid=1000 * kid,
        kid_spread=1000 * kid_spread,
        precision=precision,
        recall=recall,
        copies=Share(near.num_copies, len(images)),
        nearest=float(np.median(near.first)),
    )


def most_samples(training: Digits, test: Digits, labels: Sequence[int]) -> int:
    """Return how many samples with these labels in turn can be compared with real images, without repeating any."""
    counts = torch.bincount(training.labels, minlength=training.num_labels).tolist()
    return min(len(test), min(counts[label] for label in labels) * len(labels))


def check_count(count: int, training: Digits, test: Digits) -> None:
    """Raise VizdiffInputError where so many samples cannot be evaluated with these digits."""
    if not 20 <= count <= len(test):
        raise VizdiffInputError(f"an evaluation needs 20 to {len(test):,} samples, found {count:,}")
    if len(training) < count:
        raise VizdiffInputError(f"{count:,} samples need as many training digits beside them, found {len(training):,}")


@own_defaults()
def draw_with_labels(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw (N, 1, 28, 28) different images, image k with the label ``labels[k]`` of (N,).

    Raises
    ------
    VizdiffInputError
        Where there are fewer digits of a label than ``labels`` holds.
    """
    drawn = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels).tolist():
        with_label, rows = labels == k, torch.nonzero(digits.labels == k)[:, 0]
        needed = int(with_label.sum())
        if needed > len(rows):
            raise VizdiffInputError(f"real digits in the samples' place: {needed} of {k} are needed, found {len(rows)}")
        drawn[with_label] = digits.images[rows[torch.randperm(len(rows), generator=generator)[:needed]]]
    return drawn


def _mean(sets: Sequence[QualityMetrics]) -> QualityMetrics:
    """Return the mean of each metric over several sets, shares pooled; all have the same nearest neighbours."""

    def pooled(shares: Sequence[Share]) -> Share:
        return Share(sum(share.hits for share in shares), sum(share.count for share in shares))

    def mean(name: str) -> float:
        return float(np.mean([getattr(metrics, name) for metrics in sets]))

    return QualityMetrics(
        accuracy=pooled([metrics.accuracy for metrics in sets]),
        by_label=tuple(pooled(shares) for shares in zip(*(metrics.by_label for metrics in sets), strict=True)),
        frechet=mean("frechet"),
        kid=mean("kid"),
        kid_spread=mean("kid_spread"),
        precision=mean("precision"),
        recall=mean("recall"),
        copies=sets[0].copies,
        nearest=sets[0].nearest,
    )


def _gaussian_samples(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, 28, 28) samples of each label's Gaussian in pixel space, clipped to [-1, 1]."""
    samples = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels):
        images = digits.images[digits.labels == k].flatten(1).double()
        if len(images) < 2:
            raise VizdiffInputError(f"a Gaussian needs 2 training digits of {int(k)}, found {len(images)}")
        with_label = labels == k
        if images.shape[1] > DIRECT_SIZE:
            pixels = _large_gaussian(images, int(with_label.sum()), generator)
            samples[with_label] = pixels.reshape(-1, *digits.images.shape[1:])
            continue
        variances, directions = torch.linalg.eigh(torch.cov(images.T))
        draws = torch.randn(int(with_label.sum()), images.shape[1], generator=generator, dtype=torch.float64)
        pixels = images.mean(dim=0) + (draws * variances.clamp(min=0).sqrt()) @ directions.T
        samples[with_label] = pixels.float().reshape(-1, *digits.images.shape[1:]).clamp(-1, 1)
    return samples


def _large_gaussian(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, D) samples of the Gaussian of (N, D) images, clipped, without its (D, D) covariance.

    Σ_i z_i (x_i - mean) / √(N-1) with standard normal z has exactly that covariance.
    """
    mean = images.mean(dim=0)
    draws = torch.randn(count, len(images), generator=generator, dtype=torch.float64)
    return (mean + draws @ (images - mean) / (len(images) - 1) ** 0.5).float().clamp(-1, 1)
