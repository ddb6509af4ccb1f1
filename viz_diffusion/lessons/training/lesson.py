"""Lesson ``training``: the training objective, how the run learned, and its loss at every timestep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from matplotlib.figure import Figure

from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.training.bound_terms import IMAGES, published_claim
from viz_diffusion.lessons.training.figures import draw_bits_by_t, draw_loss_by_snr, draw_loss_by_t
from viz_diffusion.lessons.training.loss_by_timestep import (
    EACH,
    LossByTimestep,
    LossFacts,
    measure_loss_by_timestep,
)
from viz_diffusion.lessons.training.loss_density import DensityFacts, LossDensity
from viz_diffusion.lessons.training.training_steps import Training, measure_training
from viz_diffusion.plots.curves import draw_loss
from viz_diffusion.plots.grid import draw_training_step
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True)
class TrainingFacts:
    """What texts and JSON files say of the training."""

    digit: int
    """Label of the digit in the three training steps."""
    seed: int
    """Seed of their noise."""
    objective: str
    """What the network was trained to predict: epsilon, v, x0 or flow."""
    weight_exponent: float
    """p of the loss weights ᾱ^-p of the objective epsilon; 0 where all timesteps counted alike."""
    timesteps: tuple[int, ...]
    """(3,) of the training steps."""
    mean_squared_error: tuple[float, ...]
    """(3,) of ε̂, per pixel."""
    steps: int
    """Training steps of the run."""
    loss: float
    """Training loss at the end, smoothed."""
    shown_digits: str
    """Labels of the samples in the figure of the loss."""
    quarters: tuple[tuple[int, int], ...]
    """(4, 2) the first and last timestep of each quarter."""
    late_error: float
    """Largest RMS error of predicted x₀ at late timesteps, in grey levels of 255."""
    by_timestep: Annotated[LossFacts, FactGroup()]
    """Of the held-out loss at every timestep."""
    density: Annotated[DensityFacts | None, FactGroup()]
    """Of where training steps, loss and bits lie; None in flow matching."""


def measure(context: LessonContext) -> Training:
    """Measure three training steps and the loss at every timestep, and read the run's history."""
    # with the quick sizes it is not slow
    loss = PRECOMPUTED.results(context) or PRECOMPUTED.measure(context)
    return measure_training(context.run, context.model, context.with_label, loss, context.digit, context.seed)


def _measure_loss(context: LessonContext) -> LossByTimestep:
    return measure_loss_by_timestep(
        context.model,
        context.schedule,
        context.heldout,
        context.data_set,
        context.size(*EACH),
        context.seed,
        context.progress,
        context.size(*IMAGES),
    )


def draw(data: Training) -> Figures:
    """Draw ``training_step``, three training steps, ``loss``, the history, and the loss over t, SNR and in bits."""
    by_t, density = data.loss_by_timestep.by_t(), data.density
    figures = Figures(
        training_step=lambda: draw_training_step(data.frames),
        loss=lambda: draw_loss(data.history),
    )
    if density is not None:
        figures |= Figures(loss_by_snr=lambda: _draw_density(density))
    return figures | Figures(loss_by_t=lambda: draw_loss_by_t(by_t), bits_by_t=lambda: draw_bits_by_t(by_t))


def _draw_density(data: LossDensity) -> Figure:
    return draw_loss_by_snr(data.decibels, [data.per_decibel(shares) for shares in (data.steps, data.loss, data.bits)])


def facts(data: Training) -> TrainingFacts:
    """Return the numbers that captions and tables are filled with."""
    return TrainingFacts(
        digit=data.digit,
        seed=data.seed,
        objective=data.objective,
        weight_exponent=data.weight_exponent,
        timesteps=tuple(data.frames.timesteps.tolist()),
        mean_squared_error=tuple(data.frames.mean_squared_error.tolist()),
        steps=data.trained_steps,
        loss=float(data.history.train_smooth[-1]),
        shown_digits=", ".join(map(str, data.shown_labels)),
        quarters=tuple((int(first), int(last)) for first, last in data.history.quarters),
        late_error=data.late_error,
        by_timestep=data.loss_by_timestep.facts(),
        density=None if data.density is None else data.density.facts(),
    )


def claims(data: Training) -> tuple[Claim, ...]:
    """Decide the claims on the loss and its bits; on MNIST also whether they are fewer than published ones."""
    answers = data.loss_by_timestep.claims()
    if data.density is not None:
        answers = (*answers, data.density.claim())
    return (*answers, published_claim(data.loss_by_timestep.facts().bound)) if data.is_mnist else answers


def rows(facts: TrainingFacts, texts: Texts) -> Rows:
    """Return the held-out loss by quarter of t."""
    loss = facts.by_timestep
    quarters = zip(
        facts.quarters, loss.heldout, loss.heldout_interval, loss.gaussian, loss.gaussian_per_label, strict=True
    )
    lines = [_row(f"{first}–{last}", *losses) for (first, last), *losses in quarters]
    means = (loss.heldout_mean, loss.heldout_interval_mean, loss.gaussian_mean, loss.gaussian_per_label_mean)
    lines.append(_row(texts["chapter.training.mean"], *means))
    return Rows(("quarter", "heldout", "heldout_interval", "gaussian", "gaussian_per_label"), tuple(lines))


def _row(name: str, loss: float, interval: float, *baselines: float) -> tuple[str, ...]:
    return (name, f"{loss:.4f}", f"± {interval:.4f}", *(f"{value:.4f}" for value in baselines))


PRECOMPUTED = Precomputed(
    LossByTimestep, _measure_loss, (LessonFigure("loss_by_t"), LessonFigure("bits_by_t", advanced=True))
)
LESSON = Lesson(
    name="training",
    any_data=True,
    position=20,
    measure=measure,
    precomputed=PRECOMPUTED,
    seconds=(6, 30),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("training_step", in_exercise=True), LessonFigure("loss"), LessonFigure("loss_by_snr", True)),
)
