"""The true noise and the Gaussian as oracles: formulas and known values of MNIST; the samplers on them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle, TruthOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, dpm_solver_steps
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.likelihood import gaussian_losses


@pytest.fixture(scope="module")
def training() -> Digits:
    return load_digits("train")


@pytest.fixture(scope="module")
def gaussian(training: Digits, linear: NoiseSchedule) -> GaussianOracle:
    return GaussianOracle.fit(linear, training.images)


def small_gaussian(linear: NoiseSchedule) -> tuple[GaussianOracle, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    factor = rng.standard_normal((4, 3))  # of rank 3: one direction has no variance at all
    mean, covariance = rng.standard_normal(4), factor @ factor.T
    return GaussianOracle(linear, mean, covariance), mean, covariance


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- truth -----------------------------------------------------------------------------------------


def test_truth_returns_the_noise_that_was_added_at_each_images_own_t(linear: NoiseSchedule) -> None:
    x0, noise = random(1000, 1, 2, 2, seed=1), random(1000, 1, 2, 2, seed=2)
    t = torch.arange(1000)
    oracle = TruthOracle(linear, x0)
    found = oracle(linear.add_noise(x0, noise, t), t, torch.zeros(1000, dtype=torch.long))
    torch.testing.assert_close(found, noise, rtol=0, atol=1e-12)
    torch.testing.assert_close(linear.predict_x0(linear.add_noise(x0, noise, t), found, t), x0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++"])
def test_under_the_truth_every_sampler_ends_at_the_image_with_guidance_too(sampler: str, linear: NoiseSchedule) -> None:
    x0 = random(2, 1, 4, 4).clamp(-1, 1).float()
    noise = ImageNoise([0, 1], (1, 4, 4))
    steps = sampling_steps(
        TruthOracle(linear, x0), linear, noise, torch.tensor([1, 2]), SamplerConfig(sampler, 7, guidance_scale=3.0)
    )
    for step in steps:
        last = step.x_prev
    torch.testing.assert_close(last, x0, rtol=0, atol=1e-6)


def test_the_truth_oracle_refuses_other_images(linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffInputError, match="knows 2 images, and was asked about 3"):
        TruthOracle(linear, torch.zeros(2, 1))(torch.zeros(3, 1), torch.tensor([5]))


# -- Gaussian --------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0, 259, 999])
def test_the_gaussian_denoiser_is_its_formula(t: int, linear: NoiseSchedule) -> None:
    oracle, mean, covariance = small_gaussian(linear)
    x, share = random(5, 4), linear.alphas_cumprod[t]
    spread = np.linalg.inv(share * covariance + (1 - share) * np.eye(4))
    wanted = mean + np.sqrt(share) * (x.numpy() - np.sqrt(share) * mean) @ (covariance @ spread).T
    steps = torch.full((5,), t)
    np.testing.assert_allclose(oracle.predict_x0(x, steps).numpy(), wanted, rtol=1e-9, atol=1e-10)
    implied = linear.predict_x0(x, oracle(x, steps), t)
    np.testing.assert_allclose(implied.numpy(), wanted, rtol=1e-9, atol=1e-10)


def test_each_image_has_its_own_timestep(linear: NoiseSchedule) -> None:
    oracle, _, _ = small_gaussian(linear)
    x, t = random(3, 4), torch.tensor([0, 400, 999])
    together = oracle(x, t)
    for row in range(3):
        torch.testing.assert_close(together[row : row + 1], oracle(x[row : row + 1], t[row : row + 1]))


def test_no_denoiser_has_a_lower_loss_than_the_gaussian_oracle(linear: NoiseSchedule) -> None:
    """Its error is what it says, by draws; another gain does worse."""
    oracle, mean, covariance = small_gaussian(linear)
    x0 = torch.from_numpy(np.random.default_rng(0).multivariate_normal(mean, covariance, 40_000))
    noise = random(*x0.shape, seed=1)
    for t in (50, 400, 800):
        x, steps = linear.add_noise(x0, noise, t), torch.full((len(x0),), t)
        squares = (oracle(x, steps) - noise).square().mean(dim=1)
        error = squares.std().item() / len(x0) ** 0.5
        assert squares.mean().item() == pytest.approx(oracle.eps_error()[t], abs=4 * error)
        worse = (1.05 * oracle(x, steps) - noise).square().mean(dim=1)
        assert worse.mean() > squares.mean()


def test_known_losses_of_the_gaussian_of_mnist(gaussian: GaussianOracle, training: Digits) -> None:
    found = gaussian.eps_error()
    assert [float(f"{v:.2g}") for v in found[[0, 99, 249, 499, 699]]] == [0.80, 0.23, 0.085, 0.016, 0.0018]
    assert found.mean() == pytest.approx(0.0745, abs=5e-5)
    np.testing.assert_allclose(found, gaussian_losses(gaussian.schedule, training)[0], rtol=1e-9)
    norms = np.sqrt(1 - found[[999, 500, 250, 100, 10]])  # ‖ε̂‖/28
    assert [f"{v:.2f}" for v in norms] == ["1.00", "0.99", "0.96", "0.88", "0.60"]


def test_the_flow_solves_its_equation(linear: NoiseSchedule) -> None:
    """dy/ds = ε̂ with y = x/√ᾱ and s = √((1-ᾱ)/ᾱ), by Runge and Kutta's fourth order in one dimension."""
    mean, variance = 0.3, 0.7
    oracle = GaussianOracle(linear, np.array([mean]), np.array([[variance]]))
    shares = linear.alphas_cumprod[[700, 100]]
    s_from, s_to = np.sqrt((1 - shares) / shares)

    def slope(y: float, s: float) -> float:
        return s * (y - mean) / (variance + s**2)

    grid = np.geomspace(s_from, s_to, 2001)
    y = 1.4 / np.sqrt(shares[0])
    for s, after in pairwise(grid):
        h = after - s
        a = slope(y, s)
        b = slope(y + h * a / 2, s + h / 2)
        c = slope(y + h * b / 2, s + h / 2)
        y += h * (a + 2 * b + 2 * c + slope(y + h * c, after)) / 6
    found = oracle.flow(torch.tensor([[1.4]], dtype=torch.float64), 700, 100).item()
    assert found == pytest.approx(y * np.sqrt(shares[1]), rel=1e-10)


def test_the_flow_carries_one_marginal_to_the_other_and_back(linear: NoiseSchedule) -> None:
    oracle, mean, covariance = small_gaussian(linear)
    x = random(4, 4, seed=5)
    there = oracle.flow(x, 999, None)
    unit = torch.eye(4, dtype=torch.float64)
    centre = torch.from_numpy(np.sqrt(linear.alphas_cumprod[999]) * mean)[None]
    np.testing.assert_allclose(oracle.flow(centre, 999)[0].numpy(), mean, atol=1e-12)
    linear_part = (oracle.flow(centre + unit, 999) - oracle.flow(centre, 999)).numpy()
    share = linear.alphas_cumprod[999]
    begun = share * covariance + (1 - share) * np.eye(4)
    np.testing.assert_allclose(linear_part.T @ begun @ linear_part, covariance, atol=1e-9)
    halfway = oracle.flow(oracle.flow(x, 999, 300), 300, None)
    torch.testing.assert_close(halfway, there, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(oracle.flow(oracle.flow(x, 999, 300), 300, 999), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mean", "covariance"), [((1, 2), (2, 2)), ((2,), (3, 3)), ((2,), (2,))])
def test_shapes_that_do_not_fit_are_named(mean: tuple, covariance: tuple, linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffInputError, match=r"\(D,\).*\(D,D\), found"):
        GaussianOracle(linear, np.zeros(mean), np.zeros(covariance))


def test_a_negative_variance_is_named(linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffInputError, match="eigenvalue below 0, found -2"):
        GaussianOracle(linear, np.zeros(2), np.diag([1.0, -2.0]))


# -- samplers on the Gaussian oracle ---------------------------------------------------------------


class Impulses:
    """Noise for B = draws + 1 images, of which image b gets ones at the b-th draw and zeros at all others.

    On a linear denoiser the finished image b is the gain from draw b, so the variance of what the sampler makes
    is the sum of its squares: exact, with nothing drawn at random. The first draw, x_T, has the true marginal's
    standard deviations.
    """

    def __init__(self, oracle: GaussianOracle, draws: int) -> None:
        self.first = torch.from_numpy(np.sqrt(oracle.marginal_variances(oracle.schedule.num_train_timesteps - 1)))
        self.draws, self.drawn = draws, 0

    def draw(self, device: object = "cpu") -> Tensor:  # noqa: ARG002
        values = torch.zeros(self.draws, len(self.first), dtype=torch.float64)
        values[self.drawn] = self.first if self.drawn == 0 else 1.0
        self.drawn += 1
        return values


def frechet_error(oracle: GaussianOracle, sampler: str, steps: int, spacing: str = "trailing", **options: str) -> float:
    """Return the Fréchet distance of what a sampler makes to the oracle's own Gaussian, in its eigenbasis.

    Both are Gaussians with the same mean and the same eigenvectors: the sum of squared differences of the
    standard deviations.
    """
    straight = GaussianOracle(oracle.schedule, np.zeros(len(oracle.variances)), np.diag(oracle.variances))
    straight.variances = oracle.variances
    noise = Impulses(straight, steps if sampler == "ddpm" else 1)
    config = SamplerConfig(sampler, steps, timestep_spacing=spacing, clip=False, **options)
    for step in sampling_steps(straight, oracle.schedule, noise, None, config):
        last = step.x_prev
    spread = last.square().sum(dim=0).sqrt()
    return float((spread - torch.from_numpy(straight.variances).sqrt()).square().sum())


A14 = {
    5: ("24.2", "14.4", "18.9", "36.8"),
    10: ("8.4", "3.8", "4.4", "15.4"),
    20: ("2.7", "1.0", "1.1", "5.8"),
    50: ("0.53", "0.14", "0.22", "1.5"),
}
KINDS = (("ddim", {}), ("dpm-solver++", {}), ("ddpm", {"variance": "beta"}), ("ddpm", {"variance": "beta_tilde"}))


@pytest.mark.parametrize("steps", A14)
@pytest.mark.parametrize("kind", range(4), ids=["ddim", "2m", "beta", "beta_tilde"])
def test_known_errors_of_the_samplers(steps: int, kind: int, gaussian: GaussianOracle) -> None:
    sampler, options = KINDS[kind]
    wanted = A14[steps][kind]
    digits = len(wanted.partition(".")[2])
    assert f"{frechet_error(gaussian, sampler, steps, **options):.{digits}f}" == wanted


def test_with_all_steps_the_deterministic_samplers_are_exact_to_three_digits(gaussian: GaussianOracle) -> None:
    assert f"{frechet_error(gaussian, 'ddim', 1000):.3f}" == "0.003"
    assert f"{frechet_error(gaussian, 'dpm-solver++', 1000):.3f}" == "0.001"


def test_trailing_is_the_better_spacing_where_steps_are_few(gaussian: GaussianOracle) -> None:
    """Why it is the default. DDIM alone gains by linspace, from 20 steps on, and little."""
    for steps in (5, 10, 20):
        for sampler, options in KINDS:
            trailing, linspace = (
                frechet_error(gaussian, sampler, steps, s, **options) for s in ("trailing", "linspace")
            )
            assert trailing < linspace * (1.03 if (sampler, steps) == ("ddim", 20) else 1)


@pytest.mark.parametrize(("sampler", "order"), [(ddim_steps, 1), (dpm_solver_steps, 2)])
def test_the_error_along_the_flow_falls_with_the_order_of_the_sampler(
    sampler: Callable[..., object], order: int, linear: NoiseSchedule, fixed_noise: type
) -> None:
    """Twice the steps: half the error for DDIM, a quarter for 2M, against the exact end of the path."""
    oracle, mean, _ = small_gaussian(linear)
    share = linear.alphas_cumprod[999]
    x = np.sqrt(share) * torch.from_numpy(mean) + random(3, 4, seed=7)

    def error(steps: int) -> float:
        visited = np.linspace(999, 99, steps + 1).astype(np.int64)
        for step in sampler(oracle, linear, fixed_noise(x), None, timesteps=visited, clip=False):
            last = step
        return (last.x_t - oracle.flow(x, 999, 99)).norm().item()

    ratios = [error(n) / error(2 * n) for n in (50, 150)]
    assert ratios == pytest.approx([2**order] * 2, rel=0.1)
