"""Are digits that look alike told alike? Distances between labels beside those between the digits' mean pictures.

Part of the lesson on the layers. Labels are compared twice: as vectors, and as what the blocks are told of them,
for time and label are summed before the blocks look, and geometry may lie behind that sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig, ResidualBlock, SimpleUNet
from viz_diffusion.lessons.label.label_embedding import measure_embedding
from viz_diffusion.plots.embeddings import LabelEmbedding

Float64 = NDArray[np.float64]
ALPHA = 0.025
"""Level of each of the two tests on the labels: 5% for both together."""
SHUFFLES = 4999
UNTRAINED = 10
"""Networks that learned nothing, the run's own seed first."""
TOLD_AT = 10
"""Timesteps over which what the blocks are told is averaged."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """How far the order of the distances between labels follows that between the digits' mean pictures."""

    rho: float
    """Spearman's rank correlation over all pairs of labels."""
    null: NDArray[np.float32]
    """(P,) float32: the same with the labels shuffled."""

    @property
    def p(self) -> float:
        """The share of shuffles that do as well, one-sided, the measured one counted in (Mantel 1967)."""
        return float((1 + (self.null >= np.float32(self.rho)).sum()) / (1 + len(self.null)))

    @property
    def chance(self) -> tuple[float, float]:
        """The middle 95% of the shuffles."""
        low, high = np.quantile(self.null, (0.025, 0.975))
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Labels:
    """The label vectors of the run's network, and those of networks that learned nothing."""

    trained: LabelEmbedding
    """The network's."""
    start: LabelEmbedding
    """Those of the network that training begins with."""
    start_cosine: float
    """Mean cosine between the two, label by label."""
    vectors: Likeness
    """The vectors beside the digits' mean pictures."""
    told: Likeness
    """What the blocks are told of the labels, beside the same."""
    untrained_rho: Float64
    """(U, 2) float64: rank correlations of vectors and of what is told, untrained networks, the start first."""
    untrained_p: Float64
    """(U, 2) float64: their p."""

    def facts(self) -> dict[str, Any]:
        """Return what captions and answers say of the labels."""
        found: dict[str, Any] = {
            "untrained": len(self.untrained_rho),
            "start_cosine": self.start_cosine,
            "alpha": ALPHA,
            "shuffles": len(self.vectors.null),
            "tsne_perplexity": (len(self.trained.labels) - 1) / 3,
        }
        for column, (name, one) in enumerate((("vectors", self.vectors), ("told", self.told))):
            found |= {
                f"{name}_rho": one.rho,
                f"{name}_p": one.p,
                f"{name}_chance": list(one.chance),
                f"{name}_start": float(self.untrained_rho[0, column]),
                f"{name}_start_p": float(self.untrained_p[0, column]),
                f"{name}_untrained_found": int((self.untrained_p[:, column] <= ALPHA).sum()),
            }
        return found


def measure_labels(network: SimpleUNet, training: Digits, seed: int) -> Labels:
    """Compare the labels of a network with the mean pictures of training digits, beside untrained networks.

    ``seed`` is what the run was trained with: the first untrained network is then the one it began with.
    """
    present = torch.unique(training.labels).numpy()
    pictures = mean_pictures(training)
    blank = [untrained(network.config, seed + k) for k in range(UNTRAINED)]
    controls = [[compare(side(one)[present], pictures) for side in (vectors, told)] for one in blank]
    return Labels(
        measure_embedding(network),
        measure_embedding(blank[0]),
        cosine_with(network, blank[0]),
        compare(vectors(network)[present], pictures),
        compare(told(network)[present], pictures),
        np.array([[one.rho for one in pair] for pair in controls]),
        np.array([[one.p for one in pair] for pair in controls]),
    )


def compare(points: Float64, pictures: Float64, seed: int = 0) -> Likeness:
    """Compare the distances between (L, D) points with those between (L, E) pictures, by ranks, and test by shuffling.

    Shuffling labels, not pairs: the pairs of one label hang together.
    """
    count = len(points)
    pairs = np.triu_indices(count, 1)
    ranks = np.zeros((count, count))
    ranks[pairs] = _ranks(_distances(points)[pairs])
    ranks += ranks.T
    wanted = _standard(_ranks(_distances(pictures)[pairs]))
    rng = np.random.default_rng([seed, 17])
    orders = np.stack([np.arange(count), *(rng.permutation(count) for _ in range(SHUFFLES))])
    rho = _standard(ranks[orders[:, pairs[0]], orders[:, pairs[1]]]) @ wanted
    return Likeness(float(rho[0]), rho[1:].astype(np.float32))


def _ranks(values: Float64) -> Float64:
    """Return (P,) ranks from 1, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((count.cumsum() - (count - 1) / 2)[place])


def _standard(values: Float64) -> Float64:
    """Return (…, P) values with mean 0 and norm 1; 0 where all are alike."""
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(np.divide(centred, length, out=np.zeros_like(centred), where=length > 0))


def _distances(points: Float64) -> Float64:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


def mean_pictures(digits: Digits) -> Float64:
    """Return (L, H·W) the mean picture of each label's digits."""
    labels = torch.unique(digits.labels)
    means = [digits.images[digits.labels == label].double().mean(dim=0).flatten() for label in labels]
    return np.asarray(torch.stack(means).numpy())


def vectors(network: SimpleUNet) -> Float64:
    """Return (L, D) the label vectors, the null label's left out."""
    return _array(network.label_emb.weight[: network.config.num_labels])


@torch.no_grad()
def told(network: SimpleUNet) -> Float64:
    """Return (L, E) the scales and shifts of all blocks under each label, averaged over t."""
    T, device = network.config.num_train_timesteps, network.label_emb.weight.device
    timesteps = torch.arange(TOLD_AT, device=device) * T // TOLD_AT + T // (2 * TOLD_AT)
    rows = []
    for label in range(network.config.num_labels):
        given = nn.functional.silu(network.embed(timesteps, torch.full_like(timesteps, label)))
        blocks = [part for part in network.modules() if isinstance(part, ResidualBlock)]
        rows.append(torch.cat([block.condition(given).mean(dim=0) for block in blocks]))
    return _array(torch.stack(rows))


def untrained(config: ModelConfig, seed: int) -> SimpleUNet:
    """Return the network that training with ``seed`` begins with; the random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimpleUNet(config).eval().requires_grad_(False)


def cosine_with(network: SimpleUNet, other: SimpleUNet) -> float:
    """Return the mean cosine between the label vectors of two networks, label by label."""
    a, b = vectors(network), vectors(other)
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def _array(values: Tensor) -> Float64:
    return np.asarray(values.detach().cpu().double().numpy())
