"""Lesson ``layers``: what each block of the network contributes over t, and the geometry of the label embedding."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Annotated

import numpy as np

from viz_diffusion.evaluation.intervals import Z_95
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.facts import FactGroup
from viz_diffusion.lessons.layers.block_probes import probe_blocks
from viz_diffusion.lessons.layers.block_timesteps import BlockFacts, Layers, mean_change, probe_accuracy
from viz_diffusion.lessons.layers.figures import Part, draw_blocks, draw_label_geometry
from viz_diffusion.lessons.layers.label_geometry import ALPHA, LabelGeometryFacts, measure_label_geometry
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

SIZES = ((16, 500, 250, 100), (64, 3000, 1000, 300))
"""Generations; training digits to fit to; held-out digits to probe; how many of these to ablate on; quick and full."""
APART = 0.1
"""Share of T by which the centres of two blocks must differ at least to count as different."""


@dataclass(frozen=True)
class LayersFacts:
    """What texts and JSON files say of the blocks and of the labels."""

    blocks: tuple[BlockFacts, ...]
    """Of each block."""
    num_blocks: int
    """L, the number of blocks."""
    named: str
    """Number, name and size of each block."""
    change_steps: int
    """DDIM steps of the generations along which the change is measured."""
    generations: int
    """Their number."""
    probed: int
    """Held-out digits that the probes classify."""
    fitted: int
    """Training digits that the probes are fitted to."""
    ablated: int
    """Held-out digits on which blocks are ablated."""
    probe_best: BlockFacts
    """Of the block with the best probe."""
    most_missed: BlockFacts
    """Of the block whose ablation raises the loss most."""
    probe_control: float
    """Mean accuracy of probes that are fitted to permuted labels."""
    labels: Annotated[LabelGeometryFacts, FactGroup()]
    """Of the geometry of the labels."""


def measure(context: LessonContext) -> Layers:
    """Probe the blocks of the network, and compare its labels with those of untrained networks."""
    blocks = probe_blocks(
        context.network,
        context.schedule,
        context.training,
        context.heldout,
        context.size(*SIZES),
        context.generator(6, 18),
        context.progress,
    )
    labels = measure_label_geometry(context.network, context.training, context.run.config.training.seed)
    return Layers(blocks, labels, context.schedule.num_train_timesteps)


def draw(data: Layers) -> Figures:
    """Draw ``blocks`` and ``label_geometry``."""
    blocks, labels = data.blocks, data.labels
    parts = (
        Part("change", blocks.change_timesteps, *mean_change(blocks), 0.0),
        Part(
            "probe",
            blocks.timesteps,
            *probe_accuracy(blocks, blocks.hits),
            0.0,
            (blocks.control / blocks.probed).mean(axis=1),
            percent=True,
        ),
        Part("ablation", blocks.timesteps, *data.ratio, 1.0, log=True),
    )
    named = list(zip(blocks.names, blocks.sizes, strict=True))
    return Figures(
        blocks=lambda: draw_blocks(named, parts, data.spans(), data.num_train_timesteps),
        label_geometry=lambda: draw_label_geometry(
            (labels.trained, labels.start),
            (
                (labels.vectors.null, labels.vectors.rho, labels.untrained_rho[:, 0]),
                (labels.conditioning.null, labels.conditioning.rho, labels.untrained_rho[:, 1]),
            ),
        ),
    )


def facts(data: Layers) -> LayersFacts:
    """Return the numbers that captions and tables are filled with."""
    probes, blocks = data.blocks, data.block_facts()
    return LayersFacts(
        blocks=blocks,
        num_blocks=len(blocks),
        named="; ".join(f"{one.number} {one.name} ({one.size} × {one.size})" for one in blocks),
        change_steps=len(probes.change_timesteps) + 1,
        generations=probes.change.shape[2],
        probed=probes.probed,
        fitted=probes.fitted,
        ablated=probes.loss.shape[1],
        probe_best=max(blocks, key=lambda one: one.probe),
        most_missed=max(blocks, key=lambda one: one.ratio),
        probe_control=float(probes.control.mean() / probes.probed),
        labels=data.labels.facts(),
    )


def claims(data: Layers) -> tuple[Claim, ...]:
    """Decide whether blocks act at different t, coarse ones earlier, and whether the labels have geometry."""
    labels = data.labels
    answers = [_differ(data)]
    coarse = _coarse(data)
    if coarse is not None:
        answers.append(coarse)
    answers.append(Claim("vectors", _alike(labels.vectors.p)))
    told = labels.facts().conditioning
    # untrained networks have a correlation too: only what is above all of them, and surely rose, was learned
    learned = told.rho > told.untrained_most and told.change > told.change_half
    alike = _alike(told.p)
    answers.append(Claim("told", None if alike and not learned else alike))
    return tuple(answers)


def _alike(p: float) -> bool | None:
    """Decide a one-sided test: True at the upper end of the permutations, False at the lower, None between them."""
    return True if p <= ALPHA else (False if p >= 1 - ALPHA else None)


def _differ(data: Layers) -> Claim:
    """Compare the centres of all pairs of acting blocks, with simultaneous intervals (Bonferroni)."""
    least = round(APART * data.num_train_timesteps)
    centre, draws = data.centres
    pairs = list(combinations(data.acting.tolist(), 2))
    known = {"least": least, "acting": len(data.acting), "early": "–", "late": "–", "gap": 0, "half": 0}
    if not pairs:
        return Claim("differ", False, known)
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * len(pairs)))
    gaps = [abs(centre[a] - centre[b]) for a, b in pairs]
    halves = [z * float(np.nanstd(draws[:, a] - draws[:, b])) for a, b in pairs]
    lows, highs = np.subtract(gaps, halves), np.add(gaps, halves)
    holds = True if lows.max() > least else False if highs.max() < least else None
    far = int(lows.argmax() if holds else highs.argmax())
    early, late = sorted(pairs[far], key=lambda i: -centre[i])
    return Claim(
        "differ",
        holds,
        known
        | {
            "early": data.blocks.names[early],
            "late": data.blocks.names[late],
            "early_at": round(centre[early]),
            "late_at": round(centre[late]),
            "gap": round(gaps[far]),
            "half": round(halves[far]),
        },
    )


def _coarse(data: Layers) -> Claim | None:
    """Compare the mean centre of the blocks with the lowest resolution with that of those with the highest."""
    sizes = np.array(data.blocks.sizes)[data.acting]
    coarse, fine = data.acting[sizes == min(data.blocks.sizes)], data.acting[sizes == max(data.blocks.sizes)]
    if not (len(coarse) and len(fine)):
        return None
    centre, draws = data.centres
    gap = float(centre[coarse].mean() - centre[fine].mean())
    half = Z_95 * float(np.nanstd(draws[:, coarse].mean(axis=1) - draws[:, fine].mean(axis=1)))
    numbers = {"coarse_at": round(centre[coarse].mean()), "fine_at": round(centre[fine].mean()), "gap": round(gap)}
    numbers |= {"half": round(half), "coarse": min(data.blocks.sizes), "fine": max(data.blocks.sizes)}
    return Claim("coarse", None if abs(gap) <= half else gap > 0, numbers)


def rows(facts: LayersFacts, _: Texts) -> Rows:
    """Return for each block its largest change, the best probe, and the largest loss without it."""
    lines = []
    for one in facts.blocks:
        low, high = one.probe_interval
        span = one.centre_interval
        lines.append(
            (
                f"{one.number} {one.name}",
                f"{one.size} × {one.size}",
                f"{one.change:.2f}, t = {one.change_at}",
                f"{one.probe:.0%} ({low:.0%} – {high:.0%}), t = {one.probe_at}",
                f"× {one.ratio:.3g}, t = {one.ratio_at}",
                "–" if span is None else f"{one.centre} ({span[0]} – {span[1]})",
            )
        )
    return Rows(("block", "size", "change", "probe", "ratio", "centre"), tuple(lines))


LESSON = Lesson(
    name="layers",
    position=130,
    precomputed=Precomputed(
        Layers, measure, (LessonFigure("blocks", in_exercise=True), LessonFigure("label_geometry"))
    ),
    seconds=(15, 60),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
