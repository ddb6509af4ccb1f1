"""The commission: who decides which digit, and what do the label vectors hold?

Looks at ten recordings from one noise, at the rows of the label embedding, in
:mod:`~viz_diffusion.lessons.label.information` at what the label is worth to the denoiser, and in
:mod:`~viz_diffusion.lessons.label.switching` at what comes of an order that is changed on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows, Series
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.label.figures import (
    SwitchCurves,
    draw_label_information_figure,
    draw_label_switch,
    draw_switch_pairs,
)
from viz_diffusion.lessons.label.information import SIZES, LabelInformation, measure_label_information
from viz_diffusion.lessons.label.switching import SIZES as SWITCH_SIZES
from viz_diffusion.lessons.label.switching import Switches, switch_labels
from viz_diffusion.plots.embeddings import LabelEmbedding, draw_label_embedding
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.strip import draw_ten_digits
from viz_diffusion.recording.comparison_runs import shown_steps_left
from viz_diffusion.text.catalogue import Texts

TSNE_SEEDS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class TenDigits:
    """Ten generations that share every draw of noise and differ by the label alone."""

    images: NDArray[np.float32]
    """(10, F, 28, 28) float32: x_t at F frames, the last one finished."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0."""
    labels: NDArray[np.int64]
    """(10,) int64."""


@dataclass(frozen=True, eq=False)
class LabelSwitchStudy:
    """What orders are and do: the lesson's slow part, since t-SNE takes over a second to load."""

    embedding: LabelEmbedding
    """How the label vectors lie to each other."""
    worth: LabelInformation
    """What the label is worth in bits, and whether the denoiser can read it."""
    switches: Switches | None = None
    """What comes of an order that is changed on the way; None where nobody can read the digits."""

    def facts(self) -> dict[str, Any]:
        """Return the numbers."""
        return self.worth.facts() | ({} if self.switches is None else self.switches.facts())

    def claims(self) -> tuple[Claim, ...]:
        """Say what a label is worth, whether it can be read, and until when it may be changed."""
        return self.worth.claims() + (() if self.switches is None else self.switches.claims())


@dataclass(frozen=True, eq=False)
class Label:
    """What the label does to a generation, and what its vectors hold."""

    ten_digits: TenDigits
    """Ten generations from one noise."""
    embedding: LabelEmbedding
    """The label vectors, compared."""
    embedding_dim: int
    """How many numbers a label vector holds."""
    steps_left: NDArray[np.int64]
    """(S,) int64, falling: of the recording."""
    influence: NDArray[np.float64] | None
    """(S,) float64: RMS per pixel of ε̂(label) - ε̂(null label); None for a recording without guidance."""
    orders: LabelSwitchStudy | None
    """What the label is worth, and until when it may be changed; None where it was not measured."""


def measure(context: LessonContext) -> Label:
    """Line up the ten digits, compare the label vectors, and measure how much the label changes ε̂."""
    trajectory, sample = context.trajectory, context.sample
    shown = shown_steps_left(trajectory.num_steps)
    own = np.stack([*(trajectory.x_t[sample, trajectory.num_steps - n, 0] for n in shown), trajectory.x0[sample, 0]])
    left = np.append(shown, 0)
    states = {one.digit: one.states_at(left) for one in context.comparison_runs} | {context.digit: own}
    labels = np.array(sorted(states))
    influence = None
    if trajectory.eps_cond is not None and trajectory.eps_uncond is not None:
        gap = trajectory.eps_cond[sample] - trajectory.eps_uncond[sample]
        influence = np.sqrt(np.square(gap, dtype=np.float64).mean(axis=(1, 2, 3)))
    orders = PRECOMPUTED.results(context)
    return Label(
        TenDigits(np.stack([states[int(k)] for k in labels]), left, labels),
        measure_embedding(context.network) if orders is None else orders.embedding,
        context.network.label_emb.embedding_dim,
        trajectory.steps_left,
        influence,
        orders,
    )


def _orders(context: LessonContext) -> LabelSwitchStudy:
    embedding = measure_embedding(context.network)
    worth = measure_label_information(
        context.model,
        context.schedule,
        context.heldout,
        context.training,
        context.seed,
        context.size(*SIZES),
        context.progress,
    )
    if not context.is_mnist:
        return LabelSwitchStudy(embedding, worth)
    repeats = context.size(*SWITCH_SIZES)
    switches = switch_labels(context.model, context.schedule, context.heldout, repeats, context.progress)
    return LabelSwitchStudy(embedding, worth, switches)


def measure_embedding(model: SimpleUNet) -> LabelEmbedding:
    """Compare the label vectors of a network, the null label's left out.

    t-SNE's perplexity is capped at (n-1)/3 = 3 for ten points; it starts from PCA and is run with three
    seeds, whose disagreement shows how little of it is evidence.
    """
    from sklearn.manifold import TSNE  # takes over a second to load, and only this needs it

    vectors = model.label_emb.weight[: model.config.num_labels].detach().cpu().numpy().astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    perplexity = (len(vectors) - 1) / 3
    maps = [
        TSNE(2, perplexity=perplexity, init=_start(centred, seed), random_state=seed).fit_transform(vectors)
        for seed in TSNE_SEEDS
    ]
    return LabelEmbedding(
        labels=np.arange(len(vectors)),
        cosine=(vectors / lengths) @ (vectors / lengths).T,
        pca=left[:, :2] * singular[:2],
        pca_share=singular[:2] ** 2 / (singular**2).sum(),
        tsne=np.stack(maps),
    )


def _start(centred: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Return PCA's two axes, scaled as t-SNE wants them, with a seed's small shake.

    Without the shake every seed gives the same map, and three of them would show a false certainty.
    """
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    start = left[:, :2] * singular[:2]
    start = start / start[:, 0].std() * 1e-4
    shake = np.random.default_rng(seed).normal(size=start.shape) * 1e-4
    return (start + shake).astype(np.float32)


def draw_embedding(data: LabelEmbedding) -> Figures:
    """Draw ``label_embedding``."""
    return Figures(label_embedding=lambda: draw_label_embedding(data))


def draw_digits(data: TenDigits) -> Figures:
    """Draw ``ten_digits``."""
    return Figures(ten_digits=lambda: draw_ten_digits(data.images, data.steps_left, data.labels))


def facts_embedding(data: LabelEmbedding) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    pairs = np.triu_indices(len(data.labels), 1)
    cosines = data.cosine[pairs]
    order = np.argsort(cosines)
    maps = [_distances(m) for m in data.tsne]
    agreement = [np.corrcoef(maps[i], maps[j])[0, 1] for i in range(len(maps)) for j in range(i)]

    def pair(k: int) -> list[int]:
        return [int(pairs[0][k]), int(pairs[1][k])]

    return {
        "num_labels": len(data.labels),
        "cosine": [[float(v) for v in row] for row in data.cosine],
        "cosine_min": float(cosines.min()),
        "cosine_max": float(cosines.max()),
        "cosine_mean": float(cosines.mean()),
        "nearest_pair": pair(int(order[-1])),
        "farthest_pair": pair(int(order[0])),
        "pca_share": [float(v) for v in data.pca_share],
        "tsne_perplexity": (len(data.labels) - 1) / 3,
        "tsne_seeds": list(TSNE_SEEDS),
        "tsne_agreement": [float(v) for v in agreement],
        "tsne_agreement_min": float(min(agreement)),
    }


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    differences = points[:, None] - points[None]
    return np.sqrt((differences**2).sum(-1))[np.triu_indices(len(points), 1)]


def draw_label_information(data: LabelInformation) -> Figures:
    """Draw ``label_worth``."""
    bits = data.bits.mean(axis=1)
    halves = (data.half(bits), data.half(data.ideal))
    return Figures(
        label_worth=lambda: draw_label_information_figure(
            data.timesteps, bits, data.interval, data.ideal, data.entropy, halves
        )
    )


def draw_switches(data: Switches) -> Figures:
    """Draw ``label_switch`` and ``switch_pairs``."""
    new, old = data.shares(1), data.shares(0)
    curves = SwitchCurves(
        timesteps=data.timesteps,
        new=np.array([share.value for share in new]),
        new_interval=np.array([share.interval for share in new]),
        old=np.array([share.value for share in old]),
        half=data.half,
    )
    shown = [(int(a), int(b)) for a, b in data.pairs[data.shown]]
    return Figures(
        label_switch=lambda: draw_label_switch(curves, data.images, shown, data.read[:, 0, data.shown].T),
        switch_pairs=lambda: draw_switch_pairs(data.matrix()),
    )


def draw(data: Label) -> Figures:
    """Draw ``ten_digits``, ``label_embedding`` and, where they were measured, what labels are worth and can change."""
    figures, orders = draw_digits(data.ten_digits) | draw_embedding(data.embedding), data.orders
    if orders is None:
        return figures
    switches = Figures() if orders.switches is None else draw_switches(orders.switches)
    return figures | switches | draw_label_information(orders.worth)


def facts(data: Label) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    width = data.embedding_dim
    found = facts_embedding(data.embedding) | {"width": width, "cosine_chance": 1 / math.sqrt(width)}
    return found if data.orders is None else found | data.orders.facts()


def claims(data: Label) -> tuple[Claim, ...]:
    """Say what the label is worth, whether it can be read, and until when it may be changed."""
    return () if data.orders is None else data.orders.claims()


def rows(facts: dict[str, Any], texts: Texts) -> Rows:
    """Lay out the extremes of the cosine matrix."""
    lines = (
        (texts("chapter.label.row_max", pair=facts["nearest_pair"]), f"{facts['cosine_max']:.3f}"),
        (texts("chapter.label.row_min", pair=facts["farthest_pair"]), f"{facts['cosine_min']:.3f}"),
        (texts["chapter.label.row_mean"], f"{facts['cosine_mean']:.3f}"),
    )
    return Rows(("what", "cosine"), lines)


def series(data: Label) -> tuple[Series, ...]:
    """Return how much the label changes the predicted noise at each step."""
    return () if data.influence is None else (Series("influence", data.steps_left, {"influence": data.influence}),)


PRECOMPUTED = Precomputed(
    LabelSwitchStudy,
    _orders,
    (
        LessonFigure("label_embedding", in_exercise=True),
        LessonFigure("label_switch"),
        LessonFigure("switch_pairs", advanced=True),
        LessonFigure("label_worth", advanced=True),
    ),
)
LESSON = Lesson(
    name="label",
    position=50,
    measure=measure,
    precomputed=PRECOMPUTED,
    needs=frozenset({"recording", "comparison_runs"}),
    seconds=(28, 140),
    facts=facts,
    claims=claims,
    rows=rows,
    series=series,
    draw=draw,
    figures=(LessonFigure("ten_digits"),),
)
