"""Paths of the exact mixture from noise to data: DDPM, its probability-flow equation, and the flow, and their errors.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.lessons.flow.ring_mixture import Float64, Int64, RingMixture, straightness, transport_gaussian

EVALUATIONS = (2, 5, 10, 20, 50)
"""Evaluations of the predictions, that is steps."""
METHODS = ("ddpm", "euler_ode", "ddim", "flow")
"""DDPM's SDE; its probability-flow equation by Euler in x_t, and by DDIM; and the flow by Euler."""
DDPM, EULER_ODE, DDIM, FLOW = range(4)
PATH_METHODS = (DDPM, DDIM, FLOW)
"""Whose paths are drawn and measured."""
POINTS = 1000
"""Points that are moved from noise to data."""
PATH_STEPS = 50
"""Steps of the paths whose straightness is measured: a path of the SDE is the longer the more steps it has."""
EXACT_STEPS = 400
"""Steps of the solution that counts as exact (Runge-Kutta of order 4)."""
GUIDED_STEPS = 100
NEAR = 3.0
"""A point lies at the ring within so many standard deviations of a mean: of the data exp(-9/2) = 1.1% do not."""
GUIDANCE_SCALES = (1.0, 2.0, 4.0)
CONTROL_MEAN, CONTROL_STD = (2.0, -1.0), 0.4
"""The single Gaussian of the control."""


@dataclass(frozen=True, eq=False)
class RingStudy:
    """N points of the mixture moved from one noise by each method."""

    mixture: RingMixture
    """The data."""
    evaluations: tuple[int, ...]
    """K numbers of evaluations, rising."""
    off: Float64
    """(3, K, N) float64: distance from the exact end of the same equation, of Euler in x_t, DDIM and the flow."""
    near: NDArray[np.bool_]
    """(4, K, N) bool: whether the point ends at the ring, by method."""
    paths: Float64
    """(3, M, P, 2) float64: the first paths of DDPM, of its equation (DDIM) and of the flow."""
    straight: Float64
    """(3, N) float64: chord over length of the paths of these three."""
    guided: Float64
    """(G, N, 2) float64: the ends for each guidance scale, all points having a label."""
    labels: Int64
    """(N,) int64: those labels."""
    data: Float64
    """(N, 2) float64: points of the data with these labels."""
    control_straight: float
    """Chord over length of the optimal-transport flow to one Gaussian, the least of N paths."""
    control_off: float
    """The largest distance of its end after one step of Euler from the exact end."""


def measure_ring(count: int = POINTS, seed: int = 0, drawn: int = 40) -> RingStudy:
    """Move ``count`` points by every method and number of evaluations."""
    mixture, rng = RingMixture(), np.random.default_rng([seed, 95])
    noise, labels = rng.standard_normal((count, 2)), np.arange(count) % 10
    schedule = NoiseSchedule.named("linear")
    total = schedule.signal_scale[-1] + schedule.noise_scale[-1]
    sigma_first = float(schedule.noise_scale[-1] / total)
    ends = exact_end(mixture, noise / total, sigma_first), exact_end(mixture, noise, 1.0)
    off, near = [], []
    for steps in EVALUATIONS:
        made = [_by_method(mixture, noise, steps, method, schedule, rng)[:, -1] for method in range(len(METHODS))]
        truth = {EULER_ODE: ends[0], DDIM: ends[0], FLOW: ends[1]}
        off.append([np.linalg.norm(made[method] - truth[method], axis=1) for method in truth])
        near.append([mixture.distance(points) < NEAR * mixture.std for points in made])
    paths = [_by_method(mixture, noise, PATH_STEPS, method, schedule, rng) for method in PATH_METHODS]
    mean = np.array(CONTROL_MEAN)
    control = transport_gaussian(noise, mean, CONTROL_STD, PATH_STEPS)
    once = transport_gaussian(noise, mean, CONTROL_STD, 1)[:, -1]
    return RingStudy(
        mixture=mixture,
        evaluations=EVALUATIONS,
        off=np.array(off).swapaxes(0, 1),
        near=np.array(near).swapaxes(0, 1),
        paths=np.stack(paths)[:, :drawn],
        straight=np.stack([straightness(path) for path in paths]),
        guided=np.stack([exact_end(mixture, noise, 1.0, labels, s, GUIDED_STEPS) for s in GUIDANCE_SCALES]),
        labels=labels,
        data=mixture.sample(labels, rng),
        control_straight=float(straightness(control).min()),
        control_off=float(np.linalg.norm(once - (mean + CONTROL_STD * noise), axis=1).max()),
    )


def exact_end(
    mixture: RingMixture,
    x: Float64,
    sigma: float,
    labels: Int64 | None = None,
    scale: float = 1.0,
    steps: int = EXACT_STEPS,
) -> Float64:
    """Return (N, 2) where the flow from the noise level σ ends, by Runge-Kutta of order 4.

    The probability-flow equation of any process is the same one in x / (a + b) and σ = b / (a + b).
    """
    h = -sigma / steps
    for step in range(steps):
        now = sigma + step * h
        levels = now, now + h / 2, max(now + h, 0.0)
        k1 = mixture.velocity(x, levels[0], labels, scale)
        k2 = mixture.velocity(x + h / 2 * k1, levels[1], labels, scale)
        k3 = mixture.velocity(x + h / 2 * k2, levels[1], labels, scale)
        # at σ = 0 the formula of the velocity divides by 0; just before it is as exact
        k4 = mixture.velocity(x + h * k3, levels[2] or -h * 1e-3, labels, scale)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def _by_method(
    mixture: RingMixture, noise: Float64, steps: int, method: int, schedule: NoiseSchedule, rng: np.random.Generator
) -> Float64:
    """Return (N, steps+1, 2) the states of one method, from noise to data."""
    if method == FLOW:
        return euler_flow(mixture, noise, steps)
    spaced = schedule.respaced(spaced_timesteps(schedule.num_train_timesteps, steps)[::-1])
    x, path = noise, [noise]
    for i in reversed(range(steps)):
        a, b = float(spaced.signal_scale[i]), float(spaced.noise_scale[i])
        eps = mixture.predict_eps(x, a, b)
        x0 = (x - b * eps) / a
        share = float(spaced.alphas_cumprod_prev[i])
        if method == DDPM:  # Ho et al. 2020, algorithm 2, with the variance β
            x = spaced.posterior_mean(x0, x, i)
            x = x + np.sqrt(spaced.betas[i]) * rng.standard_normal(x.shape) if i else x
        elif method == DDIM:  # Song et al. 2021, eq. 12 with η = 0
            x = np.sqrt(share) * x0 + np.sqrt(1 - share) * eps
        else:  # dx = -(β/2) (x + score) dt, backwards (Song et al. 2021b, eq. 13), ∫β dt = -ln(ᾱ_t / ᾱ_{t'})
            integral = -np.log(spaced.alphas_cumprod[i] / share)
            x = x + integral / 2 * (x - eps / b)
        path.append(x)
    return np.stack(path, axis=1)


def euler_flow(mixture: RingMixture, noise: Float64, steps: int) -> Float64:
    """Return (N, steps+1, 2) the states of Euler's method for the flow, σ evenly spaced from 1 to 0."""
    x, path = noise, [noise]
    for step in range(steps):
        x = x - mixture.velocity(x, 1 - step / steps) / steps
        path.append(x)
    return np.stack(path, axis=1)
