"""Lesson ``decision``: the timestep at which the digit is settled in generations without a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.decision.class_probability import STEPS, finish_noised_digits
from viz_diffusion.lessons.decision.figures import Quartiles, draw_decision, draw_forks
from viz_diffusion.lessons.decision.forks import SURE, ForkStudy, fork_generations
from viz_diffusion.lessons.decision.settling import Decision, half_interval, mean_interval, share_interval
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

SIZES = ((60, (60, 8, 8)), (300, (300, 16, 8)))
"""Noised digits; generations, forked generations, and forks of each state; quick and full."""
NEAR_T = 50
"""Of T = 1000: the difference from the ideal denoiser up to which digits keep their class as predicted."""
LEAST = 0.5
"""Share of the generations whose class must be settled before the end."""


@dataclass(frozen=True)
class ForkFacts:
    """What texts and JSON files say of forks, from J timesteps."""

    fork_timesteps: tuple[int, ...]
    """(J,) t, falling."""
    fork_states: int
    """Forked generations."""
    fork_count: int
    """Forks of each state."""
    fork_spread: tuple[float, ...]
    """(J,) mean V, the variance of forks over that of all generations."""
    fork_spread_interval: tuple[float, ...]
    """(J,) half its 95% interval."""
    fork_agree: tuple[float, ...] | None
    """(J,) share of pairs of forks that are classified as the same digit; None without a classifier."""
    fork_agree_interval: tuple[float, ...] | None
    """(J,) half its 95% interval."""
    fork_agreed_told: str
    """These shares by t, as a text."""
    fork_chance: float | None
    """That share for independent generations."""
    fork_chance_told: str
    """The same as a text."""
    fork_first: int
    """The first t."""
    fork_spread_first: float
    """V there."""
    fork_spread_last: float
    """V at the last t."""
    fork_last: int
    """The last t."""
    ddim_spread: float
    """Largest difference of a pixel between two DDIM runs from one state with different seeds."""


@dataclass(frozen=True)
class DecisionFacts:
    """What texts and JSON files say of K timesteps; None without a classifier."""

    decision_timesteps: tuple[int, ...]
    """(K,) t to which digits are noised, falling."""
    decision_count: int
    """Noised digits."""
    decision_steps: int
    """Denoising steps of every generation."""
    sure: float
    """Probability from which on a class counts as settled."""
    ideal: tuple[float, ...]
    """(K,) mean probability of the true class, by the ideal denoiser."""
    ideal_bits: tuple[float, ...]
    """(K,) mean information on the class, bits."""
    guess: tuple[float, ...] | None
    """(K,) mean probability of the true class of x̂_0, by the classifier."""
    returned: tuple[float, ...] | None
    """(K,) share of finished images that are classified as the true class."""
    returned_interval: tuple[tuple[float, float], ...] | None
    """(K, 2) its 95% interval."""
    window_count: int
    """Training digits with which the window is estimated."""
    window_from: int
    """The t at which a tenth of the information is there."""
    window_to: int
    """The t at which nine tenths are."""
    paths: int | None
    """Generations without a label."""
    finished_sure: int | None
    """Generations whose finished image has a class with probability ``sure``."""
    settled: int | None
    """Generations whose class is settled neither from the start nor at the end."""
    settled_late: int | None
    """Generations whose class is settled at the end only."""
    late: int
    """The t below which it is the end."""
    commit_median: int | None
    """Median t of the settled generations; None where they are few."""
    commit_low: int | None
    """Lower end of its 95% interval."""
    commit_high: int | None
    """Upper end of it."""
    commit_lower: int | None
    """Lower quartile."""
    commit_upper: int | None
    """Upper quartile."""
    turn_half: int | None
    """The t at which half of the finished images keep their class."""
    turn_half_ideal: int | None
    """The same for the ideal denoiser."""
    turn_apart: int | None
    """Their difference."""
    turn_interval: int | None
    """Half its 95% interval."""
    forks: Annotated[ForkFacts, FactGroup()]
    """Of the forks."""


def measure(context: LessonContext) -> Decision:
    """Finish noised digits, generate without a label, and fork some of the generations."""
    classifier = DigitClassifier.bundled()[0] if context.is_mnist else None
    count, sizes = context.size(*SIZES)
    model, schedule = context.model, context.schedule
    noised = finish_noised_digits(
        model, schedule, context.heldout, context.training, classifier, count, context.generator(5, 6), context.progress
    )
    paths, forks = fork_generations(model, schedule, classifier, sizes, context.progress)
    return Decision(noised, paths, forks, schedule.num_train_timesteps)


def draw(data: Decision) -> Figures:
    """Draw ``decision``, probabilities over t and settled generations, and ``forks``, a tree."""
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
            data.settled,
            data.quartiles(),
            data.paths.strip,
            data.paths.strip_timesteps,
            data.num_train_timesteps,
        ),
        forks=lambda: draw_forks(
            forks.tree,
            forks.timesteps,
            forks.spread.mean(axis=1),
            None if forks.agree is None else forks.agree.mean(axis=1),
        ),
    )


def facts(data: Decision) -> DecisionFacts:
    """Return the numbers that captions and tables are filled with."""
    noised, commit, quartiles, halves = data.noised, data.paths.commit, data.quartiles(), data.halves()
    x0_probability, returned, settled = noised.x0_probability, noised.returned, data.settled
    intervals = None if returned is None else share_interval(returned)[1:]
    return DecisionFacts(
        decision_timesteps=tuple(noised.timesteps.tolist()),
        decision_count=int(noised.ideal.shape[1]),
        decision_steps=STEPS,
        sure=SURE,
        ideal=tuple(noised.ideal.mean(axis=1).tolist()),
        ideal_bits=tuple(noised.bits.mean(axis=1).tolist()),
        guess=None if x0_probability is None else tuple(x0_probability.mean(axis=1).tolist()),
        returned=None if returned is None else tuple(returned.mean(axis=1).tolist()),
        returned_interval=None
        if intervals is None
        else tuple((float(low), float(high)) for low, high in zip(*intervals, strict=True)),
        window_count=int(noised.bits.shape[1]),
        window_from=data.window[0],
        window_to=data.window[1],
        paths=None if commit is None else len(commit),
        finished_sure=None if commit is None else int((commit >= 0).sum()),
        settled=None if settled is None else len(settled),
        settled_late=None if commit is None else int(((commit >= 0) & (commit < data.late)).sum()),
        late=data.late,
        commit_median=None if quartiles is None else round(quartiles.median),
        commit_low=None if quartiles is None else round(quartiles.low),
        commit_high=None if quartiles is None else round(quartiles.high),
        commit_lower=None if quartiles is None else round(quartiles.lower),
        commit_upper=None if quartiles is None else round(quartiles.upper),
        turn_half=None if halves is None else round(halves[0]),
        turn_half_ideal=None if halves is None else round(halves[1]),
        turn_apart=None if halves is None else round(halves[2]),
        turn_interval=None if halves is None else round(halves[3]),
        forks=_fork_facts(data.forks),
    )


def _fork_facts(forks: ForkStudy) -> ForkFacts:
    spread, agree = forks.spread.mean(axis=1), None if forks.agree is None else forks.agree.mean(axis=1)
    return ForkFacts(
        fork_timesteps=tuple(forks.timesteps.tolist()),
        fork_states=int(forks.spread.shape[1]),
        fork_count=int(forks.tree.shape[1] - 1),
        fork_spread=tuple(spread.tolist()),
        fork_spread_interval=tuple(half_interval(row) for row in forks.spread),
        fork_agree=None if agree is None else tuple(agree.tolist()),
        fork_agree_interval=None if forks.agree is None else tuple(half_interval(row) for row in forks.agree),
        fork_agreed_told="–"
        if agree is None
        else "; ".join(f"{t}: {share:.0%}" for t, share in zip(forks.timesteps, agree, strict=True)),
        fork_chance=forks.chance,
        fork_chance_told="–" if forks.chance is None else f"{forks.chance:.0%}",
        fork_first=int(forks.timesteps[0]),
        fork_spread_first=float(forks.spread[0].mean()),
        fork_spread_last=float(forks.spread[-1].mean()),
        fork_last=int(forks.timesteps[-1]),
        ddim_spread=forks.ddim_spread,
    )


def claims(data: Decision) -> tuple[Claim, ...]:
    """Decide whether classes are settled, in the window, kept as predicted, and whether x_T determines the image."""
    answers = []
    if data.settled is not None and data.paths.commit is not None:
        share = Share(len(data.settled), len(data.paths.commit))
        low, high = share.interval
        surely = True if low > LEAST else False if high < LEAST else None
        answers.append(Claim("settles", surely, {"least": LEAST, "settled_low": low, "settled_high": high}))
    quartiles = data.quartiles()
    if quartiles is not None:
        answers.append(Claim("window", _in_window(quartiles, *data.window)))
    halves = data.halves()
    if halves is not None:
        near, apart, half = NEAR_T * data.num_train_timesteps // 1000, abs(halves[2]), halves[3]
        answers.append(Claim("turn", None if abs(apart - near) <= half else apart < near, {"near": near}))
    first, half = float(data.forks.spread[0].mean()), half_interval(data.forks.spread[0])
    holds = None if abs(first - 0.5) <= half else first < 0.5
    answers.append(Claim("statue", holds, {"first": first, "half": half}))
    return tuple(answers)


def _in_window(quartiles: Quartiles, first: int, last: int) -> bool | None:
    """Decide whether the interval of the median lies within the window, outside of it, or neither."""
    if last <= quartiles.low and quartiles.high <= first:
        return True
    return False if quartiles.high < last or quartiles.low > first else None


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
    position=100,
    precomputed=Precomputed(Decision, measure, (LessonFigure("decision"), LessonFigure("forks", in_exercise=True))),
    seconds=(35, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
