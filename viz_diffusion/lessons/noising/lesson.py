"""Lesson ``noising``: the forward process turns a digit into noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.noising.figures import draw_schedule
from viz_diffusion.lessons.noising.forward_process import CHAINS, Noising, measure_noising, measure_recording
from viz_diffusion.plots.grid import draw_forward
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

LARGEST_DEVIATION = 4.0
"""Standard errors: what the largest of all deviations stays below, in 999 of 1000 measurements that should agree."""


@dataclass(frozen=True)
class NoisingFacts:
    """What texts and JSON files say of the forward process, at K timesteps."""

    schedule: str
    """Name of the noise schedule."""
    num_train_timesteps: int
    """T."""
    crossing: int | None
    """The first t whose signal-to-noise ratio (SNR) is below 1; None where there is none."""
    digits: tuple[int, ...]
    """Labels of the images; -1 is not known."""
    timesteps: tuple[int, ...]
    """(K,) rising."""
    alphas_cumprod: tuple[float, ...]
    """(K,) ᾱ, the signal's share of the power."""
    snr_db: tuple[float | None, ...]
    """(K,) SNR in dB; None where it is not finite."""
    clipped: tuple[float, ...]
    """(K,) share of pixels outside of the grey scale, -1..1."""
    snr_db_first: float
    """SNR at t = 0, dB."""
    snr_db_last: str
    """SNR at t = T-1, dB, as a text: it may be -∞."""
    cosine_crossing: int | None
    """``crossing`` of the cosine schedule."""
    seed: int
    """Seed of the noise."""
    timesteps_count: int
    """K."""
    chains: int
    """How many times the first image was noised step by step."""
    chain_signal: tuple[float, ...]
    """(K,) the factor of the image that is left; the closed form says √ᾱ."""
    chain_spread: tuple[float, ...]
    """(K,) the standard deviation of the rest; the closed form says √(1-ᾱ)."""
    chain_mean_deviation: tuple[float, ...]
    """(K,) standard errors between the chains' mean and the closed form's."""
    chain_variance_deviation: tuple[float, ...]
    """(K,) standard errors between the chains' variance and the closed form's."""
    chain_tests: int
    """How many they are: means and variances."""
    chain_largest: float
    """The largest of all these standard errors."""
    chain_limit: float
    """The limit for it, :data:`LARGEST_DEVIATION`."""


def measure(context: LessonContext) -> Noising:
    """Noise five held-out digits."""
    chains = context.size(*CHAINS)
    return measure_noising(context.with_label, context.schedule, context.digit, context.seed, chains)


def draw(data: Noising) -> Figures:
    """Draw ``forward``, the grid of noised digits where there are several, and ``snr``, the schedule."""
    schedule = data.schedule
    snr = Figures(snr=lambda: draw_schedule(schedule, data.thumbnails, data.thumbnail_timesteps))
    if data.is_recording:
        return snr
    shares = schedule.alphas_cumprod[data.timesteps]
    grid = Figures(forward=lambda: draw_forward(data.images, data.timesteps, shares, schedule.snr_below_one))
    return grid | snr


def facts(data: Noising) -> NoisingFacts:
    """Return the numbers that captions and tables are filled with."""
    schedule, chains = data.schedule, data.chains
    clipped = np.abs(data.images[:, 1:]) > 1
    return NoisingFacts(
        schedule=schedule.name,
        num_train_timesteps=schedule.num_train_timesteps,
        crossing=schedule.snr_below_one,
        digits=tuple(data.labels.tolist()),
        timesteps=tuple(data.timesteps.tolist()),
        alphas_cumprod=tuple(schedule.alphas_cumprod[data.timesteps].tolist()),
        snr_db=tuple(float(v) if np.isfinite(v) else None for v in schedule.snr_db[data.timesteps]),
        clipped=tuple(clipped.swapaxes(0, 1).reshape(clipped.shape[1], -1).mean(axis=1).tolist()),
        snr_db_first=float(schedule.snr_db[0]),
        snr_db_last=f"{schedule.snr_db[-1]:.0f}".replace("inf", "∞"),
        cosine_crossing=NoiseSchedule.named("cosine", schedule.num_train_timesteps).snr_below_one,
        seed=data.seed,
        timesteps_count=len(data.timesteps),
        chains=chains.count,
        chain_signal=tuple(chains.signal.tolist()),
        chain_spread=tuple(chains.spread.tolist()),
        chain_mean_deviation=tuple(chains.mean_deviation.tolist()),
        chain_variance_deviation=tuple(chains.variance_deviation.tolist()),
        chain_tests=chains.mean_deviation.size + chains.variance_deviation.size,
        chain_largest=chains.largest,
        chain_limit=LARGEST_DEVIATION,
    )


def claims(data: Noising) -> tuple[Claim, ...]:
    """Decide whether single steps follow the closed form, and whether noise overtakes the signal."""
    t = data.schedule.snr_below_one
    before = {} if not t else {"snr_before": float(data.schedule.snr[t - 1]), "snr_at": float(data.schedule.snr[t])}
    return (
        Claim("closed_form", data.chains.largest < LARGEST_DEVIATION),
        Claim("crossing", bool(t), {"before": t - 1 if t else None, **before, "snr_end": float(data.schedule.snr[-1])}),
    )


def rows(facts: NoisingFacts, _: Texts) -> Rows:
    """Return what is left of the digit, by timestep."""
    columns = zip(facts.timesteps, facts.alphas_cumprod, facts.snr_db, facts.clipped, strict=True)
    lines = (
        (str(t), f"{share:.2%}", "-∞" if snr is None else f"{snr:.1f}", f"{beyond:.1%}")
        for t, share, snr, beyond in columns
    )
    return Rows(("t", "signal", "snr", "clipped"), tuple(lines))


LESSON = Lesson(
    name="noising",
    any_data=True,
    position=10,
    measure=measure,
    measure_recording=measure_recording,
    seconds=(2, 10),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("forward", in_exercise=True), LessonFigure("snr")),
)
