"""Losses and samples with wrong timesteps, and how well t can be estimated from the border of the image.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.prediction import device_of, predict_noise
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import classifier_accuracy
from viz_diffusion.evaluation.intervals import Z_95, Share, all_surely, half_of_mean, share_difference, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.clock.border_estimate import BORDER_COUNT, BORDER_TIMESTEPS, estimate_from_border
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
ARMS = ("right", "frozen", "reversed", "shuffled")
SAMPLERS = ("ddim", "ddpm")
STEPS = 50
SEED = 160_000
"""Seed of the first sample; all arms share their noise."""
SIZES = ((200, 20), (2000, 200))
"""Held-out digits for the loss, and samples for each arm and sampler; quick and full."""
KEPT = 10
"""Samples of each arm and sampler that are drawn."""
READABLE = 0.1
"""The border counts as telling t where the error of the estimate is below this share of T."""
NEAR = 0.1
"""An accuracy counts as equal to another where it is less than this below it."""


class WrongTimestep(nn.Module):
    """A denoiser that gets the timestep ``given[t]`` in the place of a sampler's t.

    ``interventions`` says so in every recording.
    """

    def __init__(self, denoiser: nn.Module, given: NDArray[np.int64], name: str) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.null_label = getattr(denoiser, "null_label", NUM_LABELS)
        self.interventions = f"clock {name}"
        self.register_buffer("given", torch.from_numpy(np.ascontiguousarray(given)).to(device_of(denoiser)))

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the denoiser's ε̂ at the timesteps it is given."""
        assert isinstance(self.given, Tensor)
        return self.denoiser(x, self.given[timesteps], labels)


def given_timesteps(T: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Return, by arm, the (T,) timesteps in the place of every t: t itself, T/2, T-1-t, and a permutation."""
    t = np.arange(T)
    return {
        "right": t,
        "frozen": np.full(T, T // 2),
        "reversed": t[::-1],
        "shuffled": np.random.default_rng([seed, 16]).permutation(T),
    }


@dataclass(frozen=True)
class WrongTimestepFacts:
    """What texts and JSON files say of wrong timesteps, and of t estimated from the border at K timesteps."""

    clock_count: int
    """Held-out digits for the losses."""
    clock_loss: dict[str, float]
    """Mean squared error of ε̂ per pixel, by arm."""
    clock_gap: tuple[float, ...]
    """(3,) by how much it is above that of the right timestep, for each wrong arm."""
    clock_gap_interval: tuple[float, ...]
    """(3,) half its 95% interval."""
    clock_samples: int
    """Samples of each arm and sampler."""
    clock_steps: int
    """Denoising steps of each sample."""
    clock_constant: int
    """Samples that a classifier that always says the same gets right."""
    clock_read: dict[str, dict[str, int]] | None
    """Samples that are classified as the requested digit, by sampler and arm; None where the data are not MNIST."""
    constant_pixels: int
    """Pixels that are black in every training image."""
    border_pictures: int
    """Images whose t is estimated, at each timestep."""
    border_timesteps: tuple[int, ...]
    """(K,) rising."""
    border_error: tuple[float, ...]
    """(K,) RMS error of the estimated t."""
    border_bound: tuple[float, ...]
    """(K,) smallest standard deviation of an unbiased estimate (Cramér-Rao)."""


@dataclass(frozen=True, eq=False)
class WrongTimesteps:
    """Losses and samples with wrong timesteps, and t estimated from the border."""

    loss: Float64
    """(A, N) float64: mean squared error of ε̂ on N held-out digits for each of :data:`ARMS`."""
    images: NDArray[np.float32]
    """(S, A, K, H, W) float32: the first samples of each of :data:`SAMPLERS` and each arm, labels 0 .. 9 in turn."""
    samples: int
    """M, samples of each."""
    read: NDArray[np.int64] | None
    """(S, A) int64: how many of them are classified as the requested digit; None where the data are not MNIST."""
    constant_pixels: int
    """How many pixels are black in every training image."""
    timesteps: NDArray[np.int64]
    """(K,) int64: where t was estimated from them."""
    time_error: Float64
    """(K,) float64: RMS error of the most likely t."""
    bound: Float64
    """(T,) float64: at every t, the smallest standard deviation of an unbiased estimate (Cramér-Rao)."""
    num_train_timesteps: int
    """T."""

    def facts(self) -> WrongTimestepFacts:
        """Return the numbers, by arm and by timestep."""
        gaps = [values - self.loss[0] for values in self.loss[1:]]
        return WrongTimestepFacts(
            clock_count=int(self.loss.shape[1]),
            clock_loss={arm: float(values.mean()) for arm, values in zip(ARMS, self.loss, strict=True)},
            clock_gap=tuple(float(gap.mean()) for gap in gaps),
            clock_gap_interval=tuple(float(half_of_mean(gap)) for gap in gaps),
            clock_samples=self.samples,
            clock_steps=STEPS,
            clock_constant=round(self.samples / NUM_LABELS),
            clock_read=None
            if self.read is None
            else {
                sampler: dict(zip(ARMS, map(int, row), strict=True))
                for sampler, row in zip(SAMPLERS, self.read, strict=True)
            },
            constant_pixels=self.constant_pixels,
            border_pictures=BORDER_COUNT,
            border_timesteps=tuple(self.timesteps.tolist()),
            border_error=tuple(self.time_error.tolist()),
            border_bound=tuple(self.bound[self.timesteps].tolist()),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether wrong timesteps raise the loss and ruin the samples, and whether the border tells t."""
        found = self.facts()
        gaps = zip(found.clock_gap, found.clock_gap_interval, strict=True)
        loss = found.clock_loss
        mildest = min(ARMS[1:], key=loss.__getitem__)
        answers = [
            Claim(
                "wrong_costs",
                all_surely(surely(gap - half, gap + half) for gap, half in gaps),
                {"right": loss["right"], "mildest": loss[mildest], "times": loss[mildest] / loss["right"]},
            )
        ]
        if self.read is not None:
            answers.append(self._ruins(self.read))
        return (*answers, self._border_tells())

    def _ruins(self, read: NDArray[np.int64]) -> Claim:
        """Decide whether each wrong arm's samples are worse with every sampler; not so where one is surely near."""
        shares = [[Share(int(hits), self.samples) for hits in row] for row in read]
        lost = [share_difference(right, wrong) for right, *others in shares for wrong in others]
        worse = all_surely(True if low > 0 else False if high < NEAR else None for low, high in lost)
        best = max((wrong for _, *others in shares for wrong in others), key=lambda share: share.hits)
        right = min((row[0] for row in shares), key=lambda share: share.hits)
        numbers = {
            f"{name}_{part}": value
            for name, share in (("right", right), ("wrong", best))
            for part, value in zip(("hits", "low", "high"), (share.hits, *share.interval), strict=True)
        }
        return Claim("wrong_ruins", worse, numbers | {"near": NEAR})

    def _border_tells(self) -> Claim:
        """Decide whether t is estimated to :data:`READABLE` up to half of the schedule; 95% intervals of RMS errors."""
        readable = self.timesteps <= self.num_train_timesteps // 2
        half = Z_95 / np.sqrt(2 * BORDER_COUNT)  # of itself, for errors that are nearly normal
        limit, error = READABLE * self.num_train_timesteps, self.time_error[readable]
        near = all_surely(
            True if one * (1 + half) < limit else False if one * (1 - half) >= limit else None for one in error.tolist()
        )
        last = int(np.flatnonzero(readable)[-1])
        off = float(self.time_error[last])
        numbers = {
            "readable": READABLE,
            "at": int(self.timesteps[last]),
            "off": off,
            "least": float(self.bound[self.timesteps[last]]),
            "half": half * off,
        }
        return Claim("border_tells", near if self.constant_pixels else False, numbers)


def measure_wrong_timesteps(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    is_mnist: bool = True,
    seed: int = 0,
    sizes: tuple[int, int] = SIZES[0],
    progress: Progress = silent,
) -> WrongTimesteps:
    """Give a trained denoiser wrong timesteps, with everything else as it was: noise, labels, coefficients.

    Parameters
    ----------
    is_mnist
        Whether samples are classified by the MNIST classifier.
    sizes
        (N, M): held-out digits for the loss, and samples for each arm and sampler.
    """
    T = schedule.num_train_timesteps
    count, samples = sizes
    arms = {name: WrongTimestep(denoiser, given, name) for name, given in given_timesteps(T, seed).items()}
    loss = prediction_losses(tuple(arms.values()), schedule, heldout, count, seed)
    images: list[NDArray[np.float32]] = []
    hits: list[int] = []
    for sampler in SAMPLERS:
        for number, arm in enumerate(arms.values()):
            progress(len(images), len(SAMPLERS) * len(arms), f"{sampler}, clock {ARMS[number]}")
            made, read = sample_arm(arm, schedule, sampler, samples, is_mnist)
            images.append(made)
            hits.append(read)
    black = int((training.images == -1).flatten(1).all(dim=0).sum())
    timesteps = np.unique(np.round(np.array(BORDER_TIMESTEPS) * (T - 1) / 999).astype(np.int64))
    error, bound = estimate_from_border(schedule, black, timesteps, BORDER_COUNT, seed)
    shape = (len(SAMPLERS), len(ARMS))
    drawn = np.stack(images).reshape(*shape, *images[0].shape)
    right = np.array(hits).reshape(shape) if is_mnist else None
    return WrongTimesteps(loss, drawn, samples, right, black, timesteps, error, bound, T)


def sample_arm(
    arm: nn.Module, schedule: NoiseSchedule, sampler: str, samples: int, is_mnist: bool
) -> tuple[NDArray[np.float32], int]:
    """Sample the labels 0 .. 9 in turn, from noise that all arms share.

    Returns
    -------
    The first (K, H, W) samples, and how many of all are classified as the requested digit; 0 where the data are not
    MNIST.
    """
    labels = torch.arange(samples) % NUM_LABELS
    parts = sample_images(
        arm,
        schedule,
        labels.to(device_of(arm)),
        range(SEED, SEED + samples),
        SamplerConfig(sampler, min(STEPS, schedule.num_train_timesteps)),
        null_label=getattr(arm, "null_label", NUM_LABELS),
    )
    images = torch.cat(list(parts))
    return images[:KEPT, 0].numpy(), classifier_accuracy(images, labels)[0].hits if is_mnist else 0


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
