"""Lesson ``mistakes``: six common sampler mistakes, and the numbers that detect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import paired_difference
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.mistakes.buggy_samplers import MISTAKES, SAMPLERS
from viz_diffusion.lessons.mistakes.detectors import DETECTORS, LIMITS, SIZES, Mistakes, measure_mistakes
from viz_diffusion.lessons.mistakes.figures import draw_buggy_samplers
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Z_FIVE = 2.576
"""Normal quantile with which five comparisons hold together with 95% (Bonferroni)."""
MARGIN = 0.05
"""A mistake is not visible in the digits where it costs significantly less than this share of the accuracy."""


@dataclass(frozen=True)
class MistakesFacts:
    """What texts and JSON files say of the mistaken samplers; mistakes and detectors are numbered 0 .. 5."""

    mistakes_digit: int
    """Label of the strips."""
    samples: int
    """N, samples of each sampler."""
    steps: int
    """Denoising steps of each sampler."""
    own: tuple[float, ...]
    """(6,) the number that each mistake has with its own detector."""
    own_half: tuple[float, ...]
    """(6,) half its 95% interval; 0 where it is no estimate."""
    right: tuple[float, ...]
    """(6,) the larger number of the two correct samplers with each detector."""
    limits: tuple[float, ...]
    """(6,) the limit of each detector."""
    values: Mapping[str, tuple[float, ...]]
    """(6,) the numbers of all detectors, by the sampler's name."""
    mistakes_read: Mapping[str, int] | None
    """Samples of N that are classified as the requested digit, by the sampler's name; None without a classifier."""


def draw(data: Mistakes) -> Figures:
    """Draw ``mistakes``: a strip for each sampler, and the table of the detectors' numbers."""
    own = [-1, -1, *range(len(MISTAKES))]
    return Figures(
        mistakes=lambda: draw_buggy_samplers(
            data.strips, data.steps_left, SAMPLERS, data.values, data.caught, DETECTORS, own
        )
    )


def facts(data: Mistakes) -> MistakesFacts:
    """Return the numbers that captions and tables are filled with."""
    own = np.arange(len(MISTAKES))
    correct = None if data.correct is None else data.correct.sum(axis=1).tolist()
    return MistakesFacts(
        mistakes_digit=data.digit,
        samples=data.samples,
        steps=int(data.steps_left[0]),
        own=tuple(data.values[2 + own, own].tolist()),
        own_half=tuple(data.halves[2 + own, own].tolist()),
        right=tuple(data.values[:2].max(axis=0).tolist()),
        limits=LIMITS,
        values={name: tuple(row.tolist()) for name, row in zip(SAMPLERS, data.values, strict=True)},
        mistakes_read=None if correct is None else dict(zip(SAMPLERS, correct, strict=True)),
    )


def claims(data: Mistakes) -> tuple[Claim, ...]:
    """Decide whether all mistakes are detected, correct samplers are not, and some mistake does not show."""
    own = np.arange(len(MISTAKES))
    caught, passed = data.caught[2 + own, own], data.passed[2 + own, own]
    alarms, clean = data.caught[:2], data.passed[:2]
    answers = [
        Claim("caught", _decided(caught, passed), {"caught": int(caught.sum()), "mistakes": len(MISTAKES)}),
        Claim("clean", _decided(clean, alarms), {"alarms": int(alarms.sum()), "asked": int(alarms.size)}),
    ]
    if data.correct is not None:
        answers.append(_unseen(dict(zip(SAMPLERS, data.correct, strict=True))))
    return tuple(answers)


def _unseen(correct: dict[str, NDArray[np.bool_]]) -> Claim:
    """Decide whether some mistake costs significantly less than :data:`MARGIN` of the accuracy.

    Each is compared with the correct sampler. ``reversed`` generates the same images, and is left out.
    """
    changed = [name for name in MISTAKES if name != "reversed"]
    pairs = [paired_difference(correct["right"], correct[name], z=Z_FIVE) for name in changed]
    unseen = [most < MARGIN for _, _, most in pairs]
    seen = [least > 0 and not hidden for (_, least, _), hidden in zip(pairs, unseen, strict=True)]
    numbers: dict[str, Any] = {f"read_{name}": int(hits.sum()) for name, hits in correct.items()}
    numbers |= {
        "unseen": sum(unseen),
        "seen": sum(seen),
        "better": sum(most < 0 for _, _, most in pairs),
        "compared": len(pairs),
        "margin": MARGIN,
    }
    return Claim("unseen", True if any(unseen) else False if all(seen) else None, numbers)


def _decided(all_true: NDArray[np.bool_], some_false: NDArray[np.bool_]) -> bool | None:
    return False if some_false.any() else True if all_true.all() else None


def rows(facts: MistakesFacts, texts: Texts) -> Rows:
    """Return each mistake with its detector's number, that of the correct samplers, the limit and the accuracy."""
    correct = facts.mistakes_read
    lines = [
        (
            texts[f"chapter.mistakes.row_{name}"],
            texts[f"chapter.mistakes.detector_{detector}"],
            f"{facts.own[k]:.3g}" + (f" ± {facts.own_half[k]:.1g}" if facts.own_half[k] > 0 else ""),
            f"{facts.right[k]:.2g}",
            f"{facts.limits[k]:g}",
            "–" if correct is None else f"{correct[name]} / {facts.samples}",
        )
        for k, (name, detector) in enumerate(zip(MISTAKES, DETECTORS, strict=True))
    ]
    return Rows(("mistake", "detector", "own", "right", "limit", "read"), tuple(lines))


def _measure(context: LessonContext) -> Mistakes:
    return measure_mistakes(
        context.model,
        context.schedule,
        context.training,
        context.digit,
        context.is_mnist,
        context.size(*SIZES),
        context.progress,
    )


LESSON = Lesson(
    name="mistakes",
    position=140,
    precomputed=Precomputed(Mistakes, _measure, (LessonFigure("mistakes", in_exercise=True, digit="mistakes_digit"),)),
    seconds=(15, 100),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
