"""Geometry of the label embedding: whether distances between labels follow those between the digits' mean images.

Labels are compared twice: as vectors, and as the scales and shifts that the blocks compute from them. Time and label
embedding are summed before the blocks, so that the geometry may only appear after that sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.diffusion.unet_blocks import ResidualBlock
from viz_diffusion.evaluation.intervals import t_quantile
from viz_diffusion.evaluation.statistics import rank_correlation
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.label.label_embedding import measure_embedding
from viz_diffusion.plots.embeddings import LabelEmbedding

Float64 = NDArray[np.float64]
ALPHA = 0.025
"""Level of each of the two tests on the labels: 5% for both together."""
SHUFFLES = 4999
"""Permutations of the labels in each test."""
UNTRAINED = 10
"""Untrained networks, the run's own seed first."""
NUM_TIMESTEPS = 10
"""Timesteps over which the scales and shifts of the blocks are averaged."""


@dataclass(frozen=True)
class CorrelationFacts:
    """What texts and JSON files say of one :class:`DistanceCorrelation`."""

    rho: float
    """Spearman's rank correlation."""
    p: float
    """Its p."""
    chance: tuple[float, float]
    """The middle 95% of the permutations."""
    start: float
    """The rank correlation in the network that training begins with."""
    start_p: float
    """Its p."""
    untrained_most: float
    """The largest rank correlation of an untrained network, the start among them."""
    change: float
    """By how much the rank correlation rose from the start to the trained network."""
    change_half: float
    """Half its 95% interval, by the jackknife over the labels."""
    untrained_found: int
    """Untrained networks with a p of at most ``alpha``."""


@dataclass(frozen=True)
class LabelGeometryFacts:
    """What texts and JSON files say of the geometry of the labels."""

    untrained: int
    """Untrained networks."""
    start_cosine: float
    """Mean cosine between the label vectors before and after training."""
    alpha: float
    """Level of each of the two tests."""
    vectors_less: float
    """From this p on, labels are surely less alike than chance."""
    shuffles: int
    """Permutations in each test."""
    tsne_perplexity: float
    """Perplexity of t-SNE."""
    vectors: Annotated[CorrelationFacts, FactGroup("vectors_")]
    """Of the label vectors."""
    conditioning: Annotated[CorrelationFacts, FactGroup("told_")]
    """Of the scales and shifts of the blocks."""


@dataclass(frozen=True, eq=False)
class DistanceCorrelation:
    """Rank correlation of the distances between labels with those between the digits' mean images."""

    rho: float
    """Spearman's rank correlation over all pairs of labels."""
    null: NDArray[np.float32]
    """(P,) float32: the same with permuted labels."""

    @property
    def p(self) -> float:
        """One-sided p: the share of permutations that correlate as much, the identity included (Mantel 1967)."""
        return float((1 + (self.null >= np.float32(self.rho)).sum()) / (1 + len(self.null)))

    @property
    def chance(self) -> tuple[float, float]:
        """The middle 95% of the permutations."""
        low, high = np.quantile(self.null, (0.025, 0.975))
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class LabelGeometry:
    """The label vectors of the run's network, and those of untrained networks."""

    trained: LabelEmbedding
    """Label vectors of the run's network."""
    start: LabelEmbedding
    """Label vectors of the network that training begins with."""
    start_cosine: float
    """Mean cosine between the two, label by label."""
    vectors: DistanceCorrelation
    """Of the label vectors."""
    conditioning: DistanceCorrelation
    """Of the scales and shifts of the blocks under each label."""
    untrained_rho: Float64
    """(U, 2) float64: rank correlations as the two above, of U untrained networks, the start first."""
    untrained_p: Float64
    """(U, 2) float64: their p-values."""
    change: Float64
    """(2,) float64: the two rank correlations of the network less those of its start."""
    change_half: Float64
    """(2,) float64: half their 95% intervals, by the jackknife over the labels."""

    def facts(self) -> LabelGeometryFacts:
        """Return the numbers that captions and answers are filled with."""
        return LabelGeometryFacts(
            untrained=len(self.untrained_rho),
            start_cosine=self.start_cosine,
            alpha=ALPHA,
            vectors_less=1 - ALPHA,
            shuffles=len(self.vectors.null),
            tsne_perplexity=(len(self.trained.labels) - 1) / 3,
            vectors=self._correlation_facts(self.vectors, 0),
            conditioning=self._correlation_facts(self.conditioning, 1),
        )

    def _correlation_facts(self, one: DistanceCorrelation, column: int) -> CorrelationFacts:
        rho, p = self.untrained_rho[:, column], self.untrained_p[:, column]
        return CorrelationFacts(
            rho=one.rho,
            p=one.p,
            chance=one.chance,
            start=float(rho[0]),
            start_p=float(p[0]),
            untrained_most=float(rho.max()),
            change=float(self.change[column]),
            change_half=float(self.change_half[column]),
            untrained_found=int((p <= ALPHA).sum()),
        )


def measure_label_geometry(network: SimpleUNet, training: Digits, seed: int) -> LabelGeometry:
    """Compare the labels of a network, and of untrained networks, with the mean images of training digits.

    ``seed`` is that of the training run: the first untrained network is then the one that it began with.
    """
    present = torch.unique(training.labels).numpy()
    images = mean_images(training)
    blank = [untrained_network(network.config, seed + k) for k in range(UNTRAINED)]
    if network.config.text is not None:  # the encoded prompts are no weights: all networks get the same
        for one in blank:
            one.label_emb.pooled = network.label_emb.pooled
    sides = (label_vectors, label_conditioning)
    changes = [rise_of_correlation(side(network)[present], side(blank[0])[present], images) for side in sides]
    controls = [[correlate_distances(side(one)[present], images) for side in sides] for one in blank]
    return LabelGeometry(
        trained=measure_embedding(network),
        start=measure_embedding(blank[0]),
        start_cosine=mean_cosine(network, blank[0]),
        vectors=correlate_distances(label_vectors(network)[present], images),
        conditioning=correlate_distances(label_conditioning(network)[present], images),
        untrained_rho=np.array([[one.rho for one in pair] for pair in controls]),
        untrained_p=np.array([[one.p for one in pair] for pair in controls]),
        change=np.array([change for change, _ in changes]),
        change_half=np.array([half for _, half in changes]),
    )


def correlate_distances(points: Float64, images: Float64, seed: int = 0) -> DistanceCorrelation:
    """Correlate the ranks of the distances between (L, D) points with those between (L, E) images.

    The test permutes labels, not pairs, since the pairs of one label are not independent (Mantel 1967).
    """
    count = len(points)
    pairs = np.triu_indices(count, 1)
    rng = np.random.default_rng([seed, 17])
    permutations = np.stack([np.arange(count), *(rng.permutation(count) for _ in range(SHUFFLES))])
    shuffled = _distances(points)[permutations[:, pairs[0]], permutations[:, pairs[1]]]
    rho = rank_correlation(shuffled, _distances(images)[pairs])
    return DistanceCorrelation(float(rho[0]), rho[1:].astype(np.float32))


def rise_of_correlation(points: Float64, start: Float64, images: Float64) -> tuple[float, float]:
    """Return the rank correlation of distances of ``points`` less that of ``start``, and half its 95% interval.

    All are (L, ...) of the same labels. The interval is Student's by the jackknife that leaves out one label at a time
    (Tukey 1958), since the pairs of one label are not independent; with fewer than 4 labels it is 2, all that can be.
    """

    def rise(labels: NDArray[np.int64]) -> float:
        pairs = np.triu_indices(len(labels), 1)
        sides = np.stack([_distances(one[labels])[pairs] for one in (points, start)])
        trained, before = rank_correlation(sides, _distances(images[labels])[pairs])
        return float(trained - before)

    everyone = np.arange(len(points))
    if len(points) < 4:
        return rise(everyone), 2.0
    without = np.array([rise(np.delete(everyone, label)) for label in everyone])
    spread = np.sqrt((len(points) - 1) / len(points) * np.square(without - without.mean()).sum())
    return rise(everyone), float(t_quantile(len(points) - 1) * spread)


def _distances(points: Float64) -> Float64:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


def mean_images(digits: Digits) -> Float64:
    """Return (L, H·W) the mean image of each label's digits."""
    labels = torch.unique(digits.labels)
    means = [digits.images[digits.labels == label].double().mean(dim=0).flatten() for label in labels]
    return np.asarray(torch.stack(means).numpy())


def label_vectors(network: SimpleUNet) -> Float64:
    """Return (L, D) the label vectors, without the null label's."""
    return _array(network.label_emb.weight[: network.config.num_labels])


@torch.no_grad()
def label_conditioning(network: SimpleUNet) -> Float64:
    """Return (L, E) the scales and shifts of all blocks under each label, averaged over t."""
    T, device = network.config.num_train_timesteps, network.label_emb.weight.device
    timesteps = torch.arange(NUM_TIMESTEPS, device=device) * T // NUM_TIMESTEPS + T // (2 * NUM_TIMESTEPS)
    rows = []
    for label in range(network.config.num_labels):
        embedded = nn.functional.silu(network.embed(timesteps, torch.full_like(timesteps, label)))
        blocks = [part for part in network.modules() if isinstance(part, ResidualBlock)]
        rows.append(torch.cat([block.condition(embedded).mean(dim=0) for block in blocks]))
    return _array(torch.stack(rows))


def untrained_network(config: ModelConfig, seed: int) -> SimpleUNet:
    """Return the network that training with ``seed`` begins with; the random state is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimpleUNet(config).eval().requires_grad_(False)


def mean_cosine(network: SimpleUNet, other: SimpleUNet) -> float:
    """Return the mean cosine between the label vectors of two networks, label by label."""
    a, b = label_vectors(network), label_vectors(other)
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def _array(values: Tensor) -> Float64:
    return np.asarray(values.detach().cpu().double().numpy())
