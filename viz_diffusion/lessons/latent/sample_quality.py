"""How good samples are, in latents and in pixels: accuracy, Fréchet distance and KID, by the package's evaluation.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.latent_space import latent_space_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import Evaluation, evaluate
from viz_diffusion.files import read_json
from viz_diffusion.lessons.context import Progress, silent

COUNTS = (100, 2000)
"""Samples of each network, quick and full."""
CONTROL_COUNTS = (50, 500)
"""Samples of each control with a wrong scale, quick and full."""
SCALES = (1.0, 1 / 3, 3.0)
"""By which the controls multiply every latent that the network is given; the first is the right one."""
GUIDANCE_SCALE, STEPS = 1.5, 50
NEIGHBOURS = 1000
"""Training digits among which near-copies are looked for: the lesson shows none, and all of them take long."""


class Training(NamedTuple):
    """How long a network was trained."""

    steps: int
    """Training steps."""
    products: int
    """Multiplications, of a network in latents with those of its autoencoder."""
    seconds: float | None = None
    """Seconds; None where they were not written down."""
    threads: int | None = None
    """Threads of the processor."""

    @classmethod
    def of(cls, folder: Path, steps: int, products: int) -> Training:
        """Return a training of which a run's provenance says how long it took."""
        path = folder / "provenance.json"
        made = read_json(path) if path.is_file() else {}
        return cls(steps, products, made.get("seconds"), made.get("threads"))


class Arm(NamedTuple):
    """One network that is sampled."""

    network: nn.Module
    """It may work in latents."""
    schedule: NoiseSchedule
    """The process that it is sampled in."""
    training: Training
    """How long it was trained."""


@dataclass(frozen=True, eq=False)
class SampleQuality:
    """Quality of N samples of one network."""

    right: NDArray[np.bool_]
    """(N,) bool: which are classified as the requested digit."""
    frechet: float
    """Fréchet distance to real digits in the classifier's features; it depends on N."""
    excess: float
    """That distance less the distance of other real digits."""
    excess_half: float
    """Half the 95% interval of that difference."""
    kid: float
    """KID of the same features, times 1000."""
    kid_half: float
    """Half its 95% interval."""
    images: NDArray[np.float32]
    """(L, H, W) float32: the first sample of each label."""
    steps: int
    """Training steps of the network."""
    products: int
    """Multiplications of its training, of a network in latents with those of its autoencoder."""
    seconds: float | None
    """Seconds that its training took, of a latent network with its autoencoder's; None where they are not known."""
    threads: int | None
    """Threads of the processor that it took."""


@dataclass(frozen=True, eq=False)
class Quality:
    """Samples of the network in latents, of the network on pixels, and of one on pixels that was trained shortly."""

    latent: SampleQuality
    """In latents."""
    pixel: SampleQuality
    """On pixels."""
    short: SampleQuality | None
    """On pixels, trained about as long in seconds as the one in latents; None where there is none."""
    frechet_real: float
    """Fréchet distance of other real digits."""
    compared: int
    """Images in each set that is compared."""
    guidance_scale: float
    """Of classifier-free guidance."""
    sampler_steps: int
    """DDIM steps."""
    scales: NDArray[np.float64]
    """(K,) float64: by which every latent is multiplied that the network in latents is given; the first is 1."""
    scaled: tuple[SampleQuality, ...]
    """(K,) M samples with each of them, from the same noise: the control."""
    classifier_sha256: str
    """Of the classifier's weights."""


class WithScale(nn.Module):
    """A network that is given every x multiplied by a number."""

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.latent_space = latent_space_of(network)
        self.null_label = getattr(network, "null_label", NUM_LABELS)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return what the network predicts for the multiplied x."""
        predicted: Tensor = self.network(self.scale * x, timesteps, labels)
        return predicted


class _Judge:
    """Evaluates samples, all with the same classifier and real digits."""

    def __init__(self, training: Digits, heldout: Digits) -> None:
        self.training, self.heldout = training, heldout
        self.pool = Digits(training.images[:NEIGHBOURS], training.labels[:NEIGHBOURS])
        self.classifier, self.sha256 = DigitClassifier.bundled()

    def evaluate(self, images: Tensor, training: Training) -> tuple[SampleQuality, Evaluation]:
        """Return the quality of (N, 1, H, W) samples of the labels 0, 1, … in turn, and the whole evaluation."""
        labels = torch.arange(len(images)) % NUM_LABELS
        judge = self.classifier, self.sha256
        found = evaluate(images, labels, self.training, self.heldout, trained_on=self.pool, judge=judge)
        right, samples = (self.classifier.read(images) == labels).numpy(), found.samples
        distances = samples.frechet, found.excess, found.excess_half, samples.kid, samples.kid_half
        return SampleQuality(right, *distances, images[:NUM_LABELS, 0].numpy(), *training), found


def measure_quality(
    latent: Arm,
    pixel: Arm,
    short: Arm | None,
    training: Digits,
    heldout: Digits,
    counts: tuple[int, int],
    progress: Progress = silent,
) -> Quality:
    """Sample each network from the same seeds with the same labels, and evaluate the samples.

    Parameters
    ----------
    counts
        N, samples of each network; M, samples of each control with a wrong scale, at most N.
    """
    judge, (count, control_count) = _Judge(training, heldout), counts
    text = f"networks of which {count} samples are evaluated"
    own = sample(latent.network, latent.schedule, count)
    found, evaluation = judge.evaluate(own, latent.training)
    scaled = [judge.evaluate(own[:control_count], latent.training)[0]]
    for scale in SCALES[1:]:
        images = sample(WithScale(latent.network, scale), latent.schedule, control_count)
        scaled.append(judge.evaluate(images, latent.training)[0])
    others: list[SampleQuality | None] = []
    for index, arm in enumerate((pixel, short)):
        progress(1 + index, 3, text)
        found_of = None if arm is None else judge.evaluate(sample(arm.network, arm.schedule, count), arm.training)[0]
        others.append(found_of)
    assert others[0] is not None
    return Quality(
        found,
        others[0],
        others[1],
        frechet_real=evaluation.real.frechet,
        compared=evaluation.compared,
        guidance_scale=GUIDANCE_SCALE,
        sampler_steps=STEPS,
        scales=np.array(SCALES),
        scaled=tuple(scaled),
        classifier_sha256=judge.sha256,
    )


def sample(network: nn.Module, schedule: NoiseSchedule, count: int) -> Tensor:
    """Return (N, 1, H, W) samples of the labels 0, 1, … in turn, from the seeds 0 to N - 1, clipped to [-1, 1]."""
    parts = sample_images(
        network,
        schedule,
        torch.arange(count, device=device_of(network)) % NUM_LABELS,
        range(count),
        SamplerConfig("ddim", STEPS, guidance_scale=GUIDANCE_SCALE),
        null_label=getattr(network, "null_label", NUM_LABELS),
    )
    return torch.cat(list(parts)).clamp(-1, 1)
