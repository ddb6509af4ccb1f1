"""The same noise and labels sampled with several guidance scales, and with guidance in a window of t only.

Classifier-free guidance (Ho & Salimans 2022); guidance in a limited interval (Kynkäänniemi et al. 2024). Knows nothing
about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.interventions import WithInterventions, guide_within
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import half_of_mean
from viz_diffusion.evaluation.metrics import covered
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
"""s in ε_∅ + s (ε_y - ε_∅)."""
NO_GUIDANCE, STRONG, STRONGEST = 1.0, 3.0, 8.0
"""No guidance, the scale that the claims compare with it, and the largest."""
WINDOW = (435, 665)
"""Of T = 1000: the timesteps at which the ideal denoiser of MNIST, without a label, chooses the digit."""
STEPS = 20
"""DDIM steps of each sample."""
SEED = 130_000
"""Seed of the first sample; all scales share their noise."""
SIZES = (140, 500)
"""Samples of each scale, quick and full."""
KEPT = 4
"""Samples of one digit that are drawn, of each scale."""
WHITE = 0.95
"""A pixel counts as saturated from here on; 1 is white."""


@dataclass(frozen=True, eq=False)
class Guidance:
    """N samples of each of A arms: the scales of :data:`SCALES`, and after them the windows."""

    scales: Float64
    """(A,) float64: s of each arm."""
    windows: NDArray[np.int64]
    """(W, 2) int64: first and last t of the guidance of the last W arms: the ideal denoiser's window, and as many steps
    just before it and just after it (W = 3); W = 0 where the data are not MNIST."""
    right: NDArray[np.bool_] | None
    """(A, N) bool: which are classified as the requested digit; None where the data are not MNIST."""
    covered: NDArray[np.bool_] | None
    """(A, M) bool: which of M real digits lie within reach of the samples, in features of the classifier (recall)."""
    covered_real: NDArray[np.bool_] | None
    """(M,) bool: the same of N other real digits: the recall that so many can have."""
    spread: Float64
    """(A, N) float64: squared distance of each sample from the mean of its digit, per pixel; their mean over the
    samples is the variance within a digit."""
    spread_real: float
    """That variance among real digits."""
    white: Float64
    """(A, N) float64: share of saturated pixels."""
    white_real: float
    """Its mean over real digits, every label counting alike, as among the samples."""
    white_real_error: float
    """The standard error of that mean."""
    images: NDArray[np.float32]
    """(A, K, H, W) float32: the first samples of one digit."""
    digit: int
    """Its label."""
    steps: int
    """DDIM steps of each sample."""

    def arm(self, scale: float) -> int:
        """Return the arm with ``scale`` at every t."""
        return int(np.flatnonzero(self.scales == scale)[0])

    @property
    def count(self) -> int:
        """N."""
        return int(self.white.shape[1])

    def relative_variance(self) -> tuple[Float64, Float64]:
        """Return (A,) the variance within a digit, that of real digits being 1, and half its 95% interval."""
        spread = self.spread / self.spread_real
        return spread.mean(axis=1), np.asarray(half_of_mean(spread))


@torch.no_grad()
def measure_guidance(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    is_mnist: bool = True,
    digit: int = 5,
    count: int = SIZES[0],
    steps: int = STEPS,
    progress: Progress = silent,
) -> Guidance:
    """Sample the same noise under the same labels with every scale, by DDIM.

    Parameters
    ----------
    is_mnist
        Whether there are a classifier and a window for the data.
    digit
        Label of the samples that are drawn.
    count
        N; sample k has the label k mod 10.
    """
    T = schedule.num_train_timesteps
    null_label = int(getattr(denoiser, "null_label", NUM_LABELS))
    requested = torch.arange(count) % NUM_LABELS
    windows = windows_of(T, min(steps, T)) if is_mnist else np.empty((0, 2), dtype=np.int64)
    arms: list[tuple[nn.Module, float]] = [(denoiser, scale) for scale in SCALES]
    for first, last in windows.tolist():
        arms.append((WithInterventions(denoiser, guide_within(first, last, null_label)), STRONG))
    made = []
    for done, (arm, scale) in enumerate(arms):
        progress(done, len(arms), f"guidance {scale:g}" + (" in a window" if done >= len(SCALES) else ""))
        # without any guidance, or with the null label alone, half of the doubled batch would be for nothing
        labels, used = (torch.full_like(requested, null_label), 1.0) if scale == 0 else (requested, scale)
        parts = sample_images(
            arm,
            schedule,
            labels.to(device_of(denoiser)),
            range(SEED, SEED + count),
            SamplerConfig("ddim", min(steps, T), guidance_scale=used),
            null_label=null_label,
        )
        made.append(torch.cat(list(parts)).clamp(-1, 1))
    reference, other = heldout.first_of_each(count), training.first_of_each(count)
    right, reached, reached_real = None, None, None
    if is_mnist:
        classifier, _ = DigitClassifier.bundled()
        right = np.stack([(classifier.read(images) == requested).numpy() for images in made])
        real, *sets = (classifier.penultimate_features(images) for images in (reference.images, other.images, *made))
        real_again, *rest = (covered(real, features) for features in sets)
        reached, reached_real = np.stack(rest), real_again
    white_real, white_real_error = _white_real(heldout)
    return Guidance(
        scales=np.array([scale for _, scale in arms]),
        windows=windows,
        right=right,
        covered=reached,
        covered_real=reached_real,
        spread=np.stack([spread_within(images, requested) for images in made]),
        spread_real=float(spread_within(heldout.images, heldout.labels).mean()),
        white=np.stack([_white(images) for images in made]),
        white_real=white_real,
        white_real_error=white_real_error,
        images=torch.stack(made)[:, requested == digit, 0][:, :KEPT].numpy(),
        digit=digit,
        steps=min(steps, T),
    )


def windows_of(T: int, steps: int) -> NDArray[np.int64]:
    """Return (3, 2) the window of the ideal denoiser, and as many visited steps just before it and just after it."""
    first, last = WINDOW[0] * T // 1000, WINDOW[1] * T // 1000
    visited = spaced_timesteps(T, steps)
    before, after = visited[visited > last], visited[visited < first]
    inside = len(visited) - len(before) - len(after)
    before, after = before[max(0, len(before) - inside) :], after[:inside]
    # where few steps are visited there may be none: t = T and t = -1 are never visited
    others = [(part[-1], part[0]) if len(part) else (none, none) for part, none in ((before, T), (after, -1))]
    return np.array([(first, last), *others], dtype=np.int64)


def _white(images: Tensor) -> Float64:
    return np.asarray((images >= WHITE).flatten(1).double().mean(dim=1).numpy())


def _white_real(digits: Digits) -> tuple[float, float]:
    """Return the mean share of saturated pixels of real digits, all labels counting alike, and its standard error."""
    white = _white(digits.images)
    kinds = [white[(digits.labels == k).numpy()] for k in torch.unique(digits.labels)]
    variances = [kind.var(ddof=1) / len(kind) if len(kind) > 1 else 0.0 for kind in kinds]
    return float(np.mean([kind.mean() for kind in kinds])), float(np.sqrt(sum(variances)) / len(kinds))


def spread_within(images: Tensor, labels: Tensor) -> Float64:
    """Return (N,) squared distances per pixel from the mean of all images with the same label, times n/(n-1).

    n is how many these are, at least 2: the mean over them is the unbiased variance of a pixel within the label, mean
    over the pixels.
    """
    flat, found = images.flatten(1).double(), np.empty(len(images))
    for k in torch.unique(labels):
        here = labels == k
        n = max(2, int(here.sum()))
        found[here.numpy()] = ((flat[here] - flat[here].mean(dim=0)).square().mean(dim=1) * n / (n - 1)).numpy()
    return found
