"""Shattering the statue: how is a digit destroyed?

Measures nothing but the schedule and real digits; knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.catalogue import Texts
from viz_diffusion.data import Digits
from viz_diffusion.lessons.lesson import Lesson, Rows
from viz_diffusion.plots.curves import SnrCurve, draw_snr
from viz_diffusion.plots.grid import draw_forward
from viz_diffusion.sample import ImageNoise
from viz_diffusion.schedule import NoiseSchedule

TIMESTEPS = (50, 100, 150, 200, 250, 300, 350, 450, 600, 999)
"""Where the grid of destroyed digits looks, for T = 1000."""
NUM_THUMBNAILS = 6


@dataclass(frozen=True, eq=False)
class Noising:
    """Real digits under one noise at chosen timesteps, and the schedule that decides."""

    images: NDArray[np.float32]
    """(5, 1+K, 28, 28) float32: the digit, then x_t at each of the K timesteps."""
    labels: NDArray[np.int64]
    """(5,) int64: which digits they are."""
    timesteps: NDArray[np.int64]
    """(K,) int64, rising."""
    schedule: NoiseSchedule
    """The forward process."""
    thumbnails: NDArray[np.float32]
    """(M, 28, 28) float32: the first digit at M timesteps, spread evenly."""
    thumbnail_timesteps: NDArray[np.int64]
    """(M,) int64, rising."""
    seed: int
    """Of the one noise."""


def measure(digits: Digits, schedule: NoiseSchedule, digit: int = 5, seed: int = 0) -> Noising:
    """Destroy five real digits, ``digit`` first and the next four after it, all with the same noise."""
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
    )


def draw(data: Noising) -> dict[str, Figure]:
    """Draw ``forward``, the grid of destroyed digits, and ``snr``, the schedule."""
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
    alphas_cumprod = schedule.alphas_cumprod[data.timesteps]
    return {
        "forward": draw_forward(data.images, data.timesteps, alphas_cumprod, schedule.snr_below_one),
        "snr": draw_snr(curve),
    }


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
        "clipped": [float(v) for v in clipped.mean(axis=(0, 2, 3))],
        "snr_db_first": float(schedule.snr_db[0]),
        "snr_db_last": f"{schedule.snr_db[-1]:.0f}".replace("inf", "∞"),
        "cosine_crossing": NoiseSchedule.named("cosine", schedule.num_train_timesteps).snr_below_one,
        "seed": data.seed,
    }


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out what is left of the digit, by timestep."""
    columns = zip(facts["timesteps"], facts["alphas_cumprod"], facts["snr_db"], facts["clipped"], strict=True)
    lines = (
        (str(t), f"{share:.2%}", "-∞" if snr is None else f"{snr:.1f}", f"{beyond:.1%}")
        for t, share, snr, beyond in columns
    )
    return Rows(("t", "signal", "snr", "clipped"), tuple(lines))


LESSON = Lesson(
    "noising",
    10,
    lambda m: measure(m.heldout, m.schedule, m.digit, m.seed),
    draw,
    facts,
    rows,
    figures=("forward", "snr"),
)
