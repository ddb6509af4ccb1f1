"""A mixture of ten Gaussians on a circle in the plane, with exact predictions at every noise level.

The ten stand for the ten digits: each has a label, and together they are the data. At a state x = a x_0 + b ε every
prediction is known in closed form, so that what a sampler does is separated from what a network does. NumPy float64.
Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class RingMixture:
    """K isotropic Gaussians of equal weight, their means evenly spaced on a circle."""

    count: int = 10
    """K."""
    radius: float = 1.6
    """Distance of the means from the origin."""
    std: float = 0.12
    """Standard deviation of each Gaussian in each direction."""

    @cached_property
    def means(self) -> Float64:
        """(K, 2) float64: the means; the first lies on top, and the others follow clockwise."""
        angle = np.pi / 2 - 2 * np.pi * np.arange(self.count) / self.count
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def sample(self, labels: Int64, rng: np.random.Generator) -> Float64:
        """Return (N, 2) points of the Gaussians with these (N,) labels."""
        return self.means[labels] + self.std * rng.standard_normal((len(labels), 2))

    def density(self, x: Float64, a: float, b: float) -> Float64:
        """Return (N,) the density of the states a x_0 + b ε at (N, 2) points."""
        variance = a**2 * self.std**2 + b**2
        squares = np.square(x[:, None] - a * self.means).sum(axis=2)
        return np.asarray(np.exp(-squares / (2 * variance)).mean(axis=1) / (2 * np.pi * variance))

    def weights(self, x: Float64, a: float, b: float) -> Float64:
        """Return (N, K) p(label | x): how likely each Gaussian is at (N, 2) states."""
        logits = x @ self.means.T * (a / (a**2 * self.std**2 + b**2))  # ‖x‖ and ‖μ‖ are the same for all
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def predict_x0(self, x: Float64, a: float, b: float, labels: Int64 | None = None) -> Float64:
        """Return (N, 2) the mean of p(x_0 | x), or of p(x_0 | x, label) for (N,) labels.

        Of one Gaussian it is μ + a s² (x - a μ) / (a² s² + b²); of the mixture, the mean of these by their weights.
        """
        gain = a * self.std**2 / (a**2 * self.std**2 + b**2)
        mean = self.means[labels] if labels is not None else self.weights(x, a, b) @ self.means
        return np.asarray(mean + gain * (x - a * mean))

    def predict_eps(self, x: Float64, a: float, b: float, labels: Int64 | None = None, scale: float = 1.0) -> Float64:
        """Return (N, 2) ε = (x - a x̂_0) / b, b above 0; with labels, ε_∅ + s (ε_y - ε_∅) for the guidance scale s."""
        if labels is None or scale == 1:
            return (x - a * self.predict_x0(x, a, b, labels)) / b
        plain, labelled = self.predict_eps(x, a, b), self.predict_eps(x, a, b, labels)
        return plain + scale * (labelled - plain)

    def score(self, x: Float64, a: float, b: float) -> Float64:
        """Return (N, 2) ∇ log q(x) = -ε / b (Song et al. 2021b)."""
        return -self.predict_eps(x, a, b) / b

    def velocity(self, x: Float64, sigma: float, labels: Int64 | None = None, scale: float = 1.0) -> Float64:
        """Return (N, 2) dx/dσ = ε - x̂_0 at states (1-σ) x_0 + σ ε (Liu et al. 2023), guided as ``predict_eps``.

        From ε follows x̂_0 = (x - σ ε) / (1-σ); the limits at both ends are taken where σ is 0 or 1.
        """

        def plain(of: Int64 | None) -> Float64:
            x0 = self.predict_x0(x, 1 - sigma, sigma, of)
            return (x - x0) / sigma if sigma > 0 else -x0

        if labels is None or scale == 1:
            return plain(labels)
        return plain(None) + scale * (plain(labels) - plain(None))

    def distance(self, x: Float64, labels: Int64 | None = None) -> Float64:
        """Return (N,) distances of (N, 2) points from the nearest mean, or from that of their label."""
        far = np.linalg.norm(x[:, None] - self.means, axis=2)
        return np.asarray(far.min(axis=1) if labels is None else far[np.arange(len(x)), labels])


def straightness(paths: Float64) -> Float64:
    """Return (N,) chord over length of (N, P, D) paths: 1 for a straight line, 0 for a path that comes back.

    A random walk of n even steps in many dimensions has about 1/√n. It says nothing of the speed along the path: one
    step of Euler's method is exact only where that is constant as well (Liu et al. 2023, section 2.2).
    """
    length = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(axis=1)
    return np.asarray(np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1) / np.maximum(length, 1e-300))


def transport_gaussian(noise: Float64, mean: Float64, std: float, steps: int) -> Float64:
    """Return (N, steps+1, D) Euler paths of the optimal-transport flow from N(0, I) to one Gaussian N(m, s² I).

    It pairs each noise z with m + s z, which is the optimal transport of two such Gaussians. At (1-σ)(m + s z) + σ z
    the velocity is z - (m + s z), constant along the path: the path is straight, and one step is exact.
    """
    x, path = noise, [noise]
    for step in range(steps):
        sigma = 1 - step / steps
        z = (x - (1 - sigma) * mean) / ((1 - sigma) * std + sigma)
        x = x - (z - (mean + std * z)) / steps
        path.append(x)
    return np.stack(path, axis=1)
