"""Recorded denoising steps as sums of rescaling, removed noise and injected noise.

Needs no network: everything is computed from the recording. Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.lessons.step.directions import StepDirections
from viz_diffusion.lessons.step.exposure_bias import ExposureBias
from viz_diffusion.recording.trajectory import Trajectory

PARTS = ("rescaled", "removed", "injected")
ROUNDING = 1e-3
"""Largest deviation of a step's end by rounding in float32, as a share of the step."""
FARTHEST = 6.0
"""Largest deviation of the injected noise's standard deviation from the formula, in standard errors."""


@dataclass(frozen=True, eq=False)
class StepStudy:
    """What is measured on many generations by DDPM, not on the recorded one."""

    directions: StepDirections
    """Directions of what their steps remove."""
    exposure: ExposureBias
    """The predicted noise on their states and on noised images."""


@dataclass(frozen=True, eq=False)
class StepParts:
    """Every recorded step as a sum: x_{t-1} = x_t + rescaled + removed + injected."""

    trajectory: Trajectory
    """The recording."""
    sample: int
    """Which image of it."""
    rescaled: NDArray[np.float32]
    """(S, C, H, W) float32: what enlarging the image adds, (1/√α - 1) x_t."""
    removed: NDArray[np.float32]
    """(S, C, H, W) float32: the removed noise, a negative multiple of ε̂ (after clipping)."""
    injected: NDArray[np.float32]
    """(S, C, H, W) float32: the fresh noise; 0 where the sampler injects none, and at the last step."""
    ddim_rest: NDArray[np.float64] | None = None
    """(D,) float64: of D steps of DDIM from the same noise, the deviation of each from its formula without fresh
    noise, RMS per pixel over that of the step; None where no such steps were recorded."""
    study: StepStudy | None = None
    """Of many generations by DDPM; None where they were not measured."""

    @property
    def stride(self) -> int | None:
        """By how much every step lowers t; None where steps differ or are not whole."""
        strides = set((self.trajectory.timesteps[:-1] - self.trajectory.timesteps[1:]).tolist())
        return int(strides.pop()) if len(strides) == 1 and float(min(strides)).is_integer() else None


def measure_steps(trajectory: Trajectory, sample: int = 0, *, implied: bool = True) -> StepParts:
    """Split each step into its parts (Ho et al. 2020, algorithm 2, line 4; Song et al. 2021, eq. 12).

    The mean of a step with fresh noise is recomputed from the recorded x̂_0; the rest of the next state was injected.
    A step without fresh noise has no such rest: all of it except the rescaling counts as removed.

    Parameters
    ----------
    implied
        As of :func:`deviation_from_ddim`.
    """
    x_t, x_prev = states(trajectory, sample)
    spaced = _spaced(trajectory)
    scale = (1 / np.sqrt(spaced.alphas[::-1])).astype(np.float32)[:, None, None, None]
    rescaled = (scale - 1) * x_t
    noisy = trajectory.variance or trajectory.eta
    mean = _mean(trajectory, spaced, sample, implied) if noisy else x_prev
    return StepParts(trajectory, sample, rescaled, mean - x_t - rescaled, x_prev - mean)


def measure_recording(trajectory: Trajectory) -> StepParts | None:
    """Split each step of another program's sampler, where the recording itself shows how it was made.

    That is so where every step ends where DDIM's formula without fresh noise says; or where the difference of the next
    state from the mean has the standard deviation of DDPM's variance, or of DDIM's η, and is 0 at the last step.
    The RMS of D normal numbers is their standard deviation, with the relative standard error 1/√(2D).

    Returns
    -------
    The parts, or None where neither holds: then removed and injected noise cannot be told apart.
    """
    if np.any(np.diff(trajectory.alphas_cumprod) <= 0):
        return None
    plain = replace(trajectory, variance="", eta=0.0)
    if any(deviation_from_ddim(trajectory, implied=implied).max() < ROUNDING for implied in (False, True)):
        return measure_steps(plain)
    spaced = _spaced(trajectory)
    variance = spaced.betas if trajectory.variance == "beta" else spaced.posterior_variance
    sigma = np.sqrt(variance[::-1]) * (1.0 if trajectory.variance else trajectory.eta)
    for implied in (False, True) if sigma.any() else ():
        parts = measure_steps(trajectory, implied=implied)
        size = parts.injected[0].size
        spread, change = (pixel_rms(part) for part in (parts.injected, parts.rescaled + parts.removed))
        off = np.abs(spread[:-1] / sigma[:-1] - 1) * np.sqrt(2 * size)
        if spread[-1] <= ROUNDING * change[-1] and np.all(off < FARTHEST):
            return parts
    return None


def deviation_from_ddim(recorded: Trajectory, sample: int = 0, *, implied: bool = True) -> NDArray[np.float64]:
    """Return (S,) the deviation of each step's end from DDIM's formula with η = 0 (Song et al. 2021, eq. 12).

    Parameters
    ----------
    implied
        Whether the formula's noise is what the clipped x̂_0 implies, as in this package, or else the predicted noise,
        as in the paper; without clipping both are the same.

    Returns
    -------
    RMS over the pixels, divided by the RMS of the whole step: below 1e-4 by rounding, above it with fresh noise.
    """
    x_t, x_prev = states(recorded, sample)
    mean = _mean(replace(recorded, variance="", eta=0.0), _spaced(recorded), sample, implied)
    return norms(x_prev - mean) / np.maximum(norms(x_prev - x_t), 1e-12)


def states(trajectory: Trajectory, sample: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (S, C, H, W) the state before each step, and the one after it."""
    x = np.concatenate([trajectory.x_t[sample], trajectory.x0[sample][None]])
    return x[:-1], x[1:]


def norms(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (S,) float64, the L2 norm of each image, over all channels."""
    return np.sqrt(np.square(images, dtype=np.float64).sum(axis=(1, 2, 3)))


def _spaced(trajectory: Trajectory) -> NoiseSchedule:
    """Return the schedule of the visited steps, its index rising with t."""
    if trajectory.step_alphas_cumprod is None:
        return trajectory.schedule.respaced(trajectory.timesteps[::-1])
    shares = trajectory.alphas_cumprod[::-1]
    return NoiseSchedule(1 - shares / np.concatenate([[1.0], shares[:-1]]), trajectory.schedule.name)


def _mean(trajectory: Trajectory, spaced: NoiseSchedule, sample: int, implied: bool) -> NDArray[np.float32]:
    """Return (S, C, H, W) means of the next states, before the noise of DDPM or of DDIM with its η."""
    x_t, x0, eps = trajectory.x_t[sample], trajectory.x0_pred[sample], trajectory.eps_pred[sample]
    index = np.arange(trajectory.num_steps)[::-1]
    if trajectory.variance:
        return spaced.posterior_mean(x0, x_t, index)
    share = spaced.alphas_cumprod_prev[index]
    spread = np.sqrt(1 - share - trajectory.eta**2 * spaced.posterior_variance[index])
    signal, spread = (a.astype(np.float32)[:, None, None, None] for a in (np.sqrt(share), spread))
    return signal * x0 + spread * (spaced.predict_eps(x_t, x0, index) if implied else eps)
