"""Is it good? Samples judged beside real digits and beside a control that must fail.

Everything is measured in the features of the bundled classifier, so every distance carries its hash. Knows
nothing about runs, commands or figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.evaluation.metrics import (
    Nearest,
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
    precision_recall,
)

Float64 = NDArray[np.float64]
FLOOR_DRAWS = 5
"""Sets of real digits that the floor is the mean of: one alone may lie a third too low or too high."""


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
    """Training digits with the samples' labels in the samples' place: the mean over ``FLOOR_DRAWS`` draws, shares
    pooled. Only its nearest neighbours and copies are those of the test digits, since a training digit is its own
    nearest."""
    real_spread: float
    """The standard deviation of those draws' Fréchet distances."""
    clouds: SetQuality
    """Draws from one Gaussian a label with the digits' own means and covariances: these must do badly."""


def evaluate(
    images: Tensor, labels: Tensor, training: Digits, test: Digits, seed: int = 2006, *, seen: Digits | None = None
) -> Evaluation:
    """Judge samples.

    Most of what tells features apart is which digit it is. So the floor has the labels that the samples have: digits
    as frequent as in the data would set another.

    Parameters
    ----------
    images, labels
        (N, 1, 28, 28) float32 samples in [-1, 1] and (N,) int64, what was asked for; N at least 20.
    training, test
        Real digits: training ones set the floor and the Gaussians, N of the test ones are the reference.
    seen
        What the network was trained on, among which near-copies are looked for, where that is not ``training``.

    Raises
    ------
    VizdiffInputError
        Where there are too few samples, fewer test digits than samples, or too few training digits of a label.
    """
    count = len(images)
    check_count(count, training, test)
    classifier, digest = DigitClassifier.bundled()
    generator = torch.Generator().manual_seed(seed)
    reference = test.images[torch.randperm(len(test), generator=generator)[:count]]
    floor = [draw_with_labels(training, labels, generator) for _ in range(FLOOR_DRAWS)]
    clouds = _clouds(training, labels, generator)
    pool = (training if seen is None else seen).images.numpy()
    real = classifier.penultimate_features(reference)

    def judge(made: Tensor, near: Nearest) -> SetQuality:
        right = classifier.read(made) == labels
        features = classifier.penultimate_features(made)
        kid, spread = kernel_distance(features, real)
        precision, recall = precision_recall(real, features)
        return SetQuality(
            accuracy=Share(int(right.sum()), count),
            by_label=tuple(
                Share(int(right[labels == k].sum()), int((labels == k).sum())) for k in torch.unique(labels).tolist()
            ),
            frechet=frechet_distance(features, real),
            kid=1000 * kid,
            kid_spread=1000 * spread,
            precision=precision,
            recall=recall,
            copies=Share(near.num_copies, count),
            nearest=float(np.median(near.first)),
        )

    near = nearest_neighbours(reference.numpy(), pool)
    draws = [judge(digits, near) for digits in floor]
    return Evaluation(
        digest,
        count,
        samples=judge(images, nearest_neighbours(images.numpy(), pool)),
        real=_mean(draws),
        real_spread=float(np.std([one.frechet for one in draws], ddof=1)),
        clouds=judge(clouds, nearest_neighbours(clouds.numpy(), pool)),
    )


def check_count(count: int, training: Digits, test: Digits) -> None:
    """Raise VizdiffInputError where so many samples cannot be judged beside these digits."""
    if not 20 <= count <= len(test):
        raise VizdiffInputError(f"an evaluation needs 20 to {len(test):,} samples, found {count:,}")
    if len(training) < count:
        raise VizdiffInputError(f"{count:,} samples need as many training digits beside them, found {len(training):,}")


def draw_with_labels(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw (N, 1, 28, 28) images, image k with the label of (N,) ``labels`` at k, none twice.

    Raises
    ------
    VizdiffInputError
        Where there are fewer digits of a label than are asked for.
    """
    drawn = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels).tolist():
        here, rows = labels == k, torch.nonzero(digits.labels == k)[:, 0]
        needed = int(here.sum())
        if needed > len(rows):
            raise VizdiffInputError(f"real digits in the samples' place: {needed} of {k} are needed, found {len(rows)}")
        drawn[here] = digits.images[rows[torch.randperm(len(rows), generator=generator)[:needed]]]
    return drawn


def _mean(sets: Sequence[SetQuality]) -> SetQuality:
    """Return the mean of several sets, their shares pooled; all have the same nearest neighbours."""

    def pooled(shares: Sequence[Share]) -> Share:
        return Share(sum(share.hits for share in shares), sum(share.count for share in shares))

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in sets]))

    return SetQuality(
        accuracy=pooled([one.accuracy for one in sets]),
        by_label=tuple(pooled(shares) for shares in zip(*(one.by_label for one in sets), strict=True)),
        frechet=mean("frechet"),
        kid=mean("kid"),
        kid_spread=mean("kid_spread"),
        precision=mean("precision"),
        recall=mean("recall"),
        copies=sets[0].copies,
        nearest=sets[0].nearest,
    )


def _clouds(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, 28, 28) draws from each label's Gaussian in pixel space, clipped to [-1, 1]."""
    made = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels):
        kind = digits.images[digits.labels == k].flatten(1).double()
        if len(kind) < 2:
            raise VizdiffInputError(f"a Gaussian needs 2 training digits of {int(k)}, found {len(kind)}")
        values, vectors = torch.linalg.eigh(torch.cov(kind.T))
        here = labels == k
        draws = torch.randn(int(here.sum()), kind.shape[1], generator=generator, dtype=torch.float64)
        pixels = kind.mean(dim=0) + (draws * values.clamp(min=0).sqrt()) @ vectors.T
        made[here] = pixels.float().reshape(-1, *digits.images.shape[1:]).clamp(-1, 1)
    return made
