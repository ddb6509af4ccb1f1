"""The commission: who decides which digit, and what do the label vectors hold?

Looks at ten recordings from one noise and at the rows of the label embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.model import SimpleUNet
from viz_diffusion.plots.heatmap import LabelEmbedding, draw_label_embedding
from viz_diffusion.plots.strip import draw_ten_digits

TSNE_SEEDS = (0, 1, 2)
NUM_FRAMES = 8
SHARES_LEFT = (1.0, 0.65, 0.55, 0.45, 0.35, 0.25, 0.1)
"""Shares of the steps that are left at the frames of the ten digits; the finished image comes after them."""


@dataclass(frozen=True, eq=False)
class TenDigits:
    """Ten generations that share every draw of noise and differ by the label alone."""

    images: NDArray[np.float32]
    """(10, F, 28, 28) float32: x_t at F frames, the last one finished."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    labels: NDArray[np.int64]
    """(10,) int64."""


def measure_embedding(model: SimpleUNet) -> LabelEmbedding:
    """Compare the label vectors of a network, the null label's left out.

    t-SNE's perplexity is capped at (n-1)/3 = 3 for ten points; it starts from PCA and is run with three
    seeds, whose disagreement shows how little of it is evidence.
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
    """Return PCA's two axes, scaled as t-SNE wants them, with a seed's small shake.

    Without the shake every seed gives the same map, and three of them would show a false certainty.
    """
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    start = left[:, :2] * singular[:2]
    start = start / start[:, 0].std() * 1e-4
    shake = np.random.default_rng(seed).normal(size=start.shape) * 1e-4
    return (start + shake).astype(np.float32)


def draw_embedding(data: LabelEmbedding) -> dict[str, Figure]:
    """Draw ``label_embedding``."""
    return {"label_embedding": draw_label_embedding(data)}


def draw_digits(data: TenDigits) -> dict[str, Figure]:
    """Draw ``ten_digits``."""
    return {"ten_digits": draw_ten_digits(data.images, data.steps_left, data.labels)}


def frames_left(num_steps: int) -> NDArray[np.int64]:
    """Return the steps left of the frames of the ten digits, falling, without the finished one."""
    return np.unique(np.maximum(1, np.round(np.array(SHARES_LEFT) * num_steps)).astype(np.int64))[::-1]


def facts_embedding(data: LabelEmbedding) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    pairs = np.triu_indices(len(data.labels), 1)
    cosines = data.cosine[pairs]
    order = np.argsort(cosines)
    maps = [_distances(m) for m in data.tsne]
    agreement = [np.corrcoef(maps[i], maps[j])[0, 1] for i in range(len(maps)) for j in range(i)]

    def pair(k: int) -> list[int]:
        return [int(pairs[0][k]), int(pairs[1][k])]

    return {
        "num_labels": len(data.labels),
        "cosine": [[float(v) for v in row] for row in data.cosine],
        "cosine_min": float(cosines.min()),
        "cosine_max": float(cosines.max()),
        "cosine_mean": float(cosines.mean()),
        "nearest_pair": pair(int(order[-1])),
        "farthest_pair": pair(int(order[0])),
        "pca_share": [float(v) for v in data.pca_share],
        "tsne_perplexity": (len(data.labels) - 1) / 3,
        "tsne_seeds": list(TSNE_SEEDS),
        "tsne_agreement": [float(v) for v in agreement],
        "tsne_agreement_min": float(min(agreement)),
    }


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    differences = points[:, None] - points[None]
    return np.sqrt((differences**2).sum(-1))[np.triu_indices(len(points), 1)]
