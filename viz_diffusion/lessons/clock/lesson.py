"""Lesson ``clock``: the time embedding, and what becomes of samples with a wrong timestep or without one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from viz_diffusion.data import NUM_LABELS
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.clock.arms import SIZES, STEPS, SampledArms
from viz_diffusion.lessons.clock.border_estimate import BORDER_COUNT
from viz_diffusion.lessons.clock.figures import (
    ArmPictures,
    BorderEstimates,
    draw_border_clock,
    draw_no_clock,
    draw_wrong_clock,
)
from viz_diffusion.lessons.clock.no_timestep import ClockStudy, ClockStudyFacts, measure_no_timestep
from viz_diffusion.lessons.clock.time_embedding import mean_cosine, measure_time_embedding
from viz_diffusion.lessons.clock.wrong_timestep import WrongTimesteps, measure_wrong_timesteps
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.plots.embeddings import TimeEmbedding, draw_time_embedding
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.run import Run

CONTROL, TWIN = "no_time", "with_time"
"""The control run that was trained without timesteps, and the one that was trained equally with them."""
OFFSETS = (1, 10, 100, 500)
"""Distances in t at which the cosine of two time embeddings is given."""


@dataclass(frozen=True, eq=False)
class Clock:
    """The time embeddings, and what a wrong timestep does."""

    embedding: TimeEmbedding
    """Before and after the MLP; those after it without their mean over t."""
    cosine_with_mean_min: float
    """The smallest cosine of any two after the MLP, with that mean."""
    study: ClockStudy | None = None
    """Wrong timesteps and none; None where only the embeddings were measured."""


@dataclass(frozen=True)
class ClockFacts:
    """What texts and JSON files say of the timestep, at D distances in t."""

    time_dim: int
    """Width of the sinusoidal time embedding."""
    embedding_dim: int
    """Width of the time embedding after the MLP."""
    offsets: tuple[int, ...]
    """(D,) rising."""
    cosine_raw: tuple[float, ...]
    """(D,) mean cosine of two embeddings so far apart, before the MLP."""
    cosine_mlp: tuple[float, ...]
    """(D,) the same after the MLP, without the mean over t."""
    cosine_mlp_with_mean_min: float
    """The smallest cosine of any two after the MLP, with that mean."""
    mlp_limit: float
    """End of the figure's colour scale for the embeddings after the MLP."""
    compared: int
    """Timesteps in the figure's matrices of cosines."""
    study: Annotated[ClockStudyFacts | None, FactGroup()]
    """Of wrong timesteps and none; None where they were not measured."""


def measure_embeddings(model: SimpleUNet, num_train_timesteps: int = 1000, crossing: int | None = 259) -> Clock:
    """Measure only the time embeddings; see :func:`measure_time_embedding`."""
    return Clock(*measure_time_embedding(model, num_train_timesteps, crossing))


def measure(context: LessonContext) -> Clock:
    """Measure the time embeddings, and what wrong timesteps and none do."""
    schedule = context.schedule
    found = measure_embeddings(context.network, schedule.num_train_timesteps, schedule.snr_below_one)
    return replace(found, study=PRECOMPUTED.results(context))


def _measure_study(context: LessonContext) -> ClockStudy:
    sizes, run = context.size(*SIZES), context.run.config
    wrong = measure_wrong_timesteps(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.is_mnist,
        context.seed,
        sizes,
        context.progress,
    )
    control, twin = Run.control(CONTROL), Run.control(TWIN)
    same_schedule = (run.schedule, run.num_train_timesteps) == (
        control.config.schedule,
        control.config.num_train_timesteps,
    )
    if not (context.is_mnist and same_schedule):
        return ClockStudy(wrong)
    blind = measure_no_timestep(
        control.load_model(context.device)[0],
        twin.load_model(context.device)[0],
        context.schedule,
        context.heldout,
        (context.training.images == -1).all(dim=0).numpy(),
        control.trained_steps,
        context.seed,
        sizes,
        context.progress,
    )
    return ClockStudy(wrong, blind)


def draw(data: Clock) -> Figures:
    """Draw ``time_embedding``, samples with wrong timesteps and without, and ``border_clock``."""
    figures = Figures(time_embedding=lambda: draw_time_embedding(data.embedding))
    if data.study is None:
        return figures
    wrong, blind = data.study.wrong, data.study.blind
    T = wrong.num_train_timesteps
    figures |= Figures(wrong_clock=lambda: draw_wrong_clock(_pictures(wrong.arms, T)))
    if blind is not None:
        figures |= Figures(no_clock=lambda: draw_no_clock(_pictures(blind.arms, T)))
    if wrong.constant_pixels:
        figures |= Figures(border_clock=lambda: draw_border_clock(_border(wrong)))
    return figures


def _pictures(arms: SampledArms, T: int) -> ArmPictures:
    return ArmPictures(
        arms.images, arms.samples, arms.read, arms.read_smoothed, 1 / NUM_LABELS, steps=min(STEPS, T), T=T
    )


def _border(wrong: WrongTimesteps) -> BorderEstimates:
    return BorderEstimates(
        wrong.timesteps,
        wrong.time_error,
        wrong.at_end,
        wrong.bound,
        BORDER_COUNT,
        black=np.asarray(wrong.black.any(axis=0)),
        image=wrong.arms.images[0, 0, 0],
    )


def facts(data: Clock) -> ClockFacts:
    """Return the numbers that captions and tables are filled with."""
    embedding = data.embedding
    count = len(embedding.timesteps)
    offsets = tuple(offset for offset in (*OFFSETS, count - 1) if offset < count)
    return ClockFacts(
        time_dim=embedding.sinusoids.shape[0],
        embedding_dim=embedding.mlp.shape[0],
        offsets=offsets,
        cosine_raw=tuple(mean_cosine(embedding.sinusoids, offset) for offset in offsets),
        cosine_mlp=tuple(mean_cosine(embedding.mlp, offset) for offset in offsets),
        cosine_mlp_with_mean_min=data.cosine_with_mean_min,
        mlp_limit=embedding.mlp_limit,
        compared=len(embedding.cosine_timesteps),
        study=None if data.study is None else data.study.facts(),
    )


def claims(data: Clock) -> tuple[Claim, ...]:
    """Decide what a wrong timestep and a missing one cost, and whether t can be estimated from the image."""
    return () if data.study is None else data.study.claims()


def rows(facts: ClockFacts, _: Texts) -> Rows:
    """Return the mean cosine of two time embeddings, by their distance in t."""
    columns = zip(facts.offsets, facts.cosine_raw, facts.cosine_mlp, strict=True)
    lines = ((str(offset), f"{raw:.3f}", f"{after:.3f}") for offset, raw, after in columns)
    return Rows(("offset", "raw", "mlp"), tuple(lines))


PRECOMPUTED = Precomputed(
    ClockStudy,
    _measure_study,
    (LessonFigure("wrong_clock"), LessonFigure("no_clock"), LessonFigure("border_clock", advanced=True)),
    any_data=False,
)
LESSON = Lesson(
    name="clock",
    any_data=True,
    position=60,
    measure=measure,
    precomputed=PRECOMPUTED,
    seconds=(17, 330),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("time_embedding", in_exercise=True),),
)
