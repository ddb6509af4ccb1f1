"""Samples of several arms from the same noise, classified as they are and after a simple filter; and their losses.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of, predict_noise
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share

Float64 = NDArray[np.float64]
SAMPLERS = {"ddim": 0.0, "eta_1": 1.0}
"""η of the samplers, by name: DDIM, which adds no noise, and with η = 1 DDPM with the variance β̃."""
STEPS = 50
SEED = 160_000
"""Seed of the first sample; all arms share their noise."""
SIZES = ((200, 20), (2000, 200))
"""Held-out digits for the loss, and samples for each arm and sampler; quick and full."""
KEPT = 5
"""Samples of each arm and sampler that are drawn."""
DARK, BRIGHT = 0.7, 0.98
"""Shares of the pixels of a smoothed sample that are made black, and that are not made white. After the same 3 × 3 mean
about 69% of the pixels of a real digit are black, and about 2% brighter than 0.8."""


@dataclass(frozen=True, eq=False)
class SampledArms:
    """Samples of A arms by each of S :data:`SAMPLERS`, labels 0 .. 9 in turn."""

    images: NDArray[np.float32]
    """(S, A, K, H, W) float32: the first samples."""
    samples: int
    """M, samples of each arm and sampler."""
    read: NDArray[np.int64] | None
    """(S, A) int64: how many of them are classified as the requested digit; None where the data are not MNIST."""
    read_smoothed: NDArray[np.int64] | None
    """(S, A) int64: the same after :func:`smooth_and_stretch`."""

    def shares(self, arm: int, smoothed: bool = False) -> list[Share]:
        """Return, for each sampler, the share of an arm's samples that are classified as the requested digit."""
        read = self.read_smoothed if smoothed else self.read
        assert read is not None  # nobody asks for other data than MNIST
        return [Share(int(row[arm]), self.samples) for row in read]


def collect_arms(drawn: Sequence[Sequence[Tensor]], is_mnist: bool) -> SampledArms:
    """Classify the (M, C, H, W) samples of S samplers and A arms, and keep the first of each."""
    kept = np.stack([np.stack([images[:KEPT, 0].numpy() for images in arms]) for arms in drawn])
    count = len(drawn[0][0])
    if not is_mnist:
        return SampledArms(kept, count, None, None)
    classifier, labels = DigitClassifier.bundled()[0], sample_labels(count)

    def hits(change: Callable[[Tensor], Tensor]) -> NDArray[np.int64]:
        return np.array([[int((classifier.read(change(one)) == labels).sum()) for one in arms] for arms in drawn])

    return SampledArms(kept, count, hits(lambda images: images), hits(smooth_and_stretch))


def by_arm(values: NDArray[Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return an (S, A) array as numbers by sampler and by the name of the arm."""
    rows = zip(SAMPLERS, values.tolist(), strict=True)
    return {sampler: dict(zip(names, row, strict=True)) for sampler, row in rows}


def sample_labels(count: int) -> Tensor:
    """Return (M,) int64, the labels of the samples: 0 .. 9 in turn."""
    return torch.arange(count) % NUM_LABELS


def sample_arm(arm: nn.Module, schedule: NoiseSchedule, sampler: str, samples: int) -> Tensor:
    """Return (M, C, H, W) samples by one of :data:`SAMPLERS`, from noise that all arms share."""
    config = SamplerConfig("ddim", min(STEPS, schedule.num_train_timesteps), eta=SAMPLERS[sampler])
    labels = sample_labels(samples).to(device_of(arm))
    null_label = getattr(arm, "null_label", NUM_LABELS)
    seeds = range(SEED, SEED + samples)
    return torch.cat(list(sample_images(arm, schedule, labels, seeds, config, null_label=null_label)))


def smooth(images: Tensor) -> Tensor:
    """Return (B, C, H, W) images, clipped to [-1, 1], after a mean over 3 × 3 pixels; the border repeats."""
    return functional.avg_pool2d(functional.pad(images.clamp(-1, 1), (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def smooth_and_stretch(images: Tensor) -> Tensor:
    """Return images in which a classifier of clean digits can find a digit that noise lies on.

    After :func:`smooth` the contrast of each image is stretched, so that :data:`DARK` of its pixels become black and
    all above :data:`BRIGHT` become white: noise that is left makes the background grey, and of a grey background the
    classifier knows nothing.
    """
    smoothed = smooth(images)
    flat = smoothed.flatten(1)
    black, white = (flat.quantile(share, dim=1)[:, None, None, None] for share in (DARK, BRIGHT))
    return (2 * (smoothed - black) / (white - black).clamp(min=1e-6) - 1).clamp(-1, 1)


def correlations(images: Tensor, others: Tensor) -> Float64:
    """Return the (B,) correlation of the pixels of each of (B, C, H, W) images with its counterpart, both smoothed."""
    first, second = (smooth(one).flatten(1).double() for one in (images, others))
    first, second = (one - one.mean(dim=1, keepdim=True) for one in (first, second))
    norms = (first.norm(dim=1) * second.norm(dim=1)).clamp(min=1e-12)
    return ((first * second).sum(dim=1) / norms).numpy()


@torch.no_grad()
def prediction_losses(
    arms: Sequence[nn.Module], schedule: NoiseSchedule, heldout: Digits, count: int, seed: int
) -> Float64:
    """Return (A, N) mean squared errors of ε̂, for every arm of the same images and noise, at evenly spaced t."""
    generator = torch.Generator().manual_seed(seed + 1600)
    rows = torch.randint(len(heldout), (count,), generator=generator)
    t = torch.arange(count) * schedule.num_train_timesteps // count
    noise = torch.randn((count, *heldout.images.shape[1:]), generator=generator)
    x_t, labels = schedule.add_noise(heldout.images[rows], noise, t), heldout.labels[rows]
    errors = (predict_noise(arm, x_t, t, labels) - noise for arm in arms)
    return np.stack([error.square().mean(dim=(1, 2, 3)).double().numpy() for error in errors])
