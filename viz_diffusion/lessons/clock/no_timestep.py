"""A network that was trained without timesteps, compared with one that gets right and wrong ones.

Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Share, all_surely, half_of_mean, share_difference, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.clock.wrong_timestep import (
    ARMS,
    NEAR,
    SAMPLERS,
    SIZES,
    WrongTimestepFacts,
    WrongTimesteps,
    prediction_losses,
    sample_arm,
)
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.facts import FactGroup

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoTimestep:
    """A network without timesteps, on the digits and the noise of :class:`WrongTimesteps`."""

    loss: Float64
    """(N,) float64: mean squared error of ε̂ on the same held-out digits."""
    images: NDArray[np.float32]
    """(S, K, H, W) float32: the first samples of each of :data:`SAMPLERS`."""
    read: NDArray[np.int64]
    """(S,) int64: how many of as many samples are classified as the requested digit."""
    steps: tuple[int, int]
    """Optimizer steps that it was trained for, and the network with timesteps."""


@dataclass(frozen=True)
class NoTimestepFacts:
    """What texts and JSON files say of a network that was trained without timesteps."""

    blind_loss: float
    """Mean squared error of ε̂ per pixel."""
    blind_loss_interval: float
    """Half its 95% interval."""
    clock_trained: int
    """Training steps of the network with timesteps."""
    blind_read: dict[str, int]
    """Samples that are classified as the requested digit, by sampler."""
    blind_interval: dict[str, tuple[float, float]]
    """95% interval of their share, by sampler."""


@dataclass(frozen=True)
class ClockStudyFacts:
    """What texts and JSON files say of wrong timesteps and none."""

    wrong: Annotated[WrongTimestepFacts, FactGroup()]
    """Of wrong timesteps."""
    blind_steps: int | None
    """Training steps of the network without timesteps; None where there is none."""
    blind: Annotated[NoTimestepFacts | None, FactGroup()]
    """Of the network without timesteps; None where there is none."""


@dataclass(frozen=True, eq=False)
class ClockStudy:
    """Wrong timesteps, and none."""

    wrong: WrongTimesteps
    """Losses and samples with wrong timesteps."""
    blind: NoTimestep | None = None
    """A network that was trained without timesteps; None where there is none for these data."""

    def samples(self) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Return (S, A, K, H, W) samples of all arms, and (S, A) how many are right; without timesteps comes last."""
        wrong, blind = self.wrong, self.blind
        if blind is None or wrong.read is None:
            return wrong.images, wrong.read
        images = np.concatenate([wrong.images, blind.images[:, None]], axis=1)
        return images, np.concatenate([wrong.read, blind.read[:, None]], axis=1)

    def facts(self) -> ClockStudyFacts:
        """Return the numbers that captions and answers are filled with."""
        wrong, blind = self.wrong.facts(), self.blind
        if blind is None:
            return ClockStudyFacts(wrong, None, None)
        shares = dict(zip(SAMPLERS, self._shares(blind), strict=True))
        steps, clock_trained = blind.steps
        return ClockStudyFacts(
            wrong,
            steps,
            NoTimestepFacts(
                blind_loss=float(blind.loss.mean()),
                blind_loss_interval=float(half_of_mean(blind.loss)),
                clock_trained=clock_trained,
                blind_read={name: share.hits for name, share in shares.items()},
                blind_interval={name: share.interval for name, share in shares.items()},
            ),
        )

    def _shares(self, blind: NoTimestep) -> list[Share]:
        return [Share(int(hits), self.wrong.samples) for hits in blind.read]

    def claims(self) -> tuple[Claim, ...]:
        """Decide what wrong timesteps do, and whether none is better than wrong ones and as good as right ones."""
        read, blind = self.wrong.read, self.blind
        if blind is None or read is None:
            return self.wrong.claims()
        mine = self._shares(blind)
        right = [Share(int(row[0]), self.wrong.samples) for row in read]
        wrong = [Share(int(row[1:].max()), self.wrong.samples) for row in read]
        better = all_surely(surely(*share_difference(*pair)) for pair in zip(mine, wrong, strict=True))
        kept = (share_difference(*pair) for pair in zip(mine, right, strict=True))
        as_good = all_surely(surely(low + NEAR, high + NEAR) for low, high in kept)
        numbers: dict[str, Any] = {f"blind_{name}": share.hits for name, share in zip(SAMPLERS, mine, strict=True)}
        for name, share in zip(SAMPLERS, mine, strict=True):
            numbers |= {f"blind_{name}_low": share.interval[0], f"blind_{name}_high": share.interval[1]}
        numbers |= {f"wrong_{name}": share.hits for name, share in zip(SAMPLERS, wrong, strict=True)}
        numbers |= {f"right_{name}": share.hits for name, share in zip(SAMPLERS, right, strict=True)}
        numbers |= {"near": NEAR, "wrong_clocks": len(ARMS) - 1}
        return (
            *self.wrong.claims(),
            self._denoises(blind),
            Claim("none_beats_wrong", better, numbers),
            Claim("none_as_good", as_good, numbers),
        )

    def _denoises(self, blind: NoTimestep) -> Claim:
        """Decide whether its loss is below that of every wrong arm: the same digits and noise, pair by pair."""
        mildest = min(self.wrong.loss[1:], key=np.mean)
        gap = mildest - blind.loss
        less, half = float(gap.mean()), float(half_of_mean(gap))
        numbers = {
            "blind": float(blind.loss.mean()),
            "right": float(self.wrong.loss[0].mean()),
            "mildest": float(mildest.mean()),
            "less": less,
            "half": half,
        }
        return Claim("none_denoises", None if abs(less) <= half else less > 0, numbers)


def measure_no_timestep(
    blind: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    steps: tuple[int, int] = (0, 0),
    seed: int = 0,
    sizes: tuple[int, int] = SIZES[0],
    progress: Progress = silent,
) -> NoTimestep:
    """Measure a network that was trained without timesteps as the others are measured.

    Parameters
    ----------
    steps
        Optimizer steps that it was trained for, and the network it is compared with.
    seed, sizes
        As there.
    """
    count, samples = sizes
    images: list[NDArray[np.float32]] = []
    hits: list[int] = []
    for done, sampler in enumerate(SAMPLERS):
        progress(done, len(SAMPLERS), f"{sampler}, without a clock")
        made, read = sample_arm(blind, schedule, sampler, samples, True)
        images.append(made)
        hits.append(read)
    loss = prediction_losses((blind,), schedule, heldout, count, seed)[0]
    return NoTimestep(loss, np.stack(images), np.array(hits), steps)
