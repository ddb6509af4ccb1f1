"""Losses and samples with wrong timesteps, and how well t can be estimated from the border of the image.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Z_95, Share, all_surely, half_of_mean, share_difference, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.clock.arms import (
    SAMPLERS,
    SIZES,
    STEPS,
    SampledArms,
    by_arm,
    collect_arms,
    correlations,
    prediction_losses,
    sample_arm,
)
from viz_diffusion.lessons.clock.border_estimate import BORDER_COUNT, BORDER_TIMESTEPS, estimate_from_border
from viz_diffusion.lessons.clock.given_timestep import make_arms
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]
ARMS = (
    "right",
    "frozen",
    "reversed",
    "shuffled",
    "embedding_frozen",
    "embedding_reversed",
    "embedding_shuffled",
)
"""The right timestep; wrong ones everywhere; wrong ones in the time embedding only, where there is one."""
EVERYWHERE, EMBEDDING = slice(1, 4), slice(4, 7)
"""Which arms have wrong timesteps everywhere, and which in the embedding only."""
READABLE = 0.1
"""The border counts as telling t where the error of the estimate is below this share of T."""
NEAR = 0.1
"""An accuracy counts as equal to another where it is less than this below it."""
MOST = 0.5
"""The digit counts as kept where more than this share of the samples are classified as the requested digit."""


@dataclass(frozen=True)
class WrongTimestepFacts:
    """What texts and JSON files say of wrong timesteps, and of t estimated from the border at K timesteps."""

    clock_count: int
    """Held-out digits for the losses."""
    clock_loss: dict[str, float]
    """Mean squared error of ε̂ per pixel, by arm."""
    clock_gap: tuple[float, ...]
    """(A-1,) by how much it is above that of the right timestep, for each wrong arm."""
    clock_gap_interval: tuple[float, ...]
    """(A-1,) half its 95% interval."""
    clock_samples: int
    """Samples of each arm and sampler."""
    clock_steps: int
    """Denoising steps of each sample."""
    clock_constant: int
    """Samples that a classifier that always says the same gets right."""
    clock_read: dict[str, dict[str, int]] | None
    """Samples that are classified as the requested digit, by sampler and arm; None where the data are not MNIST."""
    clock_read_smoothed: dict[str, dict[str, int]] | None
    """The same after a 3 × 3 mean and a stretch of the contrast."""
    clock_correlation: dict[str, dict[str, float]]
    """Mean correlation of a sample's pixels with those of the right timestep's sample from the same noise, both after
    a 3 × 3 mean, by sampler and arm."""
    clock_correlation_interval: dict[str, dict[str, float]]
    """Half its 95% interval."""
    clock_correlation_other: dict[str, float]
    """The same correlation of two samples of the right timestep, of one label and from different noise, by sampler."""
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
    """(A, N) float64: mean squared error of ε̂ on N held-out digits for each of :data:`ARMS`, or the first four."""
    arms: SampledArms
    """Samples of the same arms."""
    correlation: Float64
    """(S, A, M) float64: of each sample with that of the right timestep from the same noise."""
    correlation_other: Float64
    """(S, M-10) float64: of each sample of the right timestep with the next one of its label."""
    black: NDArray[np.bool_]
    """(C, H, W) bool: the pixels that are black in every training image."""
    timesteps: NDArray[np.int64]
    """(K,) int64: where t was estimated from them."""
    time_error: Float64
    """(K,) float64: RMS error of the most likely t."""
    at_end: Float64
    """(K,) float64: the share of these that are T-1, the largest t."""
    bound: Float64
    """(T,) float64: at every t, the smallest standard deviation of an unbiased estimate (Cramér-Rao)."""
    num_train_timesteps: int
    """T."""

    @property
    def constant_pixels(self) -> int:
        """How many pixels are black in every training image."""
        return int(self.black.sum())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the A arms."""
        return ARMS[: len(self.loss)]

    def facts(self) -> WrongTimestepFacts:
        """Return the numbers, by arm and by timestep."""
        gaps = [values - self.loss[0] for values in self.loss[1:]]
        return WrongTimestepFacts(
            clock_count=int(self.loss.shape[1]),
            clock_loss={arm: float(values.mean()) for arm, values in zip(self.names, self.loss, strict=True)},
            clock_gap=tuple(float(gap.mean()) for gap in gaps),
            clock_gap_interval=tuple(float(half_of_mean(gap)) for gap in gaps),
            clock_samples=self.arms.samples,
            clock_steps=STEPS,
            clock_constant=round(self.arms.samples / NUM_LABELS),
            clock_read=None if self.arms.read is None else by_arm(self.arms.read, self.names),
            clock_read_smoothed=None
            if self.arms.read_smoothed is None
            else by_arm(self.arms.read_smoothed, self.names),
            clock_correlation=by_arm(self.correlation.mean(axis=2), self.names),
            clock_correlation_interval=by_arm(half_of_mean(self.correlation), self.names),
            clock_correlation_other=dict(zip(SAMPLERS, self.correlation_other.mean(axis=1).tolist(), strict=True)),
            constant_pixels=self.constant_pixels,
            border_pictures=BORDER_COUNT,
            border_timesteps=tuple(self.timesteps.tolist()),
            border_error=tuple(self.time_error.tolist()),
            border_bound=tuple(self.bound[self.timesteps].tolist()),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide what wrong timesteps do, everywhere and in the embedding only, and whether the border tells t."""
        answers = [self._costs()]
        if self.arms.read is not None:
            answers.append(self._unreadable())
        if len(self.names) == len(ARMS):
            if self.arms.read is not None:
                answers.append(self._kept())
            answers.append(self._last_line())
        return (*answers, self._border_tells())

    def _costs(self) -> Claim:
        """Decide whether each timestep that is wrong everywhere raises the loss."""
        gaps = [values - self.loss[0] for values in self.loss[EVERYWHERE]]
        answers = (surely(gap.mean() - half_of_mean(gap), gap.mean() + half_of_mean(gap)) for gap in gaps)
        right, mildest = float(self.loss[0].mean()), float(self.loss[EVERYWHERE].mean(axis=1).min())
        return Claim("wrong_costs", all_surely(answers), {"right": right, "mildest": mildest, "times": mildest / right})

    def _unreadable(self) -> Claim:
        """Decide whether each wrong arm's samples are worse with every sampler; not so where one is surely near."""
        right, wrong = self.arms.shares(0), [self.arms.shares(arm) for arm in range(*EVERYWHERE.indices(len(ARMS)))]
        lost = [share_difference(*pair) for shares in wrong for pair in zip(right, shares, strict=True)]
        worse = all_surely(True if low > 0 else False if high < NEAR else None for low, high in lost)
        best = max((share for shares in wrong for share in shares), key=lambda share: share.hits)
        least = min(right, key=lambda share: share.hits)
        return Claim("wrong_unreadable", worse, _share_facts(right=least, wrong=best) | {"near": NEAR})

    def _kept(self) -> Claim:
        """Decide whether most digits are there, under the noise, where only the embedding gets a wrong timestep."""
        arms = range(*EMBEDDING.indices(len(ARMS)))
        kept = [share for arm in arms for share in self.arms.shares(arm, smoothed=True)]
        plain = [share.hits for arm in arms for share in self.arms.shares(arm)]
        answer = all_surely(
            True if low > MOST else False if high <= MOST else None for low, high in (share.interval for share in kept)
        )
        wrong = range(*EVERYWHERE.indices(len(ARMS)))
        everywhere = [share.hits for arm in wrong for share in self.arms.shares(arm, smoothed=True)]
        least = min(kept, key=lambda share: share.hits)
        right = min(self.arms.shares(0, smoothed=True), key=lambda share: share.hits)
        return Claim(
            "embedding_keeps",
            answer,
            _share_facts(kept=least, smoothed=right)
            | {"kept_most": max(share.hits for share in kept), "plain_least": min(plain), "plain_most": max(plain)}
            | {"everywhere_least": min(everywhere), "everywhere_most": max(everywhere)},
        )

    def _last_line(self) -> Claim:
        """Decide whether samples are less like the right ones where ᾱ in the last line is wrong as well."""
        lost = self.correlation[:, EMBEDDING] - self.correlation[:, EVERYWHERE]
        mean, half = lost.mean(axis=2).ravel(), half_of_mean(lost).ravel()
        answer = all_surely(surely(one - wide, one + wide) for one, wide in zip(mean, half, strict=True))
        means = self.correlation.mean(axis=2)
        numbers = {
            f"{name}_{end}": float(choose(means[:, arms]))
            for name, arms in (("embedding", EMBEDDING), ("everywhere", EVERYWHERE))
            for end, choose in (("least", np.min), ("most", np.max))
        }
        least, most = int(mean.argmin()), int(mean.argmax())
        numbers |= {"lost_least": float(mean[least]), "lost_least_half": float(half[least])}
        numbers |= {"lost_most": float(mean[most]), "lost_most_half": float(half[most])}
        other = float(self.correlation_other.mean(axis=1).max())
        return Claim("last_line_adds", answer, numbers | {"other": other})

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


def _share_facts(**shares: Share) -> dict[str, Any]:
    """Return the hits and the ends of the 95% interval of each share, by its name."""
    return {
        f"{name}_{part}": value
        for name, share in shares.items()
        for part, value in zip(("hits", "low", "high"), (share.hits, *share.interval), strict=True)
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
    """Give a trained denoiser wrong timesteps, with everything else as it was: noise, labels, coefficients.

    Parameters
    ----------
    is_mnist
        Whether samples are classified by the MNIST classifier.
    sizes
        (N, M): held-out digits for the loss, and samples for each arm and sampler; M above 10.
    """
    T = schedule.num_train_timesteps
    count, samples = sizes
    arms = make_arms(denoiser, T, seed)
    loss = prediction_losses(tuple(arms.values()), schedule, heldout, count, seed)
    drawn: list[list[Tensor]] = []
    for number, sampler in enumerate(SAMPLERS):
        drawn.append([])
        for name, arm in arms.items():
            progress(number * len(arms) + len(drawn[-1]), len(SAMPLERS) * len(arms), f"{sampler}, timestep {name}")
            drawn[-1].append(sample_arm(arm, schedule, sampler, samples))
    black = (training.images == -1).all(dim=0).numpy()
    timesteps = np.unique(np.round(np.array(BORDER_TIMESTEPS) * (T - 1) / 999).astype(np.int64))
    error, at_end, bound = estimate_from_border(schedule, int(black.sum()), timesteps, BORDER_COUNT, seed)
    return WrongTimesteps(
        loss,
        collect_arms(drawn, is_mnist),
        np.stack([[correlations(one, images[0]) for one in images] for images in drawn]),
        np.stack([correlations(images[0][:-NUM_LABELS], images[0][NUM_LABELS:]) for images in drawn]),
        black,
        timesteps,
        error,
        at_end,
        bound,
        T,
    )
