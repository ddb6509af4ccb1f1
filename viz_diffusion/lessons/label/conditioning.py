"""What the network is given, time plus label, as strands of points; and its bottleneck along generations.

The generations get no label, so that the network is not told which digit to make: the digit that comes out is read by
the classifier. Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.plots.conditioning import ConditioningMap

SIZES = (40, 200)
"""Generations; quick and full."""
STEPS = 40
"""DDIM steps of a generation."""
SHOWN = 8
"""Timesteps at which the bottleneck is compared."""
TIMESTEPS = 100
"""Timesteps of a strand."""
SEED = 90_000
"""Seed of the first generation."""
PERPLEXITY = 30.0
"""Of t-SNE; less where there are few points."""
SHUFFLES = 200
"""Permutations of the digits, for the score that no grouping would reach."""
CHANCE = 0.95
"""The quantile of the permutations' scores above which the digits count as grouped."""


@dataclass(frozen=True)
class ConditioningFacts:
    """What texts and JSON files say of the conditioning and the bottleneck, at M timesteps."""

    conditioning_timesteps: tuple[int, ...]
    """(M,) falling."""
    conditioning_silhouette: tuple[float, ...]
    """(M,) silhouette score of the bottleneck by the digit that comes out."""
    conditioning_chance: tuple[float, ...]
    """(M,) what 95% of the permutations of the digits stay below."""
    conditioning_generations: int
    """Generations."""
    conditioning_steps: int
    """DDIM steps of each."""
    conditioning_first: float
    """The score at the first timestep."""
    conditioning_last: float
    """The score at the last one."""
    conditioning_parted: int | None
    """The largest t from which on all scores are above chance; None where the last one is not."""
    conditioning_pca: tuple[float, float]
    """Shares of the variance of time plus label on the first two principal components."""


@torch.no_grad()
def measure_conditioning(
    network: SimpleUNet, schedule: NoiseSchedule, generations: int, progress: Progress = silent
) -> ConditioningMap:
    """Map time plus label, and the bottleneck along ``generations`` DDIM generations without a label.

    The silhouette score of an image compares its distance to images of its own digit with that to the nearest other
    digit (Rousseeuw 1987); 1 is far apart, 0 is no grouping. It is computed from all values of the bottleneck, and not
    from a map.
    """
    T, labels = schedule.num_train_timesteps, network.config.num_labels
    timesteps = np.unique(np.linspace(0, T - 1, min(TIMESTEPS, T)).round().astype(np.int64))
    device = device_of(network)
    given = torch.from_numpy(np.tile(timesteps, labels)).to(device)
    sums = network.embed(given, torch.arange(labels, device=device).repeat_interleave(len(timesteps))).cpu().numpy()
    pca, share = _pca(sums)
    progress(0, None, "a map of time plus label")
    strands = _tsne(sums).reshape(labels, len(timesteps), 2)
    shown, activations, digits = _generate(network, schedule, generations, progress)
    maps, scores, chance = [], [], []
    rng = np.random.default_rng(SEED)
    for done, values in enumerate(activations):
        maps.append(_tsne(values))
        score, limit = _silhouette(values, digits, rng)
        scores.append(score)
        chance.append(limit)
        progress(done + 1, len(shown), "maps of the bottleneck")
    return ConditioningMap(
        labels=np.arange(labels),
        timesteps=timesteps,
        pca=pca.reshape(labels, len(timesteps), 2),
        pca_share=share,
        tsne=strands,
        shown_timesteps=shown,
        maps=np.stack(maps),
        digits=digits,
        silhouette=np.array(scores),
        chance=np.array(chance),
    )


def bottleneck(network: SimpleUNet) -> nn.Module:
    """Return the last module of the network's lowest resolution."""
    return network.mid_more[-1] if len(network.mid_more) else network.mid2


def _generate(
    network: SimpleUNet, schedule: NoiseSchedule, count: int, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return M timesteps, falling; the (M, N, D) bottleneck there; and the (N,) digits that come out."""
    T = schedule.num_train_timesteps
    grid = spaced_timesteps(T, min(STEPS, T))
    wanted = np.linspace(T - 1, 0, SHOWN)
    shown = np.unique(grid[np.abs(grid - wanted[:, None]).argmin(axis=1)])[::-1]
    null = torch.full((count,), network.null_label, device=device_of(network))
    kept: list[torch.Tensor] = []
    found: dict[int, NDArray[np.float32]] = {}
    handle = bottleneck(network).register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        steps = ddim_steps(network, schedule, ImageNoise(range(SEED, SEED + count)), null, timesteps=grid)
        for done, step in enumerate(steps):
            if step.t in shown:
                found[step.t] = kept[-1].flatten(1).cpu().numpy()
            kept.clear()
            progress(done + 1, len(grid), f"{count} generations without a label")
    finally:
        handle.remove()
    digits = DigitClassifier.bundled()[0].read(step.x_prev.cpu()).numpy().astype(np.int64)
    return shown.astype(np.int64), np.stack([found[t] for t in shown.tolist()]), digits


def _pca(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first two principal components of (N, D) rows, and their shares of the variance."""
    left, singular, _ = np.linalg.svd(rows.astype(np.float64) - rows.mean(axis=0), full_matrices=False)
    return left[:, :2] * singular[:2], singular[:2] ** 2 / (singular**2).sum()


def _tsne(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return a t-SNE map of (N, D) rows, from their first 50 principal components."""
    from sklearn.manifold import TSNE  # takes over a second to load, and only this needs it

    left, singular, _ = np.linalg.svd(rows.astype(np.float64) - rows.mean(axis=0), full_matrices=False)
    reduced = (left * singular)[:, :50]
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    return np.asarray(placed, dtype=np.float32)


def _silhouette(values: NDArray[Any], digits: NDArray[np.int64], rng: np.random.Generator) -> tuple[float, float]:
    """Return the silhouette score of (N, D) rows by digit, and what 95% of permuted digits stay below."""
    from sklearn.metrics import pairwise_distances, silhouette_score

    if not 2 <= len(np.unique(digits)) < len(digits):
        return 0.0, 0.0
    distances = pairwise_distances(values)
    np.fill_diagonal(distances, 0)
    score = silhouette_score(distances, digits, metric="precomputed")
    shuffled = [silhouette_score(distances, rng.permutation(digits), metric="precomputed") for _ in range(SHUFFLES)]
    return float(score), float(np.quantile(shuffled, CHANCE))


def conditioning_facts(data: ConditioningMap) -> ConditioningFacts:
    """Return the numbers that captions and JSON files are filled with."""
    above = data.silhouette > data.chance
    parted = len(above) - int(np.argmin(np.append(above[::-1], False)))  # from here on all are above
    return ConditioningFacts(
        conditioning_timesteps=tuple(data.shown_timesteps.tolist()),
        conditioning_silhouette=tuple(data.silhouette.tolist()),
        conditioning_chance=tuple(data.chance.tolist()),
        conditioning_generations=len(data.digits),
        conditioning_steps=STEPS,
        conditioning_first=float(data.silhouette[0]),
        conditioning_last=float(data.silhouette[-1]),
        conditioning_parted=int(data.shown_timesteps[parted]) if parted < len(above) else None,
        conditioning_pca=(float(data.pca_share[0]), float(data.pca_share[1])),
    )
