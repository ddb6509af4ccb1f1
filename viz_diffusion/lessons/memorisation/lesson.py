"""Lesson ``memorisation``: whether samples are copies of training digits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.evaluation.evaluate import Evaluation
from viz_diffusion.evaluation.intervals import Share, half_of_mean, share_difference
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.memorisation.figures import draw_copies
from viz_diffusion.lessons.memorisation.nearest_digits import (
    COPY,
    SIZES,
    STEPS,
    Memorisation,
    NeighboursFacts,
    measure_memorisation,
)
from viz_diffusion.lessons.memorisation.noised_digits import DIGITS, NoisedFacts
from viz_diffusion.lessons.memorisation.training_sizes import TrainingSizes, TrainingSizesFacts, read_training_sizes
from viz_diffusion.lessons.memorisation.training_sizes_figure import MeasuredCurve, draw_training_sizes
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.run import Run

MARGINS = (0.02, 0.01)
"""Largest difference of the shares of near-copies at which samples count as no worse than test digits; the second from
1000 of each on."""
NEAR = 0.1
"""Largest relative difference at which the mean d₁ counts as that of test digits."""
READABLE = 0.9
"""Samples count as digits where their accuracy is significantly above this."""
CONTROL = "subset_100"
"""Name of the control run, trained on 100 digits."""


@dataclass(frozen=True)
class QualityFacts:
    """What texts and JSON files say of the quality of the samples."""

    read_hits: int
    """Samples that are classified as the requested digit."""
    read_low: float
    """Lower end of the 95% interval of their share."""
    read_high: float
    """Upper end of it."""
    compared: int
    """Images in each set that is compared: samples, real digits, references."""
    kid: float
    """KID of the samples from test digits, unbiased, times 1000."""
    kid_half: float
    """Half its 95% interval."""
    frechet: float
    """Fréchet distance of the samples from test digits."""
    frechet_real: float
    """Fréchet distance of other test digits."""
    frechet_excess: float
    """The first less the second."""
    frechet_excess_half: float
    """Half its 95% interval."""
    frechet_clouds: float
    """Fréchet distance of Gaussian samples."""
    recall: float
    """Recall of the samples."""
    recall_real: float
    """Recall of other real digits."""
    classifier: str
    """First 8 digits of the classifier's SHA-256."""


@dataclass(frozen=True)
class MemorisationFacts:
    """What texts and JSON files say of nearest training digits."""

    own: Annotated[NeighboursFacts, FactGroup()]
    """Of the network."""
    control: Annotated[NeighboursFacts | None, FactGroup("control_")]
    """Of the control; None without one."""
    quality: Annotated[QualityFacts | None, FactGroup()]
    """Quality of the network's samples; None where they were not evaluated."""
    noised: Annotated[NoisedFacts | None, FactGroup()]
    """Of training digits noised and denoised; None where that was not measured."""
    sizes: Annotated[TrainingSizesFacts | None, FactGroup()]
    """Of pairs of networks trained on different digits; None where the data are not MNIST."""
    copy_steps: int
    """DDIM steps of each sample."""
    has_control: bool
    """Whether there is a control."""


def draw(data: Memorisation) -> Figures:
    """Draw ``copies``, samples with their nearest training digits, and ``training_sizes``, pairs of networks."""
    blocks = [data.own] if data.control is None else [data.own, data.control]
    drawn = [(one.suspects, one.ratio, one.test_ratio, one.training) for one in blocks]
    figures, sizes = Figures(copies=lambda: draw_copies(drawn, COPY)), data.sizes
    return figures if sizes is None else figures | Figures(training_sizes=lambda: _draw_sizes(sizes))


def _draw_sizes(data: TrainingSizes) -> Figure:
    shares = [
        MeasuredCurve(*(np.array(ends) for ends in zip(*((one.value, *one.interval) for one in pair), strict=True)))
        for pair in (data.copies(COPY), data.other_copies(COPY))
    ]
    means = [(values.mean(axis=1), np.asarray(half_of_mean(values))) for values in (data.alike, data.unlike)]
    alike = [MeasuredCurve(mean, mean - half, mean + half) for mean, half in means]
    return draw_training_sizes(data.sizes.tolist(), data.images, shares, alike, data.ratio.shape[2])


def facts(data: Memorisation) -> MemorisationFacts:
    """Return the numbers that captions and tables are filled with."""
    return MemorisationFacts(
        own=data.own.facts(),
        control=None if data.control is None else data.control.facts(),
        quality=None if data.quality is None else _quality_facts(data.quality),
        noised=None if data.noised is None else data.noised.facts(COPY, data.own.flagged),
        sizes=None if data.sizes is None else data.sizes.facts(COPY),
        copy_steps=STEPS,
        has_control=data.control is not None,
    )


def _quality_facts(quality: Evaluation) -> QualityFacts:
    samples, real, clouds = quality.samples, quality.real, quality.control
    low, high = samples.accuracy.interval
    return QualityFacts(
        read_hits=samples.accuracy.hits,
        read_low=low,
        read_high=high,
        compared=quality.compared,
        kid=samples.kid,
        kid_half=samples.kid_half,
        frechet=samples.frechet,
        frechet_real=real.frechet,
        frechet_excess=quality.excess,
        frechet_excess_half=quality.excess_half,
        frechet_clouds=clouds.frechet,
        recall=samples.recall,
        recall_real=real.recall,
        classifier=quality.classifier_sha256[:8],
    )


def claims(data: Memorisation) -> tuple[Claim, ...]:
    """Decide whether samples copy no more than test digits, are as far, and digits; and whether copies are noticed."""
    own = data.own
    margin = MARGINS[len(own.ratio) >= 1000]
    least, most = share_difference(own.flagged, own.test_flagged)
    far, half = own.distance_ratio()
    as_far = None if abs(abs(far - 1) - NEAR) <= half else abs(far - 1) < NEAR
    answers = [
        Claim("no_copies", False if least > 0 else True if most < margin else None, {"margin": margin, "most": most}),
        Claim("as_far", as_far, {"near": NEAR}),
    ]
    if data.quality is not None:
        low, high = data.quality.samples.accuracy.interval
        answers.append(Claim("digits", True if low > READABLE else False if high < READABLE else None))
        answers.append(Claim("farther", data.quality.is_worse))
    if data.control is not None:
        caught, free = data.control.flagged, data.control.test_flagged
        surely = share_difference(caught, free)[0] > 0
        answers.append(Claim("control_caught", True if surely else None if caught.hits > free.hits else False))
    if data.noised is not None:
        answers.append(data.noised.claim(COPY))
    return (*answers, *(() if data.sizes is None else data.sizes.claims()))


def rows(facts: MemorisationFacts, texts: Texts) -> Rows:
    """Return the samples and the test digits of the network and of the control, and the training digits noised."""
    lines = []
    for one in (facts.own, facts.control):
        if one is not None:
            samples = Share(one.flagged, one.count), one.ratio_median, one.distance
            test = Share(one.test_flagged, one.count), one.test_ratio_median, one.test_distance
            for name, (flagged, ratio, distance) in (("samples", samples), ("test", test)):
                who = texts(f"chapter.memorisation.row_{name}", training=one.training)
                lines.append(_row(who, flagged, ratio, distance))
    if facts.noised is not None:
        noised = facts.noised
        for t, hits, ratio, distance in zip(
            noised.noised_t, noised.noised_flagged, noised.noised_ratio, noised.noised_distance, strict=True
        ):
            who = texts("chapter.memorisation.row_noised", t=t)
            lines.append(_row(who, Share(hits, noised.noised_count), ratio, distance))
    return Rows(("who", "flagged", "ratio", "distance"), tuple(lines))


def _row(who: str, flagged: Share, ratio: float, distance: float) -> tuple[str, ...]:
    low, high = flagged.interval
    return who, f"{flagged.hits} / {flagged.count} ({low:.1%} … {high:.1%})", f"{ratio:.2f}", f"{distance:.2f}"


def _measure(context: LessonContext) -> Memorisation:
    control = None
    if context.is_mnist:
        run = Run.control(CONTROL)
        model = run.load_model(context.device)[0]
        control = (model, run.config.noise_schedule, run.config.load_digits("train"))
    found = measure_memorisation(
        context.model,
        context.schedule,
        context.training,
        context.heldout,
        context.size(*SIZES),
        control,
        context.is_mnist,
        context.progress,
        context.size(*DIGITS),
    )
    return replace(found, sizes=read_training_sizes()) if context.is_mnist else found


LESSON = Lesson(
    name="memorisation",
    position=110,
    precomputed=Precomputed(
        Memorisation, _measure, (LessonFigure("copies", in_exercise=True), LessonFigure("training_sizes"))
    ),
    seconds=(25, 170),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
