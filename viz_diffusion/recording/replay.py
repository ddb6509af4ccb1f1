"""A recording made again from itself: the noise that was injected, drawn anew from the seeds, and each next state.

What a recording does not hold, fresh noise, its seeds give back. Knows nothing about networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Float32, Trajectory


def injected_noise(trajectory: Trajectory) -> Float32:
    """Return the fresh noise z of each step, drawn anew from the recording's seeds.

    Returns
    -------
    (B, S, C, H, W) float32
        Standard normal; zero where the sampler injects none (the last step; DDIM with η = 0; DPM-Solver++).

    Raises
    ------
    VizdiffUsageError
        Where a seed is not known, or another program sampled.
    """
    _check(trajectory)
    noise = ImageNoise(trajectory.seeds.tolist(), trajectory.x_t.shape[2:])
    noise.draw()  # x_T
    drawn = np.zeros_like(trajectory.x_t)
    if trajectory.variance or trajectory.eta:
        for step in range(trajectory.num_steps - 1):
            drawn[:, step] = noise.draw().numpy()
    return drawn


def next_states(trajectory: Trajectory) -> Float32:
    """Return what each step makes of the recorded x_t, x̂_0 and the noise drawn anew.

    Equal to the states that were recorded next, up to rounding: DDPM by Ho et al. 2020, eq. 7 and 15; DDIM by Song
    et al. 2021, eq. 12; DPM-Solver++(2M) by Lu et al. 2022b, algorithm 2.

    Returns
    -------
    (B, S, C, H, W) float32
        x_{t-1} of each step; the last is the finished image.
    """
    z = injected_noise(trajectory)
    spaced = trajectory.schedule.respaced(trajectory.timesteps[::-1])
    index = np.arange(trajectory.num_steps)[::-1][None]
    x_t, x0 = trajectory.x_t, trajectory.x0_pred
    if trajectory.sampler == "ddpm":
        variances = spaced.betas if trajectory.variance == "beta" else spaced.posterior_variance
        return spaced.posterior_mean(x0, x_t, index) + _at(np.sqrt(variances), index) * z
    if trajectory.sampler == "ddim":
        share, sigma = spaced.alphas_cumprod_prev, trajectory.eta * np.sqrt(spaced.posterior_variance)
        direction = spaced.predict_eps(x_t, x0, index)
        kept, turned = _at(np.sqrt(share), index) * x0, _at(np.sqrt(1 - share - sigma**2), index) * direction
        return kept + turned + _at(sigma, index) * z
    return _solver_states(spaced, index, x_t, x0)


def _solver_states(spaced: NoiseSchedule, index: NDArray[np.int64], x_t: Float32, x0: Float32) -> Float32:
    """Return the next states of DPM-Solver++(2M), whose guesses lean on the guess before."""
    half_log_snr = spaced.log_snr / 2
    h = np.concatenate([[np.inf], half_log_snr[:-1]]) - half_log_snr
    ahead = np.concatenate([[0.0], h[1:-1] / (2 * h[2:]), [0.0]])[: len(h)]  # first order at both ends
    before = np.concatenate([x0[:, :1], x0[:, :-1]], axis=1)
    direction = x0 + _at(ahead, index) * (x0 - before)
    spread, spread_prev = np.sqrt(1 - spaced.alphas_cumprod), np.sqrt(1 - spaced.alphas_cumprod_prev)
    towards = -np.sqrt(spaced.alphas_cumprod_prev) * np.expm1(-h)
    return _at(spread_prev / spread, index) * x_t + _at(towards, index) * direction


def _at(table: NDArray[np.float64], index: NDArray[np.int64]) -> Float32:
    """Return float32 factors for (B, S, C, H, W)."""
    return table[index].astype(np.float32)[..., None, None, None]


def _check(trajectory: Trajectory) -> None:
    if (trajectory.seeds < 0).any():
        raise VizdiffUsageError("the seeds of this recording are not known, and so neither is its noise")
    if trajectory.sampler not in ("ddpm", "ddim", "dpm-solver++"):
        raise VizdiffUsageError(
            f"this recording was sampled by {trajectory.sampler or 'an unknown sampler'}; "
            "ddpm, ddim and dpm-solver++ can be made again"
        )
