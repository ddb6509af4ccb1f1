"""Lesson ``step``: one denoising step as a sum of rescaling, removed noise and injected noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.evaluation.intervals import all_surely, surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows, Series
from viz_diffusion.lessons.context import LessonContext, record_traces
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.step.directions import (
    DirectionFacts,
    StepDirections,
    direction_facts,
    half_interval,
    measure_directions,
)
from viz_diffusion.lessons.step.exposure_bias import SIZES, ExposureBias, measure_exposure
from viz_diffusion.lessons.step.exposure_facts import ExposureFacts, exposure_claims, exposure_facts
from viz_diffusion.lessons.step.exposure_figure import draw_exposure
from viz_diffusion.lessons.step.figures import StepLedger, draw_directions, draw_ledger
from viz_diffusion.lessons.step.step_parts import (
    PARTS,
    ROUNDING,
    StepParts,
    StepStudy,
    deviation_from_ddim,
    measure_recording,
    measure_steps,
    norms,
    states,
)
from viz_diffusion.plots import theme
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.latent_pictures import LATENT_LIMIT, is_latent, side_by_side, state_picture
from viz_diffusion.recording.trajectory import Float32, Trajectory
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import one_channel, pictures

SHARES_DRAWN = (0.9, 0.5, 0.1)
"""Shares of the steps that are left at the steps that are drawn."""
SHARES_IN_TABLE = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01)
"""Shares of the steps that are left at the steps in the table."""
DDIM_STEPS = 50
"""Steps of the second recording, by DDIM from the same noise."""
GENERATIONS = 8
"""Generations whose directions are measured, quick; the full measurement takes all traces."""
FEWEST_STEPS = 5
"""Steps, at least, of a recording whose directions are decided."""
ALIGNED, OPPOSITE = 0.5, -0.9
"""Removals point the same way above this cosine; their sum is the noise, with the opposite sign, below the other."""


@dataclass(frozen=True)
class StepFacts:
    """What texts and JSON files say of the recorded steps."""

    shown_left: tuple[int, ...]
    """Steps left (t + 1) at the steps that are drawn."""
    told_left: tuple[int, ...]
    """(R,) steps left at the steps in the table."""
    told_t: tuple[float, ...]
    """(R,) their timesteps."""
    rescaled: tuple[float, ...]
    """(R,) L2 norm of what the rescaling adds."""
    removed: tuple[float, ...]
    """(R,) L2 norm of the noise that is removed."""
    injected: tuple[float, ...]
    """(R,) L2 norm of the noise that is injected."""
    injects_more: int
    """In how many of all steps more noise is injected than removed."""
    num_steps_told: int
    """All steps."""
    is_ddpm: bool
    """Whether the sampler injects noise by DDPM's variance."""
    ddim_steps: int
    """Steps of the second recording, by DDIM; 0 where there is none."""
    ddim_rest_max: float | None
    """The largest deviation of a DDIM step from its formula, as a share of the step."""
    ddim_rest_told: str
    """The same as a text; – where there is none."""
    pixel_left: int
    """Steps left at the step of the exercise's pixel, the one that this step changes most."""
    pixel_channel: int
    """Its channel, from 0."""
    pixel_y: int
    """Its row, from 0."""
    pixel_x: int
    """Its column, from 0."""
    pixel: tuple[float, ...]
    """(5,) its value before the step, what rescaling, removal and injection add, and its value after the step."""
    directions: Annotated[DirectionFacts, FactGroup()]
    """Directions in the recorded generation."""
    general: Annotated[DirectionFacts | None, FactGroup("general_")]
    """The same in many generations; None where they were not measured."""
    exposure: Annotated[ExposureFacts | None, FactGroup()]
    """Of the predicted noise on generated states and on noised images; None where it was not measured."""


def measure(context: LessonContext) -> StepParts:
    """Split the recorded steps, and record DDIM's from the same noise."""
    labels = torch.tensor([context.digit], device=context.device)
    ddim = record_generation(
        context.model,
        context.schedule,
        labels,
        [context.seed],
        SamplerConfig("ddim", DDIM_STEPS, guidance_scale=1.0),
        image_shape=context.trajectory.x_t.shape[2:],
    )
    parts = measure_steps(context.trajectory, context.sample)
    return replace(parts, ddim_rest=deviation_from_ddim(ddim), study=PRECOMPUTED.results(context))


def _measure_study(context: LessonContext) -> StepStudy:
    """Measure unguided generations by DDPM, which are not the recorded one."""
    traces = context.traces if context.full else None
    if traces is None:
        traces = context.given_traces or record_traces(
            context.model, context.schedule, GENERATIONS, progress=context.progress
        )
    directions = measure_directions(measure_steps(traces, sample) for sample in range(traces.num_images))
    exposure = measure_exposure(context.model, traces, context.heldout_x, context.data_set_x, context.size(*SIZES))
    return StepStudy(directions, exposure)


def draw(data: StepParts) -> Figures:
    """Draw ``ledger``, three whole steps; of many generations ``directions`` and ``exposure``, the length of ε̂."""
    shown = _rows_at(data, SHARES_DRAWN)
    trajectory = data.trajectory
    x_t, x_prev = states(trajectory, data.sample)
    parts = {name: getattr(data, name)[shown] for name in PARTS}
    shown_state, shown_part = _drawn_as(trajectory)
    ledger = StepLedger(
        steps_left=trajectory.steps_left[shown],
        timesteps=trajectory.timesteps[shown],
        x_t=shown_state(x_t[shown]),
        **{name: shown_part(part) for name, part in parts.items()},
        x_prev=shown_state(x_prev[shown]),
        norms=np.stack([norms(part) for part in parts.values()], axis=1),
        stride=data.stride,
        state_limit=LATENT_LIMIT if is_latent(trajectory) else theme.DIGIT_LIMIT,
    )
    figures = Figures(ledger=lambda: draw_ledger(ledger))
    study = data.study
    if study is None:
        return figures
    return figures | Figures(
        directions=lambda: _draw_directions(study.directions), exposure=lambda: _draw_exposure(study.exposure)
    )


def _drawn_as(trajectory: Trajectory) -> tuple[Callable[[Float32], Float32], Callable[[Float32], Float32]]:
    """Return how (R, C, H, W) states and parts are drawn: as (R, H, W), of latents the channels side by side."""
    if not is_latent(trajectory) or trajectory.decoded is None:
        return pictures, one_channel
    shape = (1, *trajectory.decoded.shape[3:])
    return (lambda x: state_picture(x, shape)[:, 0]), (lambda part: side_by_side(part, shape)[:, 0])


def _draw_directions(data: StepDirections) -> Figure:
    found = direction_facts(data)
    contributions = (found.from_start, found.from_enlarging, found.from_removing, found.from_injecting)
    halves = half_interval(data.along)
    with_what = (found.to_noise, found.to_image, found.to_other_noise or 0.0)
    return draw_directions(
        data.lags,
        data.cosine.mean(axis=0),
        half_interval(data.cosine),
        with_what,
        np.array(contributions),
        halves,
        len(data.along),
        data.steps,
    )


def _draw_exposure(data: ExposureBias) -> Figure:
    lengths = data.generated.mean(axis=0), data.finished.mean(axis=0), data.real.mean(axis=0)
    excesses = [(one.mean(axis=0), half_interval(one)) for one in (data.excess, data.tilde)]
    excesses += [(one, np.zeros_like(one)) for one in (data.exact, data.exact_tilde)]
    return draw_exposure(data.timesteps, lengths, excesses, float(np.sqrt(data.pixels)))


def facts(data: StepParts) -> StepFacts:
    """Return the numbers that captions and tables are filled with."""
    trajectory = data.trajectory
    drawn, in_table = _rows_at(data, SHARES_DRAWN), _rows_at(data, SHARES_IN_TABLE)
    rescaled, removed, injected = (norms(part) for part in (data.rescaled, data.removed, data.injected))
    # the pixel that the middle one of the drawn steps changes most
    row = int(drawn[len(drawn) // 2])
    at = np.unravel_index(np.argmax(np.abs(data.injected[row] + data.removed[row])), data.removed[row].shape)
    before, after = (state[row] for state in states(trajectory, data.sample))
    rest = None if data.ddim_rest is None else float(data.ddim_rest.max())
    return StepFacts(
        shown_left=tuple(trajectory.steps_left[drawn].tolist()),
        told_left=tuple(trajectory.steps_left[in_table].tolist()),
        told_t=tuple(trajectory.timesteps[in_table].tolist()),
        rescaled=tuple(rescaled[in_table].tolist()),
        removed=tuple(removed[in_table].tolist()),
        injected=tuple(injected[in_table].tolist()),
        injects_more=int((injected > removed).sum()),
        num_steps_told=trajectory.num_steps,
        is_ddpm=bool(trajectory.variance),
        ddim_steps=0 if data.ddim_rest is None else len(data.ddim_rest),
        ddim_rest_max=rest,
        ddim_rest_told="–" if rest is None else f"{rest:.1e}" if rest else "0",
        pixel_left=int(trajectory.steps_left[row]),
        pixel_channel=int(at[0]),
        pixel_y=int(at[1]),
        pixel_x=int(at[2]),
        pixel=tuple(
            float(term[at]) for term in (before, data.rescaled[row], data.removed[row], data.injected[row], after)
        ),
        directions=direction_facts(measure_directions([data])),
        general=None if data.study is None else direction_facts(data.study.directions),
        exposure=None if data.study is None else exposure_facts(data.study.exposure),
    )


def claims(data: StepParts) -> tuple[Claim, ...]:
    """Decide whether more noise is injected than removed, what the removals add up to, and whether DDIM injects."""
    found = facts(data)
    answers = []
    if found.is_ddpm:
        share = found.injects_more / found.num_steps_told
        answers.append(Claim("injects_more", share > 0.5, {"share": share}))
    if found.num_steps_told >= FEWEST_STEPS:
        own = found.directions
        answers.append(Claim("one_direction", own.far_cosine > ALIGNED, {"aligned": ALIGNED}))
        answers.append(Claim("removes_noise", own.to_noise < OPPOSITE, {"opposite": OPPOSITE}))
        answers.append(Claim("enlarging", own.from_enlarging > own.image_length / 2))
    if data.study is not None:
        answers += [_in_general(data.study.directions), *exposure_claims(data.study.exposure)]
    if found.ddim_rest_max is not None:
        answers.append(Claim("ddim_injects_nothing", found.ddim_rest_max < ROUNDING, {"rounding": ROUNDING}))
    return tuple(answers)


def _in_general(data: StepDirections) -> Claim:
    """Decide whether in the mean of many generations removals turn, add up to the noise, and the enlargement adds."""
    quantities = (
        ALIGNED - data.cosine[:, data.told(0.4)],
        OPPOSITE - data.to_noise,
        data.along[:, 1] - data.along.sum(axis=1) / 2,
    )
    means = ((float(values.mean()), float(half_interval(values))) for values in quantities)
    holds = all_surely(surely(mean - half, mean + half) for mean, half in means)
    return Claim("in_general", holds, {"aligned": ALIGNED, "opposite": OPPOSITE})


def rows(facts: StepFacts, _: Texts) -> Rows:
    """Return the norms of the parts, by step."""
    columns = (facts.told_left, facts.told_t, facts.rescaled, facts.removed, facts.injected)
    lines = (
        (str(left), f"{t:g}", *(f"{norm:.2f}" for norm in parts)) for left, t, *parts in zip(*columns, strict=True)
    )
    return Rows(("left", "t", *PARTS), tuple(lines))


def series(data: StepParts) -> tuple[Series, ...]:
    """Return the norms of the removed and the injected noise at each step."""
    lines = {"removed": norms(data.removed), "injected": norms(data.injected)}
    return (Series("parts", data.trajectory.steps_left, lines),)


def _rows_at(data: StepParts, shares: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the indices of the steps with these shares of all steps left, without repeats."""
    count = data.trajectory.num_steps
    left = np.unique(np.maximum(1, np.round(np.array(shares) * count)).astype(np.int64))[::-1]
    return count - left


PRECOMPUTED = Precomputed(
    StepStudy, _measure_study, (LessonFigure("directions"), LessonFigure("exposure")), any_data=False
)
LESSON = Lesson(
    name="step",
    any_data=True,
    latent=True,
    position=40,
    measure=measure,
    measure_recording=measure_recording,
    precomputed=PRECOMPUTED,
    needs=frozenset({"recording"}),
    seconds=(10, 50),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("ledger", in_exercise=True),),
)
