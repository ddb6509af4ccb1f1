"""What was measured of a network of prompts, and the numbers that texts and JSON files say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_mean
from viz_diffusion.lessons.text.asked_shapes import AskedShapes, Correlations
from viz_diffusion.lessons.text.prompt_sampling import GUIDANCE, STEPS, PromptSampler
from viz_diffusion.lessons.text.same_noise import Paraphrases, PromptSums
from viz_diffusion.lessons.text.word_maps import WordMaps
from viz_diffusion.lessons.text.zero_shot import ZeroShot

Pair = tuple[float, float]
GRID = (
    ("a seven", "一个七"),
    ("a thick slanted seven", "一个又粗又斜的七"),
    ("a thin upright seven", "一个又细又直的七"),
    ("a wide two", "一个宽的二"),
)
"""Prompts that are drawn, in English and in Chinese; the combination of the third one is held out of training."""
HELD_OUT_ROW = 2
"""Place of that pair."""
GRID_NOISES = 5
"""Noises that each of them is drawn with."""
GRID_SEED = 995_000
"""Seed of the first one."""


@dataclass(frozen=True, eq=False)
class PromptGrid:
    """Samples of P prompts from the same K noises."""

    prompts: tuple[str, ...]
    """(P,) the prompts."""
    images: NDArray[np.float32]
    """(P, K, H, W) float32."""


@dataclass(frozen=True, eq=False)
class TextStudy:
    """A network of prompts and its text encoder."""

    zero_shot: ZeroShot
    """The text encoder on test digits."""
    plain_right: NDArray[np.bool_]
    """(N,) bool: which samples of the ten plain prompts are classified as the digit that the prompt names."""
    asked: AskedShapes
    """Prompts that name slant and thickness."""
    paraphrases: Paraphrases
    """Prompts and their variants from the same noise."""
    sums: PromptSums
    """Sums of encoded prompts."""
    words: WordMaps
    """Attention to words."""
    grid: PromptGrid
    """The samples that are drawn."""
    trained_steps: int
    """Training steps of the network."""
    vocabulary: int
    """Words that its text encoder knows."""
    text_sha256: str
    """Of the network's weights: results that ship belong to these."""
    encoder_sha256: str
    """Of the text encoder's weights, likewise."""
    classifier_sha256: str
    """Of the classifier's weights."""


@dataclass(frozen=True)
class TextFacts:
    """What texts and JSON files say; pairs are slant and thickness, and ends of 95% intervals."""

    zero_accuracy: float
    """Share of the test digits that are nearest to the prompt that names them."""
    zero_interval: Pair
    """Its 95% interval."""
    zero_count: int
    """Test digits."""
    classifier_accuracy: float
    """The classifier's accuracy on the same digits."""
    plain_accuracy: float
    """Share of the samples of plain prompts that are classified as the digit named."""
    plain_interval: Pair
    """Its 95% interval."""
    plain_count: int
    """Samples of plain prompts."""
    text_guidance: float
    """Guidance scale of every sample."""
    text_steps: int
    """Steps of every sample."""
    asked_count: int
    """Samples of prompts that name slant and thickness."""
    real_count: int
    """Real digits that the same prompts are true of."""
    shape: Pair
    """Correlations of slant and of thickness, requested and measured."""
    shape_interval: tuple[Pair, Pair]
    """Their 95% intervals."""
    real_shape: Pair
    """The same of the real digits."""
    shape_ratio: Pair
    """Correlations of the samples over those of the real digits."""
    ratio_interval: tuple[Pair, Pair]
    """Their 95% intervals."""
    shuffled_shape: Pair
    """Correlations after the prompts were dealt out anew."""
    shuffled_interval: tuple[Pair, Pair]
    """Their 95% intervals."""
    held_count: int
    """Samples of prompts whose combination is held out of training."""
    seen_count: int
    """The other samples."""
    held_accuracy: float
    """Share of the first that are classified as the digit named."""
    seen_accuracy: float
    """The same of the others."""
    held_shape: Pair
    """Correlations of the samples of held-out combinations."""
    seen_shape: Pair
    """Those of the others."""
    real_held_shape: Pair
    """Those of real digits with held-out combinations."""
    real_seen_shape: Pair
    """Those of the other real digits."""
    noise_count: int
    """Noises with a prompt and its variants."""
    variant_distance: tuple[float, ...]
    """(5,) mean RMS difference of the images: order, phrase, Chinese; other shape, other digit."""
    variant_half: tuple[float, ...]
    """(5,) half their 95% intervals."""
    map_count: int
    """Samples whose attention was measured."""
    map_side: int
    """Positions along a side of a map."""
    on_ink: tuple[float, ...]
    """(4,) attention on ink over that on the average position: a, thickness, slant, digit."""
    on_ink_half: tuple[float, ...]
    """(4,) half their 95% intervals."""
    sum_count: int
    """Noises of the sums."""
    sum_nearer: int
    """How often the sum's image is nearer in thickness to the thick prompt's than to the plain one's."""
    sum_thickness: tuple[float, ...]
    """(3,) mean thickness: of the sum, of the plain and of the thick prompt, in standard deviations of the class."""
    sum_accuracy: float
    """Share of the sum's images that are classified as the digit of the prompt it starts from."""
    text_trained_steps: int
    """Training steps of the network."""
    vocabulary_size: int
    """Words that the text encoder knows."""


def facts(data: TextStudy) -> TextFacts:
    """Return the numbers that captions and tables are filled with."""
    zero, plain, asked = data.zero_shot, share_of(data.plain_right), data.asked
    held, seen = asked.of_held_out(True), asked.of_held_out(False)
    own, real, shuffled = asked.correlation(), asked.real_correlation(), asked.shuffled_correlation()
    ratio, ratio_interval = own.ratio(real)
    distances, on_ink = data.paraphrases.distances, data.words.on_ink
    return TextFacts(
        zero_accuracy=zero.share.value,
        zero_interval=zero.share.interval,
        zero_count=zero.count,
        classifier_accuracy=zero.classifier_hits / zero.count,
        plain_accuracy=plain.value,
        plain_interval=plain.interval,
        plain_count=plain.count,
        text_guidance=GUIDANCE,
        text_steps=STEPS,
        asked_count=len(asked.prompt),
        real_count=len(asked.real_prompt),
        shape=_pair(own.value),
        shape_interval=_ends(own),
        real_shape=_pair(real.value),
        shape_ratio=_pair(ratio),
        ratio_interval=(_pair(ratio_interval[0]), _pair(ratio_interval[1])),
        shuffled_shape=_pair(shuffled.value),
        shuffled_interval=_ends(shuffled),
        held_count=int(held.sum()),
        seen_count=int(seen.sum()),
        held_accuracy=float(asked.right[held].mean()),
        seen_accuracy=float(asked.right[seen].mean()),
        held_shape=_pair(asked.correlation(held).value),
        seen_shape=_pair(asked.correlation(seen).value),
        real_held_shape=_pair(asked.real_correlation(True).value),
        real_seen_shape=_pair(asked.real_correlation(False).value),
        noise_count=distances.shape[1],
        variant_distance=tuple(distances.mean(axis=1).tolist()),
        variant_half=tuple(half_of_mean(distances).tolist()),
        map_count=on_ink.shape[1],
        map_side=data.words.maps.shape[-1],
        on_ink=tuple(on_ink.mean(axis=1).tolist()),
        on_ink_half=tuple(half_of_mean(on_ink).tolist()),
        sum_count=len(data.sums.nearer),
        sum_nearer=int(data.sums.nearer.sum()),
        sum_thickness=tuple(data.sums.thickness.mean(axis=1).tolist()),
        sum_accuracy=float(data.sums.right[0].mean()),
        text_trained_steps=data.trained_steps,
        vocabulary_size=data.vocabulary,
    )


def share_of(hits: NDArray[np.bool_]) -> Share:
    """Return the share of (N,) hits."""
    return Share(int(hits.sum()), len(hits))


def _pair(values: NDArray[np.float64]) -> Pair:
    return float(values[0]), float(values[1])


def _ends(found: Correlations) -> tuple[Pair, Pair]:
    return _pair(found.interval[0]), _pair(found.interval[1])


def sample_grid(sampler: PromptSampler) -> PromptGrid:
    """Sample the prompts that are drawn, all from the same noises."""
    prompts: Sequence[str] = [prompt for pair in GRID for prompt in pair]
    seeds = list(range(GRID_SEED, GRID_SEED + GRID_NOISES))
    images = sampler.sample([prompt for prompt in prompts for _ in seeds], seeds * len(prompts))
    return PromptGrid(tuple(prompts), torch.unflatten(images[:, 0], 0, (len(prompts), GRID_NOISES)).numpy())
