"""What follows from the lengths of the predicted noise: numbers for texts, and the claims about exposure bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viz_diffusion.evaluation.intervals import all_surely, surely
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.step.directions import half_interval
from viz_diffusion.lessons.step.exposure_bias import ExposureBias, Float64, longer

TOLD = 100
"""Of T = 1000: the timestep whose lengths texts name."""
NEAR_END = 10
"""Of T = 1000: the timestep near the end at which the sources of the difference are compared, as at the last one."""
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
    end_t: tuple[float, float]
    """A timestep near the end, and the last one: the next facts are of these two."""
    end_excess: tuple[float, float]
    """The excess there."""
    end_excess_half: tuple[float, float]
    """Half its interval."""
    end_to_real: tuple[float, float]
    """Length of ε̂ on generated states over that on noised held-out digits, minus 1."""
    end_to_real_half: tuple[float, float]
    """Half its interval."""
    end_tilde: tuple[float, float]
    """The excess with the variance β̃."""
    end_tilde_half: tuple[float, float]
    """Half its interval."""
    end_exact: tuple[float, float]
    """The excess of the exact denoiser of one Gaussian with the variance β; closed form."""
    end_exact_tilde: tuple[float, float]
    """The same with the variance β̃."""
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
    told = _place(data, TOLD)
    too_long, _ = data.too_long()
    farthest = int(np.abs(too_long).argmax())
    power, loss = data.power.mean(axis=0), (1 - data.power + 2 * data.overlap).mean(axis=0)
    to_real, to_real_half = _to_real(data)
    near = _place(data, NEAR_END)

    def at_end(values: Float64) -> tuple[float, float]:
        return float(values[near]), float(values[-1])

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
        end_t=at_end(data.timesteps),
        end_excess=at_end(excess),
        end_excess_half=at_end(half),
        end_to_real=at_end(to_real),
        end_to_real_half=at_end(to_real_half),
        end_tilde=at_end(data.tilde.mean(axis=0)),
        end_tilde_half=at_end(half_interval(data.tilde)),
        end_exact=at_end(data.exact),
        end_exact_tilde=at_end(data.exact_tilde),
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
    at_end = _longer(data)
    return (
        Claim("shorter", within, {"shorter_near": NEAR}),
        at_end,
        Claim("exposure_network", _by_network(data) if at_end.holds else None),  # else there is nothing to explain
    )


def _longer(data: ExposureBias) -> Claim:
    """Decide at each timestep whether ε̂ is longer on generated states, all together; the claim is about the last one.

    From which compared timestep on it is surely longer, and at how many of those before it surely differs, are told.
    """
    excess, half = data.excess.mean(axis=0), half_interval(data.excess, len(data.timesteps))
    sure = excess > half
    run = int(np.argmin(np.append(sure[::-1], False)))  # timesteps at the end at which it is surely longer
    start = len(sure) - max(run, 1)
    before = np.abs(excess[:start]) > half[:start]
    facts = {
        "exposure_from_t": float(data.timesteps[start]),
        "exposure_from": float(excess[start]),
        "exposure_from_half": float(half_interval(data.excess)[start]),
        "exposure_before": start,
        "exposure_before_sure": int(before.sum()),
    }
    return Claim("exposure", surely(excess[-1] - half[-1], excess[-1] + half[-1]), facts)


def _by_network(data: ExposureBias) -> bool | None:
    """Return whether with β̃ more than half of the excess stays, near the end and at it; None where they differ."""
    places = [_place(data, NEAR_END), -1]
    rest = data.tilde.mean(axis=0) - data.excess.mean(axis=0) / 2
    half = np.hypot(half_interval(data.tilde, 2), half_interval(data.excess, 2) / 2)
    answers = {surely(rest[place] - half[place], rest[place] + half[place]) for place in places}
    return answers.pop() if len(answers) == 1 else None


def _place(data: ExposureBias, t: int) -> int:
    """Return the index of the compared timestep nearest to t of T = 1000."""
    return int(np.abs(data.timesteps - t * data.num_train_timesteps / 1000).argmin())


def _to_real(data: ExposureBias) -> tuple[Float64, Float64]:
    """Return (K,) how much longer ε̂ is on generated states than on noised held-out digits, and half."""
    scale = data.real.mean(axis=0)
    own, other = longer(data.generated, scale), longer(data.real, scale)
    return own.mean(axis=0), np.hypot(half_interval(own), half_interval(other))
