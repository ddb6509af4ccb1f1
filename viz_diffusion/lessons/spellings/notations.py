"""Recorded denoising steps in four notations: by predicted noise, predicted x_0, v, and score.

A first-order step of DDPM, DDIM or Euler goes to w x_t + u x̂_0, plus fresh noise. Since x_t and one prediction
determine every other one (:mod:`viz_diffusion.diffusion.parameterizations`), the same state is a weighted sum of x_t
and of any of them. Needs no network. Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.parameterizations import from_x0_and_eps, to_x0_and_eps, weights_of
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.scaling import scales
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.trajectory import Trajectory

Float64 = NDArray[np.float64]
KINDS = ("epsilon", "sample", "v_prediction", "score")
"""What is predicted in each notation."""
NOISE, X0, V = range(3)
"""Places in :data:`KINDS`; errors are compared in these three, whose predictions are of one size."""
FIRST_ORDER = ("ddpm", "ddim", "euler")
"""Samplers whose next state follows from one prediction."""
ERROR = 0.01
"""RMS of the error that is put on a prediction."""


@dataclass(frozen=True, eq=False)
class Notations:
    """S recorded steps of one image of D values in each of the N notations of :data:`KINDS`."""

    timesteps: NDArray[np.float64]
    """(S,) float64, falling."""
    steps_left: NDArray[np.int64]
    """(S,) int64, falling."""
    update: str
    """Whose step it is: ``ddpm`` or ``ddim``, which with η = 0 is Euler's."""
    of_x_t: Float64
    """(N, S) float64: the weight of x_t in the next state."""
    of_prediction: Float64
    """(N, S) float64: the weight of the prediction."""
    compared: int
    """S · D, the values in which the next states are compared."""
    difference: float
    """The largest difference between two notations' next states, computed in float64."""
    difference_float32: float
    """The same, computed in float32."""
    from_recorded: float | None
    """The largest difference between a notation's next state, with the noise of the recording's seed, and the recorded
    one, in float32; None where the sampler is of another kind or its noise is not known."""
    wrong_sign: float
    """Control: the largest difference where the predicted noise is added instead of subtracted."""
    wrong_timestep: float
    """Control: the largest difference where the weights of x_t and x̂_0 are those of the next step."""
    x0_error: Float64
    """(3, S) float64: RMS error of x̂_0 for an RMS error of 1 on each prediction."""
    eps_error: Float64
    """(3, S) float64: RMS error of ε̂, in the same way."""
    state_error: Float64
    """(3, S) float64: RMS error of the next state, in the same way."""
    sum_to_image: Float64
    """(3,) float64: cosine with the finished image of what a prediction contributes, its weight times it, summed over
    all steps."""
    signal_scale: Float64
    """(S,) float64: a of x_t = a x_0 + b ε."""
    noise_scale: Float64
    """(S,) float64: b."""


def notation_weights(
    kind: str, of_x_t: Float64, of_x0: Float64, signal_scale: Float64, noise_scale: Float64
) -> tuple[Float64, Float64]:
    """Return the weights of x_t and of a prediction p = α ε + β x_0 that give w x_t + u x_0.

    From x_t = a x_0 + b ε follows x_0 = (α x_t - b p) / (a α - b β).

    Parameters
    ----------
    kind
        One of :data:`~viz_diffusion.diffusion.parameterizations.PARAMETERIZATIONS`.
    of_x_t, of_x0
        (S,) float64: w and u.
    signal_scale, noise_scale
        (S,) float64: a and b, above 0.
    """
    alpha, beta = weights_of(kind, signal_scale, noise_scale)
    determinant = signal_scale * alpha - noise_scale * beta
    return of_x_t + of_x0 * alpha / determinant, -of_x0 * noise_scale / determinant


def posterior_weights(schedule: NoiseSchedule) -> tuple[Float64, Float64]:
    """Return (T,) the weights of x_t and x_0 in DDPM's mean of x_{t-1} (Ho et al. 2020, eq. 7)."""
    noise, noise_prev = 1 - schedule.alphas_cumprod, 1 - schedule.alphas_cumprod_prev
    return (
        np.sqrt(schedule.alphas) * noise_prev / noise,
        np.sqrt(schedule.alphas_cumprod_prev) * schedule.betas / noise,
    )


def direct_weights(schedule: NoiseSchedule, eta: float = 0.0) -> tuple[Float64, Float64]:
    """Return (T,) the weights of x_t and x_0 in DDIM's step, before its noise (Song et al. 2021, eq. 12).

    With η = 0 it goes to a' x_0 + b' ε in any scaling, which is Euler's step too.
    """
    signal, noise = schedule.signal_scale, schedule.noise_scale
    signal_prev, noise_prev = scales(schedule.alphas_cumprod_prev, schedule.scaling)
    if eta:
        noise_prev = np.sqrt(np.maximum(noise_prev**2 - eta**2 * schedule.posterior_variance, 0))
    return noise_prev / noise, signal_prev - signal * noise_prev / noise


def measure_notations(trajectory: Trajectory, sample: int = 0) -> Notations:
    """Write each recorded step in every notation, compare the next states, and put errors on the predictions.

    Steps at which nothing of the image is left (a = 0) are left out: ε̂ implies no x̂_0 there.
    """
    spaced = _visited(trajectory)
    is_ddpm = bool(trajectory.variance)
    w, u = posterior_weights(spaced) if is_ddpm else direct_weights(spaced, trajectory.eta)
    falling = [table[::-1] for table in (w, u, spaced.signal_scale, spaced.noise_scale)]
    kept = np.flatnonzero(falling[2] > 0)
    w, u, a, b = (table[kept] for table in falling)
    weights = [notation_weights(kind, w, u, a, b) for kind in KINDS]
    x_t = _flat(trajectory.x_t[sample])[kept]
    x0 = _flat(trajectory.x0_pred[sample])[kept]
    eps = (x_t - a[:, None] * x0) / b[:, None]
    predictions = [from_x0_and_eps(x0, eps, kind, a, b) for kind in KINDS]
    exact = _next_states(x_t, predictions, weights)
    rounded = _next_states(*(_float32(x_t), [_float32(p) for p in predictions]), weights)
    added = _wrong_sign(x_t, predictions[NOISE], weights[NOISE])
    late = np.minimum(np.arange(len(kept)) + 1, len(kept) - 1)
    shifted = w[late, None] * x_t + u[late, None] * x0
    recorded = _without_noise(trajectory, spaced, sample)
    off = None if recorded is None else float(np.abs(rounded - recorded[kept]).max())
    errors = _put_errors(x_t, predictions, (w, u), (a, b))
    return Notations(
        timesteps=trajectory.timesteps[kept].astype(np.float64),
        steps_left=trajectory.steps_left[kept],
        update="ddpm" if is_ddpm else "ddim",
        of_x_t=np.stack([one for one, _ in weights]),
        of_prediction=np.stack([other for _, other in weights]),
        compared=x_t.size,
        difference=_range(exact),
        difference_float32=_range(rounded),
        from_recorded=off,
        wrong_sign=float(np.abs(added - exact[X0]).max()),
        wrong_timestep=float(np.abs(shifted - exact[X0]).max()),
        x0_error=errors[0],
        eps_error=errors[1],
        state_error=errors[2],
        sum_to_image=_sums_to_image(predictions, weights, trajectory.x0[sample].reshape(-1).astype(np.float64)),
        signal_scale=a,
        noise_scale=b,
    )


def _visited(trajectory: Trajectory) -> NoiseSchedule:
    """Return the schedule of the visited timesteps, rising."""
    return trajectory.schedule.respaced(trajectory.timesteps[::-1])


def _flat(images: NDArray[np.float32]) -> Float64:
    """Return (S, D) float64 of (S, C, H, W)."""
    return images.reshape(len(images), -1).astype(np.float64)


def _float32(values: Float64) -> Float64:
    return np.asarray(values, dtype=np.float32)


def _next_states(x_t: Float64, predictions: list[Float64], weights: list[tuple[Float64, Float64]]) -> Float64:
    """Return (N, S, D) next states without fresh noise, in the precision of ``x_t``."""
    columns = ((one[:, None].astype(x_t.dtype), two[:, None].astype(x_t.dtype)) for one, two in weights)
    return np.stack([one * x_t + two * p for p, (one, two) in zip(predictions, columns, strict=True)])


def _wrong_sign(x_t: Float64, eps: Float64, weights: tuple[Float64, Float64]) -> Float64:
    """Return (S, D) next states where the predicted noise is added."""
    return weights[0][:, None] * x_t - weights[1][:, None] * eps


def _range(states: Float64) -> float:
    """Return the largest difference between two of (N, S, D) states."""
    return float((states.max(axis=0) - states.min(axis=0)).max())


def _without_noise(trajectory: Trajectory, spaced: NoiseSchedule, sample: int) -> Float64 | None:
    """Return (S, D) the recorded next states less the noise that the seed gives; None where that is not possible."""
    if trajectory.sampler not in FIRST_ORDER:
        return None
    states = _flat(np.concatenate([trajectory.x_t[sample], trajectory.x0[sample][None]]))
    if not (trajectory.variance or trajectory.eta):
        return states[1:]
    variance = spaced.betas if trajectory.variance == "beta" else spaced.posterior_variance
    sigma = np.sqrt(variance[::-1]) * (1.0 if trajectory.variance else trajectory.eta)
    seed = int(trajectory.seeds[sample])
    if seed < 0:
        return None
    noise = ImageNoise([seed], trajectory.x0.shape[1:])
    if not np.array_equal(noise.draw().numpy().reshape(-1), trajectory.x_t[sample, 0].reshape(-1)):
        return None
    added = np.zeros_like(states[1:])
    for step in range(len(added) - 1):  # the last step adds none
        added[step] = sigma[step] * noise.draw().numpy().reshape(-1)
    return states[1:] - added


def _sums_to_image(predictions: list[Float64], weights: list[tuple[Float64, Float64]], image: Float64) -> Float64:
    """Return (3,) cosines of the (D,) finished image with the summed contributions of noise, x_0 and v."""
    sums = [two @ p for p, (_, two) in zip(predictions[:3], weights, strict=False)]
    lengths = [float(np.linalg.norm(total) * np.linalg.norm(image)) for total in sums]
    return np.array([total @ image / max(length, 1e-12) for total, length in zip(sums, lengths, strict=True)])


def _put_errors(
    x_t: Float64, predictions: list[Float64], update: tuple[Float64, Float64], scale: tuple[Float64, Float64]
) -> tuple[Float64, Float64, Float64]:
    """Return (3, S) RMS errors of x̂_0, of ε̂ and of the next state, for one random error on each prediction."""
    error = np.random.default_rng(500).standard_normal(x_t.shape)
    error *= ERROR / np.sqrt(np.square(error).mean(axis=1, keepdims=True))
    found: list[list[Float64]] = [[], [], []]
    for kind, prediction in zip(KINDS[:3], predictions, strict=False):
        before, after = (to_x0_and_eps(p, x_t, kind, *scale) for p in (prediction, prediction + error))
        states = [update[0][:, None] * x_t + update[1][:, None] * x0 for x0 in (before[0], after[0])]
        pairs = ((before[0], after[0]), (before[1], after[1]), states)
        for kept, (one, other) in zip(found, pairs, strict=True):
            kept.append(np.sqrt(np.square(other - one).mean(axis=1)) / ERROR)
    return np.stack(found[0]), np.stack(found[1]), np.stack(found[2])
