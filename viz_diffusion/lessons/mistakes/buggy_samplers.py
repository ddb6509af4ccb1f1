"""DDPM samplers with one common mistake each, and the correct sampler with two noise schedules.

All wrap the package's own DDPM sampler, so that each differs from the correct one by its mistake only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.interventions import Change, WithInterventions
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.samplers import ImageNoise, Noise, Step, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps

Float64 = NDArray[np.float64]
STEPS = 50
"""Denoising steps of each sampler."""
LAST_SEED = 1_000_000
"""Added to a sample's seed for the mistaken noise of the last step, which is then independent of the first state."""
MISTAKES = ("last_noise", "off_by_one", "no_root", "normalisation", "reversed", "range_one")
"""Names of the mistakes; the k-th detector is for the k-th."""
SAMPLERS = ("right", "right_cosine", *MISTAKES)
"""Names of all samplers: the correct one with the linear and with the cosine schedule, then the mistakes."""


@dataclass(frozen=True, eq=False)
class SamplerRecord:
    """Statistics of B generations of S steps; no step is kept."""

    timesteps: NDArray[np.int64]
    """(S,) int64: the timestep that the network was given at each step."""
    implied_timesteps: NDArray[np.int64]
    """(S,) int64: the t whose √ᾱ fits x_t, ε̂ and x̂_0 at each step."""
    noise_power: Float64
    """(S-1,) float64: mean square of the noise injected at each step but the last, over its variance σ²."""
    roughness: Float64
    """(S+1,) float64: mean squared difference of horizontal neighbours, of the states and of the finished images."""
    last_x_t: Tensor
    """(B, 1, H, W) float32: the state before the last step."""
    last_x0_pred: Tensor
    """(B, 1, H, W) float32: x̂_0 of the last step, as used."""
    x0: Tensor
    """(B, 1, H, W) float32: the finished images."""
    strip: NDArray[np.float32]
    """(S+1, H, W) float32: the states and the finished image of one of the B, in the sequence of sampling."""
    frames: NDArray[np.int64]
    """(S+1,) int64: indices into ``strip``, in the sequence in which a figure shows them."""


def _implied_timestep(x: Tensor, eps: Tensor, x0: Tensor, schedule: NoiseSchedule) -> int:
    """Return the t for which x = √ᾱ x̂_0 + b ε̂, with √ᾱ and b from least squares over all pixels."""
    columns = torch.stack([x0.flatten(), eps.flatten()], dim=1).double().cpu().numpy()
    signal = float(np.linalg.lstsq(columns, x.flatten().double().cpu().numpy(), rcond=None)[0][0])
    share = min(max(signal * signal, 1e-12), 1 - 1e-12)
    return int(np.abs(schedule.log_snr - np.log(share / (1 - share))).argmin())


class _WeakenedNoise:
    """Noise whose injected draws are multiplied by σ once more: σ² z in place of σ z."""

    def __init__(self, noise: Noise, sigmas: list[float]) -> None:
        self._noise = noise
        self._factors = iter([1.0, *sigmas])

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next draw."""
        return next(self._factors) * self._noise.draw(device)


class _ClippedToUnit(nn.Module):
    """A denoiser whose x̂_0 is clipped to [0, 1] in place of [-1, 1]."""

    def __init__(self, denoiser: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Return the ε̂ that the clipped x̂_0 implies."""
        eps = self.denoiser(x, timesteps, labels)
        x0 = self.schedule.predict_x0(x, eps, timesteps).clamp(0, 1)
        return self.schedule.predict_eps(x, x0, timesteps)


def _replace_timesteps(name: str, table: NDArray[np.int64]) -> Change:
    """Return the intervention that gives the network ``table[t]`` in place of t."""
    given = torch.from_numpy(np.ascontiguousarray(table))
    return Change(name, lambda x, t, labels: (x, given.to(t.device)[t], labels))


def nearest_by_snr(schedule: NoiseSchedule, known: NoiseSchedule) -> NDArray[np.int64]:
    """Return (T,) int64, for each t of ``schedule`` the timestep of ``known`` with the nearest log SNR."""
    return np.abs(schedule.log_snr[:, None] - known.log_snr).argmin(axis=1)


@torch.no_grad()
def run_sampler(
    sampler: str, denoiser: nn.Module, schedule: NoiseSchedule, labels: Tensor, seeds: range, kept: int = 0
) -> SamplerRecord:
    """Generate samples with one of :data:`SAMPLERS`.

    With the cosine schedule the network is given the timestep of its own schedule that has the nearest SNR.

    Parameters
    ----------
    schedule
        The schedule that the denoiser was trained with.
    labels, seeds
        (B,) labels, and B seeds of the noise.
    kept
        Index of the sample whose strip is kept, 0 .. B-1.
    """
    T = schedule.num_train_timesteps
    own = np.arange(T)
    visited = spaced_timesteps(T, min(STEPS, T))
    network, process, given = denoiser, schedule, own
    if sampler == "right_cosine":
        process = NoiseSchedule.named("cosine", T)
        given = nearest_by_snr(process, schedule)
    elif sampler == "off_by_one":
        given = np.minimum(own + 1, T - 1)
    elif sampler == "normalisation":
        network = _ClippedToUnit(denoiser, schedule)
    spaced = process.respaced(visited[::-1])
    sigmas = np.sqrt(spaced.betas)[::-1].tolist()
    noise: Noise = ImageNoise(list(seeds))
    if sampler == "no_root":
        noise = _WeakenedNoise(noise, sigmas)
    steps = ddpm_steps(
        WithInterventions(network, _replace_timesteps(sampler, given)),
        process,
        noise,
        labels.to(device_of(denoiser)),
        timesteps=visited,
    )
    if sampler == "range_one":  # ``for t in reversed(range(1, T))``: the step from the smallest t is never done
        steps, visited = islice(steps, len(visited) - 1), visited[:-1]
    last_noise = torch.zeros(len(labels), 1, 28, 28)
    if sampler == "last_noise":
        last_noise = sigmas[-1] * ImageNoise([LAST_SEED + seed for seed in seeds]).draw()
    frames = np.arange(len(visited) + 1)[:: -1 if sampler == "reversed" else 1]
    return _record(steps, schedule, spaced, given[visited], last_noise, kept, frames)


def _record(
    steps: Iterator[Step],
    known: NoiseSchedule,
    spaced: NoiseSchedule,
    timesteps: NDArray[np.int64],
    last_noise: Tensor,
    kept: int,
    frames: NDArray[np.int64],
) -> SamplerRecord:
    """Compute the statistics step by step; ``last_noise`` is added to the finished images."""
    implied, noise_power, roughness, strip = [], [], [], []
    last, missing = len(timesteps) - 1, spaced.num_train_timesteps - len(timesteps)
    for index, step in enumerate(steps):
        implied.append(_implied_timestep(step.x_t, step.eps_pred, step.x0_raw, known))
        roughness.append(_roughness(step.x_t))
        strip.append(step.x_t[kept, 0].cpu().numpy())
        if index < last:
            at = last - index + missing
            injected = step.x_prev - spaced.posterior_mean(step.x0_pred, step.x_t, at)
            noise_power.append(float(injected.double().square().mean() / spaced.betas[at]))
    # a sampler adds no noise at its last step, whichever that is
    x0 = spaced.posterior_mean(step.x0_pred, step.x_t, missing) if missing else step.x_prev
    x0 = x0.cpu() + last_noise
    return SamplerRecord(
        timesteps=timesteps,
        implied_timesteps=np.array(implied),
        noise_power=np.array(noise_power),
        roughness=np.array([*roughness, _roughness(x0)]),
        last_x_t=step.x_t.cpu(),
        last_x0_pred=step.x0_pred.cpu(),
        x0=x0,
        strip=np.stack([*strip, x0[kept, 0].numpy()]),
        frames=frames,
    )


def _roughness(images: Tensor) -> float:
    return float(images.diff(dim=-1).double().square().mean())
