"""Maximum likelihood estimates of t from the constant pixels at the border of the image.

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


def estimate_from_border(
    schedule: NoiseSchedule, pixels: int, timesteps: NDArray[np.int64], count: int = BORDER_COUNT, seed: int = 0
) -> tuple[Float64, Float64]:
    """Estimate t from ``pixels`` that are black (-1) in every clean image, by maximum likelihood.

    Such a pixel of x_t is drawn from N(-√ᾱ, 1-ᾱ), so that many of them determine t.

    Returns
    -------
    (K,) RMS errors of the estimate over ``count`` images, and (T,) the smallest standard deviation of an unbiased
    estimate (Cramér-Rao): 1/√(pixels · I(t)) with I = m'²/v + v'²/(2v²), the Fisher information of a Gaussian. Infinite
    without pixels.
    """
    mean, variance = -np.sqrt(schedule.alphas_cumprod), 1 - schedule.alphas_cumprod
    if not pixels:
        return np.full(len(timesteps), np.inf), np.full(len(mean), np.inf)
    information = np.gradient(mean) ** 2 / variance + np.gradient(variance) ** 2 / (2 * variance**2)
    rng = np.random.default_rng([seed, 15])
    errors = []
    for t in timesteps:
        x = mean[t] + np.sqrt(variance[t]) * rng.standard_normal((count, pixels))
        first, second = x.mean(axis=1)[:, None], np.square(x).mean(axis=1)[:, None]
        cost = np.log(variance) + (second - 2 * mean * first + mean**2) / variance  # -2 ln likelihood, per pixel
        errors.append(np.sqrt(np.square(cost.argmin(axis=1) - t).mean()))
    return np.array(errors), 1 / np.sqrt(pixels * information)
