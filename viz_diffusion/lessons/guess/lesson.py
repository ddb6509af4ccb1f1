"""Lesson ``guess``: the predicted x̂_0 at each step, and how near it is to the ideal denoiser's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows, Series
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.guess.figures import draw_ideal, rms
from viz_diffusion.lessons.guess.ideal_denoiser import COUNT, IdealComparison, IdealFacts, compare_with_ideal
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts
from viz_diffusion.views.strip import StripData


@dataclass(frozen=True, eq=False)
class GuessData(StripData):
    """A strip of the recording, and the denoiser's x̂_0 compared with the ideal denoiser's."""

    ideal: IdealComparison | None = None
    """None where only the recording is measured."""


@dataclass(frozen=True)
class RecordingFacts:
    """What :func:`viz_diffusion.views.frames.recording_facts` says of the recording."""

    digit: int
    """Label of the recorded image; -1 is not known."""
    seed: int
    """Seed of its noise; -1 is not known."""
    sampler: str
    """Name of the sampler."""
    variance: str
    """Variance of the injected noise; empty where none is injected."""
    eta: float
    """DDIM's η."""
    guidance_scale: float | None
    """Guidance scale; None is not known."""
    clip: bool
    """Whether x̂_0 was clipped to -1..1."""
    num_steps: int
    """Recorded steps, S."""


@dataclass(frozen=True)
class StripFacts:
    """What else :func:`viz_diffusion.views.strip.facts` says of the recording, at F frames."""

    frames: int
    """F, the finished image not counted."""
    steps_left: tuple[int, ...]
    """(F,) steps left (t + 1 of all steps), falling."""
    timesteps: tuple[float, ...]
    """(F,) t, falling."""
    alphas_cumprod: tuple[float, ...]
    """(F,) ᾱ, the signal's share of the power."""
    snr_db: tuple[float | None, ...]
    """(F,) signal-to-noise ratio, dB; None where nothing of the image is left."""
    x_t_beyond_scale: tuple[float, ...]
    """(F,) share of x_t's pixels outside of the grey scale, -1..1."""
    x0_clipped: tuple[float, ...]
    """(F,) share of the unclipped x̂_0's pixels outside of the grey scale."""
    x0_change: tuple[float, ...]
    """(F,) RMS per pixel between x̂_0 and the finished image."""
    x0_change_last: float
    """The last one of these."""
    first_change: float
    """The same at the first step."""
    closer: int
    """In how many steps x̂_0 comes closer to the finished image."""
    num_steps_but_one: int
    """S - 1."""
    first_far: float
    """Share of the first x̂_0's pixels far outside of the grey scale."""
    speckle_left: int
    """Steps left when x̂_0 is last mostly speckle; 0 where the first is not."""


@dataclass(frozen=True)
class GuessFacts:
    """What texts and JSON files say of the predicted x̂_0."""

    recording: Annotated[RecordingFacts, FactGroup()]
    """Of the recording."""
    ideal: Annotated[IdealFacts | None, FactGroup()]
    """Of the comparison with the ideal denoiser; None without one."""
    strip: Annotated[StripFacts, FactGroup()]
    """Of the frames of the strip."""


def measure(context: LessonContext) -> GuessData:
    """Choose the frames, and compare x̂_0 with the ideal denoiser's."""
    found = strip_view.measure(context.trajectory, context.sample)
    ideal = PRECOMPUTED.results(context) if _has_others(context) else None
    return GuessData(found.frames, found.trajectory, found.sample, ideal)


def _has_others(context: LessonContext) -> bool:
    """Return whether there are held-out images, at least two, that are not the training images themselves.

    Of the lessons' label there must be some in both: of a prompt that was held out of training there is no such image.
    """
    heldout, training = context.heldout, context.training
    have_label = all(context.digit in digits.present for digits in (heldout, training))
    return have_label and len(heldout) > 1 and (len(heldout) != len(training) or heldout.sha256 != training.sha256)


def _measure_ideal(context: LessonContext) -> IdealComparison:
    return compare_with_ideal(
        context.model,
        context.schedule,
        context.heldout_x,
        context.training_x,
        context.digit,
        context.seed,
        context.size(*COUNT),
        context.progress,
    )


def draw(data: StripData) -> Figures:
    """Draw ``steps``, the strip, and ``ideal``, the denoiser's x̂_0 and the ideal denoiser's."""
    steps, found = strip_view.draw(data), _ideal_of(data)
    if found is None:
        return steps
    error, ideal_error, count = rms(found.error), rms(found.ideal_error), found.error.shape[1]
    return steps | Figures(ideal=lambda: draw_ideal(found.images, error, ideal_error, count, found.digit))


def facts(data: StripData) -> GuessFacts:
    """Return the numbers that captions and tables are filled with."""
    found, recording = _ideal_of(data), recording_facts(data.trajectory, data.sample)
    strip = {name: value for name, value in strip_view.facts(data).items() if name not in recording}
    return GuessFacts(RecordingFacts(**recording), None if found is None else found.facts(), StripFacts(**strip))


def _ideal_of(data: StripData) -> IdealComparison | None:
    return data.ideal if isinstance(data, GuessData) else None


def claims(data: StripData) -> tuple[Claim, ...]:
    """Decide whether early x̂_0 are as good as possible, and whether late ones are better than a copy can be."""
    found = _ideal_of(data)
    return () if found is None else found.claims()


def rows(facts: GuessFacts, _: Texts) -> Rows:
    """Return the frames of the strip."""
    strip = facts.strip
    columns = zip(
        strip.steps_left,
        strip.timesteps,
        strip.alphas_cumprod,
        strip.snr_db,
        strip.x0_change,
        strip.x0_clipped,
        strict=True,
    )
    lines = (
        (str(left), f"{t:g}", f"{share:.2%}", "-∞" if snr is None else f"{snr:.1f}", f"{change:.3f}", f"{clipped:.1%}")
        for left, t, share, snr, change, clipped in columns
    )
    return Rows(("left", "t", "signal", "snr", "change", "clipped"), tuple(lines))


def series(data: StripData) -> tuple[Series, ...]:
    """Return the distance of each step's x̂_0 from the finished image."""
    trajectory = pictured(data.trajectory)
    change = pixel_rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    return (Series("change", trajectory.steps_left, {"change": change}),)


PRECOMPUTED = Precomputed(IdealComparison, _measure_ideal, (LessonFigure("ideal", digit="ideal_digit"),))
LESSON = Lesson(
    name="guess",
    any_data=True,
    latent=True,
    position=30,
    measure=measure,
    precomputed=PRECOMPUTED,
    measure_recording=strip_view.measure,
    needs=frozenset({"recording"}),
    seconds=(4, 30),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("steps", in_exercise=True),),
)
