"""What follows from the lengths of the predicted noise: numbers for texts, and the claims about exposure bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viz_diffusion.evaluation.intervals import all_surely, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.step.directions import half_interval
from viz_diffusion.lessons.step.exposure_bias import ExposureBias, Float64

TOLD = 100
"""Of T = 1000: the timestep whose lengths texts name."""
NEAR = 0.02
"""Largest relative difference at which the predicted noise counts as being as long as a conditional mean."""


@dataclass(frozen=True)
class ExposureFacts:
    """What texts and JSON files say of the length of ε̂, its L2 norm, at K timesteps; intervals are halves of 95%."""

    exposure_count: int
    """Generations with the variance β."""
    exposure_controls: int
    """Generations of each control."""
    exposure_real_count: int
    """Held-out digits."""
    exposure_draws: int
    """Times that each image was noised at each timestep."""
    exposure_t: tuple[float, ...]
    """(K,) timesteps, falling."""
    noise_length: float
    """√D, the root mean square length of the noise ε itself: 28 for 28 × 28 pixels."""
    exposure_generated: tuple[float, ...]
    """(K,) mean length of ε̂ on generated states."""
    exposure_finished: tuple[float, ...]
    """(K,) the same on the finished images, noised again."""
    exposure_real: tuple[float, ...]
    """(K,) the same on noised held-out digits."""
    exposure_excess: tuple[float, ...]
    """(K,) mean over the generations of the first over the second, minus 1."""
    exposure_excess_half: tuple[float, ...]
    """(K,) half its interval."""
    exposure_mean: float
    """Mean of the excess over the compared timesteps below T/2."""
    exposure_mean_half: float
    """Half its interval."""
    exposure_most: float
    """The excess farthest from 0."""
    exposure_most_half: float
    """Half its interval."""
    exposure_most_t: float
    """Its timestep."""
    exposure_to_real: float
    """Length of ε̂ on generated states over that on noised held-out digits, minus 1, mean over t < T/2."""
    exposure_to_real_half: float
    """Half its interval."""
    exposure_tilde: float
    """Mean excess over t < T/2 with the variance β̃."""
    exposure_tilde_half: float
    """Half its interval."""
    exposure_exact: float
    """Mean excess over t < T/2 of the exact denoiser of one Gaussian, with the variance β."""
    exposure_exact_half: float
    """Half its interval."""
    shorter_t: float
    """The timestep whose lengths texts name."""
    shorter_length: float
    """Root mean square length of ε̂ on noised held-out digits there."""
    shorter_loss: float
    """Mean squared error of ε̂ per pixel there."""
    shorter_expected: float
    """√(D (1 - loss)): the length of a conditional mean with this loss."""
    shorter_most: float
    """The relative difference of the two lengths farthest from 0, over all K timesteps."""
    shorter_most_t: float
    """Its timestep."""


def exposure_facts(data: ExposureBias) -> ExposureFacts:
    """Return the numbers that captions and answers are filled with."""
    excess, half = data.excess.mean(axis=0), half_interval(data.excess)
    most = int(np.abs(excess).argmax())
    told = int(np.abs(data.timesteps - TOLD * data.num_train_timesteps / 1000).argmin())
    too_long, _ = data.too_long()
    farthest = int(np.abs(too_long).argmax())
    power, loss = data.power.mean(axis=0), (1 - data.power + 2 * data.overlap).mean(axis=0)
    means = [_late_mean(data, values) for values in (data.excess, data.tilde, data.exact)]
    to_real, to_real_half = _to_real(data)
    return ExposureFacts(
        exposure_count=len(data.generated),
        exposure_controls=len(data.tilde),
        exposure_real_count=len(data.real),
        exposure_draws=data.draws,
        exposure_t=tuple(data.timesteps.tolist()),
        noise_length=float(np.sqrt(data.pixels)),
        exposure_generated=tuple(data.generated.mean(axis=0).tolist()),
        exposure_finished=tuple(data.finished.mean(axis=0).tolist()),
        exposure_real=tuple(data.real.mean(axis=0).tolist()),
        exposure_excess=tuple(excess.tolist()),
        exposure_excess_half=tuple(half.tolist()),
        exposure_mean=means[0][0],
        exposure_mean_half=means[0][1],
        exposure_most=float(excess[most]),
        exposure_most_half=float(half[most]),
        exposure_most_t=float(data.timesteps[most]),
        exposure_to_real=to_real,
        exposure_to_real_half=to_real_half,
        exposure_tilde=means[1][0],
        exposure_tilde_half=means[1][1],
        exposure_exact=means[2][0],
        exposure_exact_half=means[2][1],
        shorter_t=float(data.timesteps[told]),
        shorter_length=float(np.sqrt(data.pixels * power[told])),
        shorter_loss=float(loss[told]),
        shorter_expected=float(np.sqrt(data.pixels * (1 - loss[told]))),
        shorter_most=float(too_long[farthest]),
        shorter_most_t=float(data.timesteps[farthest]),
    )


def exposure_claims(data: ExposureBias) -> tuple[Claim, ...]:
    """Decide whether ε̂ is as long as a conditional mean, longer on the sampler's own states, and by whose fault.

    With the variance β̃ the same network gets less fresh noise: an excess that comes from the network stays.
    """
    ratio, half = data.too_long()
    within = all_surely(
        surely(NEAR - abs(one) - width, NEAR - abs(one) + width) for one, width in zip(ratio, half, strict=True)
    )
    mean, mean_half = _late_mean(data, data.excess)
    tilde, tilde_half = _late_mean(data, data.tilde)
    longer = surely(mean - mean_half, mean + mean_half)
    rest, rest_half = tilde - mean / 2, float(np.hypot(tilde_half, mean_half / 2))
    network = surely(rest - rest_half, rest + rest_half) if longer else None  # without an excess nobody is at fault
    return (
        Claim("shorter", within, {"shorter_near": NEAR}),
        Claim("exposure", longer),
        Claim("exposure_network", network),
    )


def _late_mean(data: ExposureBias, excess: Float64) -> tuple[float, float]:
    """Return the mean of (N, K) excesses over the timesteps below T/2, and half its interval."""
    late = excess[:, data.late].mean(axis=1)
    return float(late.mean()), float(half_interval(late))


def _to_real(data: ExposureBias) -> tuple[float, float]:
    """Return how much longer ε̂ is on generated states than on noised held-out digits, over t < T/2, and half."""
    scale = data.real[:, data.late].mean(axis=0)
    own, other = ((lengths[:, data.late] / scale).mean(axis=1) for lengths in (data.generated, data.real))
    return float(own.mean() - 1), float(np.hypot(half_interval(own), half_interval(other)))
