"""Lesson ``decision``: the timestep at which the digit is settled in generations without a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.evaluation.latent_classifier import LatentClassifier
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.decision.class_probability import finish_noised_digits
from viz_diffusion.lessons.decision.decision_facts import DecisionFacts, facts
from viz_diffusion.lessons.decision.figures import Settled, draw_decision, draw_forks, draw_settling
from viz_diffusion.lessons.decision.forks import fork_generations
from viz_diffusion.lessons.decision.ideal_paths import SURE
from viz_diffusion.lessons.decision.settling import (
    Decision,
    half_interval,
    mean_interval,
    medians_apart,
    quartiles_of,
    share_interval,
)
from viz_diffusion.plots import theme
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

SIZES = ((60, (60, 8, 8, 20)), (300, (300, 16, 8, 200)))
"""Noised digits; generations, forked generations, forks of each state, and generations whose states the ideal denoiser
looks at; quick and full."""
NEAR_T = 50
"""Of T = 1000: the difference from the ideal denoiser up to which classes are kept, and settled, as predicted."""
ROUNDING = 1e-3
"""Largest difference of a pixel of two runs by rounding."""
LEAST = 0.5
"""Share of the generations whose class must be settled before the end."""


def measure(context: LessonContext) -> Decision:
    """Finish noised digits, generate without a label, and fork some of the generations."""
    classifier = DigitClassifier.bundled()[0] if context.is_mnist else None
    if classifier is not None and context.latent_space is not None:
        classifier = LatentClassifier(classifier, context.latent_space)
    calibration = Calibration.bundled() if context.is_mnist else None
    temperature = 1.0 if calibration is None else calibration.temperature
    count, sizes = context.size(*SIZES)
    model, schedule = context.model, context.schedule
    noised = finish_noised_digits(
        model,
        schedule,
        context.heldout_x,
        context.training_x,
        classifier,
        count,
        context.generator(5, 6),
        context.progress,
        temperature,
    )
    paths, forks = fork_generations(
        model, schedule, (context.training_x, context.heldout_x), classifier, sizes, context.progress, temperature
    )
    return Decision(noised, paths, forks, schedule.num_train_timesteps, calibration)


def draw(data: Decision) -> Figures:
    """Draw ``decision``, probabilities over t, ``settling``, where generations settle, and ``forks``, a tree."""
    noised, forks = data.noised, data.forks
    x0_probability = None if noised.x0_probability is None else mean_interval(noised.x0_probability)
    back = None if noised.returned is None else share_interval(noised.returned)
    return Figures(
        decision=lambda: draw_decision(
            noised.timesteps,
            noised.ideal.mean(axis=1),
            x0_probability,
            back,
            data.window,
            data.paths.strip,
            data.paths.strip_timesteps,
            data.num_train_timesteps,
            noised.ideal.shape[1],
        ),
        settling=lambda: draw_settling(_settled_groups(data), data.num_train_timesteps, SURE, data.late),
        forks=lambda: draw_forks(
            forks.tree,
            forks.timesteps,
            forks.spread.mean(axis=1),
            None if forks.agree is None else forks.agree.mean(axis=1),
            forks.spread.shape[1],
        ),
    )


def _settled_groups(data: Decision) -> list[tuple[str, list[Settled]]]:
    """Return the rows of settled timesteps by rule: of the network, and of the ideal denoiser."""
    ideal = data.paths.ideal

    def row(name: str, commit: NDArray[np.int64], colour: str) -> Settled:
        at = data.settled_of(commit)
        return Settled(name, at, quartiles_of(at), colour)

    groups = []
    if data.paths.commit is not None and ideal.own_read is not None:
        read = [row("network", data.paths.commit, theme.PURPLE), row("ideal", ideal.own_read, theme.MUTED)]
        groups.append(("by_x0", read))
    posterior = [row("network", ideal.by_posterior, theme.PURPLE), row("ideal", ideal.own, theme.MUTED)]
    return [*groups, ("by_posterior", posterior)]


def claims(data: Decision) -> tuple[Claim, ...]:
    """Decide whether classes are settled, when the ideal's are, kept as predicted, and whether x_T fixes the image."""
    answers = []
    if data.settled is not None and data.paths.commit is not None:
        share = Share(len(data.settled), len(data.paths.commit))
        low, high = share.interval
        surely = True if low > LEAST else False if high < LEAST else None
        answers.append(Claim("settles", surely, {"least": LEAST, "settled_low": low, "settled_high": high}))
    ideal = data.paths.ideal
    if data.settled is not None and ideal.own_read is not None:
        answers += _as_ideal("as_ideal", data, data.settled, data.settled_of(ideal.own_read))
    answers += _as_ideal("posterior_as_ideal", data, data.settled_of(ideal.by_posterior), data.settled_of(ideal.own))
    halves = data.halves()
    if halves is not None:
        near, apart, half = NEAR_T * data.num_train_timesteps // 1000, abs(halves[2]), halves[3]
        answers.append(Claim("turn", None if abs(apart - near) <= half else apart < near, {"near": near}))
    first, half = float(data.forks.spread[0].mean()), half_interval(data.forks.spread[0])
    holds = None if abs(first - 0.5) <= half else first < 0.5
    answers.append(Claim("fixed_by_ddim", data.forks.ddim_spread < ROUNDING, {"rounding": ROUNDING}))
    answers.append(Claim("fixed_by_ddpm", holds, {"first": first, "half": half}))
    return tuple(answers)


def _as_ideal(name: str, data: Decision, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> list[Claim]:
    """Decide whether the medians of two samples of settled t are near; no claim where a sample is small."""
    found = medians_apart(ours, theirs)
    if found is None:
        return []
    near, (apart, half) = NEAR_T * data.num_train_timesteps // 1000, found
    holds = None if abs(abs(apart) - near) <= half else abs(apart) < near
    return [Claim(name, holds, {"near": near, "apart": round(apart), "apart_half": round(half)})]


def rows(facts: DecisionFacts, _: Texts) -> Rows:
    """Return by t the probability of the class by the ideal denoiser and of x̂_0, and the share that keeps its class."""

    def shown(values: tuple[float, ...] | None) -> list[str]:
        return ["–"] * len(facts.ideal) if values is None else [f"{value:.0%}" for value in values]

    intervals = facts.returned_interval
    spans = ["–"] * len(facts.ideal) if intervals is None else [f"{low:.0%} – {high:.0%}" for low, high in intervals]
    columns = zip(
        map(str, facts.decision_timesteps),
        shown(facts.ideal),
        shown(facts.guess),
        shown(facts.returned),
        spans,
        strict=True,
    )
    return Rows(("t", "ideal", "guess", "returned", "interval"), tuple(columns))


LESSON = Lesson(
    name="decision",
    latent=True,
    position=100,
    precomputed=Precomputed(
        Decision, measure, (LessonFigure("decision"), LessonFigure("settling"), LessonFigure("forks", in_exercise=True))
    ),
    seconds=(35, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
