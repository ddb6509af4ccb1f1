"""The vision in the stone: what does the model see now?

Looks at one recorded generation, and in :mod:`~viz_diffusion.lessons.guess.ideal_denoiser` at what could be seen at
best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows, Series
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.guess.figures import draw_ideal, rms
from viz_diffusion.lessons.guess.ideal_denoiser import COUNT, Ideal, compare
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.strip import _rms, measure


@dataclass(frozen=True, eq=False)
class GuessData(strip_view.StripData):
    """A strip, and the same denoiser's guesses beside a perfect memory's."""

    ideal: Ideal | None = None
    """None where only the recording is looked at."""


def measure_guess(context: LessonContext) -> GuessData:
    """Pick the frames, and compare the guesses with the ideal ones."""
    found = measure(context.trajectory, context.sample)
    return GuessData(found.frames, found.trajectory, found.sample, PRECOMPUTED.results(context))


def draw(data: strip_view.StripData) -> Figures:
    """Draw ``steps``, the strip, and ``ideal``, guesses beside those of a perfect memory."""
    steps, found = strip_view.draw(data), _ideal_of(data)
    if found is None:
        return steps
    return steps | Figures(ideal=lambda: draw_ideal(found.images, rms(found.error), rms(found.ideal_error)))


def facts(data: strip_view.StripData) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    found = _ideal_of(data)
    return strip_view.facts(data) | ({} if found is None else found.facts())


def _ideal_of(data: strip_view.StripData) -> Ideal | None:
    return data.ideal if isinstance(data, GuessData) else None


def claims(data: strip_view.StripData) -> tuple[Claim, ...]:
    """Say whether early blurs are as right as can be, and whether late guesses beat a perfect memory."""
    found = _ideal_of(data)
    return () if found is None else found.claims()


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out the frames of the strip."""
    names = ("steps_left", "timesteps", "alphas_cumprod", "snr_db", "x0_change", "x0_clipped")
    lines = (
        (str(left), f"{t:g}", f"{share:.2%}", f"{snr:.1f}", f"{change:.3f}", f"{clipped:.1%}")
        for left, t, share, snr, change, clipped in zip(*(facts[name] for name in names), strict=True)
    )
    return Rows(("left", "t", "signal", "snr", "change", "clipped"), tuple(lines))


def series(data: strip_view.StripData) -> tuple[Series, ...]:
    """Return how far each step's guess is from the finished picture."""
    trajectory = data.trajectory
    change = _rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    return (Series("change", trajectory.steps_left, {"change": change}),)


def _ideal(context: LessonContext) -> Ideal:
    return compare(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.digit,
        context.seed,
        context.size(*COUNT),
        context.progress,
    )


PRECOMPUTED = Precomputed(Ideal, _ideal, (LessonFigure("ideal", digit="ideal_digit"),))
LESSON = Lesson(
    name="guess",
    position=30,
    measure=measure_guess,
    precomputed=PRECOMPUTED,
    measure_recording=measure,
    needs=frozenset({"recording"}),
    seconds=(4, 30),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("steps", in_exercise=True),),
)
