"""Inside the workshop: which block does what, and when? And do label vectors say which digits look alike?

Looks at the blocks from inside (:mod:`~viz_diffusion.lessons.layers.block_probes`), and at the labels beside those
of networks that learned nothing (:mod:`~viz_diffusion.lessons.layers.label_geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Z_95, Share, half_of_mean
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.layers.block_probes import BlockProbes, probe_blocks
from viz_diffusion.lessons.layers.figures import Part, Span, draw_blocks, draw_label_geometry
from viz_diffusion.lessons.layers.label_geometry import ALPHA, Labels, measure_labels
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts

Float64 = NDArray[np.float64]
SIZES = ((16, 500, 250, 100), (64, 3000, 1000, 300))
"""Generations followed; training digits fitted to; held-out digits probed; of these, ablated on; quick and full."""
APART = 0.1
"""The share of T by which two blocks' times must differ at least for blocks to differ in time."""
RESAMPLED = 400


@dataclass(frozen=True, eq=False)
class Layers:
    """What the blocks do over t, and what the labels hold."""

    inside: BlockProbes
    """The blocks."""
    labels: Labels
    """The labels."""
    num_train_timesteps: int
    """T."""

    @cached_property
    def ratio(self) -> tuple[Float64, Float64, Float64]:
        """(K, L) each: the loss without a block over that with it, and its 95% bootstrap interval."""
        low, high = np.quantile(self._draws, (0.025, 0.975), axis=0)
        return self._ratio(np.ones((1, self.inside.loss.shape[1])))[0], low, high

    @cached_property
    def acting(self) -> NDArray[np.int64]:
        """Which blocks are surely missed: the mean of log ratio over t lies above 0 with 97.5%."""
        return np.flatnonzero(np.quantile(np.log(self._draws).mean(axis=1), 0.025, axis=0) > 0)

    @cached_property
    def centres(self) -> tuple[Float64, Float64]:
        """(L,) the t around which each block is missed, and (B, L) the same of resampled digits; NaN: nowhere.

        It is the mean t weighted by the log of the loss ratio, where that is above 0.
        """
        return self._centre(self.ratio[0][None])[0], self._centre(self._draws)

    def spans(self) -> list[Span | None]:
        """Return the centre of each block with its 95% interval; None where it is not surely missed."""
        centre, draws = self.centres
        known: dict[int, Span] = {}
        for block in self.acting.tolist():
            low, high = np.nanquantile(draws[:, block], (0.025, 0.975))
            known[block] = (float(centre[block]), float(low), float(high))
        return [known.get(block) for block in range(len(self.inside.names))]

    @cached_property
    def _draws(self) -> Float64:
        """(B, K, L) loss ratios of resampled digits."""
        count = self.inside.loss.shape[1]
        return self._ratio(np.random.default_rng(18).multinomial(count, np.full(count, 1 / count), RESAMPLED))

    def _ratio(self, weights: NDArray[Any]) -> Float64:
        weighted = np.einsum("bn,kln->bkl", weights, self.inside.ablated.astype(np.float64))
        return np.asarray(weighted / (weights @ self.inside.loss.T.astype(np.float64))[:, :, None])

    def _centre(self, ratio: Float64) -> Float64:
        weight = np.maximum(np.log(ratio), 0)
        total = weight.sum(axis=1)
        moment = (weight * self.inside.timesteps[:, None]).sum(axis=1)
        return np.asarray(np.divide(moment, total, out=np.full_like(total, np.nan), where=total > 0))


def measure(context: LessonContext) -> Layers:
    """Look inside the network, and compare its labels with those of networks that learned nothing."""
    inside = probe_blocks(
        context.network,
        context.schedule,
        context.training,
        context.heldout,
        context.size(*SIZES),
        context.generator(6, 18),
        context.progress,
    )
    labels = measure_labels(context.network, context.training, context.run.config.training.seed)
    return Layers(inside, labels, context.schedule.num_train_timesteps)


def _probed(inside: BlockProbes, hits: NDArray[np.int64]) -> tuple[Float64, Float64, Float64]:
    """Return (K, L) shares with their 95% Wilson intervals."""
    shares = [[Share(int(n), inside.probed) for n in row] for row in hits]
    spans = np.array([[one.interval for one in row] for row in shares])
    return hits / inside.probed, spans[:, :, 0], spans[:, :, 1]


def _changed(inside: BlockProbes) -> tuple[Float64, Float64, Float64]:
    """Return (S, L) the mean change between steps, with its 95% interval over generations."""
    change = inside.change.astype(np.float64)
    mean, half = change.mean(axis=2), half_of_mean(change)
    return mean, mean - half, mean + half


def draw(data: Layers) -> Figures:
    """Draw ``blocks`` and ``label_geometry``."""
    inside, labels = data.inside, data.labels
    parts = (
        Part(r"$\Vert\Delta h\Vert\,/\,\Vert h\Vert$", inside.change_timesteps, *_changed(inside), 0.0),
        Part(
            r"$h \rightarrow y$",
            inside.timesteps,
            *_probed(inside, inside.hits),
            0.0,
            (inside.control / inside.probed).mean(axis=1),
            percent=True,
        ),
        Part(r"$\ell_{-h}\,/\,\ell$", inside.timesteps, *data.ratio, 1.0, log=True),
    )
    return Figures(
        blocks=lambda: draw_blocks(inside.sizes, parts, data.spans(), data.num_train_timesteps),
        label_geometry=lambda: draw_label_geometry(
            (labels.trained, labels.start),
            (
                (labels.vectors.null, labels.vectors.rho, labels.untrained_rho[:, 0]),
                (labels.told.null, labels.told.rho, labels.untrained_rho[:, 1]),
            ),
        ),
    )


def _blocks(data: Layers) -> list[dict[str, Any]]:
    """Return what is said of each block."""
    inside = data.inside
    change, (probe, low, high), (ratio, ratio_low, ratio_high) = (
        _changed(inside)[0],
        _probed(inside, inside.hits),
        data.ratio,
    )
    best, most, fastest = (values.argmax(axis=0) for values in (probe, ratio, change))
    blocks: list[dict[str, Any]] = []
    for i, (name, span) in enumerate(zip(inside.names, data.spans(), strict=True)):
        blocks.append(
            {
                "number": i + 1,
                "name": name,
                "size": inside.sizes[i],
                "channels": inside.channels[i],
                "change": float(change[fastest[i], i]),
                "change_at": int(inside.change_timesteps[fastest[i]]),
                "probe": float(probe[best[i], i]),
                "probe_at": int(inside.timesteps[best[i]]),
                "probe_interval": [float(low[best[i], i]), float(high[best[i], i])],
                "ratio": float(ratio[most[i], i]),
                "ratio_at": int(inside.timesteps[most[i]]),
                "ratio_interval": [float(ratio_low[most[i], i]), float(ratio_high[most[i], i])],
                "centre": None if span is None else round(span[0]),
                "centre_interval": None if span is None else [round(span[1]), round(span[2])],
            }
        )
    return blocks


def facts(data: Layers) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    inside, blocks = data.inside, _blocks(data)
    return {
        "blocks": blocks,
        "num_blocks": len(blocks),
        "named": "; ".join(f"{one['number']} {one['name']} ({one['size']} × {one['size']})" for one in blocks),
        "change_steps": len(inside.change_timesteps) + 1,
        "generations": inside.change.shape[2],
        "probed": inside.probed,
        "fitted": inside.fitted,
        "ablated": inside.loss.shape[1],
        "probe_best": max(blocks, key=lambda one: float(one["probe"])),
        "most_missed": max(blocks, key=lambda one: float(one["ratio"])),
        "probe_control": float(inside.control.mean() / inside.probed),
        **data.labels.facts(),
    }


def claims(data: Layers) -> tuple[Claim, ...]:
    """Say whether blocks differ in time, the coarse ones act earlier, and labels hold more geometry than chance."""
    labels = data.labels
    answers = [_differ(data)]
    coarse = _coarse(data)
    if coarse is not None:
        answers.append(coarse)
    answers.append(Claim("vectors", labels.vectors.p <= ALPHA))
    by_luck = labels.untrained_p[0, 1] <= ALPHA  # then the random start alone would do, and training need not have
    answers.append(Claim("told", False if labels.told.p > ALPHA else None if by_luck else True))
    return tuple(answers)


def _differ(data: Layers) -> Claim:
    """Compare the times of all pairs of blocks that are missed, their intervals holding all at once (Bonferroni)."""
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
            "early": data.inside.names[early],
            "late": data.inside.names[late],
            "early_at": round(centre[early]),
            "late_at": round(centre[late]),
            "gap": round(gaps[far]),
            "half": round(halves[far]),
        },
    )


def _coarse(data: Layers) -> Claim | None:
    """Compare the mean time of the blocks at the lowest resolution with that of those at the highest."""
    sizes = np.array(data.inside.sizes)[data.acting]
    coarse, fine = data.acting[sizes == min(data.inside.sizes)], data.acting[sizes == max(data.inside.sizes)]
    if not (len(coarse) and len(fine)):
        return None
    centre, draws = data.centres
    gap = float(centre[coarse].mean() - centre[fine].mean())
    half = Z_95 * float(np.nanstd(draws[:, coarse].mean(axis=1) - draws[:, fine].mean(axis=1)))
    numbers = {"coarse_at": round(centre[coarse].mean()), "fine_at": round(centre[fine].mean()), "gap": round(gap)}
    numbers |= {"half": round(half), "coarse": min(data.inside.sizes), "fine": max(data.inside.sizes)}
    return Claim("coarse", None if abs(gap) <= half else gap > 0, numbers)


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out the blocks: where they change most, what a probe reads there, and what is lost without them."""
    lines = []
    for one in facts["blocks"]:
        low, high = one["probe_interval"]
        span = one["centre_interval"]
        lines.append(
            (
                f"{one['number']} {one['name']}",
                f"{one['size']} × {one['size']}",
                f"{one['change']:.2f}, t = {one['change_at']}",
                f"{one['probe']:.0%} ({low:.0%} – {high:.0%}), t = {one['probe_at']}",
                f"× {one['ratio']:.3g}, t = {one['ratio_at']}",
                "–" if span is None else f"{one['centre']} ({span[0]} – {span[1]})",
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
