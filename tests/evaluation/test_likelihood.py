"""Losses and bits against closed forms: a Gaussian whose best denoiser and entropy are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation import likelihood
from viz_diffusion.evaluation.likelihood import gaussian_losses, measure_likelihood

SCHEDULE = NoiseSchedule.named("linear")
SPREAD = 0.2


def gaussian_images(count: int = 400) -> Digits:
    """Independent pixels of N(0, SPREAD²), rounded to the 256 grey levels."""
    draws = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(3)) * SPREAD
    levels = ((draws.clamp(-1, 1) + 1) * 127.5).round()
    return Digits(levels / 127.5 - 1, torch.zeros(count, dtype=torch.long))


class BestDenoiser(nn.Module):
    """E[ε | x_t] for pixels of N(0, SPREAD²), times ``factor``."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor, timesteps: Tensor, _: Tensor) -> Tensor:
        share = torch.from_numpy(SCHEDULE.alphas_cumprod)[timesteps].float().reshape(-1, 1, 1, 1)
        return self.factor * (1 - share).sqrt() / (share * SPREAD**2 + 1 - share) * x


def test_losses_of_the_best_denoiser_are_the_closed_form() -> None:
    found = measure_likelihood(BestDenoiser(), SCHEDULE, gaussian_images(), count=4)
    share = SCHEDULE.alphas_cumprod
    expected = share * SPREAD**2 / (share * SPREAD**2 + 1 - share)
    assert np.abs((found.loss - expected) / found.loss_error.clip(1e-4)).mean() < 3
    assert found.mean_loss == pytest.approx(expected.mean(), rel=0.01)


def test_bits_of_the_best_denoiser_are_the_closed_form_above_the_entropy_and_worse_ones_cost_more() -> None:
    share, snr = SCHEDULE.alphas_cumprod, SCHEDULE.snr
    missed = SPREAD**2 * (1 - share) / (share * SPREAD**2 + 1 - share)  # E (x_0 - x̂_0)²
    nats = (0.5 * (snr[:-1] - snr[1:]) * missed[1:]).sum()  # Kingma et al. 2021, eq. 13
    # a Gaussian decoder of variance β̃_1 whose squared error is that of x̂_0 at t = 0
    spread = SCHEDULE.posterior_variance[1]
    decoder = 0.5 * np.log(2 * np.pi * spread) + missed[0] / (2 * spread) - np.log(2 / 255)
    best = measure_likelihood(BestDenoiser(), SCHEDULE, gaussian_images(), count=4)
    assert best.bits == pytest.approx((nats + decoder) / np.log(2), abs=4 * best.bits_error)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * SPREAD**2) + np.log2(127.5)
    assert best.bits > entropy
    worse = measure_likelihood(BestDenoiser(0.8), SCHEDULE, gaussian_images(), count=4)
    assert worse.bits > best.bits + 0.3


class Listener(nn.Module):
    """A rough denoiser that keeps what it was given, and what it answered, by timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.1))
        self.calls: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        eps = self.factor * x
        self.calls[int(timesteps[0])] = x.double(), eps.double(), labels
        return eps


def test_every_term_of_the_bound_is_a_divergence_of_gaussians() -> None:
    """Ten steps, after which much of the image is left: all terms, each by its definition (Ho et al. 2020, eq. 5)."""
    schedule, listener = NoiseSchedule.named("linear", 10), Listener()
    images = gaussian_images(50).images
    images[:, :, :4], images[:, :, 4:8] = -1, 1  # the decoder's outermost grey levels reach to infinity
    found = measure_likelihood(listener, schedule, Digits(images, torch.arange(50)), count=30)  # labels say which image

    beta = torch.tensor(schedule.betas)
    alpha = 1 - beta
    share = torch.cumprod(alpha, 0)
    prior = kl_divergence(Normal(share[-1].sqrt() * images.double(), (1 - share[-1]).sqrt()), Normal(0.0, 1.0))
    assert found.bits_last == pytest.approx(prior.mean().item() / np.log(2), rel=1e-9)
    assert found.bits_last > 0.1

    terms = np.empty(10)
    for t in range(10):
        x_t, eps, labels = listener.calls[t]
        x0, guess = images[labels].double(), (x_t - (1 - share[t]).sqrt() * eps) / share[t].sqrt()
        if t == 0:
            spread = (beta[1] * (1 - share[0]) / (1 - share[1])).sqrt().item()
            middle, low, high = guess.numpy(), (x0 - 1 / 255).numpy(), (x0 + 1 / 255).numpy()
            low[x0 == -1], high[x0 == 1] = -np.inf, np.inf
            low, high = (low - middle) / spread, (high - middle) / spread
            mass = np.where(low > 0, norm.sf(low) - norm.sf(high), norm.cdf(high) - norm.cdf(low))
            terms[t] = -np.log2(mass).mean()
            continue
        # q(x_{t-1} | x_t, x_0) from the product of q(x_t | x_{t-1}) and q(x_{t-1} | x_0), by precisions
        precision = alpha[t] / beta[t] + 1 / (1 - share[t - 1])
        means = [
            (alpha[t].sqrt() * x_t / beta[t] + share[t - 1].sqrt() * x / (1 - share[t - 1])) / precision
            for x in (x0, guess)
        ]
        true, model = (Normal(mean, precision**-0.5) for mean in means)
        terms[t] = kl_divergence(true, model).mean().item() / np.log(2)
    np.testing.assert_allclose(found.bits_by_t, terms, rtol=1e-3)
    assert found.bits == pytest.approx(terms.sum() + prior.mean().item() / np.log(2), rel=1e-4)
    assert found.bits - terms.sum() > 0.5 * found.bits_last


def test_the_same_call_gives_the_same_numbers() -> None:
    first, second = (measure_likelihood(BestDenoiser(), SCHEDULE, gaussian_images(), count=2) for _ in range(2))
    assert np.array_equal(first.loss, second.loss)
    assert first.bits == second.bits


def test_baselines_are_the_numbers_known_for_mnist() -> None:
    digits = load_digits("train")
    one, per_label = gaussian_losses(SCHEDULE, digits)
    assert one.mean() == pytest.approx(0.0745, abs=5e-5)
    assert per_label.mean() == pytest.approx(0.0581, abs=5e-5)
    assert gaussian_losses(NoiseSchedule.named("cosine"), digits)[0].mean() == pytest.approx(0.140, abs=5e-4)


def test_a_label_with_one_image_has_no_gaussian() -> None:
    digits = load_digits("test").first_of_each(11)
    with pytest.raises(VizdiffInputError, match="found 1 of 1"):
        gaussian_losses(SCHEDULE, digits)


@pytest.mark.parametrize("count", [3, 40])
def test_large_images_have_the_losses_of_their_covariance(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With N images in D dimensions the Gram matrix gives what the covariance gives, for N below D and above."""
    generator = torch.Generator().manual_seed(count)
    images = torch.rand(2 * count, 1, 4, 4, generator=generator) * 2 - 1
    data = Digits(images, torch.arange(2 * count) % 2)
    schedule = NoiseSchedule.named("linear", 50)
    direct = likelihood.gaussian_losses(schedule, data)
    monkeypatch.setattr(likelihood, "DIRECT_SIZE", 8)
    for large, small in zip(likelihood.gaussian_losses(schedule, data), direct, strict=True):
        np.testing.assert_allclose(large, small, rtol=1e-9)
    one_each = Digits(images[:2], torch.tensor([0, 1]))
    assert not likelihood.gaussian_losses(schedule, one_each)[1].any()  # a point has no variance
