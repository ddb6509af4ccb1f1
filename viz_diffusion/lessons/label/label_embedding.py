"""The label vectors of a network: their cosines, principal components and t-SNE maps.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.plots.embeddings import LabelEmbedding

TSNE_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class LabelEmbeddingFacts:
    """What texts and JSON files say of L label vectors."""

    num_labels: int
    """L, the null label not counted."""
    cosine: tuple[tuple[float, ...], ...]
    """(L, L) cosines."""
    cosine_min: float
    """The smallest cosine of two different labels."""
    cosine_max: float
    """The largest one."""
    cosine_mean: float
    """Their mean."""
    nearest_pair: tuple[int, int]
    """The two labels with the largest cosine."""
    farthest_pair: tuple[int, int]
    """The two labels with the smallest cosine."""
    pca_share: tuple[float, float]
    """Shares of the variance of the first two principal components."""
    tsne_perplexity: float
    """Perplexity of t-SNE."""
    tsne_seeds: tuple[int, ...]
    """(R,) seeds of the t-SNE maps."""
    tsne_agreement: tuple[float, ...]
    """(R(R-1)/2,) correlation of the distances in each two maps."""
    tsne_agreement_min: float
    """The smallest one."""


def measure_embedding(model: SimpleUNet) -> LabelEmbedding:
    """Compare the label vectors of a network, without the null label's.

    t-SNE's perplexity is capped at (n-1)/3 = 3 for ten points; it starts from PCA and runs with three seeds, whose
    disagreement shows how little evidence it is.
    """
    from sklearn.manifold import TSNE  # takes over a second to load, and only this needs it

    vectors = model.label_emb.weight[: model.config.num_labels].detach().cpu().numpy().astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    perplexity = (len(vectors) - 1) / 3
    maps = [
        TSNE(2, perplexity=perplexity, init=_start(centred, seed), random_state=seed).fit_transform(vectors)
        for seed in TSNE_SEEDS
    ]
    return LabelEmbedding(
        labels=np.arange(len(vectors)),
        cosine=(vectors / lengths) @ (vectors / lengths).T,
        pca=left[:, :2] * singular[:2],
        pca_share=singular[:2] ** 2 / (singular**2).sum(),
        tsne=np.stack(maps),
    )


def _start(centred: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Return PCA's two axes, scaled as t-SNE expects, with a small random change that depends on the seed.

    Without it all seeds give the same map, and three equal maps would suggest a certainty that is not there.
    """
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    start = left[:, :2] * singular[:2]
    start = start / start[:, 0].std() * 1e-4
    change = np.random.default_rng(seed).normal(size=start.shape) * 1e-4
    return (start + change).astype(np.float32)


def embedding_facts(data: LabelEmbedding) -> LabelEmbeddingFacts:
    """Return the numbers that captions and tables are filled with."""
    rows, columns = np.triu_indices(len(data.labels), 1)
    cosines = data.cosine[rows, columns]
    nearest, farthest = int(cosines.argsort()[-1]), int(cosines.argsort()[0])
    maps = [_distances(one) for one in data.tsne]
    agreement = tuple(float(np.corrcoef(maps[i], maps[j])[0, 1]) for i in range(len(maps)) for j in range(i))
    return LabelEmbeddingFacts(
        num_labels=len(data.labels),
        cosine=tuple(tuple(row) for row in data.cosine.tolist()),
        cosine_min=float(cosines.min()),
        cosine_max=float(cosines.max()),
        cosine_mean=float(cosines.mean()),
        nearest_pair=(int(rows[nearest]), int(columns[nearest])),
        farthest_pair=(int(rows[farthest]), int(columns[farthest])),
        pca_share=(float(data.pca_share[0]), float(data.pca_share[1])),
        tsne_perplexity=(len(data.labels) - 1) / 3,
        tsne_seeds=TSNE_SEEDS,
        tsne_agreement=agreement,
        tsne_agreement_min=min(agreement),
    )


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of each two of (N, 2) points."""
    differences = points[:, None] - points[None]
    return np.sqrt((differences**2).sum(-1))[np.triu_indices(len(points), 1)]
