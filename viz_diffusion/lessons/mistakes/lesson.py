"""The bug museum: six mistakes around one correct sampler, each with the number that gives it away.

The samplers and the detectors are in :mod:`~viz_diffusion.lessons.mistakes.buggy_samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import paired_difference
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext, Progress, silent
from viz_diffusion.lessons.mistakes.buggy_samplers import DETECTORS, LIMITS, MISTAKES, SAMPLERS, detect, run
from viz_diffusion.lessons.mistakes.figures import draw_buggy_samplers
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
SEED = 620_000
"""Of the first sample; all samplers share their noise."""
SIZES = (50, 400)
"""Samples of each sampler, quick and full."""
Z_FIVE = 2.576
"""So that all of five comparisons hold with 95% (Bonferroni)."""
MARGIN = 0.05
"""A mistake is not seen in the digits where surely less than this share of them is lost to the classifier."""
FRAMES = 8
"""Frames of each strip, the finished one among them."""
_SYMBOLS = ("✓", "✓ cos", r"$x_0+\sigma z$", "$t+1$", r"$\sigma^2 z$", "$[0,1]$", "↩", r"$|\hat{x}_0|>1$")
_HEADS = (
    r"$\Delta x_0$",
    r"$\Delta t$",
    r"$\Delta\sigma^2$",
    r"$\Delta\langle x\rangle$",
    r"$1-\rho$",
    r"$\|\hat{x}_0\|_\infty$",
)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Eight samplers from the same noise, and what six detectors say of each."""

    values: Float64
    """(8, 6) float64: for each of :data:`SAMPLERS` the number of each of :data:`DETECTORS`."""
    halves: Float64
    """(8, 6) float64: half their 95% intervals; 0 where nothing was estimated."""
    strips: NDArray[np.float32]
    """(8, F, H, W) float32: frames of one digit."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    samples: int
    """N, how many images each sampler made."""
    read: NDArray[np.bool_] | None
    """(8, N) bool: whether the classifier reads each as asked; None where the data are not MNIST."""
    digit: int
    """Of the strips."""

    @property
    def caught(self) -> NDArray[np.bool_]:
        """(8, 6) whether a detector's number is surely above its limit."""
        return np.asarray(self.values - self.halves > np.array(LIMITS))

    @property
    def passed(self) -> NDArray[np.bool_]:
        """(8, 6) whether it is surely not."""
        return np.asarray(self.values + self.halves <= np.array(LIMITS))


def measure(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    training: Digits,
    digit: int = 5,
    is_mnist: bool = True,
    samples: int = SIZES[0],
    progress: Progress = silent,
) -> Mistakes:
    """Make the same digits by the correct sampler, twice, and by six wrong ones, and ask every detector about each.

    Parameters
    ----------
    digit
        Of the strips.
    is_mnist
        Whether samples are read by the MNIST classifier.
    samples
        N, at least 10, asked for 0 .. 9 in turn.
    """
    labels = torch.arange(samples) % NUM_LABELS
    mean = float(training.images.double().mean())
    classifier = DigitClassifier.bundled()[0] if is_mnist else None
    found, strips, read = [], [], []
    for done, sampler in enumerate(SAMPLERS):
        progress(done, len(SAMPLERS), f"sampler {sampler}")
        record = run(sampler, denoiser, schedule, labels, range(SEED, SEED + samples), digit)
        found.append(detect(record, mean))
        frames = shown_frames(len(record.shown))
        strips.append(record.strip[record.shown[frames]])
        if classifier is not None:
            read.append((classifier.read(record.x0) == labels).numpy())
    values, halves = (np.stack(column) for column in zip(*found, strict=True))
    steps_left = len(record.shown) - 1 - frames
    return Mistakes(values, halves, np.stack(strips), steps_left, samples, np.stack(read) if read else None, digit)


def shown_frames(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` states a strip shows: the first, the last, and some between, closer in the second half.

    With ``count`` = 51 these have 50, 39, 29, 20, 13, 7, 3 and 0 steps left.
    """
    left = np.round((count - 1) * (np.linspace(1, 0, FRAMES)) ** 1.6)
    return np.unique(count - 1 - left.astype(np.int64))


def draw(data: Mistakes) -> Figures:
    """Draw ``mistakes``: a strip for each sampler, and the table of what the detectors say."""
    own = [-1, -1, *range(len(MISTAKES))]
    return Figures(
        mistakes=lambda: draw_buggy_samplers(
            data.strips, data.steps_left, _SYMBOLS, data.values, data.caught, _HEADS, own
        )
    )


def facts(data: Mistakes) -> dict[str, Any]:
    """Return the numbers, by sampler and detector."""
    own = [float(data.values[2 + k, k]) for k in range(len(MISTAKES))]
    right = data.values[:2].max(axis=0)
    read = None if data.read is None else data.read.sum(axis=1).tolist()
    return {
        "mistakes_digit": data.digit,
        "samples": data.samples,
        "steps": int(data.steps_left[0]),
        "own": own,
        "own_half": [float(data.halves[2 + k, k]) for k in range(len(MISTAKES))],
        "right": [float(value) for value in right],
        "limits": list(LIMITS),
        "values": {name: [float(v) for v in row] for name, row in zip(SAMPLERS, data.values, strict=True)},
        "mistakes_read": None if read is None else dict(zip(SAMPLERS, read, strict=True)),
    }


def claims(data: Mistakes) -> tuple[Claim, ...]:
    """Say whether each mistake is caught by its own detector, whether a correct sampler is by any, what eyes see."""
    own = np.arange(len(MISTAKES))
    caught, passed = data.caught[2 + own, own], data.passed[2 + own, own]
    alarms, clean = data.caught[:2], data.passed[:2]
    answers = [
        Claim("caught", _decided(caught, passed), {"caught": int(caught.sum()), "mistakes": len(MISTAKES)}),
        Claim("clean", _decided(clean, alarms), {"alarms": int(alarms.sum()), "asked": int(alarms.size)}),
    ]
    if data.read is not None:
        answers.append(_unseen(dict(zip(SAMPLERS, data.read, strict=True))))
    return tuple(answers)


def _unseen(read: dict[str, NDArray[np.bool_]]) -> Claim:
    """Say whether some mistake surely loses the classifier less than :data:`MARGIN` of the same noise's digits.

    Each is set beside the correct sampler with its schedule. ``reversed`` makes the very same images and is left out.
    """
    rights = {name: "right_cosine" if name == "unclipped" else "right" for name in MISTAKES if name != "reversed"}
    pairs = [paired_difference(read[right], read[name], z=Z_FIVE) for name, right in rights.items()]
    unseen = [most < MARGIN for _, _, most in pairs]
    seen = [least > 0 and not hidden for (_, least, _), hidden in zip(pairs, unseen, strict=True)]
    told: dict[str, Any] = {f"read_{name}": int(hits.sum()) for name, hits in read.items()}
    told |= {
        "unseen": sum(unseen),
        "seen": sum(seen),
        "better": sum(most < 0 for _, _, most in pairs),
        "compared": len(pairs),
        "margin": MARGIN,
    }
    return Claim("unseen", True if any(unseen) else False if all(seen) else None, told)


def _decided(all_true: NDArray[np.bool_], some_false: NDArray[np.bool_]) -> bool | None:
    return False if some_false.any() else True if all_true.all() else None


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out each mistake with its detector's number, the correct samplers' larger one, and the limit."""
    read = facts["mistakes_read"]
    lines = [
        (
            texts[f"chapter.mistakes.row_{name}"],
            texts[f"chapter.mistakes.detector_{detector}"],
            f"{facts['own'][k]:.3g}" + (f" ± {facts['own_half'][k]:.1g}" if facts["own_half"][k] > 0 else ""),
            f"{facts['right'][k]:.2g}",
            f"{facts['limits'][k]:g}",
            "–" if read is None else f"{read[name]} / {facts['samples']}",
        )
        for k, (name, detector) in enumerate(zip(MISTAKES, DETECTORS, strict=True))
    ]
    return Rows(("mistake", "detector", "own", "right", "limit", "read"), tuple(lines))


def _measure(context: LessonContext) -> Mistakes:
    return measure(
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
