"""Power spectra of images, and the emergence of frequencies that they predict for linear denoisers.

Does not depend on networks or recordings.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule

Float64 = NDArray[np.float64]
FREQUENCIES = np.arange(1, 15)
"""Cycles per image; 14 is the finest that 28 pixels hold in every direction."""
EDGES = (2.5, 6.5)
"""Cycles per image: the bounds between coarse, middle and fine parts."""


def radius(side: int) -> Float64:
    """Return (side, side) the frequency of each mode of a 2-D Fourier transform, cycles per image."""
    k = np.fft.fftfreq(side) * side
    return np.hypot(k[:, None], k[None])


def rings(values: Float64, frequencies: NDArray[np.int64] = FREQUENCIES) -> Float64:
    """Return (..., F) means of (..., H, H) values over the modes whose radius rounds to each frequency."""
    nearest = np.rint(radius(values.shape[-1]))
    return np.stack([values[..., nearest == f].mean(axis=-1) for f in frequencies], axis=-1)


def spectrum(digits: Digits, per_label: bool) -> Float64:
    """Return (F,) S(f): the mean power of the digits about their mean, or about their label's, at each frequency.

    The transform is orthonormal, so that white noise of unit variance has the power 1 everywhere, and Parseval's
    theorem holds as it stands.
    """
    total = np.zeros(digits.images.shape[-2:])
    for kind in torch.unique(digits.labels) if per_label else (None,):
        images = digits.images if kind is None else digits.images[digits.labels == kind]
        values = images[:, 0].double().numpy()
        for part in np.array_split(values - values.mean(axis=0), max(1, len(values) // 4000)):
            total += np.square(np.abs(np.fft.fft2(part, norm="ortho"))).sum(axis=0)
    return rings(total / len(digits.labels))


def wiener(power: Float64, schedule: NoiseSchedule) -> Float64:
    """Return (T, F) ᾱS/(ᾱS + 1-ᾱ): the share of an image that the Wiener filter of power S recovers (Wiener 1949).

    It is the share of power that its x̂_0 has, and its squared coherence with x_0, both. The filter treats all waves of
    one frequency alike, so that it is the best linear denoiser of stationary, isotropic images only; digits are
    neither, and :func:`linear_coherence` is above it.
    """
    signal = schedule.alphas_cumprod[:, None] * power
    return np.asarray(signal / (signal + 1 - schedule.alphas_cumprod[:, None]))


def predicted_emergence(power: Float64, schedule: NoiseSchedule) -> Float64:
    """Return (F,) the first t at which ᾱS(f) < 1-ᾱ: at smaller t the frequency is stronger than the noise."""
    return half_shared(wiener(power, schedule))


def linear_coherence(digits: Digits, schedule: NoiseSchedule) -> Float64:
    """Return (T, F) the squared coherence with x_0, about the mean of its label, of the best linear denoiser of each.

    Along an eigenvector of variance λ of its label's covariance it recovers the share g = ᾱλ/(ᾱλ + 1-ᾱ) (Wiener
    1949). An eigenvector has the power P(f) in a ring of modes, so that the ring has Σ λP of the image, and Σ gλP
    of x̂_0 as well as of its product with the image: the squared coherence is the second sum over the first, each summed
    over all labels by their shares.
    """
    signal = schedule.alphas_cumprod[:, None]
    common, whole = np.zeros((len(signal), len(FREQUENCIES))), np.zeros(len(FREQUENCIES))
    for label in torch.unique(digits.labels):
        images = digits.images[digits.labels == label, 0].double().numpy()
        flat = (images - images.mean(axis=0)).reshape(len(images), -1)
        values, vectors = np.linalg.eigh(flat.T @ flat)  # n times the covariance: the labels' shares
        values = np.maximum(values, 0)
        waves = np.fft.fft2(vectors.T.reshape(-1, *images.shape[1:]), norm="ortho")
        power = values[:, None] * rings(np.square(np.abs(waves)))
        variances = values / len(images)
        common += (signal * variances / (signal * variances + 1 - signal)) @ power
        whole += power.sum(axis=0)
    return common / np.maximum(whole, 1e-30)


def half_shared(shared: Float64) -> Float64:
    """Return (F,) the first t at which a (T, F) share that falls with t is less than a half."""
    return np.asarray((shared >= 0.5).sum(axis=0), dtype=np.float64)


def split(images: NDArray[np.float32], edges: tuple[float, ...] = EDGES) -> NDArray[np.float32]:
    """Return (..., len(edges)+1, H, H): images cut into bands of radius, coarse to fine; they add up to the image."""
    r, transformed = radius(images.shape[-1]), np.fft.fft2(images)
    bounds = (-1.0, *edges, np.inf)
    parts = [np.fft.ifft2(np.where((r > low) & (r <= high), transformed, 0)).real for low, high in pairwise(bounds)]
    return np.stack(parts, axis=-3).astype(np.float32)
