"""The terms of the variational bound, in bits per pixel: L_T, the sum from L_1 on, and L_0 with two decoders.

The terms come from the measurements of the lesson; knows nothing about runs, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.decoders import (
    COUNT,
    FITTED,
    DecoderBits,
    gaussian_decoder_levels,
    known_pixel_bits,
    measure_decoders,
)
from viz_diffusion.evaluation.intervals import half_of_mean
from viz_diffusion.evaluation.likelihood import bits_last
from viz_diffusion.lessons.base import Claim

Float64 = NDArray[np.float64]
IMAGES = ((200, 500), (COUNT, FITTED))
"""Held-out images whose L_0 is measured, and training images of the categorical decoder; quick and full."""
PUBLISHED = (0.97, 1.06)
"""Bits per pixel of MNIST's 28 × 28 test digits in 256 grey levels, without a label, by four flows: Residual Flow 0.97
(Chen et al. 2019), FFJORD 0.99 (Grathwohl et al. 2019), Glow 1.05 and Real NVP 1.06 (as reported there). Each is an
upper bound on the code length, like the one here, since the grey levels were dequantised uniformly."""
LABEL_BITS = float(np.log2(10)) / 784
"""What a label of MNIST can save at most, bits per pixel: -log p(x) ≤ log 10 - log p(x | y) for equal shares."""


@dataclass(frozen=True)
class BoundFacts:
    """What texts and JSON files say of the terms of the bound, in bits per pixel; intervals are halves of 95%."""

    bits_last: float
    """L_T, over all held-out images."""
    decoder_bits: float
    """L_0 of the Gaussian decoder."""
    decoder_bits_interval: float
    """Half its interval."""
    decoder_count: int
    """Held-out images of both decoders."""
    categorical_bits: float
    """L_0 of the categorical decoder."""
    categorical_bits_interval: float
    """Half its interval."""
    categorical_fitted: int
    """Training images to which the categorical decoder was fitted."""
    decoder_gap: float
    """The Gaussian decoder's L_0 less the categorical one's, of the same images."""
    decoder_gap_interval: float
    """Half its interval."""
    decoder_levels: float
    """Standard deviation of the Gaussian decoder, in distances of two neighbouring grey levels."""
    black_bits: float
    """What a pixel costs by the Gaussian decoder that is known to be black, or white."""
    grey_bits: float
    """The same of a pixel that is known to have another grey level."""
    bound: float
    """L_T + L_1 + … + L_0 with the Gaussian decoder."""
    bound_interval: float
    """Half its interval."""
    bound_categorical: float
    """The same with the categorical decoder."""
    bound_categorical_interval: float
    """Half its interval."""


@dataclass(frozen=True, eq=False)
class BoundEnds:
    """The two ends of the bound: L_T and L_0."""

    last: float
    """L_T, bits per pixel."""
    decoders: DecoderBits
    """L_0 of each of N held-out images; its categorical decoder is not missing."""
    decoder_levels: float
    """Standard deviation of the Gaussian decoder, in distances of two neighbouring grey levels."""
    known_pixel: tuple[float, float]
    """What that decoder charges for a pixel that is known to be black, and for one that is known to be grey; bits."""

    def facts(self, middle: float, middle_interval: float) -> BoundFacts:
        """Return the terms, given L_1 + … + L_{T-1} and half its 95% interval."""
        gaussian, categorical = self.decoders.gaussian, self.decoders.categorical
        assert categorical is not None
        halves = [float(half_of_mean(values)) for values in (gaussian, categorical, gaussian - categorical)]
        means = float(gaussian.mean()), float(categorical.mean())
        return BoundFacts(
            bits_last=self.last,
            decoder_bits=means[0],
            decoder_bits_interval=halves[0],
            decoder_count=len(gaussian),
            categorical_bits=means[1],
            categorical_bits_interval=halves[1],
            categorical_fitted=self.decoders.fitted,
            decoder_gap=means[0] - means[1],
            decoder_gap_interval=halves[2],
            decoder_levels=self.decoder_levels,
            black_bits=self.known_pixel[0],
            grey_bits=self.known_pixel[1],
            bound=self.last + middle + means[0],
            bound_interval=float(np.hypot(middle_interval, halves[0])),
            bound_categorical=self.last + middle + means[1],
            bound_categorical_interval=float(np.hypot(middle_interval, halves[1])),
        )


def measure_bound_ends(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    counts: tuple[int, int] = IMAGES[0],
) -> BoundEnds:
    """Measure L_T on all held-out images and L_0 on some; ``counts`` are one of ``IMAGES``."""
    return BoundEnds(
        last=bits_last(schedule, heldout.images),
        decoders=measure_decoders(denoiser, schedule, heldout, training, *counts),
        decoder_levels=gaussian_decoder_levels(schedule),
        known_pixel=known_pixel_bits(schedule),
    )


def decoder_claim(facts: BoundFacts) -> Claim:
    """Decide whether the Gaussian decoder costs more than the categorical one, on the same images."""
    decided = abs(facts.decoder_gap) > facts.decoder_gap_interval
    return Claim("decoder_costs", facts.decoder_gap > 0 if decided else None)


def published_claim(facts: BoundFacts) -> Claim:
    """Decide whether MNIST's test digits cost fewer bits, the label paid for, than by the best published flow."""
    unlabelled = facts.bound_categorical + LABEL_BITS
    decided = abs(unlabelled - PUBLISHED[0]) > facts.bound_categorical_interval
    told = {
        "unlabelled": unlabelled,
        "label_cost": LABEL_BITS,
        "published_low": PUBLISHED[0],
        "published_high": PUBLISHED[1],
    }
    return Claim("below_published", unlabelled < PUBLISHED[0] if decided else None, told)
