"""What was measured of the mixture and of the digits, and the numbers that texts and JSON files say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_few, half_of_mean
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.flow.digit_samplers import FlowDigits
from viz_diffusion.lessons.flow.ring_mixture import Float64
from viz_diffusion.lessons.flow.ring_samplers import GUIDANCE_SCALES, NEAR, RingStudy


@dataclass(frozen=True, eq=False)
class FlowStudy:
    """The mixture in the plane, and the digits where there is a flow-matching network."""

    ring: RingStudy
    """The mixture."""
    digits: FlowDigits | None = None
    """The digits; None where they were not measured."""


@dataclass(frozen=True)
class DigitFacts:
    """What texts and JSON files say of the digits, by arm (A = 4) and number of evaluations (K)."""

    flow_count: int
    """Samples of each arm."""
    flow_digit: int
    """Label of the samples that are drawn."""
    flow_accuracy: tuple[tuple[float, ...], ...]
    """(A, K) share classified as the requested digit."""
    flow_accuracy_interval: tuple[tuple[tuple[float, float], ...], ...]
    """(A, K, 2) its 95% interval."""
    flow_frechet: tuple[tuple[float, ...], ...] | None
    """(A, K) Fréchet distance to as many real digits; None where the samples are too few."""
    flow_frechet_half: tuple[tuple[float, ...], ...] | None
    """(A, K) half its 95% interval."""
    flow_frechet_real: float | None
    """The distance of other real digits."""
    flow_straight: tuple[float, ...]
    """(A,) chord over length of the paths, means."""
    flow_straight_half: tuple[float, ...]
    """(A,) half their 95% intervals, by Student's t."""
    flow_path_count: int
    """Paths of each arm."""
    noise_steps: int
    """Training steps of the network that predicts noise."""
    flow_steps: int
    """Training steps of the flow-matching network."""


@dataclass(frozen=True)
class FlowFacts:
    """What texts and JSON files say of the mixture, by number of evaluations (K), and of the digits."""

    points: int
    """Points that were moved."""
    evaluations: tuple[int, ...]
    """(K,) evaluations."""
    off: tuple[tuple[float, ...], ...]
    """(3, K) mean distance from the exact end: Euler in x_t, DDIM, flow."""
    off_half: tuple[tuple[float, ...], ...]
    """(3, K) half its 95% interval."""
    near: tuple[tuple[float, ...], ...]
    """(4, K) share of points that end at the ring: DDPM, Euler in x_t, DDIM, flow."""
    near_exact: float
    """The share of the data that lies there."""
    near_stds: float
    """How many standard deviations from a mean count as at the ring."""
    straight: tuple[float, ...]
    """(3,) chord over length of a path: DDPM, its equation, flow."""
    straight_half: tuple[float, ...]
    """(3,) half its 95% interval."""
    control_straight: float
    """The same of the optimal-transport flow to one Gaussian."""
    control_off: float
    """Its largest distance from the exact end after one evaluation."""
    scales: tuple[float, ...]
    """(G,) guidance scales."""
    guided_radius: tuple[float, ...]
    """(G,) mean distance of the guided ends from the centre of the circle."""
    radius: float
    """The same of the means of the data."""
    guided_near: tuple[float, ...]
    """(G,) share of the guided ends at the ring, as ``near``."""
    digits: Annotated[DigitFacts | None, FactGroup()]
    """Of the digits."""


def _nested(values: Float64) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))


def guided_near(ring: RingStudy) -> NDArray[np.bool_]:
    """Return (G, N) whether the ends of guided paths are at the ring."""
    return np.stack([ring.mixture.distance(ends) < NEAR * ring.mixture.std for ends in ring.guided])


def facts(data: FlowStudy) -> FlowFacts:
    """Return the numbers that captions and tables are filled with."""
    ring = data.ring
    radius = np.linalg.norm(ring.guided, axis=2).mean(axis=1)
    return FlowFacts(
        points=ring.off.shape[2],
        evaluations=ring.evaluations,
        off=_nested(ring.off.mean(axis=2)),
        off_half=_nested(half_of_mean(ring.off)),
        near=_nested(ring.near.mean(axis=2)),
        near_exact=1 - float(np.exp(-(NEAR**2) / 2)),
        near_stds=NEAR,
        straight=tuple(ring.straight.mean(axis=1).tolist()),
        straight_half=tuple(half_of_mean(ring.straight).tolist()),
        control_straight=ring.control_straight,
        control_off=ring.control_off,
        scales=GUIDANCE_SCALES,
        guided_radius=tuple(radius.tolist()),
        radius=ring.mixture.radius,
        guided_near=tuple(guided_near(ring).mean(axis=1).tolist()),
        digits=None if data.digits is None else _digit_facts(data.digits),
    )


def _digit_facts(digits: FlowDigits) -> DigitFacts:
    shares = [[Share(int(row.sum()), digits.count) for row in rows] for rows in digits.right]
    return DigitFacts(
        flow_count=digits.count,
        flow_digit=digits.digit,
        flow_accuracy=tuple(tuple(share.value for share in row) for row in shares),
        flow_accuracy_interval=tuple(tuple(share.interval for share in row) for row in shares),
        flow_frechet=None if digits.frechet is None else _nested(digits.frechet),
        flow_frechet_half=None if digits.frechet_half is None else _nested(digits.frechet_half),
        flow_frechet_real=digits.frechet_real,
        flow_straight=tuple(digits.straight.mean(axis=1).tolist()),
        flow_straight_half=tuple(half_of_few(digits.straight).tolist()),
        flow_path_count=digits.straight.shape[1],
        noise_steps=digits.noise_steps,
        flow_steps=digits.flow_steps,
    )
