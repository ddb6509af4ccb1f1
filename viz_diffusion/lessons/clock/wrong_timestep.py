"""A network that is told the wrong time, and how well the time can be read off the picture itself.

Part of the lesson on the clock; asks any denoiser, knows nothing about figures' words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
ARMS = ("right", "frozen", "reversed", "shuffled")
SAMPLERS = ("ddim", "ddpm")
STEPS = 50
SEED = 160_000
"""Of the first sample; all arms share their noise."""
SIZES = ((200, 20), (2000, 200))
"""Held-out digits for the loss, and samples for each arm and sampler; quick and full."""
KEPT = 10
"""Samples of each that are kept to be drawn."""
BORDER_TIMESTEPS = (9, 99, 249, 499, 699)
"""Where the time is read off the border, for T = 1000."""
BORDER_COUNT = 400
READABLE = 0.1
"""The time counts as readable where its error is below this share of T."""
NEAR = 0.1
"""A share of samples that are read as asked counts as as good as another where it is less than this below it."""


class WrongTimestep(nn.Module):
    """A denoiser that is told ``told[t]`` where a sampler says t.

    ``interventions`` says so in every recording.
    """

    def __init__(self, denoiser: nn.Module, told: NDArray[np.int64], name: str) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.null_label = getattr(denoiser, "null_label", NUM_LABELS)
        self.interventions = f"clock {name}"
        self.register_buffer("told", torch.from_numpy(np.ascontiguousarray(told)).to(device_of(denoiser)))

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the denoiser's ε̂ at the time it is told."""
        assert isinstance(self.told, Tensor)
        return self.denoiser(x, self.told[timesteps], labels)


def clocks(T: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Return (T,) what each arm tells for every t: t itself, T/2, T-1-t, and a permutation of all."""
    t = np.arange(T)
    return {
        "right": t,
        "frozen": np.full(T, T // 2),
        "reversed": t[::-1],
        "shuffled": np.random.default_rng([seed, 16]).permutation(T),
    }


@dataclass(frozen=True, eq=False)
class WrongTimesteps:
    """What becomes of losses and samples where the time is told wrong, and the border's own clock."""

    loss: Float64
    """(A, N) float64: mean squared error of ε̂ on N held-out digits for each of :data:`ARMS`."""
    images: NDArray[np.float32]
    """(S, A, K, H, W) float32: the first samples of each of :data:`SAMPLERS` and each arm, asked for 0 .. 9 in turn."""
    samples: int
    """M, how many were made of each."""
    read: NDArray[np.int64] | None
    """(S, A) int64: how many of them the classifier reads as asked; None where the data are not MNIST."""
    constant_pixels: int
    """How many pixels are black in every training image."""
    timesteps: NDArray[np.int64]
    """(K,) int64: where the time was read off them."""
    time_error: Float64
    """(K,) float64: RMS error of the most likely t."""
    bound: Float64
    """(T,) float64: at every t, the smallest standard deviation an unbiased reading can have (Cramér-Rao)."""
    num_train_timesteps: int
    """T."""

    def facts(self) -> dict[str, Any]:
        """Return the numbers, by arm and by timestep."""
        right = self.loss[0]
        count = self.loss.shape[1]
        gaps = [(self.loss[a] - right) for a in range(1, len(ARMS))]
        return {
            "clock_count": int(count),
            "clock_loss": {arm: float(values.mean()) for arm, values in zip(ARMS, self.loss, strict=True)},
            "clock_gap": [float(gap.mean()) for gap in gaps],
            "clock_gap_interval": [float(half_of_mean(gap)) for gap in gaps],
            "clock_samples": self.samples,
            "clock_steps": STEPS,
            "clock_constant": round(self.samples / NUM_LABELS),
            "clock_read": None
            if self.read is None
            else {
                sampler: dict(zip(ARMS, map(int, row), strict=True))
                for sampler, row in zip(SAMPLERS, self.read, strict=True)
            },
            "constant_pixels": self.constant_pixels,
            "border_pictures": BORDER_COUNT,
            "border_timesteps": [int(t) for t in self.timesteps],
            "border_error": [float(e) for e in self.time_error],
            "border_bound": [float(b) for b in self.bound[self.timesteps]],
        }

    def claims(self) -> tuple[Claim, ...]:
        """Say whether a wrong clock costs loss and readable digits, and whether the border gives t away."""
        found = self.facts()
        gaps = zip(found["clock_gap"], found["clock_gap_interval"], strict=True)
        loss = found["clock_loss"]
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
        """Say whether in every sampler each wrong clock's samples are read worse; not so where one is surely near."""
        shares = [[Share(int(hits), self.samples) for hits in row] for row in read]
        lost = [share_difference(right, wrong) for right, *others in shares for wrong in others]
        worse = all_surely(True if low > 0 else False if high < NEAR else None for low, high in lost)
        best = max((wrong for _, *others in shares for wrong in others), key=lambda share: share.hits)
        right = min((row[0] for row in shares), key=lambda share: share.hits)
        facts = {
            f"{name}_{part}": value
            for name, share in (("right", right), ("wrong", best))
            for part, value in zip(("hits", "low", "high"), (share.hits, *share.interval), strict=True)
        }
        return Claim("wrong_ruins", worse, facts | {"near": NEAR})

    def _border_tells(self) -> Claim:
        """Say whether t is read to within :data:`READABLE` up to half of the schedule; 95% intervals of RMS errors."""
        readable = self.timesteps <= self.num_train_timesteps // 2
        half = Z_95 / np.sqrt(2 * BORDER_COUNT)  # of itself, for errors that are nearly normal
        limit, error = READABLE * self.num_train_timesteps, self.time_error[readable]
        near = all_surely(
            True if one * (1 + half) < limit else False if one * (1 - half) >= limit else None for one in error.tolist()
        )
        told = {"readable": READABLE, **self._border(readable)}
        return Claim("border_tells", near if self.constant_pixels else False, told | {"half": half * told["off"]})

    def _border(self, readable: NDArray[np.bool_]) -> dict[str, Any]:
        last = int(np.flatnonzero(readable)[-1])
        return {
            "at": int(self.timesteps[last]),
            "off": float(self.time_error[last]),
            "least": float(self.bound[self.timesteps[last]]),
        }


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
    """Tell a trained denoiser the wrong time, with everything else as it was: noise, labels, coefficients.

    Parameters
    ----------
    is_mnist
        Whether samples are read by the MNIST classifier.
    sizes
        (N, M): held-out digits for the loss, and samples for each arm and sampler.
    """
    T = schedule.num_train_timesteps
    count, samples = sizes
    arms = {name: WrongTimestep(denoiser, told, name) for name, told in clocks(T, seed).items()}
    loss = clock_losses(tuple(arms.values()), schedule, heldout, count, seed)
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
    error, bound = read_border(schedule, black, timesteps, BORDER_COUNT, seed)
    shape = (len(SAMPLERS), len(ARMS))
    drawn = np.stack(images).reshape(*shape, *images[0].shape)
    right = np.array(hits).reshape(shape) if is_mnist else None
    return WrongTimesteps(loss, drawn, samples, right, black, timesteps, error, bound, T)


def sample_arm(
    arm: nn.Module, schedule: NoiseSchedule, sampler: str, samples: int, is_mnist: bool
) -> tuple[NDArray[np.float32], int]:
    """Sample 0 .. 9 in turn, from noise that all arms share.

    Returns
    -------
    The first (K, H, W) samples, and how many of all are read as asked; 0 where the data are not MNIST.
    """
    asked = torch.arange(samples) % NUM_LABELS
    parts = sample_images(
        arm,
        schedule,
        asked.to(device_of(arm)),
        range(SEED, SEED + samples),
        SamplerConfig(sampler, min(STEPS, schedule.num_train_timesteps)),
        null_label=getattr(arm, "null_label", NUM_LABELS),
    )
    images = torch.cat(list(parts))
    return images[:KEPT, 0].numpy(), classifier_accuracy(images, asked)[0].hits if is_mnist else 0


@torch.no_grad()
def clock_losses(arms: Sequence[nn.Module], schedule: NoiseSchedule, heldout: Digits, count: int, seed: int) -> Float64:
    """Return (A, N) mean squared errors of ε̂, the same images, noise and t (spread evenly) for every arm."""
    generator = torch.Generator().manual_seed(seed + 1600)
    rows = torch.randint(len(heldout), (count,), generator=generator)
    t = torch.arange(count) * schedule.num_train_timesteps // count
    noise = torch.randn((count, *heldout.images.shape[1:]), generator=generator)
    x_t, labels = schedule.add_noise(heldout.images[rows], noise, t), heldout.labels[rows]
    errors = (predict_noise(arm, x_t, t, labels) - noise for arm in arms)
    return np.stack([error.square().mean(dim=(1, 2, 3)).double().numpy() for error in errors])


def read_border(
    schedule: NoiseSchedule, pixels: int, timesteps: NDArray[np.int64], count: int = BORDER_COUNT, seed: int = 0
) -> tuple[Float64, Float64]:
    """Read t off ``pixels`` that are black (-1) in every clean image, by maximum likelihood.

    Such a pixel of x_t is drawn from N(-√ᾱ, 1-ᾱ), so that many of them are a clock.

    Returns
    -------
    (K,) RMS errors of the reading over ``count`` pictures, and (T,) what no unbiased reading's standard deviation goes
    below: 1/√(pixels · I(t)) with I = m'²/v + v'²/(2v²), the Fisher information of a Gaussian. Infinite without pixels.
    """
    mean, variance = -np.sqrt(schedule.alphas_cumprod), 1 - schedule.alphas_cumprod
    if not pixels:
        return np.full(len(timesteps), np.inf), np.full(len(mean), np.inf)
    information = np.gradient(mean) ** 2 / variance + np.gradient(variance) ** 2 / (2 * variance**2)
    rng = np.random.default_rng([seed, 15])
    errors = []
    for t in timesteps:
        x = mean[t] + np.sqrt(variance[t]) * rng.standard_normal((count, pixels))
        first, second = x.mean(axis=1)[:, None], np.square(x).mean(axis=1)[:, None]
        cost = np.log(variance) + (second - 2 * mean * first + mean**2) / variance  # -2 ln likelihood, per pixel
        errors.append(np.sqrt(np.square(cost.argmin(axis=1) - t).mean()))
    return np.array(errors), 1 / np.sqrt(pixels * information)
