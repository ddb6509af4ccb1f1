"""Lesson ``latent``: generation in the latents of an autoencoder, compared with generation on pixels."""

from __future__ import annotations

from math import hypot

import numpy as np

from viz_diffusion.evaluation.intervals import all_surely, half_of_mean, paired_difference, surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.latent.comparison import is_of_bundled, measure_latent
from viz_diffusion.lessons.latent.drawings import draw
from viz_diffusion.lessons.latent.latent_facts import ArmFacts, LatentFacts
from viz_diffusion.lessons.latent.latent_study import LatentStudy, facts, share
from viz_diffusion.lessons.latent.reconstruction import Bools, Channels
from viz_diffusion.lessons.latent.sample_quality import Quality, SampleQuality
from viz_diffusion.text.catalogue import Texts

CEILING = 0.985
"""Share of reconstructions that must be classified as their digits."""
LARGEST_RATIO = 0.25
"""Largest ratio of times at which an image in latents counts as cheap."""
LARGEST_QUOTIENT = 1.25
"""Largest ratio of the multiplications of two trainings that still count as equal."""
MOST_ENDS = 0.9
"""Paths end in the region of their label where more than this share of them does."""
MOST_NEAR = 0.5
"""A place of the latent counts as a place of the image where more than this share of the change is near it."""


def claims(data: LatentStudy) -> tuple[Claim, ...]:
    """Decide what the autoencoder keeps, what an image costs, how good samples are, and what a latent holds."""
    made, quality = data.reconstruction, data.quality
    low, high = share(made.decoded_right).interval
    answers = [
        Claim("ceiling", True if low >= CEILING else False if high < CEILING else None, {"least": CEILING}),
        _fewer("loses", made.decoded_right, made.right),
        _cheaper(data),
        _fewer("less_accurate", quality.latent.right, quality.pixel.right),
        _farther("farther", quality.latent, quality.pixel, quality.frechet_real),
        *_at_equal_work(quality),
        _local(data.channels),
        _every_channel(data.channels),
        _fewer("walk", data.walks.pixel_sure, data.walks.latent_sure),
        *_on_the_map(data),
        _scale_matters(quality),
    ]
    return tuple(answers)


def _fewer(name: str, first: Bools, second: Bools) -> Claim:
    """Decide whether fewer of (N,) paired images are right in the first arm than in the second."""
    change, low, high = paired_difference(second, first)
    return Claim(name, surely(low, high), {"change": change, "low": low, "high": high})


def _cheaper(data: LatentStudy) -> Claim:
    """Decide whether the median ratio of times is at most a limit."""
    low, high = data.cost.ratio_interval
    holds = True if high <= LARGEST_RATIO else False if low > LARGEST_RATIO else None
    return Claim("cheaper", holds, {"limit": LARGEST_RATIO})


def _farther(name: str, first: SampleQuality, second: SampleQuality, real: float) -> Claim:
    """Decide whether samples have a larger Fréchet distance than others; told in multiples of that of real digits."""
    gap, half = (first.excess - second.excess) / real, hypot(first.excess_half, second.excess_half) / real
    return Claim(name, surely(gap - half, gap + half), {"gap": gap, "gap_half": half})


def _at_equal_work(quality: Quality) -> tuple[Claim, ...]:
    """Decide whether samples in latents are nearer to real digits than those on pixels after as much training.

    Training is counted in multiplications, since times depend on what else a machine did. Where they differ, more
    training counts as no worse: latents are surely ahead only where they had no more of it, and surely behind only
    where they had no less.
    """
    short = quality.short
    if short is None:
        return ()
    behind = _farther("equal_work", quality.latent, short, quality.frechet_real)
    ratio = quality.latent.products / short.products
    fair = ratio <= LARGEST_QUOTIENT if behind.holds is False else ratio >= 1 / LARGEST_QUOTIENT
    return (Claim("equal_work", not behind.holds if fair and behind.holds is not None else None, behind.facts),)


def _local(channels: Channels) -> Claim:
    """Decide whether most of a change of one place of the latent is near that place in the image."""
    mean, half = float(channels.near.mean()), float(half_of_mean(channels.near))
    return Claim("local", surely(mean - half - MOST_NEAR, mean + half - MOST_NEAR), {"limit": MOST_NEAR})


def _every_channel(channels: Channels) -> Claim:
    """Decide whether without any one channel fewer digits can be read."""
    losses = [paired_difference(channels.whole_right, hits) for hits in channels.without_right]
    least = int(np.argmin([loss[0] for loss in losses]))
    numbers = {"least_channel": least + 1, "least_loss": losses[least][0]}
    numbers |= {"least_low": losses[least][1], "least_high": losses[least][2]}
    return Claim("every_channel", all_surely(surely(low, high) for _, low, high in losses), numbers)


def _on_the_map(data: LatentStudy) -> tuple[Claim, ...]:
    """Decide what two numbers cost, where paths end, and whether that is the label's doing."""
    plane = data.plane
    if plane is None:
        return ()
    ends, shuffled = plane.inside[-1].mean(axis=0), plane.shuffled.mean(axis=0)
    mean, half = float(ends.mean()), float(half_of_mean(ends))
    gap, gap_half = float((ends - shuffled).mean()), float(half_of_mean(ends - shuffled))
    return (
        _fewer("two_numbers", plane.right, data.reconstruction.decoded_right),
        Claim("map_ends", surely(mean - half - MOST_ENDS, mean + half - MOST_ENDS), {"limit": MOST_ENDS}),
        Claim("map_label", surely(gap - gap_half, gap + gap_half), {"gap": gap, "gap_half": gap_half}),
    )


def _scale_matters(quality: Quality) -> Claim:
    """Decide whether samples are farther from real digits wherever latents have another scale than in training."""
    right, *wrong = quality.scaled
    farther = [_farther("scale_matters", one, right, quality.frechet_real) for one in wrong]
    numbers = {"least_gap": min(one.facts["gap"] for one in farther)}
    return Claim("scale_matters", all_surely(one.holds for one in farther), numbers)


def rows(facts: LatentFacts, texts: Texts) -> Rows:
    """Return training, accuracy, distances and times of the networks."""
    cost = facts.cost
    lines = [
        _row(texts("chapter.latent.row_latent"), facts.latent, f"{cost.latent_ms:.2f}"),
        _row(texts("chapter.latent.row_pixel"), facts.pixel, f"{cost.pixel_ms:.2f}"),
    ]
    if facts.short is not None:
        lines.append(_row(texts("chapter.latent.row_short"), facts.short, f"{cost.pixel_ms:.2f}"))
    return Rows(("network", "trained", "work", "minutes", "accuracy", "frechet", "kid", "time"), tuple(lines))


def _row(name: str, arm: ArmFacts, milliseconds: str) -> tuple[str, ...]:
    low, high = arm.accuracy_interval
    return (
        name,
        f"{arm.trained:,}",
        f"{arm.work:.1f}",
        "–" if arm.core_minutes is None else f"{arm.core_minutes:.0f}",
        f"{arm.accuracy:.1%} ({low:.1%} – {high:.1%})",
        f"{arm.frechet_ratio:.1f} ± {arm.frechet_ratio_half:.1f}",
        f"{arm.kid:.2f} ± {arm.kid_half:.2f}",
        milliseconds,
    )


LESSON = Lesson(
    name="latent",
    position=133,
    precomputed=Precomputed(
        LatentStudy,
        measure_latent,
        (
            LessonFigure("latent_space", in_exercise=True),
            LessonFigure("latent_walk"),
            LessonFigure("latent_map"),
            LessonFigure("channel_contents", advanced=True),
            LessonFigure("latent_quality"),
            LessonFigure("stable_diffusion"),
        ),
        fits=is_of_bundled,
        also_of=("latent_sha256", "plane_sha256"),
    ),
    latent=True,
    seconds=(50, 400),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
