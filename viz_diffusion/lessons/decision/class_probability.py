"""Probability of the class of noised digits, by the ideal denoiser and by a classifier, and their finished images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.interventions import ForkedNoise
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, Step, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
STEPS = 100
"""Denoising steps of every generation."""
TIMESTEPS = (899, 749, 699, 649, 599, 549, 499, 449, 399, 349, 249, 99)
"""Timesteps to which digits are noised, for T = 1000."""
IDEAL_TIMES = 3
"""Training digits for each held-out one, with which the ideal denoiser's window is estimated."""
SEED = 660_000
"""Seed of the first digit's fresh noise."""


@dataclass(frozen=True, eq=False)
class NoisedDigits:
    """N held-out digits noised to each of K timesteps: the probability of their class, and the finished images."""

    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    ideal: Float64
    """(K, N) float64: p(class | x_t) of the true class, by the ideal denoiser of the training digits."""
    bits: Float64
    """(K, 3N) float64: information on the class in x_t, in bits, for training digits, where that denoiser is exact."""
    entropy: float
    """H(y) of the training labels, bits."""
    x0_probability: Float64 | None
    """(K, N) float64: the classifier's probability of the true class for x̂_0; None without a classifier."""
    returned: NDArray[np.bool_] | None
    """(K, N) bool: whether the finished image is classified as the true class; None without a classifier."""


def visited(schedule: NoiseSchedule) -> NDArray[np.int64]:
    """Return the (S,) falling timesteps of every generation here."""
    return spaced_timesteps(schedule.num_train_timesteps, min(STEPS, schedule.num_train_timesteps))


def nearest(grid: NDArray[np.int64], wanted: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the visited timesteps nearest to ``wanted``, which are for T = 1000; falling."""
    places = np.array(wanted) * grid[0] / 999
    return np.unique(grid[np.abs(grid[:, None] - places).argmin(axis=0)])[::-1]


@torch.no_grad()
def finish_noised_digits(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    classifier: DigitClassifier | None,
    count: int,
    generator: torch.Generator,
    progress: Progress = silent,
    temperature: float = 1.0,
) -> NoisedDigits:
    """Noise digits to t, compute their class probability, and finish them without a label (Sclocchi et al. 2025).

    For the ideal denoiser a finished image is drawn from p(x_0 | x_t), so that the share that comes back as the
    same class is the mean of p(class | x_t), which needs no network. ``temperature`` calibrates the classifier.
    """
    timesteps = nearest(visited(schedule), TIMESTEPS)
    rows = torch.randperm(len(heldout), generator=generator)[:count]
    known = torch.randperm(len(training), generator=generator)[: IDEAL_TIMES * count]
    x0, labels = heldout.images[rows], heldout.labels[rows]
    own, own_labels = training.images[known], training.labels[known]
    noise, other = (torch.randn(images.shape, generator=generator) for images in (x0, own))
    oracle = EmpiricalOracle(schedule, training.images, training.labels)
    shares = torch.bincount(training.labels).double() / len(training)
    entropy = float(-(shares[shares > 0] * shares[shares > 0].log2()).sum())
    ideal, bits, x0_probability, returned = [], [], [], []
    for done, t in enumerate(timesteps.tolist()):
        x_t = schedule.add_noise(x0, noise, t)
        ideal.append(_probability_of(oracle.posterior(x_t, torch.full((len(x0),), t)), labels))
        right = _probability_of(
            oracle.posterior(schedule.add_noise(own, other, t), torch.full((len(own),), t)), own_labels
        )
        bits.append(entropy + np.log2(np.maximum(right, 1e-300)))
        if classifier is not None:
            seeds = range(SEED, SEED + len(x0))
            steps = list(finish(denoiser, schedule, x_t, seeds, t))
            x0_probability.append(
                _probability_of(classifier.probabilities(steps[0].x0_pred, temperature=temperature), labels)
            )
            returned.append((classifier.read(steps[-1].x_prev) == labels).numpy())
        progress(done + 1, len(timesteps), "digits noised and turned back")
    return NoisedDigits(
        timesteps=timesteps,
        ideal=np.stack(ideal),
        bits=np.stack(bits),
        entropy=entropy,
        x0_probability=np.stack(x0_probability) if x0_probability else None,
        returned=np.stack(returned) if returned else None,
    )


def finish(denoiser: nn.Module, schedule: NoiseSchedule, x_t: Tensor, seeds: range, t: int) -> list[Step]:
    """Return the first and the last of the steps that finish (B, C, H, W) states at t without a label."""
    grid = visited(schedule)
    null = torch.full((len(x_t),), getattr(denoiser, "null_label", 10), device=device_of(denoiser))
    noise = ForkedNoise(x_t, ImageNoise(seeds, x_t.shape[1:]))
    kept: list[Step] = []
    for step in ddpm_steps(denoiser, schedule, noise, null, timesteps=grid[grid <= t]):
        kept = [kept[0] if kept else step, step]
    return kept


def _probability_of(probabilities: Tensor, labels: Tensor) -> Float64:
    return np.asarray(probabilities.double()[torch.arange(len(labels)), labels].numpy())
