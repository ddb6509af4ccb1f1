"""A network that was never told the time, beside one that was and is told it wrong.

Part of the lesson on the clock; asks any denoiser, knows nothing about figures' words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    WrongTimesteps,
    clock_losses,
    sample_arm,
)
from viz_diffusion.lessons.context import Progress, silent

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoTimestep:
    """What a network draws that was trained without a clock: the questions and the noise of :class:`WrongTimesteps`."""

    loss: Float64
    """(N,) float64: mean squared error of ε̂ on the same held-out digits."""
    images: NDArray[np.float32]
    """(S, K, H, W) float32: the first samples of each of :data:`SAMPLERS`."""
    read: NDArray[np.int64]
    """(S,) int64: how many of as many samples the classifier reads as asked."""
    steps: tuple[int, int]
    """Optimizer steps that it was trained for, and the network with the clock."""


@dataclass(frozen=True, eq=False)
class Clocks:
    """A clock that is wrong, and no clock."""

    wrong: WrongTimesteps
    """What becomes of losses and samples where the time is told wrong."""
    blind: NoTimestep | None = None
    """A network trained without; None where there is none for these data."""

    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Return (S, A, K, H, W) samples of all arms, and (S, A) how many are read as asked; the blind one is last."""
        wrong, blind = self.wrong, self.blind
        if blind is None or wrong.read is None:
            return wrong.images, wrong.read
        images = np.concatenate([wrong.images, blind.images[:, None]], axis=1)
        return images, np.concatenate([wrong.read, blind.read[:, None]], axis=1)

    def facts(self) -> dict[str, Any]:
        """Return the numbers."""
        found = self.wrong.facts() | {"blind_steps": None}
        if self.blind is None:
            return found
        steps, others = self.blind.steps
        shares = self._shares(self.blind)
        return found | {
            "blind_loss": float(self.blind.loss.mean()),
            "blind_loss_interval": float(half_of_mean(self.blind.loss)),
            "blind_steps": steps,
            "clock_trained": others,
            "blind_read": {name: share.hits for name, share in zip(SAMPLERS, shares, strict=True)},
            "blind_interval": {name: list(share.interval) for name, share in zip(SAMPLERS, shares, strict=True)},
        }

    def _shares(self, blind: NoTimestep) -> list[Share]:
        return [Share(int(hits), self.wrong.samples) for hits in blind.read]

    def claims(self) -> tuple[Claim, ...]:
        """Say what a wrong clock does; then whether having none is better, in loss and in samples; and its cost."""
        read, blind = self.wrong.read, self.blind
        if blind is None or read is None:
            return self.wrong.claims()
        mine = self._shares(blind)
        right = [Share(int(row[0]), self.wrong.samples) for row in read]
        wrong = [Share(int(row[1:].max()), self.wrong.samples) for row in read]
        better = all_surely(surely(*share_difference(*pair)) for pair in zip(mine, wrong, strict=True))
        kept = (share_difference(*pair) for pair in zip(mine, right, strict=True))
        as_good = all_surely(surely(low + NEAR, high + NEAR) for low, high in kept)
        told: dict[str, Any] = {f"blind_{name}": share.hits for name, share in zip(SAMPLERS, mine, strict=True)}
        for name, share in zip(SAMPLERS, mine, strict=True):
            told |= {f"blind_{name}_low": share.interval[0], f"blind_{name}_high": share.interval[1]}
        told |= {f"wrong_{name}": share.hits for name, share in zip(SAMPLERS, wrong, strict=True)}
        told |= {f"right_{name}": share.hits for name, share in zip(SAMPLERS, right, strict=True)}
        told |= {"near": NEAR, "wrong_clocks": len(ARMS) - 1}
        return (
            *self.wrong.claims(),
            self._denoises(blind),
            Claim("none_beats_wrong", better, told),
            Claim("none_as_good", as_good, told),
        )

    def _denoises(self, blind: NoTimestep) -> Claim:
        """Say whether its loss is below that of every wrong clock: the same digits and noise, pair by pair."""
        mildest = min(self.wrong.loss[1:], key=np.mean)
        gap = mildest - blind.loss
        less, half = float(gap.mean()), float(half_of_mean(gap))
        told = {
            "blind": float(blind.loss.mean()),
            "right": float(self.wrong.loss[0].mean()),
            "mildest": float(mildest.mean()),
            "less": less,
            "half": half,
        }
        return Claim("none_denoises", None if abs(less) <= half else less > 0, told)


def measure_no_timestep(
    blind: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    steps: tuple[int, int] = (0, 0),
    seed: int = 0,
    sizes: tuple[int, int] = SIZES[0],
    progress: Progress = silent,
) -> NoTimestep:
    """Measure a network that was trained without the timestep as the others are measured.

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
    loss = clock_losses((blind,), schedule, heldout, count, seed)[0]
    return NoTimestep(loss, np.stack(images), np.array(hits), steps)
