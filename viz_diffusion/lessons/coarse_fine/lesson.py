"""Rough-hew to polish: does the coarse form come first?

Compares the guesses x̂_0 of many recorded generations with what they ended in, frequency by frequency, beside two
predictions from real digits and the schedule: of a filter that treats all waves of one frequency alike (Dieleman 2024;
against its being a need, Falck et al. 2025), and of the best linear denoiser of each label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data import Digits
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.coarse_fine.figures import Bands, Emergence, draw_bands, draw_emergence
from viz_diffusion.lessons.coarse_fine.spectra import (
    EDGES,
    FREQUENCIES,
    half_shared,
    linear_coherence,
    predicted_emergence,
    rings,
    spectrum,
    split,
)
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
FRAMES = (250, 500)
"""At how many of the recorded steps the guesses are looked at, quick and full."""
RESAMPLES = (200, 2000)
"""Bootstrap resamples of the generations, quick and full."""
SHOWN_TIMESTEPS = (999, 700, 500, 400, 300, 200, 100, 0)
"""Where the three parts are drawn, for T = 1000."""
NEAR = 50
"""Of T = 1000: as predicted is what emerges within so many timesteps of where it should, on average over f."""


@dataclass(frozen=True, eq=False)
class CoarseFine:
    """How much of N finished pictures each guess holds, at F frequencies and K timesteps."""

    frequencies: NDArray[np.int64]
    """(F,) int64, rising, cycles per image."""
    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    num_train_timesteps: int
    """T."""
    shared: NDArray[np.float32]
    """(K, F) float32, 0 to 1: squared coherence of x̂_0 with the finished picture."""
    power: NDArray[np.float32]
    """(K, F) float32: power of x̂_0 over that of the finished picture."""
    emergence: Float64
    """(F,) float64: t from which on ``shared`` stays at a half or more; 0 where it does not before the last step."""
    resampled: NDArray[np.int16]
    """(R, F) int16: the same of R bootstrap resamples of the generations."""
    predicted: Float64
    """(F,) float64: where ᾱS = 1-ᾱ, S being the power of real digits about their label's mean."""
    predicted_unlabelled: Float64
    """(F,) float64: the same about the mean of all digits."""
    linear: Float64
    """(F,) float64: where the best linear denoiser of each label shares a half."""
    count: int
    """N."""
    bands: Bands
    """One generation, split into its coarse, middle and fine parts."""
    digit: int
    """Which digit that is."""

    @property
    def interval(self) -> Float64:
        """(2, F) the 95% bootstrap interval of ``emergence``."""
        return np.asarray(np.quantile(self.resampled, (0.025, 0.975), axis=0))


def measure(
    traces: Trajectory, training: Digits, frames: int = FRAMES[0], resamples: int = RESAMPLES[0], digit: int = 5
) -> CoarseFine:
    """Compare guesses and finished pictures of recorded generations, frequency by frequency.

    From both the mean of the training digits with that label is taken: it is what the label says by itself, before
    anything is seen. Of what is left, a = F(x̂_0) and b = F(x_0), the squared coherence (Σ Re ab*)² / (Σ|a|² Σ|b|²)
    is summed over a ring of modes and all generations; where the two run contrary to each other it is 0.
    """
    schedule, T = traces.schedule, traces.schedule.num_train_timesteps
    chosen = np.unique(np.linspace(0, traces.num_steps - 1, min(frames, traces.num_steps)).round().astype(np.int64))
    means = {int(k): training.images[training.labels == k, 0].mean(dim=0).numpy() for k in np.unique(traces.labels)}
    mean = np.stack([means[int(k)] for k in traces.labels])
    end = np.fft.fft2(traces.x0[:, 0] - mean, norm="ortho")
    ended = rings(np.square(np.abs(end)))
    cross, guessed = (np.empty((len(chosen), *ended.shape)) for _ in range(2))
    for row, step in enumerate(chosen):
        guess = np.fft.fft2(traces.x0_pred[:, step, 0] - mean, norm="ortho")
        cross[row], guessed[row] = rings((guess * end.conj()).real), rings(np.square(np.abs(guess)))
    timesteps = traces.timesteps[chosen].astype(np.int64)
    everyone = np.arange(len(mean))
    shared, power = _shares(cross, guessed, ended, everyone)
    rng = np.random.default_rng(900)
    again = [
        _emergence(_shares(cross, guessed, ended, rng.choice(everyone, everyone.size))[0], timesteps)
        for _ in range(resamples)
    ]
    known = spectrum(training, per_label=True)
    image = int(np.flatnonzero(traces.labels == digit)[0]) if digit in traces.labels else 0
    return CoarseFine(
        frequencies=FREQUENCIES,
        timesteps=timesteps,
        num_train_timesteps=T,
        shared=shared.astype(np.float32),
        power=power.astype(np.float32),
        emergence=_emergence(shared, timesteps),
        resampled=np.stack(again).astype(np.int16),
        predicted=predicted_emergence(known, schedule),
        predicted_unlabelled=predicted_emergence(spectrum(training, per_label=False), schedule),
        linear=half_shared(linear_coherence(training, schedule)),
        count=len(mean),
        bands=_bands(traces, image),
        digit=int(traces.labels[image]),
    )


def _shares(cross: Float64, guessed: Float64, ended: Float64, chosen: NDArray[np.int64]) -> tuple[Float64, Float64]:
    """Return (K, F) squared coherence and power, summed over the chosen of N generations."""
    together, power, final = cross[:, chosen].sum(axis=1), guessed[:, chosen].sum(axis=1), ended[chosen].sum(axis=0)
    shared = np.square(np.maximum(together, 0)) / np.maximum(power * final, 1e-30)
    return shared, power / np.maximum(final, 1e-30)


def _emergence(shared: Float64, timesteps: NDArray[np.int64]) -> Float64:
    """Return (F,) the largest t from which down to the end ``shared`` is at least a half; 0 where it never is."""
    lasting = np.logical_and.accumulate(shared[::-1] >= 0.5, axis=0).sum(axis=0)  # steps before the end
    first = len(timesteps) - lasting
    return np.where(lasting > 0, timesteps[np.minimum(first, len(timesteps) - 1)], 0).astype(np.float64)


def _bands(traces: Trajectory, image: int) -> Bands:
    """Return the guesses of one generation at a few timesteps, and last the finished picture, each split."""
    T = traces.schedule.num_train_timesteps
    wanted = np.array(SHOWN_TIMESTEPS) * (T - 1) // 999
    steps = list(dict.fromkeys(int(np.abs(traces.timesteps - t).argmin()) for t in wanted))
    shown = traces.x0_pred[image, steps, 0]
    return Bands(traces.timesteps[steps].astype(np.int64), shown, split(shown), EDGES)


def draw(data: CoarseFine) -> Figures:
    """Draw ``emergence``, what is there at each t and frequency, and ``bands``, one generation in three parts."""
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
    )
    return Figures(bands=lambda: draw_bands(data.bands), emergence=lambda: draw_emergence(found))


def _order(data: CoarseFine) -> tuple[float, float, float]:
    """Return Spearman's rank correlation of frequency with the t of emergence, and its 95% bootstrap interval."""
    values = [_spearman(data.frequencies, row) for row in data.resampled]
    low, high = np.quantile(values, (0.025, 0.975))
    return _spearman(data.frequencies, data.emergence), float(low), float(high)


def _spearman(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return Spearman's rank correlation; 0 where all of one are equal, for then there is no order."""
    first, second = _ranks(a), _ranks(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: NDArray[Any]) -> Float64:
    """Return (N,) ranks; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[where])


def _off(emergence: NDArray[Any], predicted: Float64) -> Float64:
    """Return the mean distance over f of (..., F) times from the predicted ones."""
    return np.asarray(np.abs(emergence - predicted).mean(axis=-1))


def facts(data: CoarseFine) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    low, high = data.interval
    order, order_low, order_high = _order(data)
    coarse = data.frequencies <= EDGES[0]
    fine = data.frequencies > EDGES[1]
    return {
        "coarse_count": data.count,
        "coarse_digit": data.digit,
        "frequencies": [int(f) for f in data.frequencies],
        "emerges": [float(t) for t in data.emergence],
        "emerges_low": [float(t) for t in low],
        "emerges_high": [float(t) for t in high],
        "emerges_predicted": [float(t) for t in data.predicted],
        "emerges_unlabelled": [float(t) for t in data.predicted_unlabelled],
        "emerges_linear": [float(t) for t in data.linear],
        "order": order,
        "order_low": order_low,
        "order_high": order_high,
        "emerges_coarse": float(data.emergence[coarse].mean()),
        "emerges_fine": float(data.emergence[fine].mean()),
        "off": float(_off(data.emergence, data.predicted)),
        "earlier": float((data.emergence - data.predicted).mean()),
        "earlier_linear": float((data.emergence - data.linear).mean()),
        "linear_earlier": float((data.linear - data.predicted).mean()),
        "band_edges": [int(edge) for edge in EDGES],
        "finest": int(data.frequencies[-1]),
        "band_timesteps": [int(t) for t in data.bands.timesteps],
    }


def claims(data: CoarseFine) -> tuple[Claim, ...]:
    """Say whether coarse comes before fine, when predicted, before a linear denoiser, and the coarsest of all first."""
    _, low, high = _order(data)
    coarse_first = None if low < 0 <= high else high < 0
    near = NEAR * data.num_train_timesteps / 1000
    off_low, off_high = np.quantile(_off(data.resampled, data.predicted), (0.025, 0.975))
    as_predicted = None if off_low < near <= off_high else bool(off_high < near)
    beyond_low, beyond_high = (
        float(v) for v in np.quantile((data.resampled - data.linear).mean(axis=1), (0.025, 0.975))
    )
    beyond = True if beyond_low > 0 else (False if beyond_high <= 0 else None)
    ahead = data.resampled[:, 0] - data.resampled[:, 1]
    lead_low, lead_high = (float(v) for v in np.quantile(ahead, (0.025, 0.975)))
    lead = {"lead": float(data.emergence[0] - data.emergence[1]), "lead_low": lead_low, "lead_high": lead_high}
    return (
        Claim("coarse_first", coarse_first),
        Claim("as_predicted", as_predicted, {"near": near, "off_low": float(off_low), "off_high": float(off_high)}),
        Claim("beyond_linear", beyond, {"beyond_low": beyond_low, "beyond_high": beyond_high}),
        Claim("coarsest_first", None if lead_low <= 0 < lead_high else lead_low > 0, lead),
    )


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out where each frequency emerges, measured and predicted; one that never does has no t."""
    names = ("frequencies", "emerges", "emerges_low", "emerges_high", "emerges_predicted", "emerges_linear")
    lines = (
        (
            str(f),
            *((f"{t:.0f}", f"{low:.0f} – {high:.0f}") if t > 0 else ("–", "–")),
            f"{predicted:.0f}",
            f"{linear:.0f}",
            f"{unlabelled:.0f}",
        )
        for f, t, low, high, predicted, linear, unlabelled in zip(
            *(facts[name] for name in (*names, "emerges_unlabelled")), strict=True
        )
    )
    return Rows(("frequency", "emerges", "interval", "predicted", "linear", "unlabelled"), tuple(lines))


def _measure(context: LessonContext) -> CoarseFine:
    frames, resamples = context.size(*FRAMES), context.size(*RESAMPLES)
    return measure(context.traces, context.training, frames, resamples, context.digit)


LESSON = Lesson(
    name="coarse_fine",
    position=120,
    precomputed=Precomputed(
        CoarseFine, _measure, (LessonFigure("bands", in_exercise=True, digit="coarse_digit"), LessonFigure("emergence"))
    ),
    needs=frozenset({"traces"}),
    seconds=(12, 20),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
