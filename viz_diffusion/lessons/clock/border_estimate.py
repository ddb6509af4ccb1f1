"""Maximum likelihood estimates of t from pixels at the border that are black in every clean image.

Knows nothing about networks, figures or texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule

Float64 = NDArray[np.float64]
BORDER_TIMESTEPS = (9, 99, 249, 499, 699)
"""Where t is estimated from the border, for T = 1000."""
BORDER_COUNT = 400
"""Images whose t is estimated, at each timestep."""


def estimate_timesteps(pixels: NDArray[np.floating], schedule: NoiseSchedule) -> NDArray[np.int64]:
    """Return the (B,) most likely t of (B, P) pixels of x_t that are black (-1) in every clean image.

    Such a pixel of x_t is drawn from N(-√ᾱ, 1-ᾱ), so that many of them determine t.
    """
    mean, variance = -np.sqrt(schedule.alphas_cumprod), 1 - schedule.alphas_cumprod
    first = pixels.mean(axis=1, dtype=np.float64)[:, None]
    second = np.square(pixels, dtype=np.float64).mean(axis=1)[:, None]
    cost = np.log(variance) + (second - 2 * mean * first + mean**2) / variance  # -2 ln likelihood, per pixel
    return cost.argmin(axis=1)


def estimate_from_border(
    schedule: NoiseSchedule, pixels: int, timesteps: NDArray[np.int64], count: int = BORDER_COUNT, seed: int = 0
) -> tuple[Float64, Float64, Float64]:
    """Measure how well ``pixels`` that are black in every clean image determine t, by :func:`estimate_timesteps`.

    Returns
    -------
    (K,) RMS errors of the estimate over ``count`` images; (K,) shares of the estimates that are T-1, the largest one
    possible, which is why the errors may be below the third; and (T,) the smallest standard deviation of an unbiased
    estimate (Cramér-Rao): 1/√(pixels · I(t)) with I = m'²/v + v'²/(2v²), the Fisher information of a Gaussian. Errors
    and bound are infinite without pixels.
    """
    mean, variance = -np.sqrt(schedule.alphas_cumprod), 1 - schedule.alphas_cumprod
    if not pixels:
        return np.full(len(timesteps), np.inf), np.zeros(len(timesteps)), np.full(len(mean), np.inf)
    information = np.gradient(mean) ** 2 / variance + np.gradient(variance) ** 2 / (2 * variance**2)
    rng = np.random.default_rng([seed, 15])
    errors, at_end = [], []
    for t in timesteps:
        x = mean[t] + np.sqrt(variance[t]) * rng.standard_normal((count, pixels))
        found = estimate_timesteps(x, schedule)
        errors.append(np.sqrt(np.square(found - t).mean()))
        at_end.append((found == len(mean) - 1).mean())
    return np.array(errors), np.array(at_end), 1 / np.sqrt(pixels * information)
