"""What texts and JSON files say of the decision: numbers of every measurement, in the words of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.lessons.decision.class_probability import STEPS
from viz_diffusion.lessons.decision.forks import ForkStudy
from viz_diffusion.lessons.decision.ideal_paths import SURE
from viz_diffusion.lessons.decision.settling import Decision, half_interval, quartiles_of, share_interval
from viz_diffusion.lessons.facts import FactGroup


@dataclass(frozen=True)
class SettlingFacts:
    """What texts and JSON files say of one way to find the t at which a class is settled."""

    count: int
    """Generations."""
    settled: int
    """Those whose class is settled neither from the start nor at the end."""
    median: int | None
    """Median t of these; None where they are few."""
    low: int | None
    """Lower end of its 95% interval."""
    high: int | None
    """Upper end of it."""
    lower: int | None
    """Lower quartile."""
    upper: int | None
    """Upper quartile."""


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
    posterior: Annotated[SettlingFacts, FactGroup("posterior_")]
    """Of the network's generations, by the ideal denoiser's p(y | x_t) of the generated states."""
    own: Annotated[SettlingFacts, FactGroup("own_")]
    """Of the ideal denoiser's own generations, by the same."""
    held_out: Annotated[SettlingFacts, FactGroup("held_out_")]
    """Control: of held-out digits noised step by step, by the same."""
    own_read: Annotated[SettlingFacts | None, FactGroup("ideal_read_")]
    """Of these, by the classifier's probabilities of the ideal denoiser's x̂_0."""
    calibration: Annotated[Calibration | None, FactGroup("calibration_")]
    """Of the classifier's calibration."""


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
        posterior=_settling_facts(data, data.paths.ideal.by_posterior),
        own=_settling_facts(data, data.paths.ideal.own),
        held_out=_settling_facts(data, data.paths.ideal.held_out),
        own_read=None if data.paths.ideal.own_read is None else _settling_facts(data, data.paths.ideal.own_read),
        calibration=data.calibration,
    )


def _settling_facts(data: Decision, commit: NDArray[np.int64]) -> SettlingFacts:
    settled = data.settled_of(commit)
    found = quartiles_of(settled)
    names = ("median", "low", "high", "lower", "upper")
    numbers = {name: None if found is None else round(getattr(found, name)) for name in names}
    return SettlingFacts(len(commit), len(settled), **numbers)


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
