"""The moment of choice: when is the digit chosen, if nobody asks for one?

Looks at generations without a label, at digits noised and turned back, and at forks
(:mod:`~viz_diffusion.lessons.decision.class_probability`), beside what the ideal denoiser of the training digits
predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import Z_95, Share, half_of_mean, t_quantile
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.decision.class_probability import STEPS, SURE, ForkStudy, Paths, Turned, follow, turn_back
from viz_diffusion.lessons.decision.figures import Quartiles, draw_decision, draw_forks
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
SIZES = ((60, (60, 8, 8)), (300, (300, 16, 8)))
"""Digits turned back; generations, states frozen, and forks of each; quick and full."""
WINDOW = (0.1, 0.9)
"""Which shares of the label's bits begin and end the ideal denoiser's window."""
NEAR_T = 50
"""Of T = 1000: what counts as where the ideal says."""
LEAST = 0.5
"""The share of generations that must settle on the way for it to count as settling."""
LATE = 100
"""Of T = 1000: whoever settles below has not settled on the way, for the last guess is the finished picture itself."""
FEW = 10
"""Settled generations, at least, of which a median is told."""
RESAMPLED = 400


@dataclass(frozen=True, eq=False)
class Decision:
    """When the digit is chosen, seen from three sides."""

    turned: Turned
    """Held-out digits noised and turned back."""
    paths: Paths
    """Generations without a label."""
    forks: ForkStudy
    """Generations frozen, and finished several times."""
    num_train_timesteps: int
    """T."""

    @property
    def window(self) -> tuple[int, int]:
        """The t at which the ideal denoiser knows a tenth, and nine tenths, of the label's bits."""
        mean, entropy = self.turned.told.mean(axis=1), self.turned.entropy
        first, last = (_crossing(self.turned.timesteps, mean / entropy, level) for level in WINDOW)
        return round(first), round(last)

    @property
    def settled(self) -> NDArray[np.int64] | None:
        """(Q,) rising t at which generations settled on the way: neither from the start, nor at the end, nor never."""
        commit = self.paths.commit
        return None if commit is None else np.sort(commit[(commit >= self.late) & (commit < self.paths.start)])

    @property
    def late(self) -> int:
        """The t below which it is the end: the last tenth of the schedule."""
        return LATE * self.num_train_timesteps // 1000

    def quartiles(self) -> Quartiles | None:
        """Return median with its 95% interval, and quartiles, of where generations settle; None where few do."""
        at = self.settled
        if at is None or len(at) < FEW:
            return None
        half = Z_95 * np.sqrt(len(at)) / 2  # of the binomial rank of the median
        low, high = int(np.floor(len(at) / 2 - half)), int(np.ceil(len(at) / 2 + half))
        lower, median, upper = np.quantile(at, (0.25, 0.5, 0.75))
        low_t, high_t = at[max(low, 0)], at[min(high, len(at) - 1)]
        return Quartiles(float(median), float(lower), float(upper), float(low_t), float(high_t))

    def halves(self) -> tuple[float, float, float, float] | None:
        """Return where half of the digits come back: t, the ideal's t, their difference, half its 95% interval.

        The interval is that of a bootstrap over the digits, which both curves share.
        """
        turned = self.turned
        returned = turned.returned
        if returned is None:
            return None
        rng = np.random.default_rng(5)
        draws = rng.integers(turned.ideal.shape[1], size=(RESAMPLED, turned.ideal.shape[1]))

        def both(rows: NDArray[np.int64]) -> tuple[float, float]:
            # at t = 0 nothing has been lost, and every digit comes back
            at = np.append(turned.timesteps, 0)
            curves = (np.append(values[:, rows].mean(axis=1), 1.0) for values in (returned, turned.ideal))
            ours, theirs = (_crossing(at, curve, 0.5) for curve in curves)
            return ours, theirs

        ours, theirs = both(np.arange(turned.ideal.shape[1]))
        apart = [a - b for a, b in map(both, draws)]
        return ours, theirs, ours - theirs, float(Z_95 * np.std(apart))


def _crossing(timesteps: NDArray[np.int64], values: Float64, level: float) -> float:
    """Return the t at which (K,) values over falling t pass ``level`` on their way up."""
    return float(np.interp(level, np.maximum.accumulate(values), timesteps.astype(float)))


def measure(context: LessonContext) -> Decision:
    """Turn digits back, follow generations without a label, and fork some of them."""
    judge = DigitClassifier.bundled()[0] if context.is_mnist else None
    count, sizes = context.size(*SIZES)
    model, schedule = context.model, context.schedule
    turned = turn_back(
        model, schedule, context.heldout, context.training, judge, count, context.generator(5, 6), context.progress
    )
    paths, forks = follow(model, schedule, judge, sizes, context.progress)
    return Decision(turned, paths, forks, schedule.num_train_timesteps)


def draw(data: Decision) -> Figures:
    """Draw ``decision``, probabilities over t with where generations settle, and ``forks``, a tree."""
    turned, forks = data.turned, data.forks
    guess = None if turned.guess is None else _mean(turned.guess)
    back = None if turned.returned is None else _shares(turned.returned)
    return Figures(
        decision=lambda: draw_decision(
            turned.timesteps,
            turned.ideal.mean(axis=1),
            guess,
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


def _mean(values: Float64) -> tuple[Float64, Float64, Float64]:
    mean, half = values.mean(axis=1), half_of_mean(values)
    return mean, mean - half, mean + half


def _shares(hits: NDArray[np.bool_]) -> tuple[Float64, Float64, Float64]:
    shares = [Share(int(row.sum()), len(row)) for row in hits]
    low, high = np.array([share.interval for share in shares]).T
    return np.array([share.value for share in shares]), low, high


def _half(values: Float64) -> float:
    """Return half the 95% interval of the mean of (R,) values, by Student's t: states are few."""
    return float(t_quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def facts(data: Decision) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with; None where nobody can read the pictures."""
    turned, forks = data.turned, data.forks
    commit, at, quartiles, halves = data.paths.commit, data.settled, data.quartiles(), data.halves()
    count = None if commit is None else len(commit)
    return {
        "decision_timesteps": [int(t) for t in turned.timesteps],
        "decision_count": int(turned.ideal.shape[1]),
        "decision_steps": STEPS,
        "sure": SURE,
        "ideal": [float(p) for p in turned.ideal.mean(axis=1)],
        "ideal_bits": [float(b) for b in turned.told.mean(axis=1)],
        "guess": None if turned.guess is None else [float(p) for p in turned.guess.mean(axis=1)],
        "returned": None if turned.returned is None else [float(p) for p in turned.returned.mean(axis=1)],
        "returned_interval": None
        if turned.returned is None
        else [[float(low), float(high)] for low, high in zip(*_shares(turned.returned)[1:], strict=True)],
        "window_count": int(turned.told.shape[1]),
        "window_from": data.window[0],
        "window_to": data.window[1],
        "paths": count,
        "finished_sure": None if commit is None else int((commit >= 0).sum()),
        "settled": None if at is None else len(at),
        "settled_late": None if commit is None else int(((commit >= 0) & (commit < data.late)).sum()),
        "late": data.late,
        "commit_median": None if quartiles is None else round(quartiles.median),
        "commit_low": None if quartiles is None else round(quartiles.low),
        "commit_high": None if quartiles is None else round(quartiles.high),
        "commit_lower": None if quartiles is None else round(quartiles.lower),
        "commit_upper": None if quartiles is None else round(quartiles.upper),
        "turn_half": None if halves is None else round(halves[0]),
        "turn_half_ideal": None if halves is None else round(halves[1]),
        "turn_apart": None if halves is None else round(halves[2]),
        "turn_interval": None if halves is None else round(halves[3]),
        "fork_timesteps": [int(t) for t in forks.timesteps],
        "fork_states": int(forks.spread.shape[1]),
        "fork_count": int(forks.tree.shape[1] - 1),
        "fork_spread": [float(v) for v in forks.spread.mean(axis=1)],
        "fork_spread_interval": [_half(row) for row in forks.spread],
        "fork_agree": None if forks.agree is None else [float(a) for a in forks.agree.mean(axis=1)],
        "fork_agree_interval": None if forks.agree is None else [_half(row) for row in forks.agree],
        "fork_agreed_told": "–"
        if forks.agree is None
        else "; ".join(f"{t}: {share:.0%}" for t, share in zip(forks.timesteps, forks.agree.mean(axis=1), strict=True)),
        "fork_chance": forks.chance,
        "fork_chance_told": "–" if forks.chance is None else f"{forks.chance:.0%}",
        "fork_first": int(forks.timesteps[0]),
        "fork_spread_first": float(forks.spread[0].mean()),
        "fork_spread_last": float(forks.spread[-1].mean()),
        "fork_last": int(forks.timesteps[-1]),
        "ddim_spread": forks.ddim_spread,
    }


def claims(data: Decision) -> tuple[Claim, ...]:
    """Say whether generations settle, and in the window; turn back as predicted; and whether the start decides."""
    found = facts(data)
    answers = []
    if data.settled is not None:
        share = Share(len(data.settled), found["paths"])
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
    first, half = found["fork_spread"][0], found["fork_spread_interval"][0]
    holds = None if abs(first - 0.5) <= half else first < 0.5
    answers.append(Claim("statue", holds, {"first": first, "half": half}))
    return tuple(answers)


def _in_window(quartiles: Quartiles, first: int, last: int) -> bool | None:
    """Say whether the interval of the median lies within the window, outside of it, or neither."""
    if last <= quartiles.low and quartiles.high <= first:
        return True
    return False if quartiles.high < last or quartiles.low > first else None


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out, by t, what the ideal denoiser knows, how x̂_0 is read, and how many digits come back."""

    def shown(values: list[float] | None) -> list[str]:
        return ["–"] * len(facts["ideal"]) if values is None else [f"{value:.0%}" for value in values]

    intervals = facts["returned_interval"]
    spans = ["–"] * len(facts["ideal"]) if intervals is None else [f"{low:.0%} – {high:.0%}" for low, high in intervals]
    columns = zip(
        map(str, facts["decision_timesteps"]),
        shown(facts["ideal"]),
        shown(facts["guess"]),
        shown(facts["returned"]),
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
