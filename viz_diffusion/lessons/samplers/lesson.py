"""Lesson ``samplers``: how few denoising steps are enough, with which sampler, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_mean, paired_difference, surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.samplers.figures import draw_paths, draw_samplers, draw_strokes
from viz_diffusion.lessons.samplers.path_geometry import PathFacts
from viz_diffusion.lessons.samplers.sampler_comparison import (
    ARMS,
    COUNTS,
    DDIM,
    ENOUGH,
    NAMES,
    SOLVER,
    Samplers,
    measure_samplers,
)
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
FEW = 50
"""Steps, for T = 1000: so many are few."""
COMPARED = 10
"""Steps at which the two samplers that follow one equation are compared."""
Z_OF_MANY = 3.02
"""Normal quantile for the largest of 20 differences: above it by chance in 1 of 40 measurements (Bonferroni)."""


@dataclass(frozen=True)
class SamplersFacts:
    """What texts and JSON files say of S samplers with K numbers of steps."""

    sampler_names: tuple[str, ...]
    """(S,) names."""
    stroke_steps: tuple[int, ...]
    """(K,) numbers of steps, rising."""
    all_steps: int
    """Steps of the reference, DDPM."""
    stroke_count: int
    """Samples of each."""
    stroke_digit: int
    """Label of the sample that is drawn."""
    accuracy: tuple[tuple[float, ...], ...] | None
    """(S, K) share of samples that are classified as the requested digit; None where the data are not MNIST."""
    accuracy_interval: tuple[tuple[tuple[float, float], ...], ...] | None
    """(S, K, 2) its 95% interval."""
    accuracy_all: float | None
    """The same share of the reference."""
    accuracy_all_interval: tuple[float, float] | None
    """(2,) its 95% interval."""
    first_enough: tuple[int | None, ...] | None
    """(S,) fewest steps from which on the share is high enough; None for a sampler where it never is."""
    first_enough_told: str
    """The same as a text."""
    frechet: tuple[tuple[float, ...], ...] | None
    """(S, K) Fréchet distance to as many real digits; None where the samples are too few."""
    frechet_all: float | None
    """The same of the reference."""
    frechet_real: float | None
    """The same of other real digits."""
    classifier_sha256: str
    """Of the classifier's weights; empty where the data are not MNIST."""
    apart: tuple[tuple[float, ...], ...]
    """(2, K) RMS distance of DDIM's and the solver's images from the solver's with the most steps."""
    seconds: tuple[float, ...]
    """(K,) seconds of one image, with the quickest sampler."""
    enough: float
    """The share of the reference's accuracy that is enough."""
    few: int
    """Steps that count as few."""
    paths: Annotated[PathFacts, FactGroup()]
    """Of the paths from noise to image."""


def measure(context: LessonContext) -> Samplers:
    """Sample with few steps from the noise of the traces."""
    return measure_samplers(
        context.model,
        context.traces,
        context.heldout,
        context.training,
        context.is_mnist,
        context.digit,
        context.size(*COUNTS),
        full=context.full,
        progress=context.progress,
    )


def draw(data: Samplers) -> Figures:
    """Draw ``samplers``, one image of each; ``strokes``, accuracy and distance over the steps; and ``paths``."""
    shares = None if data.right is None else data.right.mean(axis=2)
    share_all = None if data.right_all is None else float(data.right_all.mean())
    bounds = None
    if data.right is not None:
        counts = data.right.sum(axis=2)
        bounds = np.array([[Share(int(hits), data.count).interval for hits in row] for row in counts])
    half = half_of_mean(data.apart)
    return Figures(
        samplers=lambda: draw_samplers(
            data.images, data.image_all, data.steps, data.all_steps, shares, share_all, data.count
        ),
        strokes=lambda: draw_strokes(
            data.steps,
            data.all_steps,
            shares,
            bounds,
            share_all,
            data.apart.mean(axis=2),
            half,
            (DDIM, SOLVER),
            data.count,
        ),
        paths=lambda: draw_paths(
            data.paths.maps, data.paths.ends, data.paths.straight.mean(axis=1), data.paths.share.mean(axis=1)
        ),
    )


def facts(data: Samplers) -> SamplersFacts:
    """Return the numbers that captions and tables are filled with."""
    shares = None
    if data.right is not None:
        shares = [[Share(int(hits), data.count) for hits in row] for row in data.right.sum(axis=2)]
    all_share = None if data.right_all is None else Share(int(data.right_all.sum()), data.count)
    first = tuple(data.first_enough(arm) for arm in range(len(ARMS)))
    by_sampler = ", ".join(f"{name}: {n or '–'}" for name, n in zip(NAMES, first, strict=True))
    return SamplersFacts(
        sampler_names=NAMES,
        stroke_steps=tuple(data.steps.tolist()),
        all_steps=data.all_steps,
        stroke_count=data.count,
        stroke_digit=data.digit,
        accuracy=None if shares is None else tuple(tuple(share.value for share in row) for row in shares),
        accuracy_interval=None if shares is None else tuple(tuple(share.interval for share in row) for row in shares),
        accuracy_all=None if all_share is None else all_share.value,
        accuracy_all_interval=None if all_share is None else all_share.interval,
        first_enough=None if shares is None else first,
        first_enough_told="–" if shares is None else by_sampler,
        frechet=None if data.frechet is None else tuple(map(tuple, data.frechet.tolist())),
        frechet_all=data.frechet_all,
        frechet_real=data.frechet_real,
        classifier_sha256=data.classifier_sha256,
        apart=tuple(map(tuple, data.apart.mean(axis=2).tolist())),
        seconds=tuple(data.seconds.tolist()),
        enough=ENOUGH,
        few=FEW,
        paths=data.paths.facts(),
    )


def claims(data: Samplers) -> tuple[Claim, ...]:
    """Decide whether few steps are enough, which of two samplers is nearer to the limit with as many, and why."""
    answers = [] if data.right is None or data.right_all is None else [_few(data, data.right, data.right_all)]
    k = int(np.abs(data.steps - COMPARED).argmin())
    if k < len(data.steps) - 1:  # the last one of the solver is the limit itself
        mean, half = _difference(data.apart[0, k] - data.apart[1, k])
        distances = {"ddim": float(data.apart[0, k].mean()), "solver": float(data.apart[1, k].mean())}
        numbers = {"at": int(data.steps[k]), "most": int(data.steps[-1]), **distances, "nearer": mean, "half": half}
        answers.append(Claim("second_order", surely(mean - half, mean + half), numbers))
    straighter = _positive(data.paths.straight[0] - data.paths.straight[1])
    flat = data.paths.share.sum(axis=2)
    flatter = _positive(flat[0] - flat[2])
    return (*answers, Claim("straighter", straighter), Claim("flatter", flatter))


def _difference(values: Float64) -> tuple[float, float]:
    """Return the mean of (N,) paired differences, and half its 95% interval."""
    return float(values.mean()), float(half_of_mean(values))


def _positive(values: Float64) -> bool | None:
    """Return whether the mean of (N,) paired differences is surely above 0, surely not, or undecided."""
    mean, half = _difference(values)
    return surely(mean - half, mean + half)


def _few(data: Samplers, right: Bools, right_all: Bools) -> Claim:
    """Decide whether some sampler is as good with few steps: paired, for all began with the same noise.

    It is where one sampler with one few number of steps surely is, and with no larger number falls below again; the
    answer names the one with the fewest steps. Otherwise it names the best of few steps.
    """
    few = [(k, arm) for k in np.flatnonzero(data.steps <= FEW).tolist() for arm in range(len(ARMS))]
    verdicts = {(k, arm): surely(*paired_difference(right[arm, k], right_all, ENOUGH, Z_OF_MANY)[1:]) for k, arm in few}
    lasting = right.mean(axis=2) >= ENOUGH * right_all.mean()
    sure = [(k, arm) for k, arm in few if verdicts[k, arm] and lasting[arm, k:].all()]
    holds = True if sure else (False if all(v is False for v in verdicts.values()) else None)
    if sure:
        k, quickest = min(sure, key=lambda at: (at[0], -right[at[1], at[0]].sum()))
    else:
        k, quickest = max(few, key=lambda at: right[at[1], at[0]].sum())
    fewest, found = int(data.steps[k]), Share(int(right[quickest, k].sum()), data.count)
    low, high = found.interval
    of_all = Share(int(right_all.sum()), data.count)
    numbers = {
        "fewest": fewest,
        "quickest": NAMES[quickest],
        "share": found.value,
        "low": low,
        "high": high,
        "all_share": of_all.value,
        "all_low": of_all.interval[0],
        "all_high": of_all.interval[1],
    }
    return Claim("few_strokes", holds, numbers)


def rows(facts: SamplersFacts, texts: Texts) -> Rows:
    """Return what each number of steps gives with each sampler, and what it costs."""
    lines = []
    for k, n in enumerate(facts.stroke_steps):
        cells = [_cell(facts, arm, k) for arm in range(len(ARMS))]
        lines.append((str(n), *cells, f"{facts.seconds[k]:.3f}"))
    last = "–"
    if facts.accuracy_all is not None and facts.accuracy_all_interval is not None:
        low, high = facts.accuracy_all_interval
        last = f"{facts.accuracy_all:.0%} ({low:.0%} – {high:.0%})" + _distance(facts.frechet_all)
    lines.append((str(facts.all_steps), last, "–", "–", "–", "–"))
    if facts.frechet_real is not None:
        lines.append((texts["chapter.samplers.row_real"], _distance(facts.frechet_real)[2:], *"––––"))
    return Rows(("steps", "beta", "beta_tilde", "ddim", "solver", "seconds"), tuple(lines))


def _cell(facts: SamplersFacts, arm: int, k: int) -> str:
    if facts.accuracy is None or facts.accuracy_interval is None:
        return "–"
    low, high = facts.accuracy_interval[arm][k]
    far = None if facts.frechet is None else facts.frechet[arm][k]
    return f"{facts.accuracy[arm][k]:.0%} ({low:.0%} – {high:.0%})" + _distance(far)


def _distance(value: float | None) -> str:
    return "" if value is None else f"; {value:.1f}"


LESSON = Lesson(
    name="samplers",
    latent=True,
    position=90,
    precomputed=Precomputed(
        Samplers,
        measure,
        (
            LessonFigure("samplers", in_exercise=True, digit="stroke_digit"),
            LessonFigure("strokes"),
            LessonFigure("paths", advanced=True),
        ),
    ),
    needs=frozenset({"traces"}),
    seconds=(36, 280),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
