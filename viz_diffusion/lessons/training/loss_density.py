"""Where training steps, training loss and bits lie on the scale of the signal-to-noise ratio.

A loss over t depends on how the schedule numbers its noise levels; a density over log SNR does not (Kingma & Gao 2023).
Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import BUMP
from viz_diffusion.evaluation.intervals import Z_95, half_of_mean, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.training.loss_by_timestep import LATE, LossByTimestep
from viz_diffusion.training.objective import loss_weights, timestep_probabilities
from viz_diffusion.training.train_config import TrainConfig

Float64 = NDArray[np.float64]
GREY_LEVELS = 127.5
"""Distances of two grey levels in one unit of x_0, whose 255 reach from -1 to 1."""
DECIBEL = 10 / np.log(10)
"""Decibels of one nat of log SNR."""


@dataclass(frozen=True)
class DensityFacts:
    """What texts and JSON files say of the upper end of the SNR, above which half of the bits lie."""

    density_db: float
    """The SNR in dB above which at least half of the bits of L_1 .. L_{T-1} lie."""
    density_t: int
    """The last timestep above it."""
    density_bits: float
    """Share of the bits there."""
    density_loss: float
    """Share of the training loss there."""
    density_loss_half: float
    """Half its 95% interval."""
    density_steps: float
    """Share of the training steps there."""
    half_loss_t: int
    """At timesteps below this lies half of the training loss; within a stratum it counts as even."""
    half_loss_bits: float
    """Share of the bits there."""


@dataclass(frozen=True, eq=False)
class LossDensity:
    """Shares of J strata of t; each kind of share sums to 1."""

    edges: NDArray[np.int64]
    """(J+1,) int64, rising from 0 to T: the strata."""
    decibels: Float64
    """(J+1,) float64, falling: the SNR in dB at their edges, halfway between the timesteps on both sides."""
    steps: Float64
    """(J,) share of the training steps whose t lies in the stratum."""
    loss: Float64
    """(J,) share of the training loss."""
    loss_error: Float64
    """(J,) its standard error before the shares were scaled to sum to 1."""
    bits: Float64
    """(J,) share of the bits of L_1 .. L_{T-1}."""

    def per_decibel(self, shares: Float64) -> Float64:
        """Return (J,) shares divided by the widths of their strata in dB."""
        return shares / -np.diff(self.decibels)

    def facts(self) -> DensityFacts:
        """Return the numbers of the strata of small t that hold half of the bits."""
        count = int(np.searchsorted(np.cumsum(self.bits), 0.5)) + 1
        inside = np.arange(len(self.loss)) < count
        half_loss = float(np.interp(0.5, _cumulative(self.loss), self.edges))
        within, without = self.loss[inside].sum(), self.loss[~inside].sum()
        errors = [np.sqrt((self.loss_error[part] ** 2).sum()) for part in (inside, ~inside)]
        # of a / (a + b) with independent errors of a and b
        half = Z_95 * float(np.hypot(without * errors[0], within * errors[1]) / (within + without) ** 2)
        return DensityFacts(
            density_db=float(self.decibels[count]),
            density_t=int(self.edges[count]) - 1,
            density_bits=float(self.bits[inside].sum()),
            density_loss=float(within),
            density_loss_half=half,
            density_steps=float(self.steps[inside].sum()),
            half_loss_t=round(half_loss),
            half_loss_bits=float(np.interp(half_loss, self.edges, _cumulative(self.bits))),
        )

    def claim(self) -> Claim:
        """Decide whether most of the training loss lies where half of the bits do."""
        found = self.facts()
        more = found.density_loss - 0.5
        return Claim("loss_where_bits", surely(more - found.density_loss_half, more + found.density_loss_half))


def late_x0_error(found: LossByTimestep, schedule: NoiseSchedule) -> float:
    """Return the largest root mean square error of x̂_0 in a stratum of late timesteps, in grey levels of 255.

    x̂_0 - x_0 is the error of ε̂ times √(1-ᾱ) / √ᾱ, whose square is 1 / SNR; its largest value in the stratum is taken.
    """
    late = found.edges[1:] <= LATE * int(found.edges[-1]) // 1000
    largest = np.exp(-schedule.log_snr[found.edges[1:] - 1])
    return float(GREY_LEVELS * np.sqrt((found.loss.mean(axis=(1, 2)) * largest)[late].max()))


def measure_density(found: LossByTimestep, schedule: NoiseSchedule, config: TrainConfig) -> LossDensity | None:
    """Return the shares of what was measured at every t; None in flow matching, whose t is continuous.

    Within a stratum the weights of the training loss are averaged over t.
    """
    if config.objective == "flow":
        return None
    T, alphas = schedule.num_train_timesteps, schedule.alphas_cumprod
    probability = timestep_probabilities(schedule) if config.timestep_density == BUMP else np.full(T, 1 / T)
    # ‖v̂ - v‖² = ‖ε̂ - ε‖² / ᾱ, and ‖x̂_0 - x_0‖² = ‖ε̂ - ε‖² (1-ᾱ) / ᾱ (Salimans & Ho 2022, appendix D)
    of_noise = {"epsilon": np.ones(T), "v": 1 / alphas, "x0": (1 - alphas) / alphas}[config.objective]
    weights = np.add.reduceat(loss_weights(schedule, config).double().numpy() * of_noise, found.edges[:-1])
    drawn = found.loss.mean(axis=2)
    loss = weights * drawn.mean(axis=1)
    bits = found.by_t().bits
    return LossDensity(
        edges=found.edges,
        decibels=DECIBEL * _at_edges(schedule.log_snr)[found.edges],
        steps=np.add.reduceat(probability, found.edges[:-1]),
        loss=loss / loss.sum(),
        loss_error=weights * np.asarray(half_of_mean(drawn)) / Z_95 / loss.sum(),
        bits=bits / bits.sum(),
    )


def _cumulative(shares: Float64) -> Float64:
    """Return (J+1,) the sums of the shares before each edge."""
    return np.concatenate([[0.0], np.cumsum(shares)])


def _at_edges(log_snr: Float64) -> Float64:
    """Return (T+1,) values halfway between the timesteps, and half a step beyond both ends."""
    middle = (log_snr[1:] + log_snr[:-1]) / 2
    return np.concatenate([[2 * log_snr[0] - middle[0]], middle, [2 * log_snr[-1] - middle[-1]]])
