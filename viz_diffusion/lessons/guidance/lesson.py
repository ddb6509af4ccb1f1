"""Lesson ``guidance``: what classifier-free guidance gains in accuracy, and what it costs in variety."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Z_95, Share, half_of_mean, paired_difference, surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.guidance.autoguidance import Autoguidance, AutoguidanceFacts, measure_autoguidance
from viz_diffusion.lessons.guidance.figures import Price, draw_autoguidance, draw_guidance, draw_price
from viz_diffusion.lessons.guidance.guidance_scales import (
    NO_GUIDANCE,
    SCALES,
    SIZES,
    STRONG,
    STRONGEST,
    Guidance,
    measure_guidance,
)
from viz_diffusion.lessons.guidance.guided_window import window_claim
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.run import Run

Bools = NDArray[np.bool_]


GUIDE = "base_500"
"""The run that comes with the package as the guide of autoguidance: 500 training steps."""


@dataclass(frozen=True, eq=False)
class GuidanceStudy:
    """Samples with every guidance scale, and with autoguidance."""

    scales: Guidance
    """With classifier-free guidance."""
    auto: Autoguidance | None = None
    """With autoguidance; None where it was not measured: with quick sizes, other data or another schedule."""


@dataclass(frozen=True)
class GuidanceFacts:
    """What texts and JSON files say of guidance, by scale (C of them) and by arm (A: the scales, then the windows)."""

    guidance_scales: tuple[float, ...]
    """(C,) guidance scales; 1 is no guidance."""
    guidance_count: int
    """Samples of each arm."""
    guidance_steps: int
    """DDIM steps of each sample."""
    guidance_digit: int
    """Label of the samples that are drawn."""
    guidance_accuracy: tuple[float, ...] | None
    """(A,) share of samples that are classified as the requested digit; None where the data are not MNIST."""
    guidance_accuracy_interval: tuple[tuple[float, float], ...] | None
    """(A, 2) its 95% interval."""
    guidance_variance: tuple[float, ...]
    """(A,) variance of a pixel within a digit, that of real digits being 1."""
    guidance_variance_interval: tuple[tuple[float, float], ...]
    """(A, 2) its 95% interval."""
    guidance_recall: tuple[float, ...] | None
    """(A,) recall: share of real digits within reach of the samples; None where the data are not MNIST."""
    guidance_recall_interval: tuple[tuple[float, float], ...] | None
    """(A, 2) its 95% interval."""
    guidance_recall_real: float | None
    """Recall of as many other real digits; None where the data are not MNIST."""
    guidance_white: tuple[float, ...]
    """(A,) share of saturated pixels."""
    guidance_white_real: float
    """The same of real digits."""
    guidance_windows: tuple[tuple[int, int], ...]
    """(W, 2) first and last t of the guidance of the last W arms."""
    strong_scale: float
    """The guidance scale that is compared with no guidance."""
    largest_scale: float
    """The largest guidance scale."""
    auto: Annotated[AutoguidanceFacts | None, FactGroup()]
    """Of autoguidance; None where it was not measured."""


def measure(context: LessonContext) -> GuidanceStudy:
    """Sample the same noise and labels with every guidance scale; autoguidance with the full sizes only."""
    scales = measure_guidance(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.is_mnist,
        context.digit,
        context.size(*SIZES),
        progress=context.progress,
    )
    run = Run.control(GUIDE)
    same = np.array_equal(context.schedule.alphas_cumprod, run.config.noise_schedule.alphas_cumprod)
    if not (context.full and context.is_mnist and same):
        return GuidanceStudy(scales)
    guide, digest = run.load_model(context.device)
    made_by = run.trained_steps, digest
    auto = measure_autoguidance(
        context.model, guide, context.schedule, context.heldout, scales.count, made_by, progress=context.progress
    )
    return GuidanceStudy(scales, auto)


def draw(study: GuidanceStudy) -> Figures:
    """Draw ``guidance``, one digit with every scale, ``price``, gains and losses, and ``autoguidance``, where it is."""
    data, auto = study.scales, study.auto
    count, scales = len(SCALES), data.scales[: len(SCALES)]
    ratio, half = data.relative_variance()
    numbers = [("variance", ratio[:count].tolist())]
    lines = [Price("variance", ratio[:count], (ratio - half)[:count], (ratio + half)[:count], 1.0)]
    if data.right is not None:
        numbers.insert(0, ("accuracy", data.right[:count].mean(axis=1).tolist()))
        lines.append(_share_line("accuracy", data.right[:count], None))
    if data.covered is not None:
        numbers.append(("recall", data.covered[:count].mean(axis=1).tolist()))
        real = None if data.covered_real is None else float(data.covered_real.mean())
        lines.append(_share_line("recall", data.covered[:count], real))
    figures = Figures(
        guidance=lambda: draw_guidance(data.images[:count], scales, numbers, data.count),
        price=lambda: draw_price(scales, lines, data.count),
    )
    return figures if auto is None else figures | Figures(autoguidance=lambda: _draw_autoguidance(data, auto))


def _draw_autoguidance(data: Guidance, auto: Autoguidance) -> Figure:
    """Draw accuracy and recall over the scale, from no guidance on, of both kinds of guidance."""
    first, count = data.arm(NO_GUIDANCE), len(SCALES)
    last = 1 + max(np.flatnonzero(data.scales[:count] <= auto.scales[-1]))
    pairs = []
    for own, other in ((data.right, auto.right), (data.covered, auto.covered)):
        if own is not None:
            plain = own[first : first + 1]
            pairs.append(
                (_share_line("", own[first:last], None), _share_line("", np.concatenate([plain, other]), None))
            )
    real = None if data.covered_real is None else float(data.covered_real.mean())
    return draw_autoguidance(data.scales[first:last], np.array([NO_GUIDANCE, *auto.scales]), pairs, real, data.count)


def _share_line(name: str, hits: Bools, real: float | None) -> Price:
    """Return the line of a share over the scale, of (C, N) hits."""
    shares = [Share(int(row.sum()), len(row)) for row in hits]
    low, high = np.array([share.interval for share in shares]).T
    return Price(name, np.array([share.value for share in shares]), low, high, real)


def facts(study: GuidanceStudy) -> GuidanceFacts:
    """Return the numbers that captions and tables are filled with."""
    data = study.scales
    ratio, half = data.relative_variance()

    def shares(hits: Bools | None) -> tuple[float, ...] | None:
        return None if hits is None else tuple(float(row.mean()) for row in hits)

    def intervals(hits: Bools | None) -> tuple[tuple[float, float], ...] | None:
        return None if hits is None else tuple(Share(int(row.sum()), len(row)).interval for row in hits)

    return GuidanceFacts(
        guidance_scales=tuple(data.scales[: len(SCALES)].tolist()),
        guidance_count=data.count,
        guidance_steps=data.steps,
        guidance_digit=data.digit,
        guidance_accuracy=shares(data.right),
        guidance_accuracy_interval=intervals(data.right),
        guidance_variance=tuple(ratio.tolist()),
        guidance_variance_interval=tuple((float(v - h), float(v + h)) for v, h in zip(ratio, half, strict=True)),
        guidance_recall=shares(data.covered),
        guidance_recall_interval=intervals(data.covered),
        guidance_recall_real=None if data.covered_real is None else float(data.covered_real.mean()),
        guidance_white=tuple(data.white.mean(axis=1).tolist()),
        guidance_white_real=data.white_real,
        guidance_windows=tuple((int(first), int(last)) for first, last in data.windows),
        strong_scale=STRONG,
        largest_scale=STRONGEST,
        auto=None if study.auto is None else study.auto.facts(),
    )


def claims(study: GuidanceStudy) -> tuple[Claim, ...]:
    """Decide what guidance gains in accuracy, costs in variety and white pixels, and what other guidance does."""
    data = study.scales
    answers = [] if data.right is None else [_compare_shares("obeys", data, data.right, 1)]
    answers.append(_narrows(data))
    if data.covered is not None:
        answers.append(_compare_shares("forgets", data, data.covered, -1))
    answers.append(_saturates(data))
    if len(data.windows) and data.right is not None:
        answers.append(window_claim(data, data.right))
    return (*answers, *(() if study.auto is None else study.auto.claims(data)))


def _compare_shares(name: str, data: Guidance, hits: Bools, sign: int) -> Claim:
    """Decide whether a share rises (sign 1) or falls (sign -1) from no guidance to strong guidance, pair by pair."""
    plain, strong = hits[data.arm(NO_GUIDANCE)], hits[data.arm(STRONG)]
    change, low, high = paired_difference(*((strong, plain) if sign > 0 else (plain, strong)))
    numbers = {
        "plain": float(plain.mean()),
        "strong": float(strong.mean()),
        "change": change,
        "low": low,
        "high": high,
        "plain_hits": int(plain.sum()),
        "strong_hits": int(strong.sum()),
        "change_hits": sign * int(strong.sum() - plain.sum()),
    }
    return Claim(name, surely(low, high), numbers)


def _narrows(data: Guidance) -> Claim:
    """Decide whether the variance within a digit shrinks: the ratio of two means over the same noise."""
    plain, strong = data.spread[data.arm(NO_GUIDANCE)], data.spread[data.arm(STRONG)]
    ratio = float(strong.mean() / plain.mean())
    half = half_of_mean(strong - ratio * plain) / float(plain.mean())  # linearized: both means are estimates
    low, high = ratio - half, ratio + half
    return Claim("narrows", surely(1 - high, 1 - low), {"ratio": ratio, "low": low, "high": high})


def _saturates(data: Guidance) -> Claim:
    """Decide whether the strongest guidance makes more pixels white than real digits have."""
    plain, strongest = data.white[data.arm(NO_GUIDANCE)], data.white[data.arm(STRONGEST)]
    beyond = float(strongest.mean()) - data.white_real
    beyond_half = float(np.hypot(half_of_mean(strongest), Z_95 * data.white_real_error))
    numbers = {
        "plain": float(plain.mean()),
        "largest": float(strongest.mean()),
        "more": float((strongest - plain).mean()),
        "half": half_of_mean(strongest - plain),
        "beyond": beyond,
        "beyond_half": beyond_half,
    }
    return Claim("saturates", surely(beyond - beyond_half, beyond + beyond_half), numbers)


def rows(facts: GuidanceFacts, texts: Texts) -> Rows:
    """Return what each scale and window gives."""
    names = [f"{scale:g}" for scale in facts.guidance_scales]
    for first, last in facts.guidance_windows:
        names.append(texts("chapter.guidance.row_window", scale=f"{facts.strong_scale:g}", first=first, last=last))

    def cells(
        values: tuple[float, ...] | None, spans: tuple[tuple[float, float], ...] | None, digits: str = ".0%"
    ) -> list[str]:
        if values is None or spans is None:
            return ["–"] * len(names)
        return [f"{v:{digits}} ({a:{digits}} – {b:{digits}})" for v, (a, b) in zip(values, spans, strict=True)]

    accuracy = cells(facts.guidance_accuracy, facts.guidance_accuracy_interval)
    variance = cells(facts.guidance_variance, facts.guidance_variance_interval, ".2f")
    recall = cells(facts.guidance_recall, facts.guidance_recall_interval)
    white = [f"{v:.1%}" for v in facts.guidance_white]
    return Rows(
        ("scale", "accuracy", "variance", "recall", "white"),
        tuple(zip(names, accuracy, variance, recall, white, strict=True)),
    )


LESSON = Lesson(
    name="guidance",
    position=80,
    precomputed=Precomputed(
        GuidanceStudy,
        measure,
        (
            LessonFigure("guidance", in_exercise=True, digit="guidance_digit"),
            LessonFigure("price", advanced=True),
            LessonFigure("autoguidance", advanced=True),
        ),
    ),
    seconds=(45, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
