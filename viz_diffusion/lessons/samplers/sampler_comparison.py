"""Four samplers with several numbers of denoising steps from the same noise, compared with all steps of DDPM.

Knows nothing about figures or texts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.latent_space import pictures_of
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Step
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import FLOOR_DRAWS, draw_with_labels
from viz_diffusion.evaluation.metrics import frechet_distance
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.lessons.context import TRACED_SEED, Progress, silent
from viz_diffusion.lessons.samplers.path_geometry import PathGeometry, measure_paths
from viz_diffusion.recording.trajectory import Trajectory

Float64 = NDArray[np.float64]
ARMS = (("ddpm", "beta"), ("ddpm", "beta_tilde"), ("ddim", "beta"), ("dpm-solver++", "beta"))
"""Sampler and the variance of what it injects; only DDPM's matters."""
NAMES = ("DDPM β", "DDPM β̃", "DDIM", "2M")
DDIM, SOLVER = 2, 3
"""Their places in :data:`ARMS`: both follow the probability-flow equation, and end in the same image if exact."""
STEPS = (2, 5, 10, 20, 50, 100)
COUNTS = (64, 256)
"""Samples of each, quick and full."""
ENOUGH = 0.9
"""Few steps are enough where the accuracy is no less than this share of that of all steps."""


@dataclass(frozen=True, eq=False)
class Samplers:
    """N samples of each of :data:`ARMS` with each of K numbers of steps, and of DDPM with all steps."""

    steps: NDArray[np.int64]
    """(K,) int64, rising."""
    all_steps: int
    """Steps of the reference."""
    right: NDArray[np.bool_] | None
    """(4, K, N) bool: which are classified as the requested digit; None where the data are not MNIST."""
    right_all: NDArray[np.bool_] | None
    """(N,) bool: the same of the reference."""
    frechet: Float64 | None
    """(4, K) float64: Fréchet distance to N real digits in the classifier's features; None where N is too small."""
    frechet_all: float | None
    """The same of the reference."""
    frechet_real: float | None
    """The same of N other real digits: a distance below it is no better than real, for it varies with the draw too."""
    classifier_sha256: str
    """Of the classifier whose features those are."""
    apart: Float64
    """(2, K, N) float64: RMS distance of DDIM's and the solver's images from the solver's with the most steps."""
    seconds: Float64
    """(K,) float64: of one image, with the quickest sampler, on the machine that measured."""
    images: NDArray[np.float32]
    """(4, K, H, W) float32: one sample of each."""
    image_all: NDArray[np.float32]
    """(H, W) float32: the reference from the same noise."""
    digit: int
    """Its label."""
    paths: PathGeometry
    """The paths from noise to image."""

    @property
    def count(self) -> int:
        """N."""
        return int(self.apart.shape[2])

    def first_enough(self, arm: int) -> int | None:
        """Return the fewest steps from which on the accuracy is :data:`ENOUGH` of the reference's; None without."""
        if self.right is None or self.right_all is None:
            return None
        enough = self.right[arm].mean(axis=1) >= ENOUGH * self.right_all.mean()
        lasting = np.logical_and.accumulate(enough[::-1])[::-1]
        return int(self.steps[lasting.argmax()]) if lasting.any() else None


def measure_samplers(
    denoiser: nn.Module,
    traces: Trajectory,
    heldout: Digits,
    training: Digits,
    is_mnist: bool = True,
    digit: int = 5,
    count: int = COUNTS[0],
    steps: tuple[int, ...] = STEPS,
    full: bool = False,
    progress: Progress = silent,
) -> Samplers:
    """Sample with few steps from the noise of the traces, and compare with their finished images.

    Parameters
    ----------
    traces
        DDPM with all steps, M images; where ``count`` is larger, more are sampled in the same way.
    full
        Whether there are enough samples for a Fréchet distance.
    """
    schedule, T = traces.schedule, traces.schedule.num_train_timesteps
    labels = torch.arange(count) % NUM_LABELS
    kept_steps = [n for n in steps if n <= T]
    total = len(ARMS) * len(kept_steps)
    made: list[list[Tensor]] = [[] for _ in ARMS]
    seconds = np.zeros((len(ARMS), len(kept_steps)))
    path = _PathKeeper(min(len(traces.labels), count))
    for k, n in enumerate(kept_steps):
        for arm, (sampler, variance) in enumerate(ARMS):
            progress(k * len(ARMS) + arm, total, f"{NAMES[arm]}, {n} steps")
            listen = path if arm == DDIM and n == kept_steps[-1] else None
            begun = time.perf_counter()
            made[arm].append(_sample(denoiser, schedule, labels, sampler, variance, n, listen))
            seconds[arm, k] = (time.perf_counter() - begun) / count
    reference = _reference(denoiser, traces, labels, progress)
    pictures = torch.stack([torch.stack(row) for row in made])
    limit = pictures[SOLVER, -1]
    apart = pixel_rms((pictures[[DDIM, SOLVER]] - limit).numpy())
    ddim = path.states()
    compared = np.round(np.linspace(0, traces.num_steps, ddim.shape[1])).astype(np.int64)
    states = np.concatenate([traces.x_t[: len(ddim)], traces.x0[: len(ddim), None]], axis=1)[:, compared]
    shown = int(torch.nonzero(labels == digit)[0]) if bool((labels == digit).any()) else 0
    judged = _judge(pictures, reference, labels, heldout, training, full) if is_mnist else _Judgement()
    return Samplers(
        steps=np.array(kept_steps),
        all_steps=traces.num_steps,
        right=judged.right,
        right_all=judged.right_all,
        frechet=judged.frechet,
        frechet_all=judged.frechet_all,
        frechet_real=judged.frechet_real,
        classifier_sha256=judged.digest,
        apart=apart,
        seconds=seconds.min(axis=0),
        images=pictures[:, :, shown, 0].numpy(),
        image_all=reference[shown, 0].numpy(),
        digit=int(labels[shown]),
        paths=_paths(denoiser, ddim, states),
    )


def _paths(denoiser: nn.Module, ddim: NDArray[np.float32], ddpm: NDArray[np.float32]) -> PathGeometry:
    """Return the geometry of (M, S+1, C, H, W) states, of latents too; the finished images are drawn as pictures."""
    found = measure_paths(ddim, ddpm)
    ends = [pictures_of(denoiser, torch.from_numpy(latents)) for latents in found.ends]
    return replace(found, ends=torch.stack(ends)[:, :, 0].numpy())


class _PathKeeper:
    """Keeps the paths of the first images while many are sampled."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._batches: list[list[Tensor]] = []
        self._last = -1

    def __call__(self, step: Step) -> None:
        if self._last <= step.t:  # a new batch begins at the largest t
            self._batches.append([step.x_t.cpu()])
        self._last = step.t
        if sum(len(batch[0]) for batch in self._batches[:-1]) < self._count:
            self._batches[-1].append(step.x_prev.cpu())

    def states(self) -> NDArray[np.float32]:
        """Return (M, S+1, C, H, W) the states of the first M images, from noise to picture."""
        whole = [torch.stack(batch, dim=1) for batch in self._batches if len(batch) > 1]
        return torch.cat(whole)[: self._count].numpy()


def _sample(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    labels: Tensor,
    sampler: str,
    variance: str,
    steps: int,
    listen: _PathKeeper | None = None,
    first: int = 0,
) -> Tensor:
    """Return (N, 1, H, W) samples; image k has the noise of the k-th trace."""
    seeds = range(TRACED_SEED + first, TRACED_SEED + first + len(labels))
    parts = sample_images(
        denoiser,
        schedule,
        labels.to(device_of(denoiser)),
        seeds,
        SamplerConfig(sampler, steps, variance=variance),
        null_label=getattr(denoiser, "null_label", NUM_LABELS),
        on_step=listen,
    )
    return torch.cat(list(parts))


def _reference(denoiser: nn.Module, traces: Trajectory, labels: Tensor, progress: Progress) -> Tensor:
    """Return (N, 1, H, W): the finished images of the traces, and as many more like them as are needed."""
    known = pictures_of(denoiser, torch.from_numpy(traces.x0)[: len(labels)])
    parts = [known]
    for start in range(len(known), len(labels), 20):
        progress(start, len(labels), f"DDPM, {traces.num_steps} steps")
        part = labels[start : start + 20]
        parts.append(_sample(denoiser, traces.schedule, part, *ARMS[0], traces.num_steps, first=start))
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class _Judgement:
    """How all samples are classified, and their distance to real digits."""

    right: NDArray[np.bool_] | None = None
    """As of :class:`Samplers`."""
    right_all: NDArray[np.bool_] | None = None
    """As of :class:`Samplers`."""
    frechet: Float64 | None = None
    """As of :class:`Samplers`."""
    frechet_all: float | None = None
    """As of :class:`Samplers`."""
    frechet_real: float | None = None
    """As of :class:`Samplers`."""
    digest: str = ""
    """SHA-256 of the classifier's weights; empty without one."""


@torch.no_grad()
def _judge(
    pictures: Tensor, reference: Tensor, labels: Tensor, heldout: Digits, training: Digits, full: bool
) -> _Judgement:
    """Classify (4, K, N, 1, H, W) samples and the reference, and with ``full`` measure their Fréchet distances."""
    classifier, digest = DigitClassifier.bundled()
    arms, numbers = pictures.shape[:2]
    right = torch.stack([classifier.read(images) == labels for images in pictures.flatten(0, 1)])
    right_all = (classifier.read(reference) == labels).numpy()
    shaped = right.reshape(arms, numbers, -1).numpy()
    if not full:
        return _Judgement(shaped, right_all, digest=digest)
    generator = torch.Generator().manual_seed(1400)
    compared = heldout.images[torch.randperm(len(heldout), generator=generator)[: len(labels)]]
    floor = [draw_with_labels(training, labels, generator) for _ in range(FLOOR_DRAWS)]
    real, *others = (
        classifier.penultimate_features(images) for images in (compared, *floor, reference, *pictures.flatten(0, 1))
    )
    found = np.array([frechet_distance(features, real) for features in others])
    far = found[FLOOR_DRAWS + 1 :].reshape(arms, numbers)
    return _Judgement(shaped, right_all, far, float(found[FLOOR_DRAWS]), float(found[:FLOOR_DRAWS].mean()), digest)
