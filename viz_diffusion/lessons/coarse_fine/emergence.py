"""Emergence of frequencies: the timestep from which x̂_0 has a frequency in common with the finished image.

It is compared with two predictions from real digits and the schedule: of a filter that treats all waves of one
frequency alike (Dieleman 2024; Falck et al. 2025 dispute that it is necessary), and of the best linear denoiser of
each label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.latent_space import latent_space_of, pictures_of
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.samplers import Denoiser
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
from viz_diffusion.lessons.context import Progress, silent
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
    real: Float64
    """(F,) float64: control, the emergence of N noised held-out digits with the same labels, whose x̂_0 is compared with
    the digit itself."""
    real_resampled: NDArray[np.int16]
    """(R, F) int16: the same for R bootstrap resamples of the digits."""
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
    denoiser: Denoiser,
    traces: Trajectory,
    training: Digits,
    heldout: Digits,
    frames: int = FRAMES[0],
    resamples: int = RESAMPLES[0],
    digit: int = 5,
    progress: Progress = silent,
) -> CoarseFine:
    """Compute the coherence of x̂_0 with the finished images of recorded generations, frequency by frequency.

    As a control the same is computed for noised held-out digits, where x̂_0 is compared with the digit itself.

    The mean of the training digits with the same label is subtracted from both, since the label alone determines it.
    With a = F(x̂_0) and b = F(x_0) of the differences, the squared coherence is (Σ Re ab*)² / (Σ|a|² Σ|b|²), summed over
    a ring of modes and all generations; it is 0 where Σ Re ab* is negative.
    """
    schedule, T = traces.schedule, traces.schedule.num_train_timesteps
    chosen = np.unique(np.linspace(0, traces.num_steps - 1, min(frames, traces.num_steps)).round().astype(np.int64))
    means = {int(k): training.images[training.labels == k, 0].mean(dim=0).numpy() for k in np.unique(traces.labels)}
    mean = np.stack([means[int(k)] for k in traces.labels])
    timesteps = traces.timesteps[chosen].astype(np.int64)
    finished = _grey(denoiser, traces.x0)
    powers = _powers(finished - mean, (_grey(denoiser, traces.x0_pred[:, step]) - mean for step in chosen))
    shared, power = _shares(*powers, np.arange(len(mean)))
    rows = held_out_rows(heldout, traces.labels)
    digits = heldout.images[rows, 0].numpy()
    predicted = _predict_noised(denoiser, traces, heldout.images[rows], timesteps, progress)
    real = _powers(digits - mean, (one - mean for one in predicted))
    rng = np.random.default_rng(900)
    resampled = _resample(powers, timesteps, resamples, rng)
    known = spectrum(training, per_label=True)
    image = int(np.flatnonzero(traces.labels == digit)[0]) if digit in traces.labels else 0
    return CoarseFine(
        frequencies=FREQUENCIES,
        timesteps=timesteps,
        num_train_timesteps=T,
        shared=shared.astype(np.float32),
        power=power.astype(np.float32),
        emergence=_emergence(shared, timesteps),
        resampled=resampled,
        real=_emergence(_shares(*real, np.arange(len(mean)))[0], timesteps),
        real_resampled=_resample(real, timesteps, resamples, rng),
        predicted=predicted_emergence(known, schedule),
        predicted_unlabelled=predicted_emergence(spectrum(training, per_label=False), schedule),
        linear=half_shared(linear_coherence(training, schedule)),
        count=len(mean),
        bands=_bands(denoiser, traces, image),
        digit=int(traces.labels[image]),
    )


Powers = tuple[Float64, Float64, Float64]
"""(K, N, F) products of x̂_0 with the image, (K, N, F) powers of x̂_0, and (N, F) powers of the image."""


def held_out_rows(heldout: Digits, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) rows of different held-out digits with (N,) labels, or of the first ones where there are too few."""
    places = {int(k): np.flatnonzero((heldout.labels == int(k)).numpy()) for k in np.unique(labels)}
    places = {k: rows if len(rows) else np.arange(len(heldout.images)) for k, rows in places.items()}
    seen = [int((labels[:n] == labels[n]).sum()) for n in range(len(labels))]
    return np.array([places[int(k)][n % len(places[int(k)])] for k, n in zip(labels, seen, strict=True)])


def _predict_noised(
    denoiser: Denoiser, traces: Trajectory, x0: torch.Tensor, timesteps: NDArray[np.int64], progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Yield (N, H, W) x̂_0 of noised digits at each t, under the labels of the traces, clipped as theirs."""
    space = latent_space_of(denoiser)
    x0 = x0 if space is None else space.encode(x0)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(901))
    labels = torch.from_numpy(traces.labels)
    for done, t in enumerate(timesteps.tolist()):
        x_t = traces.schedule.add_noise(x0, noise, t)
        guess = traces.schedule.predict_x0(x_t, predict_noise(denoiser, x_t, t, labels), t)
        progress(done + 1, len(timesteps), "real digits noised, and predicted")
        yield pictures_of(denoiser, guess)[:, 0].clamp(-1, 1).numpy()


def _powers(images: NDArray[np.float32], predicted: Iterable[NDArray[np.float32]]) -> Powers:
    """Return products and powers of K predictions of (N, H, W) images, in the rings of frequencies."""
    end = np.fft.fft2(images, norm="ortho")
    cross, pred_power = [], []
    for one in predicted:
        pred = np.fft.fft2(one, norm="ortho")
        cross.append(rings((pred * end.conj()).real))
        pred_power.append(rings(np.square(np.abs(pred))))
    return np.stack(cross), np.stack(pred_power), rings(np.square(np.abs(end)))


def _resample(
    powers: Powers, timesteps: NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Return (R, F) the emergence for bootstrap resamples of the images."""
    images = np.arange(powers[2].shape[0])
    found = [_emergence(_shares(*powers, rng.choice(images, images.size))[0], timesteps) for _ in range(resamples)]
    return np.stack(found).astype(np.int16)


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


def _grey(denoiser: Denoiser, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, H, W) grey images of (N, C, H, W) x: of latents, what the decoder makes of them."""
    images: NDArray[np.float32] = pictures_of(denoiser, torch.from_numpy(x))[:, 0].numpy()
    return images


def _bands(denoiser: Denoiser, traces: Trajectory, image: int) -> Bands:
    """Return x̂_0 of one generation at a few timesteps, the last of them the finished image, split into bands."""
    T = traces.schedule.num_train_timesteps
    wanted = np.array(SHOWN_TIMESTEPS) * (T - 1) // 999
    steps = list(dict.fromkeys(int(np.abs(traces.timesteps - t).argmin()) for t in wanted))
    shown = _grey(denoiser, traces.x0_pred[image, steps])
    return Bands(traces.timesteps[steps].astype(np.int64), shown, split(shown), EDGES)


def frequency_correlation(data: CoarseFine) -> tuple[float, float, float]:
    """Return Spearman's rank correlation of frequency with the t of emergence, and its 95% bootstrap interval."""
    low, high = np.quantile(rank_correlation(data.frequencies, data.resampled), (0.025, 0.975))
    return float(rank_correlation(data.frequencies, data.emergence)), float(low), float(high)


def mean_deviation(emergence: NDArray[Any], predicted: Float64) -> Float64:
    """Return the mean absolute deviation over f of (..., F) timesteps from the predicted ones."""
    return np.asarray(np.abs(emergence - predicted).mean(axis=-1))
