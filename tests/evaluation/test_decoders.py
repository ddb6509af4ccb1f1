"""The decoders of L_0: closed forms, proper distributions, and tables whose best code is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.decoders import (
    BIN,
    CategoricalDecoder,
    gaussian_decoder_bits,
    gaussian_decoder_levels,
    gaussian_decoder_spread,
    grey_levels,
    known_pixel_bits,
    measure_decoders,
)

SCHEDULE = NoiseSchedule.named("linear")


def pixels(levels: list[int]) -> torch.Tensor:
    """Return (1, 1, 1, N) pixels of these grey levels."""
    return torch.tensor(levels, dtype=torch.float64).reshape(1, 1, 1, -1) * BIN - 1


def test_a_pixel_known_to_be_black_costs_half_a_bit_since_the_gaussian_is_a_grey_level_wide() -> None:
    """β̃_1 = β_1 (1-ᾱ_0) / (1-ᾱ_1) (Ho et al. 2020, eq. 7); half a grey level is 1/255."""
    first, second = 1e-4, 1e-4 + (0.02 - 1e-4) / 999
    spread = np.sqrt(second * first / (1 - (1 - first) * (1 - second)))
    assert gaussian_decoder_spread(SCHEDULE) == pytest.approx(spread, rel=1e-9)
    assert gaussian_decoder_levels(SCHEDULE) == pytest.approx(spread * 255 / 2, rel=1e-9)
    assert gaussian_decoder_levels(SCHEDULE) == pytest.approx(0.94, abs=0.005)
    black, grey = known_pixel_bits(SCHEDULE)
    assert black == pytest.approx(-np.log2(norm.cdf(1 / 255 / spread)), rel=1e-9)
    assert black == pytest.approx(0.51, abs=0.005)
    assert grey == pytest.approx(1.31, abs=0.005)
    for level, bits in ((0, black), (255, black), (100, grey)):  # the decoder itself, with the pixel as its mean
        assert gaussian_decoder_bits(pixels([level]), pixels([level]), spread)[0] == pytest.approx(bits, rel=1e-4)


def test_both_decoders_are_distributions_over_the_256_grey_levels() -> None:
    every = torch.arange(256, dtype=torch.float64).reshape(256, 1, 1, 1) * BIN - 1
    for level in (0, 7, 254):
        mean = pixels([level]).expand(256, 1, 1, 1) + 0.003
        mass = 2.0 ** -gaussian_decoder_bits(every, mean, gaussian_decoder_spread(SCHEDULE))
        assert mass.sum() == pytest.approx(1, abs=1e-9)
        decoder = CategoricalDecoder.fit(pixels([3, 3, 9]), pixels([level, 8, level]))
        assert (2.0 ** -decoder.bits(every, mean)).sum() == pytest.approx(1, abs=1e-9)
        assert (decoder.table > 0).all()


def test_the_categorical_decoder_has_the_shares_of_the_joint_histogram() -> None:
    true, predicted = pixels([0] * 300 + [4] * 100 + [9] * 50), pixels([2] * 400 + [9] * 50)
    decoder = CategoricalDecoder.fit(true, predicted)
    assert decoder.table[2, [0, 4]] == pytest.approx([0.75, 0.25], abs=0.01)
    assert decoder.table[9, 9] > 0.94
    assert decoder.table[77] == pytest.approx(np.full(256, 1 / 256)), "a level that was never predicted"
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)) * 400 / 450
    assert decoder.bits(true, predicted)[0] == pytest.approx(entropy, abs=0.03)


def test_grey_levels_are_rounded_and_clipped() -> None:
    images = torch.tensor([-1.2, -1.0, -1 + 0.4 * BIN, -1 + 0.6 * BIN, 1.0, 1.1])
    assert grey_levels(images).tolist() == [0, 0, 0, 1, 255, 255]


class Constant(torch.nn.Module):
    """Predicts the noise for which x̂_0 is black everywhere, whatever is to be seen."""

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        share = torch.from_numpy(SCHEDULE.alphas_cumprod)[timesteps].float().reshape(-1, 1, 1, 1)
        return (x + share.sqrt()) / (1 - share).sqrt()


def images_of(share: float, count: int) -> Digits:
    """Return images with this share of white pixels, the others black."""
    white = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(5)) < share
    return Digits(white.float() * 2 - 1, torch.zeros(count, dtype=torch.long))


def test_a_denoiser_that_always_predicts_black_costs_the_entropy_and_what_it_was_not_fitted_to_costs_more() -> None:
    seen, held = images_of(0.2, 60), images_of(0.2, 40)
    entropy = -0.2 * np.log2(0.2) - 0.8 * np.log2(0.8)
    found = measure_decoders(Constant(), SCHEDULE, held, seen, 40, 60)
    assert found.categorical is not None
    assert found.fitted == 60
    assert found.categorical.shape == found.gaussian.shape == (40,)
    assert found.categorical.mean() == pytest.approx(entropy, abs=0.01)
    assert found.gaussian.mean() > 100, "a Gaussian around black has next to no mass at white"
    # fitted to other images: the cross entropy, never less than the entropy, so the bound stays a bound
    wrong = measure_decoders(Constant(), SCHEDULE, held, images_of(0.6, 60), 40, 60).categorical
    assert wrong is not None
    assert wrong.mean() == pytest.approx(-0.2 * np.log2(0.6) - 0.8 * np.log2(0.4), abs=0.02)


def test_without_training_images_there_is_no_categorical_decoder_and_no_more_images_than_there_are() -> None:
    found = measure_decoders(Constant(), SCHEDULE, images_of(0.1, 12), None)
    assert found.categorical is None
    assert found.fitted == 0
    assert len(found.gaussian) == 12
