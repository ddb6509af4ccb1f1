"""Likelihood of a denoiser: its loss at each timestep, and the variational bound in bits per pixel.

Everything is measured on real images; knows nothing about samples. The two baselines need no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.decoders import COUNT, FITTED, DecoderBits, measure_decoders

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Held-out losses of one denoiser, and the variational bound on the code length of the images."""

    loss: Float64
    """(T,) float64: mean squared error of ε̂ per pixel at each timestep."""
    loss_error: Float64
    """(T,) float64: standard error of that mean."""
    count: int
    """Images per timestep, different ones at different timesteps."""
    bits_last: float
    """L_T in bits per pixel: KL of q(x_T | x_0) from the standard normal, the mean over all images."""
    bits_by_t: Float64
    """(T,) float64, bits per pixel: L_t, the discretised Gaussian decoder's L_0 first."""
    bits_middle_error: float
    """Standard error of L_1 + … + L_{T-1}, bits per pixel."""
    decoders: DecoderBits
    """L_0 of the Gaussian decoder and of a categorical one, of other images than those at each timestep."""

    @property
    def mean_loss(self) -> float:
        """The mean over all timesteps."""
        return float(self.loss.mean())

    @property
    def bits_middle(self) -> float:
        """L_1 + … + L_{T-1} in bits per pixel."""
        return float(self.bits_by_t[1:].sum())

    @property
    def bits(self) -> float:
        """The variational bound on the code length, in bits per pixel (Ho et al. 2020, eq. 5), by its decoder."""
        return float(self.bits_by_t.sum() + self.bits_last)

    @property
    def bits_error(self) -> float:
        """Standard error of it."""
        return float(np.hypot(self.bits_middle_error, _standard_error(self.decoders.gaussian)))

    @property
    def bits_categorical(self) -> float | None:
        """The bound with the categorical decoder in the Gaussian one's place; None without one."""
        found = self.decoders.categorical
        return None if found is None else self.bits_last + self.bits_middle + float(found.mean())

    @property
    def bits_categorical_error(self) -> float | None:
        """Standard error of it."""
        found = self.decoders.categorical
        return None if found is None else float(np.hypot(self.bits_middle_error, _standard_error(found)))


def _standard_error(values: Float64) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@own_defaults()
@torch.inference_mode()
def measure_likelihood(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    data: Digits,
    count: int = 20,
    on_step: Callable[[int, int], None] | None = None,
    training: Digits | None = None,
    decoder_counts: tuple[int, int] = (COUNT, FITTED),
) -> Likelihood:
    """Evaluate the denoiser on ``count`` held-out images at every timestep, with their labels.

    L_t is ‖ε - ε̂‖² β²/(2σ²α(1-ᾱ)) with σ² = β̃ (Ho et al. 2020, eq. 12). L_0 is the code length of the pixels
    under a Gaussian around the mean of the last step, cut into 256 grey levels (eq. 13), with β̃_1 as its
    variance, since β̃_0 is 0; and, as an alternative, under a categorical decoder (see
    :mod:`viz_diffusion.evaluation.decoders`).

    Parameters
    ----------
    training
        Images to which the categorical decoder is fitted; None to leave it out.
    decoder_counts
        Held-out images whose L_0 is measured, and training images of the fit, at most.
    """
    T = schedule.num_train_timesteps
    generator = torch.Generator().manual_seed(1208)
    shuffled = torch.cat([torch.randperm(len(data), generator=generator) for _ in range(-(-T * count // len(data)))])
    losses = np.empty((T, count))
    for t in range(T):
        rows = shuffled[t * count : (t + 1) * count]
        x0 = data.images[rows]
        noise = torch.randn(x0.shape, generator=generator)
        eps = predict_noise(denoiser, schedule.add_noise(x0, noise, t), t, data.labels[rows])
        losses[t] = (eps - noise).square().mean(dim=(1, 2, 3)).double().numpy()
        if on_step is not None:
            on_step(t + 1, T)
    decoders = measure_decoders(denoiser, schedule, data, training, *decoder_counts)
    weights, error = bits_per_loss(schedule), losses.std(axis=1, ddof=1) / np.sqrt(count)
    by_t = weights * losses.mean(axis=1)
    by_t[0] = decoders.gaussian.mean()
    return Likelihood(
        loss=losses.mean(axis=1),
        loss_error=error,
        count=count,
        bits_last=bits_last(schedule, data.images),
        bits_by_t=by_t,
        bits_middle_error=float(np.sqrt(((weights * error) ** 2).sum())),
        decoders=decoders,
    )


def bits_per_loss(schedule: NoiseSchedule) -> Float64:
    """Return (T,) L_t in bits per pixel for a mean squared error of 1; 0 at t = 0, where the decoder counts."""
    beta, alpha = schedule.betas[1:], schedule.alphas[1:]
    spread = schedule.posterior_variance[1:]
    nats = beta**2 / (2 * spread * alpha * (1 - schedule.alphas_cumprod[1:]))
    return np.concatenate([[0.0], nats / np.log(2)])


@own_defaults()
def bits_last(schedule: NoiseSchedule, images: Tensor) -> float:
    """Return KL(q(x_T | x_0) ‖ N(0, 1)) in bits per pixel."""
    share = float(schedule.alphas_cumprod[-1])
    power = float(images.double().square().mean())
    return float(0.5 * (share * power - share - np.log1p(-share)) / np.log(2))


DIRECT_SIZE, MOST_LARGE = 1024, 2000
"""Values of an image up to which its covariance is computed, and images beyond that size that are looked at."""


@own_defaults()
def gaussian_losses(schedule: NoiseSchedule, data: Digits) -> tuple[Float64, Float64]:
    """Return (T,) losses of the ideal denoisers of two models: one Gaussian, and one Gaussian per label.

    Along an eigenvector of variance λ the noise has the squared error ᾱλ/(ᾱλ + 1-ᾱ) (Wiener 1949). The losses of the
    Gaussians per label are averaged by the labels' shares. Mean and covariance are those of ``data``, and the losses
    are of the same images: with some hundred images or fewer they say nothing about others.
    """
    overall = data.images.flatten(1).double().mean(dim=0)
    if len(overall) > DIRECT_SIZE:
        return _large_gaussian_losses(schedule, data)
    scatter, per_label = torch.zeros(len(overall), len(overall)).double(), np.zeros(schedule.num_train_timesteps)
    for label in torch.unique(data.labels):
        images = data.images[data.labels == label].flatten(1).double()
        mean = images.mean(dim=0)
        if len(images) < 2:
            raise VizdiffInputError(f"a Gaussian needs 2 images of each label, found {len(images)} of {int(label)}")
        covariance = torch.cov(images.T)
        per_label += len(images) / len(data) * _wiener_loss(schedule, covariance)
        scatter += (len(images) - 1) * covariance + len(images) * torch.outer(mean - overall, mean - overall)
    return _wiener_loss(schedule, scatter / (len(data) - 1)), per_label


def _large_gaussian_losses(schedule: NoiseSchedule, data: Digits) -> tuple[Float64, Float64]:
    """Return the same for large images, from as many of them as give the variances in seconds.

    N images in D dimensions have the variances of their (N, N) Gram matrix, the other D - N + 1 being 0. A class with
    one image is a point: its variances are 0.
    """
    kept = data if len(data) <= MOST_LARGE else data.first_of_each(MOST_LARGE)
    images, per_label = kept.images.flatten(1).double(), np.zeros(schedule.num_train_timesteps)
    for label in torch.unique(kept.labels):
        own = images[kept.labels == label]
        per_label += len(own) / len(kept) * _gram_loss(schedule, own)
    return _gram_loss(schedule, images), per_label


def _wiener_loss(schedule: NoiseSchedule, covariance: Tensor) -> Float64:
    """Return the (T,) loss per pixel of the ideal denoiser of one Gaussian."""
    variances = np.maximum(torch.linalg.eigvalsh(covariance).numpy(), 0)
    share = schedule.alphas_cumprod[:, None]
    return np.asarray((share * variances / (share * variances + 1 - share)).mean(axis=1))


def _gram_loss(schedule: NoiseSchedule, images: Tensor) -> Float64:
    """Return the (T,) loss per pixel of the ideal denoiser of the Gaussian of (N, D) images."""
    count, size = images.shape
    centred = images - images.mean(dim=0)
    variances = np.zeros(size)
    if count > 1:
        found = torch.linalg.eigvalsh(centred @ centred.T / (count - 1)).numpy()[-size:]
        variances[: len(found)] = np.maximum(found, 0)
    share = schedule.alphas_cumprod[:, None]
    return np.asarray((share * variances / (share * variances + 1 - share)).mean(axis=1))
