"""Exposure bias: the predicted noise of states that a sampler made, compared with that of noised images.

In training the network gets noised images only; while it samples, it gets its own states (Schmidt 2019; Ning et al.
2024). Takes any denoiser; knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.prediction import device_of, predict_noise
from viz_diffusion.diffusion.samplers import Denoiser, ImageNoise, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import half_of_mean
from viz_diffusion.lessons.step.exact_exposure import exact_excess
from viz_diffusion.recording.trajectory import Trajectory

Float64 = NDArray[np.float64]
TIMESTEPS = (999, 900, 800, 700, 600, 500, 400, 300, 250, 200, 150, 100, 75, 50, 30, 20, 10, 5, 2, 0)
"""Where the two are compared, for T = 1000."""
SIZES = ((2, 4), (8, 32))
"""Times that each image is noised at each timestep, and generations of the control; quick and full."""
SEED = 2019


@dataclass(frozen=True, eq=False)
class ExposureBias:
    """Lengths of ε̂, its L2 norm, at K timesteps: of N generations, and of images noised to the same timesteps.

    The generations are by DDPM with the variance β. An excess is by how much ε̂ is longer than on the finished image of
    the same generation, noised again, as a share. The timesteps are close together near the end only: a mean over them
    is no mean over the steps.
    """

    timesteps: Float64
    """(K,) float64, falling."""
    num_train_timesteps: int
    """T."""
    pixels: int
    """D, values of one image."""
    draws: int
    """Times that each image was noised at each timestep; lengths are means over them."""
    generated: Float64
    """(N, K) float64: length on the states of the generations."""
    finished: Float64
    """(N, K) float64: control, on the finished image of the same generation, noised again."""
    real: Float64
    """(M, K) float64: on noised held-out digits."""
    power: Float64
    """(M, K) float64: mean square of ε̂ there, per pixel."""
    overlap: Float64
    """(M, K) float64: ⟨ε̂, ε̂ - ε⟩ there, per pixel: 0 on average for a conditional mean, whose error is orthogonal to
    every function of x_t."""
    tilde: Float64
    """(L, K) float64: control, the excess of generations with the variance β̃."""
    exact: Float64
    """(K,) float64: control, the excess of the exact denoiser of one Gaussian with the variance β, in closed form."""
    exact_tilde: Float64
    """(K,) float64: the same with the variance β̃."""

    @property
    def excess(self) -> Float64:
        """(N, K) of the generations."""
        return longer(self.generated, self.finished)

    def too_long(self) -> tuple[Float64, Float64]:
        """Return (K,) by how much ε̂ on held-out digits is longer than a conditional mean with its loss, and half.

        E‖ε̂‖² = D (1 - loss) for a conditional mean, and E‖ε̂‖² - 2 D E[overlap] = D (1 - loss) for any prediction: to
        first order the ratio of the two lengths is 1 + E[overlap] / E[power].
        """
        power = self.power.mean(axis=0)
        ratio = longer(power + self.overlap.mean(axis=0), power)
        half = np.asarray(half_of_mean(self.overlap - ratio * self.power, axis=0))
        return ratio, longer(power + half, power)


@torch.no_grad()
def measure_exposure(
    denoiser: Denoiser,
    traces: Trajectory,
    heldout: Digits,
    training: Digits,
    sizes: tuple[int, int] = SIZES[0],
) -> ExposureBias:
    """Predict the noise of noised finished images and of noised held-out digits, and read that of the generations.

    Parameters
    ----------
    traces
        N generations without guidance, by DDPM with the variance β; N at least 2.
    heldout
        At least 2; as many as there are generations are taken, with the labels in turn.
    training
        Digits whose covariance the exact denoiser of the control has.
    sizes
        Times that each image is noised, and L, generations of the control; at least 1 and 2.
    """
    draws, controls = sizes
    schedule, visited = traces.schedule, traces.timesteps.astype(np.int64)
    wanted = np.array(TIMESTEPS) * (schedule.num_train_timesteps - 1) / 999
    places = np.unique([int(np.abs(visited - t).argmin()) for t in wanted])
    real = heldout.first_of_each(min(len(heldout), traces.num_images))
    generator = torch.Generator().manual_seed(SEED)
    again = _Again(schedule, visited[places], draws, generator)
    lengths, power, overlap = [], [], []
    for t in visited[places].tolist():
        eps, noise = again.predict(denoiser, real.images, real.labels, t)
        lengths.append(_length(eps))
        power.append(_mean(eps.square()))
        overlap.append(_mean(eps * (eps - noise)))
    finished = again.lengths(denoiser, torch.from_numpy(traces.x0), torch.from_numpy(traces.labels))
    seeds, labels = traces.seeds[:controls].tolist(), torch.from_numpy(traces.labels[:controls])
    spaced = schedule.respaced(visited[::-1])
    variances = GaussianOracle.fit(schedule, training.images).variances
    return ExposureBias(
        timesteps=visited[places].astype(np.float64),
        num_train_timesteps=schedule.num_train_timesteps,
        pixels=int(real.images[0].numel()),
        draws=draws,
        generated=np.stack([_length(torch.from_numpy(traces.eps_pred[:, place])[None]) for place in places], axis=1),
        finished=finished,
        real=np.stack(lengths, axis=1),
        power=np.stack(power, axis=1),
        overlap=np.stack(overlap, axis=1),
        tilde=_excess(denoiser, again, visited, seeds, labels, traces.x0.shape[1:]),
        exact=exact_excess(variances, spaced, "beta")[::-1][places],
        exact_tilde=exact_excess(variances, spaced, "beta_tilde")[::-1][places],
    )


@dataclass(frozen=True, eq=False)
class _Again:
    """Noises images to K timesteps, each ``draws`` times, and predicts the noise."""

    schedule: NoiseSchedule
    """The forward process."""
    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    draws: int
    """Times that each image is noised at each timestep."""
    generator: torch.Generator
    """Draws the noise."""

    def predict(self, denoiser: Denoiser, images: Tensor, labels: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Return (R, N, C, H, W) predicted noise of N images noised to t R times, and the noise itself."""
        shape = (self.draws, *images.shape)
        x0, noise = images.expand(shape).flatten(0, 1), torch.randn(shape, generator=self.generator)
        x_t = self.schedule.add_noise(x0, noise.flatten(0, 1), t)
        return predict_noise(denoiser, x_t, t, labels.repeat(self.draws)).reshape(shape), noise

    def lengths(self, denoiser: Denoiser, images: Tensor, labels: Tensor) -> Float64:
        """Return (N, K) lengths of the predicted noise of N images."""
        found = [_length(self.predict(denoiser, images, labels, t)[0]) for t in self.timesteps.tolist()]
        return np.stack(found, axis=1)


def longer(one: Float64, other: Float64) -> Float64:
    """Return by how much lengths are longer than others, as a share; 0 where nothing was predicted, a length of 0."""
    return np.divide(one, other, out=np.ones(np.broadcast_shapes(one.shape, other.shape)), where=other > 0) - 1


def _excess(
    denoiser: Denoiser,
    again: _Again,
    visited: NDArray[np.int64],
    seeds: list[int],
    labels: Tensor,
    images_shape: tuple[int, ...],
) -> Float64:
    """Return (L, K) by how much ε̂ is longer while generating with β̃ than on the finished images, noised again."""
    kept = {}
    steps = ddpm_steps(
        denoiser,
        again.schedule,
        ImageNoise(seeds, images_shape),
        labels.to(device_of(denoiser)),
        timesteps=visited,
        variance="beta_tilde",
    )
    for step in steps:
        finished = step.x_prev
        if step.t in again.timesteps:
            kept[step.t] = _length(step.eps_pred.cpu()[None])
    own = np.stack([kept[t] for t in again.timesteps.tolist()], axis=1)
    return longer(own, again.lengths(denoiser, finished.cpu(), labels))


def _length(eps: Tensor) -> Float64:
    """Return (N,) L2 norms of (R, N, C, H, W) predictions, mean over R."""
    return np.asarray(eps.double().flatten(2).norm(dim=2).mean(dim=0).numpy())


def _mean(values: Tensor) -> Float64:
    """Return (N,) means of (R, N, C, H, W) values over the pixels and over R."""
    return np.asarray(values.double().flatten(2).mean(dim=2).mean(dim=0).numpy())
