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
from viz_diffusion.evaluation.heldout_splits import Split, cut_samples, images_of_each, split_heldout
from viz_diffusion.evaluation.intervals import Share, surely
from viz_diffusion.evaluation.likelihood import DIRECT_SIZE
from viz_diffusion.evaluation.metrics import Nearest, nearest_neighbours, precision_recall
from viz_diffusion.evaluation.paired_distances import (
    Estimate,
    GroupedFeatures,
    deal_groups,
    frechet_estimate,
    kernel_estimate,
    mean_estimate,
)

Float64 = NDArray[np.float64]
FLOOR_DRAWS = 5
"""Sets of real digits over which their metrics are averaged: those of one set may be a third too low or too high."""
FEWEST = 20
"""Images in a set, at least."""


@dataclass(frozen=True)
class QualityMetrics:
    """Quality of N images, compared with n real test digits of the same labels."""

    accuracy: Share
    """Images that are classified as their labels."""
    by_label: tuple[Share, ...]
    """Accuracy of each label that occurs."""
    frechet: float
    """Fréchet distance of the features of n of them to the test digits' ("FID-MNIST(hash)"); it depends on n."""
    kid: float
    """KID of the same features, unbiased, times 1000."""
    kid_half: float
    """Half its 95% interval, times 1000."""
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
    """N, samples."""
    compared: int
    """n, images in each set that is compared: N, or as many as two disjoint sets of test digits allow."""
    samples: QualityMetrics
    """The model's samples: accuracy and copies of all N, the rest the mean over ``FLOOR_DRAWS`` comparisons."""
    real: QualityMetrics
    """Test digits that are not in the reference, with the labels of the samples: the mean over ``FLOOR_DRAWS`` pairs of
    disjoint sets, shares pooled. Its nearest neighbours and copies are those of the first reference."""
    real_spread: float
    """The standard deviation of those pairs' Fréchet distances."""
    control: QualityMetrics
    """Samples of one Gaussian per label, with the mean and covariance of its digits: the metrics must be poor."""
    excess: float
    """The Fréchet distance of the samples less that of the real digits, both from the same references."""
    excess_half: float
    """Half its 95% interval, by the jackknife over samples and test digits."""

    @property
    def is_worse(self) -> bool | None:
        """Whether the samples' Fréchet distance surely exceeds the real digits'; False where surely not, else None."""
        return surely(self.excess - self.excess_half, self.excess + self.excess_half)


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

    All sets have the labels of the samples, since features differ most between digits. References and real digits are
    test digits: the training digits of the classifier are nearer to one another. Counts: :func:`images_of_each`.

    Parameters
    ----------
    images, labels
        (N, 1, 28, 28) float32 samples in [-1, 1] and (N,) int64, their requested digits; N at least 20.
    training, test
        Real digits: the training digits give the Gaussians, the test digits the references and the real sets.
    trained_on
        The network's training digits, of which near-copies are counted, where they are not ``training``.
    judge
        The classifier of these data with its SHA-256; by default the bundled one, of MNIST.

    Raises
    ------
    VizdiffInputError
        Where there are too few samples, fewer test digits than samples, or too few test digits of a label.
    """
    each = images_of_each(labels, test)
    check_count(len(images), sum(each.values()), test)
    classifier, digest = DigitClassifier.bundled() if judge is None else judge
    generator = torch.Generator().manual_seed(seed)
    splits = [split_heldout(each, test, generator) for _ in range(FLOOR_DRAWS)]
    control = _gaussian_samples(training, labels, generator)
    pool = (training if trained_on is None else trained_on).images.numpy()
    references, real_sets = _heldout_features(classifier, test, splits)
    cut = cut_samples(each, labels)

    def measure(own: Tensor, number: int) -> tuple[QualityMetrics, Estimate]:
        sets = _take(classifier.penultimate_features(own), labels, cut)
        distances = [_Distances.measure(sets[i % len(sets)], references[i]) for i in range(number)]
        return _quality(classifier.read(own) == labels, labels, nearest_neighbours(own.numpy(), pool), distances)

    samples, sample_frechet = measure(images, FLOOR_DRAWS)
    distances = [_Distances.measure(*pair) for pair in zip(real_sets, references, strict=True)]
    real, real_frechet = _real_quality(classifier, test, splits, pool, distances)
    return Evaluation(
        digest,
        len(images),
        sum(each.values()),
        samples,
        real,
        real_spread=float(np.std([one.frechet.whole for one in distances], ddof=1)),
        control=measure(control, 1)[0],
        excess=(sample_frechet - real_frechet).whole,
        excess_half=(sample_frechet - real_frechet).half,
    )


def _real_quality(
    classifier: DigitClassifier,
    test: Digits,
    splits: Sequence[Split],
    pool: NDArray[np.float32],
    distances: Sequence[_Distances],
) -> tuple[QualityMetrics, Estimate]:
    """Return the quality of the real sets of splits, and its FID; copies are those of the first reference."""
    rows = torch.cat([split.real for split in splits])
    images, labels = test.images[rows], test.labels[rows]
    near = nearest_neighbours(test.images[splits[0].reference].numpy(), pool)
    return _quality(classifier.read(images) == labels, labels, near, distances)


def _heldout_features(
    classifier: DigitClassifier, test: Digits, splits: Sequence[Split]
) -> tuple[list[GroupedFeatures], list[GroupedFeatures]]:
    """Return the features of the references and of the real sets; an image is in one group, in whatever set it is."""
    rows = torch.unique(torch.cat([torch.cat([split.reference, split.real]) for split in splits]))
    place = torch.zeros(len(test), dtype=torch.long)
    place[rows] = torch.arange(len(rows))
    features, labels = classifier.penultimate_features(test.images[rows]), test.labels[rows]
    references = _take(features, labels, [place[split.reference] for split in splits])
    return references, _take(features, labels, [place[split.real] for split in splits])


def _take(features: Float64, labels: Tensor, sets: Sequence[Tensor]) -> list[GroupedFeatures]:
    """Return the features of each of several (n,) sets of rows of (N, D) features of images with (N,) labels."""
    found = labels.numpy()
    group = deal_groups(found)
    return [GroupedFeatures(features[rows], group[rows], found[rows]) for rows in (one.numpy() for one in sets)]


@dataclass(frozen=True, eq=False)
class _Distances:
    """Distances of one set from one reference."""

    frechet: Estimate
    kid: Estimate
    precision: float
    recall: float

    @classmethod
    def measure(cls, own: GroupedFeatures, reference: GroupedFeatures) -> _Distances:
        """Compare a set with a reference of the same labels."""
        both = own, reference
        return cls(frechet_estimate(*both), kernel_estimate(*both), *precision_recall(reference.values, own.values))


def _quality(
    correct: Tensor, labels: Tensor, near: Nearest, distances: Sequence[_Distances]
) -> tuple[QualityMetrics, Estimate]:
    """Return the quality of images of which (N,) are classified as their labels, distances averaged; and the FID."""
    kid = mean_estimate([one.kid for one in distances])
    frechet = mean_estimate([one.frechet for one in distances])
    metrics = QualityMetrics(
        accuracy=Share(int(correct.sum()), len(correct)),
        by_label=tuple(
            Share(int(correct[labels == k].sum()), int((labels == k).sum())) for k in torch.unique(labels).tolist()
        ),
        frechet=frechet.whole,
        kid=1000 * kid.whole,
        kid_half=1000 * kid.half,
        precision=float(np.mean([one.precision for one in distances])),
        recall=float(np.mean([one.recall for one in distances])),
        copies=Share(near.num_copies, len(near.first)),
        nearest=float(np.median(near.first)),
    )
    return metrics, frechet


def most_samples(test: Digits, labels: Sequence[int]) -> int:
    """Return how many samples with these labels in turn can be evaluated: 0 where too few images are held out."""
    each = images_of_each(torch.tensor(labels).repeat(FEWEST), test)
    return len(test) if sum(each.values()) >= FEWEST else 0


def check_count(count: int, compared: int, test: Digits) -> None:
    """Raise VizdiffInputError where so many samples cannot be evaluated with these digits, of which sets have n."""
    if not FEWEST <= count <= len(test):
        raise VizdiffInputError(f"an evaluation needs {FEWEST} to {len(test):,} samples, found {count:,}")
    if compared < FEWEST:
        raise VizdiffInputError(
            f"an evaluation needs two sets of {FEWEST} held-out images with the samples' labels, found {compared} in "
            "each; hold out more images"
        )


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


def _gaussian_samples(digits: Digits, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return (N, 1, 28, 28) samples of each label's Gaussian in pixel space, clipped to [-1, 1]."""
    samples = torch.empty(len(labels), *digits.images.shape[1:])
    for k in torch.unique(labels).tolist():
        with_label = labels == k
        count = int(with_label.sum())
        if (found := int((digits.labels == k).sum())) < 2:
            raise VizdiffInputError(f"a Gaussian needs 2 training digits of {k}, found {found}")
        if digits.images[0].numel() > DIRECT_SIZE:
            pixels = _large_gaussian(_pixels(digits, k), count, generator)
        else:
            mean, variances, directions = _label_gaussian(digits, k)
            draws = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
            pixels = (mean + (draws * variances.clamp(min=0).sqrt()) @ directions.T).float().clamp(-1, 1)
        samples[with_label] = pixels.reshape(-1, *digits.images.shape[1:])
    return samples


def _pixels(digits: Digits, label: int) -> Tensor:
    """Return the images of one label as (N, D) float64."""
    return digits.images[digits.labels == label].flatten(1).double()


def _label_gaussian(digits: Digits, label: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the (D,) mean of the images of one label, the (D,) variances along its axes, and the (D, D) axes."""
    return (pixels := _pixels(digits, label)).mean(dim=0), *torch.linalg.eigh(torch.cov(pixels.T))


def _large_gaussian(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, D) samples of the Gaussian of (N, D) images, clipped, without its (D, D) covariance.

    Σ_i z_i (x_i - mean) / √(N-1) with standard normal z has exactly that covariance.
    """
    mean = images.mean(dim=0)
    draws = torch.randn(count, len(images), generator=generator, dtype=torch.float64)
    return (mean + draws @ (images - mean) / (len(images) - 1) ** 0.5).float().clamp(-1, 1)
