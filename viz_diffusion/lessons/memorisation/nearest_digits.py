"""Nearest training digits of samples and of test digits, which cannot be copies, and of a control that copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.evaluate import Evaluation, evaluate
from viz_diffusion.evaluation.intervals import Z_95, Share
from viz_diffusion.evaluation.metrics import Nearest, nearest_neighbours
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.memorisation.figures import NearestPairs
from viz_diffusion.lessons.memorisation.noised_digits import NoisedDigits, measure_noised_digits
from viz_diffusion.lessons.memorisation.training_sizes import TrainingSizes

Float64 = NDArray[np.float64]
STEPS = 50
"""DDIM steps of each sample."""
SEED = 200_000
"""Seed of the first sample."""
SIZES = (200, 2000)
"""Samples of the network, and half as many of the control; quick and full."""
COPY = 1 / 3
"""d₁/d₂ below this is a near-copy (Yoon et al. 2023, section 4)."""


@dataclass(frozen=True)
class NeighboursFacts:
    """What texts and JSON files say of the nearest training digits of N samples and N test digits."""

    training: int
    """Training digits."""
    count: int
    """N."""
    flagged: int
    """Samples that are near-copies."""
    flagged_low: float
    """Lower end of the 95% interval of their share."""
    flagged_high: float
    """Upper end of it."""
    test_flagged: int
    """Test digits that count as near-copies."""
    test_flagged_low: float
    """Lower end of the 95% interval of their share."""
    test_flagged_high: float
    """Upper end of it."""
    distance: float
    """Mean d₁ of the samples, L2 over the pixels."""
    test_distance: float
    """Mean d₁ of the test digits."""
    far: float
    """The first over the second."""
    far_half: float
    """Half its 95% interval."""
    far_most: float
    """The same ratio of the label whose ratio is farthest from 1."""
    far_most_half: float
    """Half its 95% interval."""
    far_most_label: int
    """That label."""
    ratio_median: float
    """Median d₁/d₂ of the samples."""
    test_ratio_median: float
    """Median d₁/d₂ of the test digits."""
    ratio_least: float
    """Smallest d₁/d₂ of the samples."""
    apart: float
    """Kolmogorov-Smirnov distance of the samples' and the test digits' d₁."""
    apart_limit: float
    """Its critical value at 5%."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest training digits of N samples, and of N test digits with the same labels."""

    ratio: Float64
    """(N,) float64: d₁/d₂ of each sample, its distances to the nearest and second nearest training digit; 0 to 1."""
    distance: Float64
    """(N,) float64: d₁, L2 over the pixels."""
    test_ratio: Float64
    """(N,) float64: d₁/d₂ of test digits."""
    test_distance: Float64
    """(N,) float64: their d₁."""
    suspects: NearestPairs
    """For each label the sample with the smallest d₁/d₂."""
    training: int
    """Number of training digits."""

    @property
    def flagged(self) -> Share:
        """Share of the samples that are near-copies."""
        return _flagged(self.ratio)

    @property
    def test_flagged(self) -> Share:
        """Share of the test digits that count as near-copies."""
        return _flagged(self.test_ratio)

    def distance_ratio(self) -> tuple[float, float]:
        """Return the samples' mean d₁ over the test digits', and half its 95% interval."""
        return _mean_ratio(self.distance, self.test_distance)

    def distance_ratios(self) -> tuple[tuple[float, float], ...]:
        """Return the same for each label that has at least two samples: samples and test digits have them in turn."""
        labels = [slice(k, None, NUM_LABELS) for k in range(min(NUM_LABELS, len(self.distance) - NUM_LABELS))]
        return tuple(_mean_ratio(self.distance[one], self.test_distance[one]) for one in labels)

    def distance_ks(self) -> float:
        """Return the Kolmogorov-Smirnov distance of the samples' and the test digits' d₁."""
        places = np.sort(np.concatenate([self.distance, self.test_distance]))
        shares = (np.searchsorted(np.sort(d), places, side="right") for d in (self.distance, self.test_distance))
        first, second = shares
        return float(np.abs(first - second).max() / len(self.distance))

    def facts(self) -> NeighboursFacts:
        """Return the numbers that captions and answers are filled with."""
        (low, high), (test_low, test_high) = self.flagged.interval, self.test_flagged.interval
        far, half = self.distance_ratio()
        ratios = self.distance_ratios() or ((far, half),)
        most = max(range(len(ratios)), key=lambda label: abs(ratios[label][0] - 1))
        return NeighboursFacts(
            training=self.training,
            count=len(self.ratio),
            flagged=self.flagged.hits,
            flagged_low=low,
            flagged_high=high,
            test_flagged=self.test_flagged.hits,
            test_flagged_low=test_low,
            test_flagged_high=test_high,
            distance=float(self.distance.mean()),
            test_distance=float(self.test_distance.mean()),
            far=far,
            far_half=half,
            far_most=ratios[most][0],
            far_most_half=ratios[most][1],
            far_most_label=most,
            ratio_median=float(np.median(self.ratio)),
            test_ratio_median=float(np.median(self.test_ratio)),
            ratio_least=float(self.ratio.min()),
            apart=self.distance_ks(),
            apart_limit=1.358 * float(np.sqrt(2 / len(self.ratio))),
        )


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Nearest training digits of a network's samples, and of those of a control that is known to copy."""

    own: Neighbours
    """Of the network, with its training digits."""
    control: Neighbours | None
    """Of the control, with its own; None where the data are not MNIST."""
    quality: Evaluation | None
    """Quality of the samples, since images that are no digits are no copies; None where the data are not MNIST."""
    noised: NoisedDigits | None = None
    """Training digits noised and denoised: how near a copy must be to be flagged; None where it was not measured."""
    sizes: TrainingSizes | None = None
    """Pairs of networks trained on different digits, which ship as results; None where the data are not MNIST."""


def _mean_ratio(first: Float64, second: Float64) -> tuple[float, float]:
    """Return mean of (N,) over mean of (N,), and half its 95% interval."""
    mean = second.mean()
    ratio = float(first.mean() / mean)
    spread = np.sqrt(first.var(ddof=1) + ratio**2 * second.var(ddof=1)) / mean
    return ratio, float(Z_95 * spread / np.sqrt(len(first)))


def _flagged(ratio: Float64) -> Share:
    return Share(int((ratio < COPY).sum()), len(ratio))


def find_neighbours(images: Tensor, labels: Tensor, training: Digits, heldout: Digits) -> Neighbours:
    """Find the two nearest training digits of (N, 1, H, W) samples with (N,) labels, and of N test digits.

    The test digits have the labels 0 .. 9 in turn, as the samples should: d₁ depends on the label.
    """
    pool = training.images.numpy()
    near = nearest_neighbours(images.numpy(), pool)
    test = nearest_neighbours(heldout.first_of_each(len(images)).images.numpy(), pool)
    ratio = ratio_of(near)
    chosen = [min(torch.nonzero(labels == k)[:, 0].tolist(), key=ratio.__getitem__) for k in torch.unique(labels)]
    suspects = NearestPairs(images[chosen, 0].numpy(), pool[near.index[chosen], 0], ratio[chosen])
    return Neighbours(
        ratio=ratio,
        distance=near.first,
        test_ratio=ratio_of(test),
        test_distance=test.first,
        suspects=suspects,
        training=len(training),
    )


def ratio_of(near: Nearest) -> Float64:
    """Return d₁/d₂; 0 where both are 0."""
    return np.divide(near.first, near.second, out=np.zeros_like(near.first), where=near.second > 0)


def draw_samples(
    denoiser: nn.Module, schedule: NoiseSchedule, count: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[Tensor, Tensor]:
    """Return (N, 1, 28, 28) samples by DDIM, unguided, and their (N,) labels, 0 .. 9 in turn."""
    labels = torch.arange(count) % NUM_LABELS
    made: list[Tensor] = []
    for part in sample_images(
        denoiser,
        schedule,
        labels.to(device_of(denoiser)),
        range(SEED, SEED + count),
        SamplerConfig("ddim", min(STEPS, schedule.num_train_timesteps)),
        null_label=getattr(denoiser, "null_label", NUM_LABELS),
    ):
        made.append(part)
        progress(sum(map(len, made)))
    return torch.cat(made), labels


def measure_memorisation(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    heldout: Digits,
    count: int = SIZES[0],
    control: tuple[nn.Module, NoiseSchedule, Digits] | None = None,
    is_mnist: bool = True,
    progress: Progress = silent,
    noised: int = 0,
) -> Memorisation:
    """Find the nearest training digits of samples and of test digits, and the same for a control.

    Parameters
    ----------
    count
        N samples of the denoiser, and N/2 of the control.
    control
        A denoiser that copies, its schedule, and the digits that it was trained on.
    is_mnist
        Whether the MNIST classifier can evaluate the samples.
    noised
        Training digits that are noised to each of some timesteps and denoised; 0 to leave this out.
    """
    total = count + (count // 2 if control else 0)
    images, labels = draw_samples(denoiser, schedule, count, lambda n: progress(n, total, "samples"))
    own = find_neighbours(images, labels, training, heldout)
    control_neighbours = None
    if control is not None:
        model, its_schedule, few = control
        copies, its_labels = draw_samples(
            model, its_schedule, count // 2, lambda n: progress(count + n, total, "the control")
        )
        control_neighbours = find_neighbours(copies, its_labels, few, heldout)
    enough = is_mnist and 20 <= count <= min(len(training), len(heldout))
    return Memorisation(
        own,
        control_neighbours,
        evaluate(images, labels, training, heldout) if enough else None,
        measure_noised_digits(denoiser, schedule, training, noised, STEPS, progress) if noised else None,
    )
