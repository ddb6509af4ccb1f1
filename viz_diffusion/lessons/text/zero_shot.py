"""Zero-shot classification: which of ten prompts is each test digit nearest to, in the space of text and images?

Takes any text encoder. Knows nothing about diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data.caption_words import PLAIN_PROMPTS
from viz_diffusion.data.images import NUM_LABELS, Digits
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.text.asked_shapes import Read


class Similarity(Protocol):
    """What has text and images in one space."""

    def similarity(self, images: Tensor, prompts: tuple[str, ...]) -> Tensor:
        """Return the (B, N) cosines of images with prompts."""


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Test digits and the ten plain prompts."""

    count: int
    """Test digits."""
    hits: int
    """How many are nearest to the prompt that names them."""
    classifier_hits: int
    """How many the classifier classifies rightly, which was trained for it."""
    similarity: NDArray[np.float64]
    """(10, 10) float64: mean cosine of the digits of a class (row) with a prompt (column)."""

    @property
    def share(self) -> Share:
        """The zero-shot accuracy."""
        return Share(self.hits, self.count)


def measure_zero_shot(encoder: Similarity, read: Read, digits: Digits) -> ZeroShot:
    """Compare test digits with the ten plain prompts."""
    cosines = encoder.similarity(digits.images, PLAIN_PROMPTS).double().numpy()
    labels = digits.labels.numpy()
    return ZeroShot(
        count=len(digits),
        hits=int((cosines.argmax(axis=1) == labels).sum()),
        classifier_hits=int((read(digits.images) == labels).sum()),
        similarity=np.stack([cosines[labels == k].mean(axis=0) for k in range(NUM_LABELS)]),
    )
