"""The same digits by DDPM, by its probability-flow equation, and by a flow-matching network, with few evaluations.

Takes any denoisers. Knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Denoiser, ImageNoise
from viz_diffusion.diffusion.sampling import sample_images, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, draw_with_labels
from viz_diffusion.evaluation.intervals import Z_95
from viz_diffusion.evaluation.metrics import frechet_distance
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.flow.ring_mixture import Float64, straightness

EVALUATIONS = (2, 5, 10, 20, 50)
COUNTS = (20, 500)
"""Samples of each arm, quick and full."""
PATHS = 20
"""Paths whose straightness is measured, of 50 steps."""
SEED = 950_000
"""Seed of the first sample's noise; sample k has ``SEED`` + k, in every arm."""
GROUPS = 20
"""Parts of the samples that are left out in turn for the interval of a Fréchet distance."""


class Arm(NamedTuple):
    """One way to sample: a network, its process and a sampler."""

    denoiser: Denoiser
    """As in :func:`~viz_diffusion.diffusion.sampling.sampling_steps`."""
    schedule: NoiseSchedule
    """The process that it is sampled in."""
    sampler: str
    """``ddpm``, ``ddim`` or ``euler``: one evaluation a step."""


@dataclass(frozen=True, eq=False)
class FlowDigits:
    """N samples of each of A arms with each of K numbers of evaluations, from the same noise, without guidance."""

    evaluations: NDArray[np.int64]
    """(K,) int64, rising."""
    right: NDArray[np.bool_]
    """(A, K, N) bool: which are classified as the requested digit."""
    frechet: Float64 | None
    """(A, K) float64: Fréchet distance to N real digits in the classifier's features; None where N is too small."""
    frechet_half: Float64 | None
    """(A, K) float64: half its 95% interval, by the jackknife over groups of samples."""
    frechet_real: float | None
    """The distance of N other real digits."""
    straight: Float64
    """(A, M) float64: chord over length of paths of 50 steps, each in the states of its own process."""
    images: NDArray[np.float32]
    """(A, K, H, W) float32: one sample of each."""
    digit: int
    """Its label."""
    noise_steps: int
    """Training steps of the network that predicts noise."""
    flow_steps: int
    """Training steps of the flow-matching network."""
    classifier_sha256: str
    """Of the classifier's weights."""
    noise_sha256: str
    """Of the weights of the network that predicts noise: results that ship belong to these."""
    flow_sha256: str
    """Of the flow-matching network's weights, likewise."""

    @property
    def count(self) -> int:
        """N."""
        return int(self.right.shape[2])


def measure_digits(
    arms: Sequence[Arm],
    heldout: Digits,
    training: Digits | None,
    trained_steps: tuple[int, int],
    digit: int = 5,
    count: int = COUNTS[0],
    progress: Progress = silent,
    sha256: tuple[str, str] = ("", ""),
) -> FlowDigits:
    """Sample ``count`` images by each arm and number of evaluations, and classify them.

    Parameters
    ----------
    training
        Digits to draw real ones from; None leaves the Fréchet distances out.
    trained_steps, sha256
        Of the network that predicts noise, and of the flow-matching network.
    """
    labels = torch.arange(count) % NUM_LABELS
    made: list[list[Tensor]] = []
    for index, arm in enumerate(arms):
        made.append([])
        for k, steps in enumerate(EVALUATIONS):
            progress(index * len(EVALUATIONS) + k, len(arms) * len(EVALUATIONS), f"{arm.sampler}, {steps} evaluations")
            made[-1].append(_sample(arm, labels, steps))
    classifier, digest = DigitClassifier.bundled()
    right = np.stack([[(classifier.read(images) == labels).numpy() for images in row] for row in made])
    shown = int(torch.nonzero(labels == digit)[0]) if bool((labels == digit).any()) else 0
    frechet = half = real = None
    if training is not None:
        frechet, half, real = _distances(classifier, made, labels, heldout, training)
    return FlowDigits(
        evaluations=np.array(EVALUATIONS),
        right=right,
        frechet=frechet,
        frechet_half=half,
        frechet_real=real,
        straight=np.stack([straightness(_paths(arm, labels[:PATHS])) for arm in arms]),
        images=np.stack([[images[shown, 0].numpy() for images in row] for row in made]),
        digit=int(labels[shown]),
        noise_steps=trained_steps[0],
        flow_steps=trained_steps[1],
        classifier_sha256=digest,
        noise_sha256=sha256[0],
        flow_sha256=sha256[1],
    )


def _sample(arm: Arm, labels: Tensor, steps: int) -> Tensor:
    """Return (N, 1, H, W) samples of (N,) labels, clipped to [-1, 1]."""
    parts = sample_images(
        arm.denoiser,
        arm.schedule,
        labels.to(device_of(arm.denoiser)),
        range(SEED, SEED + len(labels)),
        SamplerConfig(arm.sampler, steps),
        null_label=getattr(arm.denoiser, "null_label", NUM_LABELS),
    )
    return torch.cat(list(parts)).clamp(-1, 1)


def _paths(arm: Arm, labels: Tensor) -> Float64:
    """Return (M, 51, D) the states of 50 steps from noise to image."""
    noise = ImageNoise(range(SEED, SEED + len(labels)))
    labels, config = labels.to(device_of(arm.denoiser)), SamplerConfig(arm.sampler, EVALUATIONS[-1])
    null_label = getattr(arm.denoiser, "null_label", NUM_LABELS)
    states: list[Tensor] = []
    for step in sampling_steps(arm.denoiser, arm.schedule, noise, labels, config, null_label=null_label):
        states += [step.x_prev] if states else [step.x_t, step.x_prev]
    return np.asarray(torch.stack(states, dim=1).flatten(2).double().cpu().numpy())


def _distances(
    classifier: DigitClassifier, made: list[list[Tensor]], labels: Tensor, heldout: Digits, training: Digits
) -> tuple[Float64, Float64, float]:
    """Return (A, K) Fréchet distances, half their intervals, and the distance of other real digits."""
    generator = torch.Generator().manual_seed(1400)
    compared = heldout.images[torch.randperm(len(heldout), generator=generator)[: len(labels)]]
    real = classifier.penultimate_features(compared)
    floor = [
        frechet_distance(classifier.penultimate_features(draw_with_labels(training, labels, generator)), real)
        for _ in range(FLOOR_DRAWS)
    ]
    features = [[classifier.penultimate_features(images) for images in row] for row in made]
    found = np.array([[frechet_distance(one, real) for one in row] for row in features])
    half = np.array([[jackknife_half(one, real) for one in row] for row in features])
    return found, half, float(np.mean(floor))


def jackknife_half(features: NDArray[np.float64], real: NDArray[np.float64], groups: int = GROUPS) -> float:
    """Return half the 95% interval of the Fréchet distance of (N, D) features to ``real``.

    The delete-a-group jackknife (Tukey 1958): the standard error is √((G-1)/G Σ (d_g - mean)²) over the distances d_g
    without group g. Samples go to the groups by tens, one of each label. ``real`` is taken as it is.
    """
    group = np.arange(len(features)) // NUM_LABELS % groups  # every group has every label
    left_out = np.array([frechet_distance(features[group != g], real) for g in range(groups)])
    return float(Z_95 * np.sqrt((groups - 1) / groups * np.square(left_out - left_out.mean()).sum()))
