"""Shattering the statue: how is a digit destroyed?

Measures nothing but the schedule and real digits; knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.plots.curves import SnrCurve, draw_snr
from viz_diffusion.plots.grid import draw_forward
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import pictures

TIMESTEPS = (50, 100, 150, 200, 250, 300, 350, 450, 600, 999)
"""Where the grid of destroyed digits looks, for T = 1000."""
NUM_THUMBNAILS = 6
CHAINS = (60, 1000)
"""How many times the first digit is destroyed step by step, quick and full."""
LARGEST_DEVIATION = 4.0
"""Standard errors: what the largest of all deviations stays below, in 999 of 1000 measurements that should agree."""


@dataclass(frozen=True, eq=False)
class Noising:
    """Real digits under one noise at chosen timesteps, and the schedule that decides."""

    images: NDArray[np.float32]
    """(5, 1+K, 28, 28) float32: the digit, then x_t at each of the K timesteps; of a recording alone (1, 1+K, H, W), or
    (1, 1+K, H, W, 3): its finished picture."""
    labels: NDArray[np.int64]
    """(5,) int64: which digits they are; (1,), -1 where there was no label, of a recording alone."""
    timesteps: NDArray[np.int64]
    """(K,) int64, rising."""
    schedule: NoiseSchedule
    """The forward process."""
    thumbnails: NDArray[np.float32]
    """(M, 28, 28) float32, or like ``images``: the first one at M timesteps, spread evenly."""
    thumbnail_timesteps: NDArray[np.int64]
    """(M,) int64, rising."""
    seed: int
    """Of the one noise."""
    chains: Chains
    """The first digit destroyed step by step, many times."""


@dataclass(frozen=True, eq=False)
class Chains:
    """What single steps do to one digit, beside what the closed form says."""

    count: int
    """How many times it was destroyed."""
    timesteps: NDArray[np.int64]
    """(K,) int64, rising: where it was looked at."""
    signal: NDArray[np.float64]
    """(K,) float64: how much of the digit was left, the least-squares factor; the closed form says √ᾱ."""
    spread: NDArray[np.float64]
    """(K,) float64: the standard deviation about the closed form's mean; the closed form says √(1-ᾱ)."""
    mean_deviation: NDArray[np.float64]
    """(K,) float64: how far all pixels' means are from the closed form, in standard errors of that distance."""
    variance_deviation: NDArray[np.float64]
    """(K,) float64: how far the variance is from the closed form, in standard errors."""

    @property
    def largest(self) -> float:
        """The largest of all deviations, in standard errors."""
        return float(np.abs([self.mean_deviation, self.variance_deviation]).max())


def walk(
    x0: NDArray[np.float32], schedule: NoiseSchedule, timesteps: NDArray[np.int64], count: int, seed: int = 0
) -> Chains:
    """Destroy ``x0``, of any shape, ``count`` times, one step after another, and look at it at some timesteps.

    Each step is x_t = √α x_{t-1} + √β z (Ho et al. 2020, eq. 2), nothing else; that this amounts to
    √ᾱ x_0 + √(1-ᾱ) ε (eq. 4) is what is tested. Of D pixels and N walks, N Σ(mean - √ᾱ x_0)²/(1-ᾱ) is χ² with D
    degrees of freedom, and the variance over all of them has the relative standard error √(2/(ND)).
    """
    rng = np.random.default_rng([seed, 1])
    start = x0.ravel().astype(np.float32)
    x = np.broadcast_to(start, (count, start.size)).copy()
    found: dict[str, list[float]] = {"signal": [], "spread": [], "mean": [], "variance": []}
    for t in range(int(timesteps[-1]) + 1):
        x *= np.float32(np.sqrt(schedule.alphas[t]))
        x += np.float32(np.sqrt(schedule.betas[t])) * rng.standard_normal(x.shape, dtype=np.float32)
        if t not in timesteps:
            continue
        share = schedule.alphas_cumprod[t]
        mean, rest = x.mean(axis=0, dtype=np.float64), x - np.sqrt(share) * start
        distance = count * np.square(mean - np.sqrt(share) * start).sum() / (1 - share)
        variance = float(np.square(rest, dtype=np.float64).mean())
        found["signal"].append(float(mean @ start / np.square(start, dtype=np.float64).sum()))
        found["spread"].append(float(np.sqrt(variance)))
        found["mean"].append((distance - start.size) / np.sqrt(2 * start.size))
        found["variance"].append((variance / (1 - share) - 1) * np.sqrt(x.size / 2))
    arrays = {name: np.array(values) for name, values in found.items()}
    return Chains(count, timesteps, arrays["signal"], arrays["spread"], arrays["mean"], arrays["variance"])


def measure(digits: Digits, schedule: NoiseSchedule, digit: int = 5, seed: int = 0, chains: int = CHAINS[0]) -> Noising:
    """Destroy five real digits, ``digit`` first and the next four after it, all with the same noise.

    The first of them is also destroyed step by step, ``chains`` times.
    """
    last = schedule.num_train_timesteps - 1
    timesteps = np.unique(np.round(np.array(TIMESTEPS) * last / 999).astype(np.int64))
    labels = (digit + np.arange(5)) % 10
    noise = ImageNoise([seed]).draw()[0, 0].numpy()
    x0 = np.stack([digits.typical_of(int(label))[0].numpy() for label in labels])

    def noised(images: NDArray[np.float32], t: int) -> NDArray[np.float32]:
        return schedule.add_noise(images, np.broadcast_to(noise, images.shape), t)

    thumbnail_timesteps = np.round(np.linspace(0, last, NUM_THUMBNAILS)).astype(np.int64)
    return Noising(
        images=np.stack([x0, *(noised(x0, int(t)) for t in timesteps)], axis=1),
        labels=labels,
        timesteps=timesteps,
        schedule=schedule,
        thumbnails=np.stack([noised(x0[0], int(t)) for t in thumbnail_timesteps]),
        thumbnail_timesteps=thumbnail_timesteps,
        seed=seed,
        chains=walk(x0[0], schedule, timesteps, chains, seed),
    )


def measure_recording(trajectory: Trajectory) -> Noising | None:
    """Destroy a recording's own finished picture, by the schedule that it was made with.

    None where noise never overtakes the signal in that schedule.
    """
    schedule, x0 = trajectory.schedule, trajectory.x0[:1]
    if schedule.snr_below_one is None:
        return None
    last = schedule.num_train_timesteps - 1
    timesteps = np.unique(np.round(np.array(TIMESTEPS) * last / 999).astype(np.int64))
    thumbnail_timesteps = np.round(np.linspace(0, last, NUM_THUMBNAILS)).astype(np.int64)
    seed = max(0, int(trajectory.seeds[0]))
    noise = np.random.default_rng(seed).standard_normal(x0.shape, dtype=np.float32)

    def noised(times: NDArray[np.int64]) -> NDArray[np.float32]:
        return pictures(np.concatenate([schedule.add_noise(x0, noise, t) for t in times.tolist()]))

    chains = max(2, CHAINS[0] * 28 * 28 // x0.size)
    return Noising(
        images=np.concatenate([pictures(x0), noised(timesteps)])[None],
        labels=trajectory.labels[:1],
        timesteps=timesteps,
        schedule=schedule,
        thumbnails=noised(thumbnail_timesteps),
        thumbnail_timesteps=thumbnail_timesteps,
        seed=seed,
        chains=walk(x0, schedule, timesteps, chains, seed),
    )


def draw(data: Noising) -> Figures:
    """Draw ``forward``, the grid of destroyed digits where there are several, and ``snr``, the schedule."""
    schedule = data.schedule
    cosine = NoiseSchedule.named("cosine", schedule.num_train_timesteps)
    curve = SnrCurve(
        timesteps=np.arange(schedule.num_train_timesteps),
        snr_db=schedule.snr_db,
        cosine_db=cosine.snr_db,
        crossing=schedule.snr_below_one,
        thumbnails=data.thumbnails,
        thumbnail_timesteps=data.thumbnail_timesteps,
    )
    if len(data.images) == 1:
        return Figures(snr=lambda: draw_snr(curve))
    alphas_cumprod = schedule.alphas_cumprod[data.timesteps]
    return Figures(
        forward=lambda: draw_forward(data.images, data.timesteps, alphas_cumprod, schedule.snr_below_one),
        snr=lambda: draw_snr(curve),
    )


def facts(data: Noising) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    schedule = data.schedule
    clipped = np.abs(data.images[:, 1:]) > 1
    return {
        "schedule": schedule.name,
        "num_train_timesteps": schedule.num_train_timesteps,
        "crossing": schedule.snr_below_one,
        "digits": [int(label) for label in data.labels],
        "timesteps": [int(t) for t in data.timesteps],
        "alphas_cumprod": [float(a) for a in schedule.alphas_cumprod[data.timesteps]],
        "snr_db": [float(v) if np.isfinite(v) else None for v in schedule.snr_db[data.timesteps]],
        "clipped": [float(v) for v in clipped.swapaxes(0, 1).reshape(clipped.shape[1], -1).mean(axis=1)],
        "snr_db_first": float(schedule.snr_db[0]),
        "snr_db_last": f"{schedule.snr_db[-1]:.0f}".replace("inf", "∞"),
        "cosine_crossing": NoiseSchedule.named("cosine", schedule.num_train_timesteps).snr_below_one,
        "seed": data.seed,
        "timesteps_count": len(data.timesteps),
        "chains": data.chains.count,
        "chain_signal": [float(v) for v in data.chains.signal],
        "chain_spread": [float(v) for v in data.chains.spread],
        "chain_mean_deviation": [float(v) for v in data.chains.mean_deviation],
        "chain_variance_deviation": [float(v) for v in data.chains.variance_deviation],
        "chain_largest": data.chains.largest,
        "chain_limit": LARGEST_DEVIATION,
    }


def claims(data: Noising) -> tuple[Claim, ...]:
    """Say whether single steps follow the closed form, and whether noise overtakes the signal."""
    t = data.schedule.snr_below_one
    before = {} if not t else {"snr_before": float(data.schedule.snr[t - 1]), "snr_at": float(data.schedule.snr[t])}
    return (
        Claim("closed_form", data.chains.largest < LARGEST_DEVIATION),
        Claim("crossing", bool(t), {"before": t - 1 if t else None, **before, "snr_end": float(data.schedule.snr[-1])}),
    )


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out what is left of the digit, by timestep."""
    columns = zip(facts["timesteps"], facts["alphas_cumprod"], facts["snr_db"], facts["clipped"], strict=True)
    lines = (
        (str(t), f"{share:.2%}", "-∞" if snr is None else f"{snr:.1f}", f"{beyond:.1%}")
        for t, share, snr, beyond in columns
    )
    return Rows(("t", "signal", "snr", "clipped"), tuple(lines))


def _measure(context: LessonContext) -> Noising:
    chains = context.size(*CHAINS)
    return measure(context.heldout, context.schedule, context.digit, context.seed, chains)


LESSON = Lesson(
    name="noising",
    position=10,
    measure=_measure,
    measure_recording=measure_recording,
    seconds=(2, 10),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("forward", in_exercise=True), LessonFigure("snr")),
)
