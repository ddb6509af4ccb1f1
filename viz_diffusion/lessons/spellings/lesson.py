"""Lesson ``spellings``: one denoising step written by predicted noise, predicted x_0, v and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.spellings.figures import draw_amplification, draw_notations
from viz_diffusion.lessons.spellings.notations import NOISE, X0, Notations, V, measure_notations
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

ROUNDING = 1e-5
"""Largest difference of two next states by rounding in float32; values are about 1."""
ALIGNED = 0.5
"""Cosine above which contributions point to the finished image."""
SYMBOLS = ("ε̂", "x̂₀", "v̂", "ŝ")
"""The predictions in tables: of noise, x_0, v and score."""
SHARES_IN_TABLE = (1.0, 0.9, 0.75, 0.5, 0.26, 0.1, 0.01)
"""Shares of the steps that are left at the steps in the table."""


@dataclass(frozen=True)
class SpellingsFacts:
    """What texts and JSON files say of S recorded steps in the notations of noise, x_0, v and score (N = 4)."""

    update: str
    """The step's formula: DDPM or DDIM."""
    shown_t: float
    """The timestep that texts give the weights of: half of the steps are left."""
    shown_left: int
    """Steps left (t + 1) there."""
    state_weight: tuple[float, ...]
    """(N,) weight of x_t there."""
    prediction_weight: tuple[float, ...]
    """(N,) weight of the prediction there."""
    exercise_pixel: float
    """The next state of a pixel with x_t = 1 and ε̂ = 0.9, without fresh noise."""
    formula_noise: str
    """The step there, by predicted noise."""
    formula_x0: str
    """The step there, by predicted x_0."""
    formula_v: str
    """The step there, by v."""
    formula_score: str
    """The step there, by the score."""
    spelled_steps: int
    """S."""
    spelled_values: int
    """Values that were compared: those of all S steps."""
    difference: float
    """Largest difference between two notations' next states, in float64."""
    difference_float32: float
    """The same in float32."""
    from_recorded: float | None
    """Largest difference between a notation's next state and the recorded one; None where it cannot be compared."""
    wrong_sign: float
    """Control: largest difference with the wrong sign of the predicted noise."""
    wrong_timestep: float
    """Control: largest difference with the weights of the next step."""
    rounding: float
    """The limit of a difference by rounding."""
    first_t: float
    """The first recorded timestep, the noisiest one."""
    last_t: float
    """The last one."""
    x0_error_first: tuple[float, ...]
    """(3,) error of x̂_0 at the first timestep, for an error of 1 on ε̂, x̂_0 and v̂."""
    x0_error_last: tuple[float, ...]
    """(3,) the same at the last timestep."""
    eps_error_first: tuple[float, ...]
    """(3,) error of ε̂ at the first timestep."""
    eps_error_last: tuple[float, ...]
    """(3,) the same at the last timestep."""
    state_error_first: tuple[float, ...]
    """(3,) error of the next state at the first timestep."""
    state_error_last: tuple[float, ...]
    """(3,) the same at the last timestep."""
    sum_to_image: tuple[float, ...]
    """(3,) cosine with the finished image of the summed contributions of ε̂, x̂_0 and v̂."""
    even_t: float
    """The timestep at which errors of ε̂ and x̂_0 are amplified most alike: SNR nearest to 1."""
    told_t: tuple[float, ...]
    """(R,) timesteps in the table."""
    told_formulas: tuple[tuple[str, ...], ...]
    """(R, N) the step at each of them."""


def measure(context: LessonContext) -> Notations:
    """Write the recorded steps in every notation."""
    return measure_notations(context.trajectory, context.sample)


def draw(data: Notations) -> Figures:
    """Draw ``notations``, the weights over t, and ``amplification``, what errors become."""
    t = data.timesteps[::-1]
    return Figures(
        notations=lambda: draw_notations(t, data.of_x_t[:3, ::-1], data.of_prediction[:3, ::-1]),
        amplification=lambda: draw_amplification(t, data.x0_error[:, ::-1], data.eps_error[:, ::-1]),
    )


def facts(data: Notations) -> SpellingsFacts:
    """Return the numbers that captions and tables are filled with."""
    row = _row(data, 0.5)
    in_table = sorted({_row(data, share) for share in SHARES_IN_TABLE})
    noise, x0, v, score = _formulas(data, row)
    return SpellingsFacts(
        update=data.update.upper(),
        shown_t=float(data.timesteps[row]),
        shown_left=int(data.steps_left[row]),
        state_weight=tuple(data.of_x_t[:, row].tolist()),
        prediction_weight=tuple(data.of_prediction[:, row].tolist()),
        exercise_pixel=float(data.of_x_t[NOISE, row] + 0.9 * data.of_prediction[NOISE, row]),
        formula_noise=noise,
        formula_x0=x0,
        formula_v=v,
        formula_score=score,
        spelled_steps=len(data.timesteps),
        spelled_values=data.compared,
        difference=data.difference,
        difference_float32=data.difference_float32,
        from_recorded=data.from_recorded,
        wrong_sign=data.wrong_sign,
        wrong_timestep=data.wrong_timestep,
        rounding=ROUNDING,
        first_t=float(data.timesteps[0]),
        last_t=float(data.timesteps[-1]),
        x0_error_first=tuple(data.x0_error[:, 0].tolist()),
        x0_error_last=tuple(data.x0_error[:, -1].tolist()),
        eps_error_first=tuple(data.eps_error[:, 0].tolist()),
        eps_error_last=tuple(data.eps_error[:, -1].tolist()),
        state_error_first=tuple(data.state_error[:, 0].tolist()),
        state_error_last=tuple(data.state_error[:, -1].tolist()),
        sum_to_image=tuple(data.sum_to_image.tolist()),
        even_t=float(data.timesteps[np.abs(np.log(data.x0_error[NOISE])).argmin()]),
        told_t=tuple(data.timesteps[in_table].tolist()),
        told_formulas=tuple(_formulas(data, one) for one in in_table),
    )


def claims(data: Notations) -> tuple[Claim, ...]:
    """Decide whether the notations are one step, what they add up to, where errors grow, and which is never the worst.

    All follow from weights and not from samples, so that none is undecided.
    """
    answers = [Claim("same_state", data.difference_float32 < ROUNDING)]
    if data.from_recorded is not None:
        answers.append(Claim("recorded_state", data.from_recorded < ROUNDING))
    to_noise, to_x0 = data.sum_to_image[[NOISE, X0]]
    answers.append(Claim("paints", bool(to_x0 > ALIGNED > to_noise), {"aligned": ALIGNED}))
    answers.append(Claim("noise_grows", bool(data.x0_error[NOISE, 0] > 1)))
    answers.append(Claim("x0_grows", bool(data.eps_error[X0, -1] > 1)))
    least = data.state_error[V] <= data.state_error[[NOISE, X0]].min(axis=0) * (1 + 1e-9)
    return (*answers, Claim("v_least", bool(least.all()), {"v_least_share": float(least.mean())}))


def rows(facts: SpellingsFacts, _: Texts) -> Rows:
    """Return the step in each notation, by timestep."""
    lines = zip(facts.told_t, facts.told_formulas, strict=True)
    return Rows(("t", "noise", "x0", "v", "score"), tuple((f"{t:g}", *formulas) for t, formulas in lines))


def _row(data: Notations, share: float) -> int:
    """Return the step with this share of all steps left."""
    count = len(data.timesteps)
    return count - max(1, round(share * count))


def _formulas(data: Notations, row: int) -> tuple[str, ...]:
    """Return the step as a weighted sum, in each notation: ``0.9941 x_t + 0.0031 x̂₀``."""
    weights = zip(data.of_x_t[:, row], data.of_prediction[:, row], SYMBOLS, strict=True)
    return tuple(f"{one:.4f} x_t {'−' if two < 0 else '+'} {abs(two):.4f} {symbol}" for one, two, symbol in weights)


LESSON = Lesson(
    name="spellings",
    position=45,
    measure=measure,
    needs=frozenset({"recording"}),
    seconds=(2, 2),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("notations", in_exercise=True), LessonFigure("amplification")),
)
