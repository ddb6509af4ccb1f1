"""Six mistakes that people make in a sampler, and six detectors; the correct sampler twice beside them.

All are put around the package's own DDPM sampler, so that each differs from the correct one by its mistake alone; the
detectors look at what was recorded, and do not know which mistake was made. Part of the lesson on mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.interventions import Change, WithInterventions
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, Noise, Step, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.evaluation.intervals import Z_95
from viz_diffusion.evaluation.statistics import rank_correlation

Float64 = NDArray[np.float64]
STEPS = 50
LAST_SEED = 1_000_000
"""The mistaken noise of the last step comes from a seed that is larger by this, and not from the first state's own."""
MISTAKES = ("last_noise", "off_by_one", "no_root", "normalisation", "reversed", "unclipped")
"""The k-th is what the k-th detector is for."""
SAMPLERS = ("right", "right_cosine", *MISTAKES)
DETECTORS = ("rest", "clock", "power", "grey", "order", "beyond")
LIMITS = (1e-3, 0.5, 0.05, 0.25, 0.5, 2.0)
"""What a detector's number may be at most before it counts as caught; see :func:`detect`."""


@dataclass(frozen=True, eq=False)
class Record:
    """What is seen of B generations of S steps, one step after another; no step is kept."""

    told: NDArray[np.int64]
    """(S,) int64: the time that the network was told at each step."""
    implied: NDArray[np.int64]
    """(S,) int64: the t whose √ᾱ joins x_t, ε̂ and x̂_0."""
    power: Float64
    """(S-1,) float64: mean square of what each step but the last put on beyond its mean, over its variance σ²."""
    roughness: Float64
    """(S+1,) float64: mean square of the difference of neighbours in a row, of the states and the finished images."""
    beyond: float
    """The largest |x̂_0| that was used."""
    last_guess: Tensor
    """(B, 1, H, W) float32: x̂_0 of the last step, as used."""
    x0: Tensor
    """(B, 1, H, W) float32: the finished images."""
    strip: NDArray[np.float32]
    """(S+1, H, W) float32: the states and the finished image of one of the B, as they came about."""
    shown: NDArray[np.int64]
    """(S+1,) int64: in which order they stand in a strip."""


def detect(record: Record, training_mean: float) -> tuple[Float64, Float64]:
    """Return (6,) numbers that are about 0 for a correct sampler (the last: at most 1), and half their 95% intervals.

    ``rest``: RMS of the finished images minus the last x̂_0, for the last step adds nothing to it.
    ``clock``: by how many timesteps the t whose √ᾱ joins x_t, ε̂ and x̂_0 is off from the t the network was told.
    ``power``: by how much the injected noise's mean square is off from σ².
    ``grey``: by how much the finished images' mean is off from that of the training images; grey runs from -1 to 1.
    ``order``: 1 minus the rank correlation of the shown frames' roughness with the steps left.
    ``beyond``: the largest x̂_0 that was used, in absolute value.

    ``power`` and ``grey`` are estimates; the others are what they are, and their intervals are 0.

    Parameters
    ----------
    training_mean
        Of the training images' grey.
    """
    grey = record.x0.clamp(-1, 1).double().mean(dim=(1, 2, 3))
    power = float(record.power.mean())
    values = [
        float((record.x0 - record.last_guess).double().square().mean().sqrt()),
        float(np.abs(record.implied - record.told).max()),
        abs(power - 1),
        abs(float(grey.mean()) - training_mean),
        1 - float(rank_correlation(record.roughness[record.shown], np.arange(len(record.roughness))[::-1])),
        record.beyond,
    ]
    draws = record.x0.numel() * len(record.power)
    half_power = Z_95 * power * float(np.sqrt(2 / draws))  # χ²: as many squares of normal draws
    half_grey = Z_95 * float(grey.std() / np.sqrt(len(grey)))
    return np.array(values), np.array([0, 0, half_power, half_grey, 0, 0])


def _joining_t(x: Tensor, eps: Tensor, x0: Tensor, schedule: NoiseSchedule) -> int:
    """Return the t for which x = √ᾱ x̂_0 + b ε̂: √ᾱ by least squares over all pixels."""
    columns = torch.stack([x0.flatten(), eps.flatten()], dim=1).double().cpu().numpy()
    signal = float(np.linalg.lstsq(columns, x.flatten().double().cpu().numpy(), rcond=None)[0][0])
    share = min(max(signal * signal, 1e-12), 1 - 1e-12)
    return int(np.abs(schedule.log_snr - np.log(share / (1 - share))).argmin())


class _Weakened:
    """Noise whose fresh draws are multiplied by σ once more: σ² z, where σ z was meant."""

    def __init__(self, noise: Noise, sigmas: list[float]) -> None:
        self._noise = noise
        self._factors = iter([1.0, *sigmas])

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next draw."""
        return next(self._factors) * self._noise.draw(device)


class _ClippedToUnit(nn.Module):
    """A denoiser whose x̂_0 is clipped to [0, 1], as if digits lay there."""

    def __init__(self, denoiser: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Return the ε that goes with the clipped x̂_0."""
        eps = self.denoiser(x, timesteps, labels)
        x0 = self.schedule.predict_x0(x, eps, timesteps).clamp(0, 1)
        return self.schedule.predict_eps(x, x0, timesteps)


def _told(name: str, table: NDArray[np.int64]) -> Change:
    """Tell ``table[t]`` in the place of t."""
    told = torch.from_numpy(np.ascontiguousarray(table))
    return Change(name, lambda x, t, labels: (x, told.to(t.device)[t], labels))


def nearest_by_snr(schedule: NoiseSchedule, known: NoiseSchedule) -> NDArray[np.int64]:
    """Return (T,) at which timestep of ``known`` the SNR is nearest to that of ``schedule`` at each t, in log."""
    return np.abs(schedule.log_snr[:, None] - known.log_snr).argmin(axis=1)


@torch.no_grad()
def run(
    sampler: str, denoiser: nn.Module, schedule: NoiseSchedule, labels: Tensor, seeds: range, kept: int = 0
) -> Record:
    """Generate by one of :data:`SAMPLERS`.

    The cosine schedule's t is translated for the network to the t of its own schedule with the same SNR.

    Parameters
    ----------
    schedule
        The one the denoiser was trained with.
    labels, seeds
        B, what is asked for and the noise.
    kept
        Whose strip is kept, 0 .. B-1.
    """
    T = schedule.num_train_timesteps
    own = np.arange(T)
    visited = spaced_timesteps(T, min(STEPS, T))
    asked, process, told = denoiser, schedule, own
    if sampler in ("right_cosine", "unclipped"):
        process = NoiseSchedule.named("cosine", T)
        told = nearest_by_snr(process, schedule)
    elif sampler == "off_by_one":
        told = np.minimum(own + 1, T - 1)
    elif sampler == "normalisation":
        asked = _ClippedToUnit(denoiser, schedule)
    spaced = process.respaced(visited[::-1])
    sigmas = np.sqrt(spaced.betas)[::-1].tolist()
    noise: Noise = ImageNoise(list(seeds))
    if sampler == "no_root":
        noise = _Weakened(noise, sigmas)
    steps = ddpm_steps(
        WithInterventions(asked, _told(sampler, told)),
        process,
        noise,
        labels.to(device_of(denoiser)),
        timesteps=visited,
        clip=sampler != "unclipped",
    )
    last_noise = torch.zeros(len(labels), 1, 28, 28)
    if sampler == "last_noise":
        last_noise = sigmas[-1] * ImageNoise([LAST_SEED + seed for seed in seeds]).draw()
    shown = np.arange(len(visited) + 1)[:: -1 if sampler == "reversed" else 1]
    return _record(steps, schedule, spaced, told[visited], last_noise, kept, shown)


def _record(
    steps: Iterator[Step],
    known: NoiseSchedule,
    spaced: NoiseSchedule,
    told: NDArray[np.int64],
    last_noise: Tensor,
    kept: int,
    shown: NDArray[np.int64],
) -> Record:
    """Look at a generation's steps as they come; ``last_noise`` is put on the finished images."""
    implied, power, roughness, beyond, strip = [], [], [], 0.0, []
    last = len(told) - 1
    for index, step in enumerate(steps):
        implied.append(_joining_t(step.x_t, step.eps_pred, step.x0_raw, known))
        roughness.append(_roughness(step.x_t))
        beyond = max(beyond, float(step.x0_pred.abs().max()))
        strip.append(step.x_t[kept, 0].cpu().numpy())
        if index < last:
            at = last - index
            put_on = step.x_prev - spaced.posterior_mean(step.x0_pred, step.x_t, at)
            power.append(float(put_on.double().square().mean() / spaced.betas[at]))
    x0 = step.x_prev.cpu() + last_noise
    return Record(
        told,
        np.array(implied),
        np.array(power),
        np.array([*roughness, _roughness(x0)]),
        beyond,
        step.x0_pred.cpu(),
        x0,
        np.stack([*strip, x0[kept, 0].numpy()]),
        shown,
    )


def _roughness(images: Tensor) -> float:
    return float(images.diff(dim=-1).double().square().mean())
