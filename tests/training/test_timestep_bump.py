"""Training with t drawn from a bump over log SNR: its density, and the expected loss, which stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.training.objective import BUMP_UNIFORM, Objective, loss_weights, timestep_probabilities
from viz_diffusion.training.train_config import TrainConfig


def test_the_bump_is_a_normal_density_over_log_snr_and_a_third_is_uniform(linear: NoiseSchedule) -> None:
    """Of a fine grid of draws as many fall on each t as the density's integral says, three quarters in 200 .. 699."""
    probabilities = timestep_probabilities(linear)
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert probabilities[200:700].sum() == pytest.approx(0.75, abs=0.01)
    density = np.exp(-(((linear.log_snr + 2.2) / 1.8) ** 2) / 2) / (1.8 * np.sqrt(2 * np.pi))
    widths = -np.gradient(linear.log_snr)  # nats of log SNR to each t
    by_hand = 1 / 3000 + 2 / 3 * density * widths
    np.testing.assert_allclose(probabilities[20:-1], by_hand[20:-1], rtol=1e-3)  # the ends have the tails

    share = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    images = torch.zeros(1, 1, 1, 1).expand(400_000, -1, -1, -1)
    drawn = Objective(TrainConfig(timestep_density="bump"), linear).examples(images, images, share).t
    np.testing.assert_allclose(np.bincount(drawn, minlength=1000) / 400_000, probabilities, atol=6e-6)
    two, edges = images[:2], torch.tensor([0.0, 1.0])
    ends = Objective(TrainConfig(timestep_density="bump"), linear).examples(two, two, edges)
    assert ends.t.tolist() == [0, 999]


@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
def test_the_bump_leaves_the_expected_loss_as_it_is(objective: str, linear: NoiseSchedule) -> None:
    """By the errors of a network that answers 0 where images are m everywhere and noise is 1: known at every t."""
    m, every = 0.5, torch.arange(1000)
    a, b = linear.signal_scale, linear.noise_scale
    errors = {"epsilon": np.ones(1000), "v": (a - m * b) ** 2, "x0": np.full(1000, m**2)}[objective]
    uniform = loss_weights(linear, TrainConfig(objective=objective)).numpy()
    config = TrainConfig(objective=objective, timestep_density="bump")
    probabilities = timestep_probabilities(linear)
    middle = torch.from_numpy(np.cumsum(probabilities) - probabilities / 2)  # a draw that gives each t
    x0, noise = torch.full((1000, 1, 2, 2), m), torch.ones(1000, 1, 2, 2)
    _, t, target, weight = Objective(config, linear).examples(x0, noise, middle)
    assert torch.equal(t, every)
    found = target.double().square().mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(found, errors, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose((probabilities * weight.numpy() * errors).sum(), (uniform * errors).mean(), rtol=1e-6)
    assert (weight.numpy() / uniform).max() <= 1 / BUMP_UNIFORM + 1e-5
    # control: without the division by the probability the mean is another
    assert (probabilities * uniform * errors).sum() != pytest.approx((uniform * errors).mean(), rel=0.05)


def test_a_bump_leaves_out_the_timestep_without_signal() -> None:
    probabilities = timestep_probabilities(NoiseSchedule.named("zero-snr"))
    assert probabilities[-1] == pytest.approx(BUMP_UNIFORM / 1000)
    assert probabilities.sum() == pytest.approx(1)
