"""The mixture in the plane against finite differences and moments, and flows whose ends are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from viz_diffusion.lessons.flow.ring_mixture import RingMixture, straightness, transport_gaussian
from viz_diffusion.lessons.flow.ring_samplers import exact_end

RING = RingMixture()


@pytest.fixture(scope="module")
def noise() -> Any:
    return np.random.default_rng(7).standard_normal((300, 2))


# -- the mixture ---------------------------------------------------------------------------------------


def test_moments_of_the_mixture_are_the_closed_ones() -> None:
    """Mean 0, covariance (R²/2 + s²) I for K points on a circle, K at least 3."""
    points = RING.sample(np.arange(200_000) % 10, np.random.default_rng(0))
    expected = RING.radius**2 / 2 + RING.std**2
    assert np.abs(points.mean(axis=0)).max() < 4 * np.sqrt(expected / 200_000)
    assert np.allclose(np.cov(points.T), expected * np.eye(2), atol=0.01)
    assert np.linalg.norm(RING.means, axis=1) == pytest.approx(RING.radius)


@pytest.mark.parametrize(("a", "b"), [(0.9, 0.1), (0.5, 0.5), (0.3, 0.95), (1.0, 2.0)])
def test_score_is_the_gradient_of_the_log_density(a: float, b: float, noise: Any) -> None:
    h, x = 1e-5, noise[:50]
    slopes = [
        (np.log(RING.density(x + h * e, a, b)) - np.log(RING.density(x - h * e, a, b))) / (2 * h) for e in np.eye(2)
    ]
    assert np.allclose(RING.score(x, a, b), np.stack(slopes, axis=1), rtol=1e-5, atol=1e-5)
    x0, eps = RING.predict_x0(x, a, b), RING.predict_eps(x, a, b)
    assert np.allclose(a * x0 + b * eps, x, atol=1e-12)
    wrong = RING.score(x, a, 1.1 * b)  # control: another noise level
    assert np.abs(wrong - np.stack(slopes, axis=1)).max() > 1e-2


def test_predicted_x0_is_the_mean_of_the_posterior_by_drawing() -> None:
    """A million draws of x_0, weighted by how likely each makes the state."""
    rng, a, b, x = np.random.default_rng(1), 0.6, 0.4, np.array([[0.4, 0.3]])
    draws = RING.sample(rng.integers(0, 10, 1_000_000), rng)
    weights = np.exp(-np.square(x - a * draws).sum(axis=1) / (2 * b**2))
    mean = weights @ draws / weights.sum()
    assert np.allclose(RING.predict_x0(x, a, b)[0], mean, atol=0.01)


def test_density_integrates_to_one() -> None:
    side = np.linspace(-6, 6, 401)
    grid = np.stack(np.meshgrid(side, side), axis=2).reshape(-1, 2)
    assert RING.density(grid, 0.7, 0.4).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_guidance_is_linear_in_the_scale_and_scale_one_is_the_label(noise: Any) -> None:
    labels = np.arange(len(noise)) % 10
    plain, labelled = RING.predict_eps(noise, 0.5, 0.5), RING.predict_eps(noise, 0.5, 0.5, labels)
    assert np.allclose(RING.predict_eps(noise, 0.5, 0.5, labels, 3.0), plain + 3 * (labelled - plain))
    assert np.array_equal(RING.velocity(noise, 0.5, labels, 1.0), RING.velocity(noise, 0.5, labels))
    for sigma in (0.0, 0.3, 1.0):
        one, other = RING.velocity(noise, sigma), RING.velocity(noise, sigma, labels)
        assert np.allclose(RING.velocity(noise, sigma, labels, 2.0), 2 * other - one)
    assert np.allclose(
        RING.velocity(noise, 0.3), (RING.predict_eps(noise, 0.7, 0.3) - RING.predict_x0(noise, 0.7, 0.3))
    )


# -- flows with known ends -----------------------------------------------------------------------------


def test_exact_end_of_one_gaussian_is_the_closed_form(noise: Any) -> None:
    """Of a Gaussian N(μ, s² I) the flow from N(0, I) ends in μ + s z (Wang & Vastola 2024)."""
    labels = np.full(len(noise), 3)
    end = exact_end(RING, noise, 1.0, labels)
    assert np.abs(end - (RING.means[3] + RING.std * noise)).max() < 1e-5
    far = exact_end(RING, noise, 1.0, np.full(len(noise), 4))  # control: another label
    assert np.abs(end - far).min() > 0.1 * RING.std


def test_the_exact_end_does_not_depend_on_the_number_of_steps(noise: Any) -> None:
    ends = [exact_end(RING, noise, 1.0, steps=steps) for steps in (400, 800)]
    assert np.quantile(np.linalg.norm(ends[0] - ends[1], axis=1), 0.99) < 1e-4


def test_ends_have_the_distribution_of_the_data() -> None:
    z = np.random.default_rng(3).standard_normal((4000, 2))
    end = exact_end(RING, z, 1.0, steps=200)
    off = RING.distance(end)
    assert np.square(off).mean() == pytest.approx(2 * RING.std**2, rel=0.1)
    nearest = np.linalg.norm(end[:, None] - RING.means, axis=2).argmin(axis=1)
    assert np.abs(np.bincount(nearest, minlength=10) - 400).max() < 100  # all ten alike


def test_control_optimal_transport_to_one_gaussian_is_straight_and_exact_in_one_step(noise: Any) -> None:
    mean, std = np.array([2.0, -1.0]), 0.4
    for steps in (1, 7):
        path = transport_gaussian(noise, mean, std, steps)
        assert np.abs(path[:, -1] - (mean + std * noise)).max() < 1e-12
        assert straightness(path).min() > 1 - 1e-12
    labels = np.full(len(noise), 3)  # control: without the pairing, the flow to one Gaussian bends
    x, states = noise, [noise]
    for step in range(50):
        x = x - RING.velocity(x, 1 - step / 50, labels) / 50
        states.append(x)
    assert straightness(np.stack(states, axis=1)).mean() < 0.999


def test_straightness_of_known_paths() -> None:
    circle = np.stack([np.cos(np.linspace(0, np.pi, 2001)), np.sin(np.linspace(0, np.pi, 2001))], axis=1)
    line = np.linspace(0, 1, 50)[:, None] * np.array([3.0, 4.0])
    assert straightness(circle[None]) == pytest.approx(2 / np.pi, rel=1e-5)
    assert straightness(line[None]) == pytest.approx(1)
    steps = np.random.default_rng(0).standard_normal((200, 400, 300))
    assert straightness(np.cumsum(steps, axis=1)).mean() == pytest.approx(1 / np.sqrt(399), rel=0.02)
