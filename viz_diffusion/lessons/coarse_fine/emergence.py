"""Emergence of frequencies: the timestep from which x̂_0 has a frequency in common with the finished image.

It is compared with two predictions from real digits and the schedule: of a filter that treats all waves of one
frequency alike (Dieleman 2024; Falck et al. 2025 dispute that it is necessary), and of the best linear denoiser of
each label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data import Digits
from viz_diffusion.evaluation.statistics import rank_correlation
from viz_diffusion.lessons.coarse_fine.figures import Bands
from viz_diffusion.lessons.coarse_fine.spectra import (
    EDGES,
    FREQUENCIES,
    half_shared,
    linear_coherence,
    predicted_emergence,
    rings,
    spectrum,
    split,
)
from viz_diffusion.recording.trajectory import Trajectory

Float64 = NDArray[np.float64]
FRAMES = (250, 500)
"""Recorded steps that are compared, quick and full."""
RESAMPLES = (200, 2000)
"""Bootstrap resamples of the generations, quick and full."""
SHOWN_TIMESTEPS = (999, 700, 500, 400, 300, 200, 100, 0)
"""Timesteps at which the parts are drawn, for T = 1000."""


@dataclass(frozen=True, eq=False)
class CoarseFine:
    """Coherence of x̂_0 with the finished image in N generations, at F frequencies and K timesteps."""

    frequencies: NDArray[np.int64]
    """(F,) int64, rising, cycles per image."""
    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    num_train_timesteps: int
    """T."""
    shared: NDArray[np.float32]
    """(K, F) float32, 0 to 1: squared coherence of x̂_0 with the finished image."""
    power: NDArray[np.float32]
    """(K, F) float32: power of x̂_0 over that of the finished image."""
    emergence: Float64
    """(F,) float64: the t from which ``shared`` stays at a half or more; 0 where it never does."""
    resampled: NDArray[np.int16]
    """(R, F) int16: the same for R bootstrap resamples of the generations."""
    predicted: Float64
    """(F,) float64: the t where ᾱS = 1-ᾱ, with S the power of real digits about their label's mean."""
    predicted_unlabelled: Float64
    """(F,) float64: the same about the mean of all digits."""
    linear: Float64
    """(F,) float64: the t where the squared coherence of the best linear denoiser of each label is a half."""
    count: int
    """N, the number of generations."""
    bands: Bands
    """x̂_0 of one generation, split into coarse, middle and fine parts."""
    digit: int
    """Its label."""

    @property
    def interval(self) -> Float64:
        """(2, F) the 95% bootstrap interval of ``emergence``."""
        return np.asarray(np.quantile(self.resampled, (0.025, 0.975), axis=0))


def measure_coarse_fine(
    traces: Trajectory, training: Digits, frames: int = FRAMES[0], resamples: int = RESAMPLES[0], digit: int = 5
) -> CoarseFine:
    """Compute the coherence of x̂_0 with the finished images of recorded generations, frequency by frequency.

    The mean of the training digits with the same label is subtracted from both, since the label alone determines it.
    With a = F(x̂_0) and b = F(x_0) of the differences, the squared coherence is (Σ Re ab*)² / (Σ|a|² Σ|b|²), summed over
    a ring of modes and all generations; it is 0 where Σ Re ab* is negative.
    """
    schedule, T = traces.schedule, traces.schedule.num_train_timesteps
    chosen = np.unique(np.linspace(0, traces.num_steps - 1, min(frames, traces.num_steps)).round().astype(np.int64))
    means = {int(k): training.images[training.labels == k, 0].mean(dim=0).numpy() for k in np.unique(traces.labels)}
    mean = np.stack([means[int(k)] for k in traces.labels])
    end = np.fft.fft2(traces.x0[:, 0] - mean, norm="ortho")
    final_power = rings(np.square(np.abs(end)))
    cross, pred_power = (np.empty((len(chosen), *final_power.shape)) for _ in range(2))
    for row, step in enumerate(chosen):
        pred = np.fft.fft2(traces.x0_pred[:, step, 0] - mean, norm="ortho")
        cross[row], pred_power[row] = rings((pred * end.conj()).real), rings(np.square(np.abs(pred)))
    timesteps = traces.timesteps[chosen].astype(np.int64)
    generations = np.arange(len(mean))
    shared, power = _shares(cross, pred_power, final_power, generations)
    rng = np.random.default_rng(900)
    resampled = [
        _emergence(_shares(cross, pred_power, final_power, rng.choice(generations, generations.size))[0], timesteps)
        for _ in range(resamples)
    ]
    known = spectrum(training, per_label=True)
    image = int(np.flatnonzero(traces.labels == digit)[0]) if digit in traces.labels else 0
    return CoarseFine(
        frequencies=FREQUENCIES,
        timesteps=timesteps,
        num_train_timesteps=T,
        shared=shared.astype(np.float32),
        power=power.astype(np.float32),
        emergence=_emergence(shared, timesteps),
        resampled=np.stack(resampled).astype(np.int16),
        predicted=predicted_emergence(known, schedule),
        predicted_unlabelled=predicted_emergence(spectrum(training, per_label=False), schedule),
        linear=half_shared(linear_coherence(training, schedule)),
        count=len(mean),
        bands=_bands(traces, image),
        digit=int(traces.labels[image]),
    )


def _shares(
    cross: Float64, pred_power: Float64, final_power: Float64, chosen: NDArray[np.int64]
) -> tuple[Float64, Float64]:
    """Return (K, F) squared coherence and power, summed over the chosen of N generations."""
    common, power = cross[:, chosen].sum(axis=1), pred_power[:, chosen].sum(axis=1)
    final = final_power[chosen].sum(axis=0)
    shared = np.square(np.maximum(common, 0)) / np.maximum(power * final, 1e-30)
    return shared, power / np.maximum(final, 1e-30)


def _emergence(shared: Float64, timesteps: NDArray[np.int64]) -> Float64:
    """Return (F,) the largest t from which down to the end ``shared`` is at least a half; 0 where it never is."""
    lasting = np.logical_and.accumulate(shared[::-1] >= 0.5, axis=0).sum(axis=0)  # steps before the end
    first = len(timesteps) - lasting
    return np.where(lasting > 0, timesteps[np.minimum(first, len(timesteps) - 1)], 0).astype(np.float64)


def _bands(traces: Trajectory, image: int) -> Bands:
    """Return x̂_0 of one generation at a few timesteps, the last of them the finished image, split into bands."""
    T = traces.schedule.num_train_timesteps
    wanted = np.array(SHOWN_TIMESTEPS) * (T - 1) // 999
    steps = list(dict.fromkeys(int(np.abs(traces.timesteps - t).argmin()) for t in wanted))
    shown = traces.x0_pred[image, steps, 0]
    return Bands(traces.timesteps[steps].astype(np.int64), shown, split(shown), EDGES)


def frequency_correlation(data: CoarseFine) -> tuple[float, float, float]:
    """Return Spearman's rank correlation of frequency with the t of emergence, and its 95% bootstrap interval."""
    low, high = np.quantile(rank_correlation(data.frequencies, data.resampled), (0.025, 0.975))
    return float(rank_correlation(data.frequencies, data.emergence)), float(low), float(high)


def mean_deviation(emergence: NDArray[Any], predicted: Float64) -> Float64:
    """Return the mean absolute deviation over f of (..., F) timesteps from the predicted ones."""
    return np.asarray(np.abs(emergence - predicted).mean(axis=-1))
