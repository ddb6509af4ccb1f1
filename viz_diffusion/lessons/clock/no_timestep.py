"""A network that was trained without timesteps, and its twin with timesteps that was trained equally.

Each is sampled with the sampler's timestep, and with one that is estimated from the border of each image. Takes any
denoisers; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import all_surely, half_of_mean, share_difference, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.clock.arms import (
    SAMPLERS,
    SIZES,
    SampledArms,
    by_arm,
    collect_arms,
    prediction_losses,
    sample_arm,
)
from viz_diffusion.lessons.clock.border_sampler import sample_by_border
from viz_diffusion.lessons.clock.wrong_timestep import NEAR, WrongTimestepFacts, WrongTimesteps
from viz_diffusion.lessons.context import Progress, silent
from viz_diffusion.lessons.facts import FactGroup

Float64 = NDArray[np.float64]
NO_TIMESTEP_ARMS = ("blind", "blind_border", "twin", "twin_border")
"""The network without timesteps and its twin, each with the sampler's timestep and with that of the border."""
BLIND, BLIND_BORDER, TWIN, TWIN_BORDER = range(4)


@dataclass(frozen=True, eq=False)
class NoTimestep:
    """A network without timesteps and its twin, on the digits and the noise of :class:`WrongTimesteps`."""

    loss: Float64
    """(2, N) float64: mean squared error of ε̂ on the same held-out digits, without timesteps and of the twin."""
    arms: SampledArms
    """Samples of :data:`NO_TIMESTEP_ARMS`."""
    steps: int
    """Optimizer steps that each of the two was trained for."""


@dataclass(frozen=True)
class NoTimestepFacts:
    """What texts and JSON files say of a network that was trained without timesteps, and of its twin with them."""

    blind_loss: float
    """Mean squared error of ε̂ per pixel, without timesteps."""
    blind_loss_interval: float
    """Half its 95% interval."""
    twin_loss: float
    """The same of the twin."""
    twin_loss_interval: float
    """Half its 95% interval."""
    no_timestep_read: dict[str, dict[str, int]]
    """Samples that are classified as the requested digit, by sampler and arm."""
    no_timestep_interval: dict[str, dict[str, tuple[float, float]]]
    """95% interval of their share, by sampler and arm."""
    no_timestep_read_smoothed: dict[str, dict[str, int]]
    """Samples that are classified as the requested digit after a 3 × 3 mean and a stretch of the contrast."""


@dataclass(frozen=True)
class ClockStudyFacts:
    """What texts and JSON files say of wrong timesteps and none."""

    wrong: Annotated[WrongTimestepFacts, FactGroup()]
    """Of wrong timesteps."""
    blind_steps: int | None
    """Training steps of the network without timesteps, and of its twin; None where there is none."""
    blind: Annotated[NoTimestepFacts | None, FactGroup()]
    """Of the network without timesteps; None where there is none."""


@dataclass(frozen=True, eq=False)
class ClockStudy:
    """Wrong timesteps, and none."""

    wrong: WrongTimesteps
    """Losses and samples with wrong timesteps."""
    blind: NoTimestep | None = None
    """Networks that were trained without timesteps and with them; None where there are none for these data."""

    def facts(self) -> ClockStudyFacts:
        """Return the numbers that captions and answers are filled with."""
        wrong, blind = self.wrong.facts(), self.blind
        if blind is None:
            return ClockStudyFacts(wrong, None, None)
        assert blind.arms.read is not None  # the two are of MNIST
        assert blind.arms.read_smoothed is not None
        shares = [blind.arms.shares(arm) for arm in range(len(NO_TIMESTEP_ARMS))]
        (blind_loss, twin_loss), (blind_half, twin_half) = blind.loss.mean(axis=1), half_of_mean(blind.loss)
        return ClockStudyFacts(
            wrong,
            blind.steps,
            NoTimestepFacts(
                blind_loss=float(blind_loss),
                blind_loss_interval=float(blind_half),
                twin_loss=float(twin_loss),
                twin_loss_interval=float(twin_half),
                no_timestep_read=by_arm(blind.arms.read, NO_TIMESTEP_ARMS),
                no_timestep_interval={
                    sampler: {name: one[s].interval for name, one in zip(NO_TIMESTEP_ARMS, shares, strict=True)}
                    for s, sampler in enumerate(SAMPLERS)
                },
                no_timestep_read_smoothed=by_arm(blind.arms.read_smoothed, NO_TIMESTEP_ARMS),
            ),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide what wrong timesteps do, and what a missing one costs: the loss, and the samples, and why."""
        return self.wrong.claims() + (() if self.blind is None else _no_timestep_claims(self.blind))


def _no_timestep_claims(found: NoTimestep) -> tuple[Claim, ...]:
    """Decide whether the loss is higher without timesteps, what the sampler's timestep costs, and what remains."""
    gap = found.loss[0] - found.loss[1]
    more, half = float(gap.mean()), float(half_of_mean(gap))
    losses = dict(zip(("blind", "twin"), found.loss.mean(axis=1).tolist(), strict=True))
    costs = Claim("none_costs", surely(more - half, more + half), losses | {"more": more, "half": half})

    numbers: dict[str, Any] = {"near": NEAR}
    for arm, name in enumerate(NO_TIMESTEP_ARMS):
        for sampler, share in zip(SAMPLERS, found.arms.shares(arm), strict=True):
            low, high = share.interval
            numbers |= {f"{name}_{sampler}": share.hits, f"{name}_{sampler}_low": low, f"{name}_{sampler}_high": high}
    mended = _differences(found.arms, BLIND_BORDER, BLIND)
    kept = _differences(found.arms, BLIND_BORDER, TWIN)
    return (
        costs,
        Claim("none_by_sampler", all_surely(surely(*one) for one in mended), numbers),
        Claim("none_as_good", all_surely(surely(low + NEAR, high + NEAR) for low, high in kept), numbers),
    )


def _differences(arms: SampledArms, first: int, second: int) -> list[tuple[float, float]]:
    """Return, for each sampler, the 95% interval of the accuracy of one arm minus that of another."""
    return [share_difference(*pair) for pair in zip(arms.shares(first), arms.shares(second), strict=True)]


def measure_no_timestep(
    blind: nn.Module,
    twin: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    black: NDArray[np.bool_],
    steps: int = 0,
    seed: int = 0,
    sizes: tuple[int, int] = SIZES[0],
    progress: Progress = silent,
) -> NoTimestep:
    """Measure a network that was trained without timesteps, and its twin, on what :class:`WrongTimesteps` is measured.

    Parameters
    ----------
    black
        (C, H, W) mask of the pixels that are black in every training image, from which t is estimated.
    steps
        Optimizer steps that each of them was trained for.
    seed, sizes
        As there.
    """
    count, samples = sizes
    drawn: list[list[Tensor]] = []
    for number, sampler in enumerate(SAMPLERS):
        progress(number, len(SAMPLERS), f"{sampler}, without timesteps")
        drawn.append([])
        for network in (blind, twin):
            drawn[-1].append(sample_arm(network, schedule, sampler, samples))
            drawn[-1].append(sample_by_border(network, schedule, black, sampler, samples))
    loss = prediction_losses((blind, twin), schedule, heldout, count, seed)
    return NoTimestep(loss, collect_arms(drawn, is_mnist=True), steps)
