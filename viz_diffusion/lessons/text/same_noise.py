"""Images of several prompts from the same noise: how far paraphrases move a picture, and sums of encoded prompts.

Takes any sampler of prompts. Knows nothing about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data.caption_words import DIGIT_WORDS, PLAIN_PROMPTS
from viz_diffusion.data.images import NUM_LABELS
from viz_diffusion.lessons.text.asked_shapes import Bool, Float64, Read, ShapeScale, prompt_of
from viz_diffusion.lessons.text.prompt_sampling import PromptSampler, PromptSum

VARIANTS = ("order", "phrase", "chinese", "shape", "digit")
"""What is changed about a prompt: the order of its words, its phrase, its language; its shape, and its digit."""
PARAPHRASES = VARIANTS[:3]
"""The changes that leave the meaning as it is."""
COUNTS = (20, 60)
"""Noises, quick and full: six prompts of each."""
SUM_COUNTS = (20, 200)
"""Noises of the sums, quick and full: three prompts of each."""
SEED, SUM_SEED = 980_000, 990_000
"""Seeds of the first noises."""
SOURCE_STEP = 6
"""From the digit of a sum to the one whose thick and plain vectors are taken: seven for one."""
THICKNESS = 1
"""Its place among the measured shapes."""


@dataclass(frozen=True, eq=False)
class Paraphrases:
    """M noises, with a prompt and its variants."""

    distances: Float64
    """(5, M) float64: RMS difference per pixel between the images of a prompt and of each variant."""


@dataclass(frozen=True, eq=False)
class PromptSums:
    """N noises with the sum thick a - a + b of encoded prompts, with b, and with thick b."""

    thickness: Float64
    """(3, N) float64: measured thickness of the images of the sum, of b, and of thick b, in standard deviations."""
    right: Bool
    """(3, N) bool: which are classified as b."""

    @property
    def nearer(self) -> Bool:
        """(N,) bool: where the sum's image is nearer in thickness to that of thick b than to that of b."""
        total, plain, thick = self.thickness
        return np.asarray(np.abs(total - thick) < np.abs(total - plain))


def variants(digit: int) -> tuple[str, ...]:
    """Return the prompt for a thick slanted digit, and its five variants."""
    word, other = DIGIT_WORDS["en"][digit], (digit + 5) % NUM_LABELS
    article = "an" if word == "eight" else "a"
    return (
        prompt_of(digit, 1, 1),
        f"a slanted thick {word}",
        f"{article} {word} that is thick and slanted",
        f"一个又粗又斜的{DIGIT_WORDS['zh'][digit]}",
        prompt_of(digit, -1, -1),
        prompt_of(other, 1, 1),
    )


def rms(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> Float64:
    """Return (N,) root mean square differences of (N, 1, H, W) images."""
    return np.sqrt(np.square(np.asarray(first, np.float64) - second).mean(axis=(1, 2, 3)))


def measure_paraphrases(sampler: PromptSampler, count: int = COUNTS[0]) -> Paraphrases:
    """Sample ``count`` noises with a prompt and its variants, the digits in turn."""
    prompts = [variants(k % NUM_LABELS) for k in range(count)]
    seeds = range(SEED, SEED + count)
    base, *others = (sampler.sample([row[k] for row in prompts], seeds).numpy() for k in range(len(VARIANTS) + 1))
    return Paraphrases(np.stack([rms(base, one) for one in others]))


def measure_sums(sampler: PromptSampler, scale: ShapeScale, read: Read, count: int = SUM_COUNTS[0]) -> PromptSums:
    """Sample ``count`` noises with a sum, a plain and a thick prompt, the digits b in turn."""
    target = np.arange(count) % NUM_LABELS
    source = (target + SOURCE_STEP) % NUM_LABELS
    thick = [f"a thick {word}" for word in DIGIT_WORDS["en"]]
    seeds = range(SUM_SEED, SUM_SEED + count)
    sums = [PromptSum(PLAIN_PROMPTS[b], thick[a], PLAIN_PROMPTS[a]) for a, b in zip(source, target, strict=True)]
    made = [
        sampler.sample_sums(sums, seeds),
        sampler.sample([PLAIN_PROMPTS[b] for b in target], seeds),
        sampler.sample([thick[b] for b in target], seeds),
    ]
    return PromptSums(
        thickness=np.stack([scale.measure(images, target)[:, THICKNESS] for images in made]),
        right=np.stack([read(images) == target for images in made]),
    )
