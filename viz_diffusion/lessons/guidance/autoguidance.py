"""Autoguidance (Karras et al. 2024): guidance away from a worse version of the network instead of from no label.

Knows nothing about figures or texts.
"""

from __future__ import annotations

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
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share, paired_difference, surely
from viz_diffusion.evaluation.metrics import covered
from viz_diffusion.evaluation.statistics import sign_test
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.guidance.guidance_scales import NO_GUIDANCE, SEED, STEPS, STRONG, Guidance
from viz_diffusion.lessons.guidance.guidance_scales import SCALES as GUIDANCE_SCALES

Bools = NDArray[np.bool_]
SCALES = (1.5, 2.0, 3.0, 5.0)
"""s in ε_bad + s (ε_good - ε_bad); all of them are among the scales of classifier-free guidance."""
LEVEL = 0.05
"""A gain of accuracy is sure below this p only: few samples differ, and the end of the interval may lie near 0."""


@dataclass(frozen=True)
class AutoguidanceFacts:
    """What texts and JSON files say of autoguidance, for C scales."""

    auto_scales: tuple[float, ...]
    """(C,) guidance scales."""
    auto_count: int
    """Samples of each."""
    auto_guide_steps: int
    """Training steps of the guide, the worse network."""
    auto_accuracy: tuple[float, ...]
    """(C,) share of samples that are classified as the requested digit."""
    auto_accuracy_interval: tuple[tuple[float, float], ...]
    """(C, 2) its 95% interval."""
    auto_recall: tuple[float, ...]
    """(C,) share of real digits within reach of the samples."""
    auto_recall_interval: tuple[tuple[float, float], ...]
    """(C, 2) its 95% interval."""


@dataclass(frozen=True, eq=False)
class Autoguidance:
    """N samples with each of C scales, from the noise and with the labels of the samples of :class:`Guidance`."""

    scales: NDArray[np.float64]
    """(C,) float64, rising."""
    right: Bools
    """(C, N) bool: which are classified as the requested digit."""
    covered: Bools
    """(C, M) bool: which of M real digits lie within reach of the samples (recall)."""
    guide_steps: int
    """Training steps of the guide."""
    guide_sha256: str
    """Of its weights: results that ship belong to these too."""

    def facts(self) -> AutoguidanceFacts:
        """Return the numbers that captions and answers are filled with."""

        def shares(hits: Bools) -> list[Share]:
            return [Share(int(row.sum()), len(row)) for row in hits]

        right, reached = shares(self.right), shares(self.covered)
        return AutoguidanceFacts(
            auto_scales=tuple(self.scales.tolist()),
            auto_count=self.right.shape[1],
            auto_guide_steps=self.guide_steps,
            auto_accuracy=tuple(share.value for share in right),
            auto_accuracy_interval=tuple(share.interval for share in right),
            auto_recall=tuple(share.value for share in reached),
            auto_recall_interval=tuple(share.interval for share in reached),
        )

    def claims(self, guidance: Guidance) -> tuple[Claim, ...]:
        """Decide whether autoguidance raises the accuracy, and covers more than guidance of the same scale or accuracy.

        Equal scales are not equal strengths, so accuracy is given with the recall.

        ``guidance`` has the samples without guidance and with classifier-free guidance, of the same noise and labels.
        """
        if guidance.right is None or guidance.covered is None:
            return ()
        own = int(np.flatnonzero(self.scales == STRONG)[0])
        plain, other = guidance.arm(NO_GUIDANCE), guidance.arm(STRONG)
        ahead = paired_difference(self.covered[own], guidance.covered[other])
        more = paired_difference(self.right[own], guidance.right[other])
        kept = paired_difference(self.covered[own], guidance.covered[plain])
        numbers = _numbers(self.covered[own], guidance.covered[other], ahead)
        numbers |= {f"right_{name}": x for name, x in _numbers(self.right[own], guidance.right[other], more).items()}
        numbers |= {f"kept_{name}": x for name, x in _numbers(self.covered[own], guidance.covered[plain], kept).items()}
        return (
            _raises(self.right[own], guidance.right[plain]),
            Claim("auto_covers", surely(*ahead[1:]), numbers),
            _at_equal_accuracy(self.right[own], self.covered[own], guidance, guidance.right, guidance.covered),
        )


def _raises(own: Bools, plain: Bools) -> Claim:
    """Decide whether (N,) samples are surely more accurate, by the interval and by an exact test."""
    gain = paired_difference(own, plain)
    only_one, only_other = int((own & ~plain).sum()), int((plain & ~own).sum())
    p = sign_test(only_one, only_other)
    numbers = {**_numbers(own, plain, gain), "only_one": only_one, "only_other": only_other, "p": p, "level": LEVEL}
    return Claim("auto_obeys", surely(*gain[1:]) if p < LEVEL else None, numbers)


def _at_equal_accuracy(own: Bools, reached: Bools, guidance: Guidance, right: Bools, covered: Bools) -> Claim:
    """Decide whether samples are as accurate as those of some guidance scale, and surely cover more real digits.

    It is the other way round where some scale is as accurate as they are and surely covers more. The numbers are
    those of the scale whose accuracy is nearest. ``own`` and ``reached`` are (N,) and (M,) of the samples.
    """
    answers: set[bool] = set()
    arms = [int(arm) for arm in np.flatnonzero(guidance.scales > NO_GUIDANCE) if arm < len(GUIDANCE_SCALES)]
    for arm in arms:
        more = surely(*paired_difference(reached, covered[arm])[1:])
        if more and own.mean() >= right[arm].mean():
            answers.add(True)
        if more is False and own.mean() <= right[arm].mean():
            answers.add(False)
    near = min(arms, key=lambda arm: abs(float(right[arm].mean() - own.mean())))
    numbers = {
        "own_right": float(own.mean()),
        "own_reach": float(reached.mean()),
        "near": float(guidance.scales[near]),
        "near_right": float(right[near].mean()),
        "near_reach": float(covered[near].mean()),
    }
    return Claim("auto_equal", answers.pop() if len(answers) == 1 else None, numbers)


def _numbers(one: Bools, other: Bools, difference: tuple[float, float, float]) -> dict[str, float]:
    change, low, high = difference
    return {"one": float(one.mean()), "other": float(other.mean()), "change": change, "low": low, "high": high}


class Autoguided(nn.Module):
    """A denoiser whose prediction is ε_bad + s (ε_good - ε_bad), both networks given the label.

    Parameters
    ----------
    good, bad
        Denoisers that predict noise under one schedule.
    scale
        s; 1 is the good network alone.
    """

    def __init__(self, good: nn.Module, bad: nn.Module, scale: float) -> None:
        super().__init__()
        self.good, self.bad, self.scale = good, bad, scale
        self.null_label = int(getattr(good, "null_label", NUM_LABELS))

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the (N, C, H, W) guided prediction."""
        bad = self.bad(x, timesteps, labels)
        guided: Tensor = bad + self.scale * (self.good(x, timesteps, labels) - bad)
        return guided


@torch.no_grad()
def measure_autoguidance(
    denoiser: nn.Module,
    guide: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    count: int,
    made_by: tuple[int, str],
    steps: int = STEPS,
    progress: Progress = silent,
) -> Autoguidance:
    """Sample the noise and labels of :func:`measure_guidance` with every scale, by DDIM.

    Parameters
    ----------
    guide
        A worse denoiser of the same schedule and labels.
    count
        N; sample k has the label k mod 10.
    made_by
        Training steps of the guide, and the SHA-256 of its weights.
    """
    labels, classifier = torch.arange(count) % NUM_LABELS, DigitClassifier.bundled()[0]
    real = classifier.penultimate_features(heldout.first_of_each(count).images)
    steps = min(steps, schedule.num_train_timesteps)
    right, reached = [], []
    for done, scale in enumerate(SCALES):
        progress(done, len(SCALES), f"autoguidance {scale:g}")
        guided = Autoguided(denoiser, guide, scale)
        config, seeds = SamplerConfig("ddim", steps), range(SEED, SEED + count)
        given = labels.to(device_of(denoiser))
        parts = list(sample_images(guided, schedule, given, seeds, config, null_label=guided.null_label))
        images = torch.cat(parts).clamp(-1, 1)
        right.append((classifier.read(images) == labels).numpy())
        reached.append(covered(real, classifier.penultimate_features(images)))
    return Autoguidance(np.array(SCALES), np.stack(right), np.stack(reached), *made_by)
