"""What the network is given, time plus label, as strands of points; and its bottleneck along generations.

The digit that comes out of a generation is read by the classifier. As a control, the same noise is generated without a
label. Knows nothing about figures or texts.
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

SIZES = ((40, 40), (200, 100))
"""Generations, and timesteps of a strand; quick and full."""
STEPS = 25
"""DDIM steps of a generation."""
SHOWN = 8
"""Timesteps at which the bottleneck is compared."""
SEED = 90_000
"""Seed of the first generation."""
PERPLEXITY = 30.0
"""Of t-SNE; less where there are few points."""


@dataclass(frozen=True)
class ConditioningFacts:
    """What texts and JSON files say of the conditioning and the bottleneck, at M timesteps."""

    conditioning_timesteps: tuple[int, ...]
    """(M,) falling."""
    conditioning_silhouette: tuple[float, ...]
    """(M,) silhouette score of the bottleneck by the digit that comes out."""
    conditioning_unlabelled: tuple[float, ...]
    """(M,) the same of the generations without a label."""
    conditioning_generations: int
    """Generations."""
    conditioning_strand: int
    """Timesteps of a strand."""
    conditioning_steps: int
    """DDIM steps of each."""
    conditioning_first_t: int
    """The first timestep."""
    conditioning_last_t: int
    """The last one."""
    conditioning_first: float
    """The score at the first timestep."""
    conditioning_last: float
    """The score at the last one."""
    conditioning_unlabelled_largest: float
    """The largest score without a label."""
    conditioning_pca: tuple[float, float]
    """Shares of the variance of time plus label on the first two principal components."""


@torch.no_grad()
def measure_conditioning(
    network: SimpleUNet, schedule: NoiseSchedule, sizes: tuple[int, int], progress: Progress = silent
) -> ConditioningMap:
    """Map time plus label, and the bottleneck along DDIM generations of each label in turn.

    ``sizes`` are the number of generations and of the timesteps of a strand.

    The silhouette score of an image compares its distance to images of its own digit with that to the nearest other
    digit (Rousseeuw 1987); 1 is far apart, 0 is no grouping. It is computed from all values of the bottleneck, and not
    from a map.
    """
    (generations, count), T, labels = sizes, schedule.num_train_timesteps, network.config.num_labels
    timesteps = np.unique(np.linspace(0, T - 1, min(count, T)).round().astype(np.int64))
    device = device_of(network)
    given = torch.from_numpy(np.tile(timesteps, labels)).to(device)
    sums = network.embed(given, torch.arange(labels, device=device).repeat_interleave(len(timesteps))).cpu().numpy()
    pca, share = _pca(sums)
    progress(0, None, "a map of time plus label")
    strands = _tsne(sums).reshape(labels, len(timesteps), 2)
    given_labels = torch.arange(generations, device=device) % labels
    shown, activations, digits = _generate(network, schedule, given_labels, progress)
    null = torch.full_like(given_labels, network.null_label)
    _, unlabelled, other_digits = _generate(network, schedule, null, progress)
    maps = []
    for done, values in enumerate(activations):
        maps.append(_tsne(values))
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
        silhouette=np.array([_silhouette(values, digits) for values in activations]),
        unlabelled=np.array([_silhouette(values, other_digits) for values in unlabelled]),
    )


def bottleneck(network: SimpleUNet) -> nn.Module:
    """Return the last module of the network's lowest resolution."""
    return network.mid_more[-1] if len(network.mid_more) else network.mid2


def _generate(
    network: SimpleUNet, schedule: NoiseSchedule, labels: torch.Tensor, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return M timesteps, falling; the (M, N, D) bottleneck there; and the (N,) digits that come out."""
    T, count = schedule.num_train_timesteps, len(labels)
    grid = spaced_timesteps(T, min(STEPS, T))
    wanted = np.linspace(T - 1, 0, SHOWN)
    shown = np.unique(grid[np.abs(grid - wanted[:, None]).argmin(axis=1)])[::-1]
    kept: list[torch.Tensor] = []
    found: dict[int, NDArray[np.float32]] = {}
    handle = bottleneck(network).register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        steps = ddim_steps(network, schedule, ImageNoise(range(SEED, SEED + count)), labels, timesteps=grid)
        for done, step in enumerate(steps):
            if step.t in shown:
                found[step.t] = kept[-1].flatten(1).cpu().numpy()
            kept.clear()
            progress(done + 1, len(grid), f"the bottleneck of {count} generations")
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


def _silhouette(values: NDArray[Any], digits: NDArray[np.int64]) -> float:
    """Return the silhouette score of (N, D) rows by digit; 0 where there are fewer than two digits."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(values, digits)) if 2 <= len(np.unique(digits)) < len(digits) else 0.0


def conditioning_facts(data: ConditioningMap) -> ConditioningFacts:
    """Return the numbers that captions and JSON files are filled with."""
    return ConditioningFacts(
        conditioning_timesteps=tuple(data.shown_timesteps.tolist()),
        conditioning_silhouette=tuple(data.silhouette.tolist()),
        conditioning_unlabelled=tuple(data.unlabelled.tolist()),
        conditioning_generations=len(data.digits),
        conditioning_strand=len(data.timesteps),
        conditioning_steps=STEPS,
        conditioning_first_t=int(data.shown_timesteps[0]),
        conditioning_last_t=int(data.shown_timesteps[-1]),
        conditioning_first=float(data.silhouette[0]),
        conditioning_last=float(data.silhouette[-1]),
        conditioning_unlabelled_largest=float(data.unlabelled.max()),
        conditioning_pca=(float(data.pca_share[0]), float(data.pca_share[1])),
    )
