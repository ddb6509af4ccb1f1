"""Oracles: ideal denoisers in closed form, without any training.

Each is called like a network, (x, timesteps, labels) -> ε̂, so that samplers, the Recorder and every lesson can be
tested on it. All predictions are for the forward process of a
:class:`~viz_diffusion.diffusion.schedule.NoiseSchedule`.
Knows nothing about samplers or data files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError

_BATCH_SIZE = 64
"""Images compared with the whole training set at once: 64 x 60,000 float64 weights are 31 MB."""


class _Oracle(nn.Module):
    """Base of the oracles: a schedule, and ᾱ at each image's own timestep."""

    def __init__(self, schedule: NoiseSchedule, null_label: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.null_label = null_label

    def _shares(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Return (B, 1) ᾱ in the dtype and on the device of ``x``."""
        table = self.schedule.alphas_cumprod[timesteps.expand(len(x)).cpu().numpy()]
        return torch.from_numpy(table)[:, None].to(x)


class TruthOracle(_Oracle):
    """The denoiser that has the clean images, and returns the ε that was added to them.

    Parameters
    ----------
    schedule
        The forward process.
    x0
        (B, ...) the clean images, in the order of the batches; a batch of 2B holds the same images twice, as
        guidance evaluates them.
    null_label
        The label that means "no label"; the predictions do not depend on labels.
    """

    x0: Tensor

    def __init__(self, schedule: NoiseSchedule, x0: Tensor, null_label: int = 10) -> None:
        super().__init__(schedule, null_label)
        self.register_buffer("x0", x0)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return ε = (x_t - √ᾱ x_0) / √(1-ᾱ), shaped like ``x``."""
        if len(x) % len(self.x0):
            raise VizdiffInputError(f"this oracle knows {len(self.x0)} images, and was asked about {len(x)}")
        x0 = self.x0.to(x).repeat(len(x) // len(self.x0), *[1] * (x.ndim - 1))
        shares = self._shares(x, timesteps).reshape(-1, *[1] * (x.ndim - 1))
        return (x - shares.sqrt() * x0) / (1 - shares).sqrt()


class GaussianOracle(_Oracle):
    """The perfect denoiser of images that are drawn from one Gaussian N(μ, Σ).

    Its predictions, its error and the end of every probability-flow path have closed forms (Wang & Vastola 2024,
    section 3), so that a sampler's error can be separated from a network's.

    Parameters
    ----------
    schedule
        The forward process.
    mean
        (D,) μ, float64; D is the number of pixels.
    covariance
        (D, D) Σ, float64, symmetric and positive semi-definite.
    null_label
        The label that means "no label"; the predictions do not depend on labels.

    Raises
    ------
    VizdiffInputError
        Where the shapes do not fit, or Σ has an eigenvalue below zero by more than rounding.
    """

    _mean: Tensor
    _variances: Tensor
    _directions: Tensor

    def __init__(
        self, schedule: NoiseSchedule, mean: NDArray[Any], covariance: NDArray[Any], null_label: int = 10
    ) -> None:
        super().__init__(schedule, null_label)
        mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
            raise VizdiffInputError(
                f"a Gaussian needs a mean (D,) and a covariance (D,D), found {mean.shape} and {covariance.shape}"
            )
        variances, directions = np.linalg.eigh(covariance)
        if variances[0] < -1e-9 * max(1.0, variances[-1]):
            raise VizdiffInputError(f"a covariance has no eigenvalue below 0, found {variances[0]:.3g}")
        self.variances: NDArray[np.float64] = np.maximum(variances, 0)
        """(D,) float64, rising: λ, the eigenvalues of Σ."""
        self.register_buffer("_mean", torch.from_numpy(mean))
        self.register_buffer("_variances", torch.from_numpy(self.variances))
        self.register_buffer("_directions", torch.from_numpy(directions))

    @classmethod
    def fit(cls, schedule: NoiseSchedule, images: Tensor, null_label: int = 10) -> GaussianOracle:
        """Return the oracle of the Gaussian with the mean and covariance of (N, ...) images."""
        flat = images.flatten(1).double()
        return cls(schedule, flat.mean(dim=0).numpy(), torch.cov(flat.T).numpy(), null_label)

    def predict_x0(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Return x̂_0 = μ + √ᾱ Σ (ᾱΣ + (1-ᾱ)I)^-1 (x - √ᾱ μ), the mean of p(x_0 | x_t), shaped like ``x``."""
        shares = self._shares(x, timesteps)
        return self._filtered(x, shares, lambda v: shares.sqrt() * v / (shares * v + 1 - shares), self._mean)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return ε̂ = √(1-ᾱ) (ᾱΣ + (1-ᾱ)I)^-1 (x - √ᾱ μ), which is what x̂_0 implies, shaped like ``x``."""
        shares = self._shares(x, timesteps)
        return self._filtered(x, shares, lambda v: (1 - shares).sqrt() / (shares * v + 1 - shares))

    def _filtered(
        self, x: Tensor, shares: Tensor, gain: Callable[[Tensor], Tensor], add: Tensor | None = None
    ) -> Tensor:
        """Return ``x - √ᾱ μ``, its component along each eigenvector multiplied by gain(λ), plus ``add``."""
        mean, directions = self._mean.to(x), self._directions.to(x)
        components = (x.flatten(1) - shares.sqrt() * mean) @ directions
        filtered = (components * gain(self._variances.to(x))) @ directions.T
        return (filtered if add is None else filtered + add.to(x)).reshape(x.shape)

    def eps_error(self) -> NDArray[np.float64]:
        """Return its (T,) mean squared error of ε̂ per pixel: the mean over λ of ᾱλ/(ᾱλ + 1-ᾱ) (Wiener 1949)."""
        signal = self.schedule.alphas_cumprod[:, None] * self.variances
        return np.asarray((signal / (signal + 1 - self.schedule.alphas_cumprod[:, None])).mean(axis=1))

    def marginal_variances(self, t: int) -> NDArray[np.float64]:
        """Return (D,) ᾱλ + 1-ᾱ, the variances of x_t along the eigenvectors."""
        share = self.schedule.alphas_cumprod[t]
        return share * self.variances + 1 - share

    def flow(self, x: Tensor, t_from: int, t_to: int | None = None) -> Tensor:
        """Return where the probability-flow equation (Song et al. 2021b, eq. 13) takes ``x``: exactly.

        The component along each eigenvector stays the same number of standard deviations from the marginal's mean.

        Parameters
        ----------
        x
            (B, ...) float64 states at ``t_from``.
        t_from, t_to
            Timesteps in 0 .. T-1, in any order; None is the finished image, where ᾱ is 1.
        """
        variances_from = torch.from_numpy(self.marginal_variances(t_from))
        variances_to = torch.from_numpy(self.variances if t_to is None else self.marginal_variances(t_to))
        share_from = torch.tensor(self.schedule.alphas_cumprod[t_from], device="cpu")
        share_to = torch.tensor(
            1.0 if t_to is None else self.schedule.alphas_cumprod[t_to], dtype=torch.float64, device="cpu"
        )
        gain = (variances_to / variances_from).sqrt().to(x)
        return self._filtered(x, share_from.to(x), lambda _: gain, math.sqrt(share_to) * self._mean)


class EmpiricalOracle(_Oracle):
    """The perfect denoiser of one set of images: the exact minimiser of the training loss on it.

    No network has a lower loss on these images, and its samples are copies of them. p(x_0 | x_t) weights training
    image j by exp(-‖x - √ᾱ x_j‖² / (2(1-ᾱ))). With 60,000 digits, 400 images at one t take some seconds.

    Parameters
    ----------
    schedule
        The forward process.
    images
        (N, ...) float32 training images.
    labels
        (N,) int64 in 0 .. null_label-1; where given, an image with a label is compared with the training images of
        that label only, and with the null label or none with all.
    null_label
        The label that means "no label".

    Raises
    ------
    VizdiffInputError
        Where there are no images, or as many labels are not given.
    """

    _images: Tensor
    _powers: Tensor

    def __init__(
        self, schedule: NoiseSchedule, images: Tensor, labels: Tensor | None = None, null_label: int = 10
    ) -> None:
        super().__init__(schedule, null_label)
        labels = torch.zeros(len(images), dtype=torch.long, device="cpu") if labels is None else labels
        if not len(images) or len(labels) != len(images):
            raise VizdiffInputError(f"found {len(images)} images and {len(labels)} labels; there must be as many")
        if not 0 <= int(labels.min()) <= int(labels.max()) < null_label:
            raise VizdiffInputError(f"labels must lie in 0..{null_label - 1}, found {labels.min()}..{labels.max()}")
        by_label = torch.argsort(labels, stable=True)
        flat = images[by_label].flatten(1)
        self.register_buffer("_images", flat)
        self.register_buffer("_powers", flat.double().square().sum(dim=1))
        counts = torch.bincount(labels, minlength=null_label)
        self._bounds = [0, *counts.cumsum(0).tolist()]

    @torch.no_grad()
    def predict_x0(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return (B, ...) x̂_0 = Σ_j w_j x_j, the mean of p(x_0 | x_t, y), shaped like ``x``."""
        labels = torch.full((len(x),), self.null_label, device="cpu") if labels is None else labels.expand(len(x)).cpu()
        x0 = torch.empty_like(x.flatten(1))
        for label in torch.unique(labels).tolist():
            pool = self._images[self._span(label)].to(x)
            for rows in torch.split(torch.nonzero(labels == label)[:, 0], _BATCH_SIZE):
                weights = self._weights(x[rows], timesteps.expand(len(x))[rows], label)
                x0[rows] = weights.to(x) @ pool
        return x0.reshape(x.shape)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the ε̂ that x̂_0 implies, (x - √ᾱ x̂_0) / √(1-ᾱ), shaped like ``x``."""
        shares = self._shares(x, timesteps).reshape(-1, *[1] * (x.ndim - 1))
        return (x - shares.sqrt() * self.predict_x0(x, timesteps, labels)) / (1 - shares).sqrt()

    @torch.no_grad()
    def posterior(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Return (B, null_label) float64 p(y | x_t), at most 1: the weight of the training images with each label."""
        parts = zip(torch.split(x, _BATCH_SIZE), torch.split(timesteps.expand(len(x)), _BATCH_SIZE), strict=True)
        weights = (self._weights(part, t, self.null_label) for part, t in parts)
        spans = [slice(*bounds) for bounds in zip(self._bounds, self._bounds[1:], strict=False)]
        sums = torch.cat([torch.stack([w[:, span].sum(dim=1) for span in spans], dim=1) for w in weights])
        return sums.clamp(max=1)  # thousands of weights may add up to a little more by rounding

    def _span(self, label: int) -> slice:
        """Return the rows of the training images with a label; all of them for the null label."""
        if label == self.null_label:
            return slice(None)
        if not 0 <= label < self.null_label or self._bounds[label] == self._bounds[label + 1]:
            raise VizdiffInputError(f"this oracle knows no image with the label {label}")
        return slice(self._bounds[label], self._bounds[label + 1])

    def _weights(self, x: Tensor, timesteps: Tensor, label: int) -> Tensor:
        """Return (B, n) float64 weights of the n images with a label, each row summing to 1."""
        span = self._span(label)
        shares = self._shares(x.double(), timesteps)
        # ‖x - √ᾱ x_j‖² without ‖x‖², which all j share
        products = (x.flatten(1) @ self._images[span].to(x).T).double()
        logits = (shares.sqrt() * products - shares * self._powers[span] / 2) / (1 - shares)
        return torch.softmax(logits, dim=1)
