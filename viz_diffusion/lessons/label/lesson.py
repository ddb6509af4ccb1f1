"""Lesson ``label``: what the label does to a generation, and what the label vectors hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows, Series
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.label.conditioning import SIZES as CONDITIONING_SIZES
from viz_diffusion.lessons.label.conditioning import ConditioningFacts, conditioning_facts, measure_conditioning
from viz_diffusion.lessons.label.figures import (
    LabelBits,
    SwitchCurves,
    draw_label_bits,
    draw_label_switch,
    draw_switch_pairs,
)
from viz_diffusion.lessons.label.information import SIZES, LabelInformation, measure_label_information
from viz_diffusion.lessons.label.information_facts import InformationFacts
from viz_diffusion.lessons.label.label_embedding import LabelEmbeddingFacts, embedding_facts, measure_embedding
from viz_diffusion.lessons.label.switching import SIZES as SWITCH_SIZES
from viz_diffusion.lessons.label.switching import LabelSwitches, SwitchFacts, switch_labels
from viz_diffusion.plots.conditioning import ConditioningMap, draw_conditioning_map
from viz_diffusion.plots.embeddings import LabelEmbedding, draw_label_embedding
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.strip import draw_ten_digits
from viz_diffusion.recording.comparison_runs import shown_steps_left
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import pictures


@dataclass(frozen=True, eq=False)
class TenDigits:
    """Ten generations from the same noise, which differ by the label only."""

    images: NDArray[np.float32]
    """(L, F, H, W) or (L, F, H, W, 3) float32: x_t at F frames, the last one finished; L is 10 for digits."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    labels: NDArray[np.int64]
    """(L,) int64."""


@dataclass(frozen=True, eq=False)
class LabelStudy:
    """The part of the lesson that takes long (t-SNE alone takes over a second to load)."""

    embedding: LabelEmbedding
    """The label vectors, compared."""
    information: LabelInformation
    """The information in the label, in bits, and whether the denoiser can classify."""
    switches: LabelSwitches | None = None
    """Generations whose label is switched on the way; None where there is no classifier for the data."""
    conditioning: ConditioningMap | None = None
    """Time plus label, and the bottleneck by digit; None where there is no classifier, or no time embedding."""

    def claims(self) -> tuple[Claim, ...]:
        """Decide what the label saves, whether the denoiser can classify, and until when the label can be switched."""
        return self.information.claims() + (() if self.switches is None else self.switches.claims())


@dataclass(frozen=True, eq=False)
class Label:
    """What the label does to a generation, and what its vectors hold."""

    ten_digits: TenDigits
    """Ten generations from one noise."""
    embedding: LabelEmbedding
    """The label vectors, compared."""
    embedding_dim: int
    """Width of a label vector."""
    steps_left: NDArray[np.int64]
    """(S,) int64, falling: of the recording."""
    influence: NDArray[np.float64] | None
    """(S,) float64: RMS per pixel of ε̂(label) - ε̂(null label); None for a recording without guidance."""
    study: LabelStudy | None
    """None where it was not measured."""


@dataclass(frozen=True)
class LabelFacts:
    """What texts and JSON files say of the label."""

    embedding: Annotated[LabelEmbeddingFacts, FactGroup()]
    """Of the label vectors."""
    width: int
    """Width of a label vector."""
    cosine_chance: float
    """Standard deviation of the cosine of two random vectors of this width."""
    information: Annotated[InformationFacts | None, FactGroup()]
    """Of the information in the label; None where it was not measured."""
    switches: Annotated[SwitchFacts | None, FactGroup()]
    """Of switched labels; None where they were not measured."""
    conditioning: Annotated[ConditioningFacts | None, FactGroup()]
    """Of time plus label and the bottleneck; None where they were not measured."""


def measure(context: LessonContext) -> Label:
    """Collect the ten digits, compare the label vectors, and measure how much the label changes ε̂."""
    trajectory, sample = context.trajectory, context.sample
    shown = shown_steps_left(trajectory.num_steps)
    frames = [*(trajectory.x_t[sample, trajectory.num_steps - n] for n in shown), trajectory.x0[sample]]
    own = pictures(np.stack(frames))
    left = np.append(shown, 0)
    states = {one.digit: one.states_at(left) for one in context.comparison_runs} | {context.digit: own}
    labels = np.array(sorted(states))
    influence = None
    if trajectory.eps_cond is not None and trajectory.eps_uncond is not None:
        influence = pixel_rms(trajectory.eps_cond[sample] - trajectory.eps_uncond[sample])
    study = PRECOMPUTED.results(context)
    return Label(
        TenDigits(np.stack([states[int(k)] for k in labels]), left, labels),
        measure_embedding(context.network) if study is None else study.embedding,
        context.network.label_emb.embedding_dim,
        trajectory.steps_left,
        influence,
        study,
    )


def _measure_study(context: LessonContext) -> LabelStudy:
    embedding = measure_embedding(context.network)
    information = measure_label_information(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.seed,
        context.size(*SIZES),
        context.progress,
    )
    if not context.is_mnist:
        return LabelStudy(embedding, information)
    repeats = context.size(*SWITCH_SIZES)
    switches = switch_labels(context.model, context.schedule, context.heldout, repeats, context.progress)
    network, conditioning = context.network, None
    if network.config.use_time:
        sizes = context.size(*CONDITIONING_SIZES)
        conditioning = measure_conditioning(network, context.schedule, sizes, context.progress)
    return LabelStudy(embedding, information, switches, conditioning)


def draw(data: Label) -> Figures:
    """Draw ``ten_digits``, ``label_embedding`` and, where it was measured, what else is known of labels."""
    digits, study = data.ten_digits, data.study
    figures = Figures(
        ten_digits=lambda: draw_ten_digits(digits.images, digits.steps_left, digits.labels),
        label_embedding=lambda: draw_label_embedding(data.embedding),
    )
    if study is None:
        return figures
    if study.switches is not None:
        figures |= _draw_switches(study.switches)
    figures |= _draw_information(study.information)
    conditioning = study.conditioning
    return figures | draw_conditioning(conditioning) if conditioning is not None else figures


def draw_conditioning(data: ConditioningMap) -> Figures:
    """Draw ``conditioning_map``."""
    return Figures(conditioning_map=lambda: draw_conditioning_map(data))


def _draw_switches(data: LabelSwitches) -> Figures:
    """Draw ``label_switch`` and ``switch_pairs``."""
    new, old = data.new_shares(), data.old_shares()
    curves = SwitchCurves(
        timesteps=data.timesteps,
        new=np.array([share.value for share in new]),
        new_interval=np.array([share.interval for share in new]),
        old=np.array([share.value for share in old]),
        half=data.half,
        count=new[0].count,
    )
    shown = [(int(a), int(b)) for a, b in data.pairs[data.shown]]
    return Figures(
        label_switch=lambda: draw_label_switch(curves, data.images, shown, data.read[:, 0, data.shown].T),
        switch_pairs=lambda: draw_switch_pairs(data.matrix(), data.read.shape[1]),
    )


def _draw_information(data: LabelInformation) -> Figures:
    """Draw ``label_worth``."""
    bits = LabelBits(
        timesteps=data.timesteps,
        saved=data.bits.mean(axis=1),
        interval=data.interval,
        from_mixture=(data.bits - data.bits_mixed).mean(axis=1),
        ideal=data.ideal,
        entropy=data.entropy,
    )
    return Figures(label_worth=lambda: draw_label_bits(bits))


def facts(data: Label) -> LabelFacts:
    """Return the numbers that captions and tables are filled with."""
    study = data.study
    return LabelFacts(
        embedding=embedding_facts(data.embedding),
        width=data.embedding_dim,
        cosine_chance=1 / math.sqrt(data.embedding_dim),
        information=None if study is None else study.information.facts(),
        switches=None if study is None or study.switches is None else study.switches.facts(),
        conditioning=None if study is None or study.conditioning is None else conditioning_facts(study.conditioning),
    )


def claims(data: Label) -> tuple[Claim, ...]:
    """Decide what the label saves, whether the denoiser can classify, and until when the label can be switched."""
    return () if data.study is None else data.study.claims()


def rows(facts: LabelFacts, texts: Texts) -> Rows:
    """Return the extremes of the cosine matrix."""
    found = facts.embedding
    lines = (
        (texts("chapter.label.row_max", pair=tuple(map(texts.label, found.nearest_pair))), f"{found.cosine_max:.3f}"),
        (texts("chapter.label.row_min", pair=tuple(map(texts.label, found.farthest_pair))), f"{found.cosine_min:.3f}"),
        (texts["chapter.label.row_mean"], f"{found.cosine_mean:.3f}"),
    )
    return Rows(("what", "cosine"), lines)


def series(data: Label) -> tuple[Series, ...]:
    """Return how much the label changes the predicted noise at each step."""
    return () if data.influence is None else (Series("influence", data.steps_left, {"influence": data.influence}),)


PRECOMPUTED = Precomputed(
    LabelStudy,
    _measure_study,
    (
        LessonFigure("label_embedding", in_exercise=True),
        LessonFigure("label_switch"),
        LessonFigure("switch_pairs", advanced=True),
        LessonFigure("label_worth", advanced=True),
        LessonFigure("conditioning_map", advanced=True),
    ),
)
LESSON = Lesson(
    name="label",
    any_data=True,
    least_labels=3,
    position=50,
    measure=measure,
    precomputed=PRECOMPUTED,
    needs=frozenset({"recording", "comparison_runs"}),
    seconds=(36, 200),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("ten_digits"),),
)
