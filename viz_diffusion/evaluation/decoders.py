"""The last term L_0 of the variational bound: the bits of the grey levels of x_0 given x_1, for two decoders.

Both are proper distributions over the 256 grey levels of each pixel, so that both bounds are valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.torch_defaults import own_defaults

Float64 = NDArray[np.float64]
GREY_LEVELS = 256
BIN = 2 / (GREY_LEVELS - 1)
"""Distance of two neighbouring grey levels when 0..255 is spread over -1..1."""
COUNT, FITTED = 1000, 2000
"""Held-out images whose L_0 is measured, and training images to which the categorical decoder is fitted."""
PRIOR = 0.01
"""Pixels that are added to each cell of the joint histogram, so that no grey level has probability 0."""


@dataclass(frozen=True, eq=False)
class DecoderBits:
    """L_0 of each of N held-out images, bits per pixel, of the Gaussian and of the categorical decoder."""

    gaussian: Float64
    """(N,) float64: of the discretised Gaussian of Ho et al. 2020, eq. 13."""
    categorical: Float64 | None
    """(N,) float64: of the :class:`CategoricalDecoder`; None where there are no training images to fit it to."""
    fitted: int
    """Training images to which the categorical decoder was fitted; 0 where there is none."""


@dataclass(frozen=True, eq=False)
class CategoricalDecoder:
    """p(x_0 = k | x_1) of each pixel: the share of grey level k among training pixels with the same predicted level.

    The predicted level j is the x̂_0 that the network predicts from x_1, rounded to a grey level. The table is the joint
    histogram of (j, k) over training images, divided by its row sums: the network needs no further training.
    """

    table: Float64
    """(256, 256) float64: probability of the true grey level k (column) given the predicted one j (row); rows sum to
    1."""

    @classmethod
    def fit(cls, x0: Tensor, predicted: Tensor) -> CategoricalDecoder:
        """Return the decoder of (N, C, H, W) training images in [-1, 1] and the x̂_0 predicted for them."""
        cells = grey_levels(predicted) * GREY_LEVELS + grey_levels(x0)
        joint = torch.bincount(cells.flatten(), minlength=GREY_LEVELS**2).reshape(GREY_LEVELS, GREY_LEVELS).numpy()
        smoothed = joint + PRIOR
        return cls(smoothed / smoothed.sum(axis=1, keepdims=True))

    def bits(self, x0: Tensor, predicted: Tensor) -> Float64:
        """Return (N,) bits per pixel of (N, C, H, W) images in [-1, 1], of which ``predicted`` are the x̂_0."""
        code = torch.from_numpy(-np.log2(self.table))
        return np.asarray(code[grey_levels(predicted), grey_levels(x0)].flatten(1).mean(dim=1).numpy())


def grey_levels(images: Tensor) -> Tensor:
    """Return int64 grey levels 0..255 of images in [-1, 1], clipped to it and rounded."""
    return ((images.clamp(-1, 1) + 1) / BIN).round().long()


def gaussian_decoder_bits(x0: Tensor, mean: Tensor, spread: float) -> Float64:
    """Return (B,) bits per pixel of x_0 under N(mean, spread²), integrated over the bin of each grey level.

    The bins of the outermost levels reach to infinity (Ho et al. 2020, eq. 13).
    """
    x, m = x0.double(), mean.double()
    low = torch.where(x < -0.999, torch.tensor(-torch.inf, dtype=torch.float64), (x - BIN / 2 - m) / spread)
    high = torch.where(x > 0.999, torch.tensor(torch.inf, dtype=torch.float64), (x + BIN / 2 - m) / spread)
    # the difference of two cumulative normals, taken on the side where it does not cancel
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    log_share = log_high + torch.log1p(-torch.exp(log_low - log_high))
    return np.asarray((-log_share / np.log(2)).mean(dim=(1, 2, 3)).numpy())


def gaussian_decoder_spread(schedule: NoiseSchedule) -> float:
    """Return the standard deviation of the Gaussian decoder, √β̃_1, since β̃_0 is 0."""
    return float(np.sqrt(schedule.posterior_variance[1]))


def gaussian_decoder_levels(schedule: NoiseSchedule) -> float:
    """Return the same as a share of the distance of two neighbouring grey levels."""
    return gaussian_decoder_spread(schedule) / BIN


def known_pixel_bits(schedule: NoiseSchedule) -> tuple[float, float]:
    """Return what the Gaussian decoder charges where it knows the pixel: for black (or white), and for another grey.

    Its mean is then the grey level itself, and the level's bin reaches half a level to each side of it, for black to
    infinity on one side: -log₂ Φ(h) and -log₂ (2 Φ(h) - 1) bits, with h half a level over the standard deviation.
    """
    share = NormalDist().cdf(BIN / 2 / gaussian_decoder_spread(schedule))
    return float(-np.log2(share)), float(-np.log2(2 * share - 1))


@own_defaults()
@torch.inference_mode()
def measure_decoders(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits | None,
    count: int = COUNT,
    fitted: int = FITTED,
) -> DecoderBits:
    """Measure L_0 on ``count`` held-out images, with one draw of x_1 each, under their labels.

    Parameters
    ----------
    heldout
        Images of which ``count`` different ones are drawn, or all where there are fewer.
    training
        Images of which ``fitted`` are drawn for the categorical decoder; None to leave it out. That none of them is
        held out keeps its bound valid.
    """
    generator = torch.Generator().manual_seed(2020)
    x0, predicted = _predicted(denoiser, schedule, heldout, count, generator)
    spread = gaussian_decoder_spread(schedule)
    gaussian = gaussian_decoder_bits(x0, predicted, spread)
    if training is None:
        return DecoderBits(gaussian, None, 0)
    seen = _predicted(denoiser, schedule, training, fitted, generator)
    return DecoderBits(gaussian, CategoricalDecoder.fit(*seen).bits(x0, predicted), len(seen[0]))


def _predicted(
    denoiser: nn.Module, schedule: NoiseSchedule, digits: Digits, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw images and their x_1 (t = 0); return the images and the x̂_0, which is the mean of the last step too."""
    rows = torch.randperm(len(digits), generator=generator)[:count]
    x0 = digits.images[rows]
    x_1 = schedule.add_noise(x0, torch.randn(x0.shape, generator=generator), 0)
    eps = predict_noise(denoiser, x_1, 0, digits.labels[rows])
    return x0, schedule.predict_x0(x_1, eps, 0)
