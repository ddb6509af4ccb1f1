"""Detectors of sampler mistakes: six numbers from a sampler's record, and their limits for a correct sampler.

They do not depend on which mistake was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Z_95
from viz_diffusion.evaluation.statistics import rank_correlation
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.mistakes.buggy_samplers import SAMPLERS, STEPS, SamplerRecord, run_sampler

Float64 = NDArray[np.float64]
SEED = 620_000
"""Seed of the first sample; all samplers share their noise."""
SIZES = (50, 400)
"""Samples of each sampler, quick and full."""
FRAMES = 8
"""Frames of each strip, the finished one among them."""
DETECTORS = ("rest", "clock", "power", "grey", "order", "end")
"""Names of the detectors in the catalogues; the k-th is for the k-th mistake."""
LIMITS = (1e-3, 0.5, 0.05, 0.25, 0.5, 0.01)
"""The largest number of each detector that a correct sampler may have; see :func:`detect`."""


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Eight samplers with the same noise, and the numbers of six detectors for each."""

    values: Float64
    """(8, 6) float64: for each of :data:`SAMPLERS` the number of each of :data:`DETECTORS`."""
    halves: Float64
    """(8, 6) float64: half their 95% intervals; 0 where a number is no estimate."""
    strips: NDArray[np.float32]
    """(8, F, H, W) float32: frames of one digit."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    samples: int
    """N, samples of each sampler."""
    correct: NDArray[np.bool_] | None
    """(8, N) bool: whether each sample is classified as the requested digit; None where the data are not MNIST."""
    digit: int
    """Label of the strips."""

    @property
    def caught(self) -> NDArray[np.bool_]:
        """(8, 6) whether a detector's number is significantly above its limit."""
        return np.asarray(self.values - self.halves > np.array(LIMITS))

    @property
    def passed(self) -> NDArray[np.bool_]:
        """(8, 6) whether it is significantly within its limit."""
        return np.asarray(self.values + self.halves <= np.array(LIMITS))


def measure_mistakes(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    digit: int = 5,
    is_mnist: bool = True,
    samples: int = SIZES[0],
    progress: Progress = silent,
) -> Mistakes:
    """Generate the same digits with two correct samplers and six mistaken ones, and apply every detector to each.

    Parameters
    ----------
    digit
        Label of the strips.
    is_mnist
        Whether the MNIST classifier can classify the samples.
    samples
        N, at least 10, with labels 0 .. 9 in turn.
    """
    labels = torch.arange(samples) % NUM_LABELS
    mean = float(training.images.double().mean())
    classifier = DigitClassifier.bundled()[0] if is_mnist else None
    found, strips, correct = [], [], []
    steps = min(STEPS, schedule.num_train_timesteps)
    shown = shown_frames(steps + 1)
    for done, sampler in enumerate(SAMPLERS):
        progress(done, len(SAMPLERS), f"sampler {sampler}")
        record = run_sampler(sampler, denoiser, schedule, labels, range(SEED, SEED + samples), digit)
        found.append(detect(record, mean))
        strips.append(record.strip[record.frames[np.minimum(shown, len(record.frames) - 1)]])
        if classifier is not None:
            correct.append((classifier.read(record.x0) == labels).numpy())
    values, halves = (np.stack(column) for column in zip(*found, strict=True))
    return Mistakes(
        values=values,
        halves=halves,
        strips=np.stack(strips),
        steps_left=steps - shown,
        samples=samples,
        correct=np.stack(correct) if correct else None,
        digit=digit,
    )


def shown_frames(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` states a strip shows: the first, the last, and some between, closer in the second half.

    With ``count`` = 51 these have 50, 39, 29, 20, 13, 7, 2 and 0 steps left.
    """
    left = np.round((count - 1) * (np.linspace(1, 0, FRAMES)) ** 1.6)
    return np.unique(count - 1 - left.astype(np.int64))


def detect(record: SamplerRecord, training_mean: float) -> tuple[Float64, Float64]:
    """Return (6,) numbers that are about 0 for a correct sampler, and half their 95% intervals.

    ``rest``: RMS of what the finished images have beyond a weighted sum of the last x̂_0 and x_t: no noise is added.
    ``clock``: the difference of the t whose √ᾱ fits x_t, ε̂ and x̂_0 from the timestep that the network was given.
    ``power``: the relative deviation of the injected noise's mean square from σ².
    ``grey``: the deviation of the finished images' mean grey from that of the training images, on a scale of -1 .. 1.
    ``order``: 1 minus the rank correlation of the displayed frames' roughness with the steps left.
    ``end``: the weight of the last x_t in that sum: a correct sampler ends in x̂_0, and keeps nothing of x_t.

    ``power`` and ``grey`` are estimates; the others are exact, and their intervals are 0.

    Parameters
    ----------
    training_mean
        Mean grey of the training images.
    """
    grey = record.x0.clamp(-1, 1).double().mean(dim=(1, 2, 3))
    power = float(record.noise_power.mean())
    columns = torch.stack([record.last_x0_pred.flatten(), record.last_x_t.flatten()], dim=1).double().numpy()
    finished = record.x0.double().flatten().numpy()
    weights = np.linalg.lstsq(columns, finished, rcond=None)[0]
    steps_left = np.arange(len(record.roughness))[::-1]
    values = [
        float(np.sqrt(np.square(finished - columns @ weights).mean())),
        float(np.abs(record.implied_timesteps - record.timesteps).max()),
        abs(power - 1),
        abs(float(grey.mean()) - training_mean),
        1 - float(rank_correlation(record.roughness[record.frames], steps_left)),
        abs(float(weights[1])),
    ]
    draws = record.x0.numel() * len(record.noise_power)
    half_power = Z_95 * power * float(np.sqrt(2 / draws))  # χ²: a sum of as many squared normal draws
    half_grey = Z_95 * float(grey.std() / np.sqrt(len(grey)))
    return np.array(values), np.array([0, 0, half_power, half_grey, 0, 0])
