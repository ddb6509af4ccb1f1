"""The samplers Euler and Heun: the probability-flow equation solved in the noise level σ of flow matching.

Both work on any schedule. From x_t = a x_0 + b ε they take x_σ = x_t / (a + b) = (1-σ) x_0 + σ ε, where
σ = b / (a + b), and solve

    dx_σ/dσ = v(x_σ, σ) = ε̂ - x̂_0        (Lipman et al. 2023; Liu et al. 2023, with σ running from data to noise)

from the first timestep's σ, which is 1 in flow matching, to 0. The equation of a variance-preserving process (Song et
al. 2021b, eq. 13) is the same one in these variables. They know nothing about recording, files or figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.samplers import Denoiser, Noise, Prediction, Step, predict, visited_schedule
from viz_diffusion.diffusion.schedule import NoiseSchedule


@torch.no_grad()
def euler_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    guidance_scale: float | Tensor = 1.0,
    clip: bool = True,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by Euler's method: first order, one evaluation a step; parameters as in ddpm_steps.

    A step goes to (1-σ') x̂_0 + σ' ε̂, which is what DDIM does with η = 0.
    """
    yield from _solve(denoiser, schedule, noise, labels, timesteps, guidance_scale, clip, null_label, order=1)


@torch.no_grad()
def heun_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    guidance_scale: float | Tensor = 1.0,
    clip: bool = True,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by Heun's method (Karras et al. 2022, algorithm 1, without noise); parameters as in ddpm_steps.

    Second order, and two evaluations a step, except for the last one, to σ = 0, which is Euler's. A :class:`Step` holds
    the first evaluation of its step; the second decides ``x_prev`` only.
    """
    yield from _solve(denoiser, schedule, noise, labels, timesteps, guidance_scale, clip, null_label, order=2)


def _solve(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    timesteps: NDArray[np.int64] | None,
    guidance_scale: float | Tensor,
    clip: bool,
    null_label: int,
    order: int,
) -> Iterator[Step]:
    visited, spaced = visited_schedule(schedule, timesteps)
    total = spaced.signal_scale + spaced.noise_scale  # a + b: 1 in flow matching
    sigma = spaced.noise_scale / total
    # x_T ~ N(0, I)
    x = noise.draw("cpu" if labels is None else labels.device)
    for i, t in zip(reversed(range(len(visited))), visited.tolist(), strict=True):
        # d = v(x, σ) = ε̂ - x̂_0
        found = predict(denoiser, spaced, i, x, t, labels, guidance_scale, null_label, clip)
        direction = _velocity(found, spaced, i, x, clip)
        # x' = x + (σ' - σ) d
        sigma_next, total_next = (sigma[i - 1], total[i - 1]) if i > 0 else (0.0, 1.0)
        step, x_sigma = float(sigma_next - sigma[i]), x / float(total[i])
        x_next = float(total_next) * (x_sigma + step * direction)
        if order == 2 and i > 0:
            # d' = v(x', σ'), x' = x + (σ' - σ) (d + d')/2
            t_next = int(visited[len(visited) - i])
            ahead = predict(denoiser, spaced, i - 1, x_next, t_next, labels, guidance_scale, null_label, clip)
            mean = (direction + _velocity(ahead, spaced, i - 1, x_next, clip)) / 2
            x_next = float(total_next) * (x_sigma + step * mean)
        yield Step(t, x, *found, None, x_next)
        x = x_next


def _velocity(found: Prediction, spaced: NoiseSchedule, index: int, x: Tensor, clip: bool) -> Tensor:
    """Return ε̂ - x̂_0, where ε̂ is what a clipped x̂_0 implies."""
    return (spaced.predict_eps(x, found.x0, index) if clip else found.eps) - found.x0
