"""Densities over the SNR, against sums over t that a Gaussian's denoiser has in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.likelihood import bits_per_loss
from viz_diffusion.lessons.training.loss_by_timestep import LossByTimestep, measure_loss_by_timestep
from viz_diffusion.lessons.training.loss_density import LossDensity, late_x0_error, measure_density
from viz_diffusion.training.train_config import TrainConfig

SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def oracle() -> GaussianOracle:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(400, 1, 4, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    return GaussianOracle.fit(SCHEDULE, images)


@pytest.fixture(scope="module")
def exact(oracle: GaussianOracle) -> LossByTimestep:
    """Return what would be measured with infinitely many draws: the loss of every stratum in closed form."""
    images = Digits(torch.zeros(4, 1, 4, 4), torch.tensor([0, 0, 1, 1]))
    found = measure_loss_by_timestep(oracle, SCHEDULE, images, images, each=2)
    loss, weights = oracle.eps_error(), bits_per_loss(SCHEDULE)
    means = [np.add.reduceat(values, found.edges[:-1]) / found.widths for values in (loss, loss * weights)]
    return replace(
        found,
        loss=np.broadcast_to(means[0][:, None, None], found.loss.shape).copy(),
        bits=np.broadcast_to(means[1][:, None], found.bits.shape).copy(),
    )


def test_shares_are_sums_over_t(oracle: GaussianOracle, exact: LossByTimestep) -> None:
    density = measure_density(exact, SCHEDULE, TrainConfig(weight_exponent=0.0))
    assert density is not None
    loss = oracle.eps_error()
    bits = loss * bits_per_loss(SCHEDULE)
    for shares, by_t in ((density.steps, np.ones(1000)), (density.loss, loss), (density.bits, bits)):
        assert shares == pytest.approx(np.add.reduceat(by_t, density.edges[:-1]) / by_t.sum())
        assert shares.sum() == pytest.approx(1)
        area = (density.per_decibel(shares) * -np.diff(density.decibels)).sum()
        assert area == pytest.approx(1)
    t = density.edges[5]
    neighbours = 10 * np.log10(SCHEDULE.snr[[t, t - 1]])
    assert neighbours[0] < density.decibels[5] < neighbours[1]
    facts = density.facts()
    assert facts.density_loss == pytest.approx(loss[: facts.density_t + 1].sum() / loss.sum())
    assert facts.density_bits == pytest.approx(bits[: facts.density_t + 1].sum() / bits.sum())
    assert facts.density_bits >= 0.5
    assert facts.density_steps == pytest.approx((facts.density_t + 1) / 1000)
    below = loss[: facts.half_loss_t].sum() / loss.sum()
    assert below == pytest.approx(0.5, abs=0.01)
    assert facts.half_loss_bits == pytest.approx(bits[: facts.half_loss_t].sum() / bits.sum(), abs=0.01)


def test_the_error_of_x0_is_that_of_the_closed_form(oracle: GaussianOracle, exact: LossByTimestep) -> None:
    """Of one Gaussian the error of x̂_0 grows with the noise, so that the last of the late timesteps has the largest."""
    error = 127.5 * np.sqrt(oracle.eps_error()[49] / SCHEDULE.snr[49])
    assert late_x0_error(exact, SCHEDULE) == pytest.approx(error, rel=0.05)
    assert late_x0_error(replace(exact, loss=4 * exact.loss), SCHEDULE) == pytest.approx(2 * error, rel=0.05)


def test_objectives_weigh_one_error_alike_where_they_mean_the_same(exact: LossByTimestep) -> None:
    """Equal weight in v is the weight 1/ᾱ of the error of ε (Salimans & Ho 2022): the same density."""
    v = measure_density(exact, SCHEDULE, TrainConfig(objective="v"))
    one = measure_density(exact, SCHEDULE, TrainConfig(weight_exponent=1.0))
    none = measure_density(exact, SCHEDULE, TrainConfig(weight_exponent=0.0))
    assert v is not None
    assert one is not None
    assert none is not None
    assert v.loss == pytest.approx(one.loss, rel=1e-5)
    assert np.abs(v.loss - none.loss).max() > 0.01
    x0 = measure_density(exact, SCHEDULE, TrainConfig(objective="x0"))
    assert x0 is not None
    # min(SNR, 5) / SNR: below an SNR of 5 the error of ε counts alike at every t, as with weight 1
    low = SCHEDULE.snr[exact.edges[:-1]] < 5
    assert x0.loss[low] / x0.loss[low].sum() == pytest.approx(none.loss[low] / none.loss[low].sum(), rel=1e-5)
    assert measure_density(exact, SCHEDULE, TrainConfig(objective="flow")) is None


def _density(loss: tuple[float, float], spread: float) -> LossDensity:
    """Return two strata, the first of which has 60% of the bits."""
    return LossDensity(
        edges=np.array([0, 10, 1000]),
        decibels=np.array([40.0, 26.0, -44.0]),
        steps=np.array([0.01, 0.99]),
        loss=np.array(loss),
        loss_error=np.full(2, spread),
        bits=np.array([0.6, 0.4]),
    )


@pytest.mark.parametrize(
    ("loss", "spread", "said"),
    [((0.7, 0.3), 0.01, True), ((0.1, 0.9), 0.01, False), ((0.52, 0.48), 0.05, None)],
)
def test_the_claim_follows_the_shares(loss: tuple[float, float], spread: float, said: bool | None) -> None:
    density = _density(loss, spread)
    assert density.claim().holds is said
    assert density.facts().density_t == 9


def test_the_interval_of_a_share_is_that_of_drawing_again() -> None:
    density, rng = _density((0.3, 0.7), 0.02), np.random.default_rng(0)
    drawn = density.loss + density.loss_error * rng.standard_normal((200_000, 2))
    spread = (drawn[:, 0] / drawn.sum(axis=1)).std()
    assert density.facts().density_loss_half == pytest.approx(1.96 * spread, rel=0.02)
