"""Disjoint halves of the training digits, and what two networks that were trained on them generate.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.metrics import nearest_neighbours
from viz_diffusion.lessons.memorisation.nearest_digits import Float64, draw_samples, ratio_of
from viz_diffusion.lessons.memorisation.training_sizes import TrainingSizes

SAMPLES = 500
"""Samples of each network."""
SHOWN = 5
"""Samples of each network that are drawn: the digits 0 .. 4."""


def halves(training: Digits, count: int) -> tuple[Digits, Digits]:
    """Return two disjoint sets of ``count`` digits with the labels in turn; those of a smaller count are among them."""
    order = torch.argsort(training.labels, stable=True)
    return training.take(order[::2]).first_of_each(count), training.take(order[1::2]).first_of_each(count)


def measure_training_sizes(
    pairs: Sequence[tuple[nn.Module, nn.Module]],
    schedule: NoiseSchedule,
    training: Digits,
    sizes: Sequence[int],
    steps: int,
    count: int = SAMPLES,
) -> TrainingSizes:
    """Sample both networks of each pair from the same noise, and compare the samples with both halves and each other.

    Parameters
    ----------
    pairs
        (S,) pairs of denoisers, trained on the two :func:`halves` of as many digits as ``sizes`` say.
    steps
        Training steps of each.
    count
        K, samples of each denoiser; a multiple of 10, at least 20.
    """
    classifier, _ = DigitClassifier.bundled()
    found: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("ratio", "other_ratio", "alike", "unlike", "right", "images")
    }
    for pair, size in zip(pairs, sizes, strict=True):
        pools = [half.images.numpy() for half in halves(training, size)]
        made = [draw_samples(denoiser, schedule, count) for denoiser in pair]
        near = [[ratio_of(nearest_neighbours(images.numpy(), pool)) for pool in pools] for images, _ in made]
        (first, labels), (second, _) = made
        found["ratio"].append(np.stack([near[0][0], near[1][1]]))
        found["other_ratio"].append(np.stack([near[0][1], near[1][0]]))
        found["alike"].append(_correlation(first, second))
        found["unlike"].append(_correlation(first, second.roll(len(torch.unique(labels)), dims=0)))
        found["right"].append(np.stack([(classifier.read(images) == labels).numpy() for images, _ in made]))
        found["images"].append(np.stack([images[:SHOWN, 0].numpy() for images, _ in made]))
    arrays = {name: np.stack(values) for name, values in found.items()}
    return TrainingSizes(sizes=np.array(sizes, np.int64), steps=np.array(steps, np.int64), **arrays)


def _correlation(first: Tensor, second: Tensor) -> Float64:
    """Return (K,) Pearson correlations, over the pixels, of (K, C, H, W) images."""
    flat = [images.flatten(1).double() for images in (first, second)]
    centred = [pixels - pixels.mean(dim=1, keepdim=True) for pixels in flat]
    lengths = [pixels.norm(dim=1).clamp(min=1e-12) for pixels in centred]
    return np.asarray(((centred[0] * centred[1]).sum(dim=1) / (lengths[0] * lengths[1])).numpy())
