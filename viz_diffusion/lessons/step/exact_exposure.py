"""Exposure bias of the exact denoiser of one Gaussian, in closed form: what the sampler alone makes.

Such a denoiser makes no error, so a difference between the states of its generations and noised images comes from the
sampler. Knows nothing about networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule

Float64 = NDArray[np.float64]


def exact_excess(variances: Float64, schedule: NoiseSchedule, variance: str) -> Float64:
    """Return by how much ε̂ is longer on the states of DDPM than on its finished images, noised again, as a share.

    The root mean square lengths are compared. DDPM without clipping is linear in x_t, so along each principal
    direction the variance follows from that before the step; the mean of x_T, √ᾱ_T μ instead of 0, is neglected.

    Parameters
    ----------
    variances
        (D,) float64: λ, the eigenvalues of the covariance of the images.
    schedule
        The S timesteps that are visited only; see ``NoiseSchedule.respaced``.
    variance
        Of the injected noise: ``beta`` or ``beta_tilde``, as in ``ddpm_steps``.

    Returns
    -------
    (S,) float64, by the index of the timestep, rising.
    """
    shares = schedule.alphas_cumprod[:, None]
    injected = schedule.betas if variance == "beta" else schedule.posterior_variance
    per_x0 = np.sqrt(schedule.alphas_cumprod_prev) * schedule.betas / (1 - schedule.alphas_cumprod)
    per_x = np.sqrt(schedule.alphas) * (1 - schedule.alphas_cumprod_prev) / (1 - schedule.alphas_cumprod)
    marginal = shares * variances + 1 - shares
    # x_{t-1} = per_x0 x̂_0 + per_x x_t + σ z, with x̂_0 = √ᾱ λ / (ᾱλ + 1-ᾱ) x_t
    gains = per_x0[:, None] * np.sqrt(shares) * variances / marginal + per_x[:, None]
    generated = np.empty_like(gains)
    now = np.ones_like(variances)
    for t in reversed(range(len(gains))):
        generated[t] = now
        now = now * gains[t] ** 2 + (injected[t] if t > 0 else 0.0)
    again = shares * now + 1 - shares
    # ε̂ = √(1-ᾱ) / (ᾱλ + 1-ᾱ) x_t
    return np.asarray(np.sqrt((generated / marginal**2).sum(axis=1) / (again / marginal**2).sum(axis=1)) - 1)
