"""The blind sculptor's clock: how does the network know how far it is?

Measures the time embedding before and after its MLP; in :mod:`~viz_diffusion.lessons.clock.wrong_timestep` what
becomes of
samples where the time is told wrong, and in :mod:`~viz_diffusion.lessons.clock.no_timestep` where it was never told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from viz_diffusion.diffusion.timesteps import SAMPLERS as SAMPLER_NAMES
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.clock.figures import draw_border_clock, draw_wrong_clock
from viz_diffusion.lessons.clock.no_timestep import Clocks, measure_no_timestep
from viz_diffusion.lessons.clock.wrong_timestep import SAMPLERS, SIZES, measure_wrong_timesteps
from viz_diffusion.lessons.context import LessonContext, require_time
from viz_diffusion.plots.embeddings import TimeEmbedding, draw_time_embedding
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.run import Run

NUM_COMPARED = 128
CONTROL = "no_time"
_SYMBOLS = ("$t$", "$T/2$", "$T-1-t$", r"$\pi(t)$", "–")
"""What the arms of a wrong clock tell, as symbols; the last one tells nothing."""
OFFSETS = (1, 10, 100, 500)
"""Distances in t at which the likeness of two codes is told."""


@dataclass(frozen=True, eq=False)
class Clock:
    """The time codes, and what taking out their mean hides."""

    embedding: TimeEmbedding
    """The codes before and after the MLP; those after it without their mean over t."""
    cosine_with_mean_min: float
    """The smallest cosine between any two codes after the MLP, their mean left in."""
    told: Clocks | None = None
    """What a wrong clock does, and none; None where only the codes were looked at."""


@torch.no_grad()
def measure(model: SimpleUNet, num_train_timesteps: int = 1000, crossing: int | None = 259) -> Clock:
    """Compute the code of every timestep, raw and after the MLP, and how alike the codes are.

    Raises
    ------
    VizdiffUsageError
        Where the network is told no time.
    """
    require_time(model)
    t = torch.arange(num_train_timesteps, device=next(model.parameters()).device)
    sinusoids = model.time_mlp[0](t).cpu().numpy().T
    after = model.time_mlp(t).cpu().numpy().T
    # all codes share a large part, which would make any two look alike: it is taken out, and told
    whole, after = after, after - after.mean(axis=1, keepdims=True)
    order = np.argsort(after.argmax(axis=1), kind="stable")
    compared = np.unique(np.linspace(0, num_train_timesteps - 1, NUM_COMPARED).round().astype(np.int64))
    last = num_train_timesteps - 1
    embedding = TimeEmbedding(
        timesteps=np.arange(num_train_timesteps),
        sinusoids=sinusoids,
        mlp=after[order],
        mlp_limit=float(np.quantile(np.abs(after), 0.99)),
        cosine_timesteps=compared,
        cosine_raw=_cosines(sinusoids[:, compared]),
        cosine_mlp=_cosines(after[:, compared]),
        marks=(0, last) if crossing is None else (0, crossing, last),
    )
    return Clock(embedding, float(_cosines(whole[:, compared]).min()))


def draw(data: Clock) -> Figures:
    """Draw ``time_embedding``, samples under wrong clocks, and the border's own clock."""
    figures = Figures(time_embedding=lambda: draw_time_embedding(data.embedding))
    if data.told is not None:
        wrong, (images, read) = data.told.wrong, data.told.rows()
        names = [SAMPLER_NAMES[name] for name in SAMPLERS]
        shares = None if read is None else read / wrong.samples
        symbols = _SYMBOLS[: images.shape[1]]
        figures |= Figures(wrong_clock=lambda: draw_wrong_clock(images, symbols, names, shares))
        if wrong.constant_pixels:
            last = wrong.num_train_timesteps - 1
            figures |= Figures(
                border_clock=lambda: draw_border_clock(wrong.timesteps, wrong.time_error, wrong.bound, last)
            )
    return figures


def facts(clock: Clock) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    data = clock.embedding
    kept = [d for d in (*OFFSETS, len(data.timesteps) - 1) if d < len(data.timesteps)]
    return {
        "time_dim": data.sinusoids.shape[0],
        "embedding_dim": data.mlp.shape[0],
        "offsets": kept,
        "cosine_raw": [_mean_cosine(data.sinusoids, d) for d in kept],
        "cosine_mlp": [_mean_cosine(data.mlp, d) for d in kept],
        "cosine_mlp_with_mean_min": clock.cosine_with_mean_min,
        "mlp_limit": data.mlp_limit,
        "compared": len(data.cosine_timesteps),
        **({} if clock.told is None else clock.told.facts()),
    }


def claims(data: Clock) -> tuple[Claim, ...]:
    """Say what a wrong clock costs, and whether the time can be read without one."""
    return () if data.told is None else data.told.claims()


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out how alike two codes are, by their distance."""
    columns = zip(facts["offsets"], facts["cosine_raw"], facts["cosine_mlp"], strict=True)
    lines = ((str(offset), f"{raw:.3f}", f"{after:.3f}") for offset, raw, after in columns)
    return Rows(("offset", "raw", "mlp"), tuple(lines))


def _cosines(columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    unit = columns / np.linalg.norm(columns, axis=0)
    return unit.T @ unit


def _mean_cosine(columns: np.ndarray[Any, Any], offset: int) -> float:
    """Return the mean cosine between codes ``offset`` timesteps apart."""
    unit = columns / np.linalg.norm(columns, axis=0)
    return float((unit[:, offset:] * unit[:, : unit.shape[1] - offset]).sum(axis=0).mean())


def _told(context: LessonContext) -> Clocks:
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
    blind = Run.control(CONTROL)
    if not context.is_mnist or (run.schedule, run.num_train_timesteps) != (
        blind.config.schedule,
        blind.config.num_train_timesteps,
    ):
        return Clocks(wrong)
    model = blind.load_model(context.device)[0]
    steps = (blind.trained_steps, context.run.trained_steps)
    return Clocks(
        wrong,
        measure_no_timestep(model, context.schedule, context.heldout, steps, context.seed, sizes, context.progress),
    )


def _measure(context: LessonContext) -> Clock:
    schedule = context.schedule
    codes = measure(context.network, schedule.num_train_timesteps, schedule.snr_below_one)
    return replace(codes, told=PRECOMPUTED.results(context))


PRECOMPUTED = Precomputed(Clocks, _told, (LessonFigure("wrong_clock"), LessonFigure("border_clock", advanced=True)))
LESSON = Lesson(
    name="clock",
    position=60,
    measure=_measure,
    precomputed=PRECOMPUTED,
    seconds=(8, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(LessonFigure("time_embedding", in_exercise=True),),
)
