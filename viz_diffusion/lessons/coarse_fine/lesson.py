"""Lesson ``coarse_fine``: whether coarse frequencies of the image emerge before fine ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.coarse_fine.emergence import (
    FRAMES,
    RESAMPLES,
    CoarseFine,
    frequency_correlation,
    mean_deviation,
    measure_coarse_fine,
)
from viz_diffusion.lessons.coarse_fine.figures import Emergence, draw_bands, draw_emergence
from viz_diffusion.lessons.coarse_fine.spectra import EDGES
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

NEAR = 50
"""Of T = 1000: the mean deviation over f up to which frequencies count as emerging when predicted."""


@dataclass(frozen=True)
class CoarseFineFacts:
    """What texts and JSON files say of F frequencies; an emergence is a t, 0 for never."""

    coarse_count: int
    """Generations."""
    coarse_digit: int
    """Label of the generation that is drawn."""
    frequencies: tuple[int, ...]
    """(F,) cycles per image."""
    emerges: tuple[float, ...]
    """(F,) emergence."""
    emerges_low: tuple[float, ...]
    """(F,) lower end of its 95% interval."""
    emerges_high: tuple[float, ...]
    """(F,) upper end of it."""
    emerges_predicted: tuple[float, ...]
    """(F,) emergence that the power of real digits about their label's mean predicts."""
    emerges_unlabelled: tuple[float, ...]
    """(F,) emergence that their power about the mean of all digits predicts."""
    emerges_linear: tuple[float, ...]
    """(F,) emergence with the best linear denoiser of each label."""
    order: float
    """Spearman's rank correlation of frequency with emergence."""
    order_low: float
    """Lower end of its 95% interval."""
    order_high: float
    """Upper end of it."""
    emerges_coarse: float
    """Mean emergence of the coarse frequencies."""
    emerges_fine: float
    """Mean emergence of the fine frequencies."""
    off: float
    """Mean absolute deviation of the emergence from ``emerges_predicted``."""
    earlier: float
    """Mean of the emergence minus ``emerges_predicted``."""
    earlier_linear: float
    """Mean of the emergence minus ``emerges_linear``."""
    linear_earlier: float
    """Mean of ``emerges_linear`` minus ``emerges_predicted``."""
    emerges_real: tuple[float, ...]
    """(F,) control: emergence in noised held-out digits, compared with the digit itself."""
    real_earlier_linear: float
    """Mean of ``emerges_real`` minus ``emerges_linear``."""
    band_edges: tuple[int, ...]
    """Largest frequency of the coarse and of the middle part."""
    finest: int
    """The largest frequency."""
    band_timesteps: tuple[int, ...]
    """t at which the parts are drawn."""


def draw(data: CoarseFine) -> Figures:
    """Draw ``emergence``, coherence and power at each t and frequency, and ``bands``, one generation in three parts."""
    found = Emergence(
        data.frequencies,
        data.timesteps,
        data.num_train_timesteps,
        data.shared,
        data.power,
        data.emergence,
        data.interval,
        data.predicted,
        data.linear,
        data.real,
    )
    return Figures(bands=lambda: draw_bands(data.bands), emergence=lambda: draw_emergence(found))


def facts(data: CoarseFine) -> CoarseFineFacts:
    """Return the numbers that captions and tables are filled with."""
    low, high = data.interval
    rho, rho_low, rho_high = frequency_correlation(data)
    coarse, fine = data.frequencies <= EDGES[0], data.frequencies > EDGES[1]
    return CoarseFineFacts(
        coarse_count=data.count,
        coarse_digit=data.digit,
        frequencies=tuple(data.frequencies.tolist()),
        emerges=tuple(data.emergence.tolist()),
        emerges_low=tuple(low.tolist()),
        emerges_high=tuple(high.tolist()),
        emerges_predicted=tuple(data.predicted.tolist()),
        emerges_unlabelled=tuple(data.predicted_unlabelled.tolist()),
        emerges_linear=tuple(data.linear.tolist()),
        order=rho,
        order_low=rho_low,
        order_high=rho_high,
        emerges_coarse=float(data.emergence[coarse].mean()),
        emerges_fine=float(data.emergence[fine].mean()),
        off=float(mean_deviation(data.emergence, data.predicted)),
        earlier=float((data.emergence - data.predicted).mean()),
        earlier_linear=float((data.emergence - data.linear).mean()),
        linear_earlier=float((data.linear - data.predicted).mean()),
        emerges_real=tuple(data.real.tolist()),
        real_earlier_linear=float((data.real - data.linear).mean()),
        band_edges=tuple(int(edge) for edge in EDGES),
        finest=int(data.frequencies[-1]),
        band_timesteps=tuple(data.bands.timesteps.tolist()),
    )


def claims(data: CoarseFine) -> tuple[Claim, ...]:
    """Decide whether coarse frequencies emerge first, as predicted, before a linear denoiser's, and f = 1 before 2."""
    _, low, high = frequency_correlation(data)
    coarse_first = None if low < 0 <= high else high < 0
    near = NEAR * data.num_train_timesteps / 1000
    off_low, off_high = np.quantile(mean_deviation(data.resampled, data.predicted), (0.025, 0.975))
    as_predicted = None if off_low < near <= off_high else bool(off_high < near)
    beyond, beyond_low, beyond_high = _beyond(data.resampled, data.linear)
    real, real_low, real_high = _beyond(data.real_resampled, data.linear)
    lead, lead_low, lead_high = _lead(data.emergence, data.resampled)
    leads = {"lead": lead, "lead_low": lead_low, "lead_high": lead_high}
    names = ("lead_real", "lead_real_low", "lead_real_high")
    leads |= dict(zip(names, _lead(data.real, data.real_resampled), strict=True))
    return (
        Claim("coarse_first", coarse_first),
        Claim("as_predicted", as_predicted, {"near": near, "off_low": float(off_low), "off_high": float(off_high)}),
        Claim("beyond_linear", beyond, {"beyond_low": beyond_low, "beyond_high": beyond_high}),
        Claim("real_beyond_linear", real, {"real_low": real_low, "real_high": real_high}),
        Claim("coarsest_first", None if lead_low <= 0 < lead_high else lead_low > 0, leads),
    )


def _lead(emergence: NDArray[np.float64], resampled: NDArray[np.int16]) -> tuple[float, float, float]:
    """Return by how many timesteps the first frequency emerges before the second, with its 95% interval."""
    low, high = (float(v) for v in np.quantile(resampled[:, 0] - resampled[:, 1], (0.025, 0.975)))
    return float(emergence[0] - emergence[1]), low, high


def _beyond(resampled: NDArray[np.int16], linear: NDArray[np.float64]) -> tuple[bool | None, float, float]:
    """Decide whether frequencies emerge before the linear denoiser's; return the 95% interval of the mean lead too."""
    low, high = (float(v) for v in np.quantile((resampled - linear).mean(axis=1), (0.025, 0.975)))
    return surely(low, high), low, high


def rows(facts: CoarseFineFacts, _: Texts) -> Rows:
    """Return the emergence of each frequency, measured and predicted; one that never emerges has no t."""
    columns = zip(
        facts.frequencies,
        facts.emerges,
        facts.emerges_low,
        facts.emerges_high,
        facts.emerges_predicted,
        facts.emerges_linear,
        facts.emerges_unlabelled,
        facts.emerges_real,
        strict=True,
    )
    lines = (
        (
            str(f),
            *((f"{t:.0f}", f"{low:.0f} – {high:.0f}") if t > 0 else ("–", "–")),
            f"{predicted:.0f}",
            f"{linear:.0f}",
            f"{unlabelled:.0f}",
            f"{real:.0f}" if real > 0 else "–",
        )
        for f, t, low, high, predicted, linear, unlabelled, real in columns
    )
    return Rows(("frequency", "emerges", "interval", "predicted", "linear", "unlabelled", "real"), tuple(lines))


def _measure(context: LessonContext) -> CoarseFine:
    frames, resamples = context.size(*FRAMES), context.size(*RESAMPLES)
    return measure_coarse_fine(
        context.model,
        context.traces,
        context.training,
        context.heldout,
        frames,
        resamples,
        context.digit,
        context.progress,
    )


LESSON = Lesson(
    name="coarse_fine",
    latent=True,
    position=120,
    precomputed=Precomputed(
        CoarseFine, _measure, (LessonFigure("bands", in_exercise=True, digit="coarse_digit"), LessonFigure("emergence"))
    ),
    needs=frozenset({"traces"}),
    seconds=(22, 40),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
