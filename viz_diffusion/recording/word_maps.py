"""Attention to the words of a prompt in a recording: one map a word, at the steps where it was recorded.

Never imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.trajectory import Float32, Trajectory

CROSS_ATTENTION = "cross-attention"
"""The name, in ``Trajectory.activations``, of the attention to each token: (B, K, L, h, w)."""
WORD_ATTENTION = "word_attention.maps"
"""The same of this package's networks of prompts: the module whose output it is."""
WORDS = "words"
"""The name, in ``Trajectory.conventions``, of the words' places: JSON text, (word, first token, one past) by prompt."""


@dataclass(frozen=True, eq=False)
class PromptMaps:
    """Where the network attends to each of the W words of an image's prompt."""

    words: tuple[str, ...]
    """(W,)."""
    steps: NDArray[np.int64]
    """(K,): which of the steps 0 .. S-1."""
    maps: Float32
    """(K, W, h, w) float32: the share of a position's attention that a word gets, its tokens summed."""


def word_conventions(denoiser: object, activations: Collection[str]) -> dict[str, str]:
    """Return what a recording of a network's attention to words says of their places; nothing where there is none."""
    places: Mapping[str, Sequence[tuple[str, int, int]]] = getattr(denoiser, "word_places", {})
    return {WORDS: words_text(places)} if places and WORD_ATTENTION in activations else {}


def words_text(places: Mapping[str, Sequence[tuple[str, int, int]]]) -> str:
    """Return the places of the words of each prompt as they are kept in a recording."""
    return json.dumps(places, ensure_ascii=False)


def has_word_maps(trajectory: Trajectory, sample: int = 0) -> bool:
    """Return whether a recording holds the attention to the words of an image's prompt."""
    places = json.loads(trajectory.conventions.get(WORDS, "{}"))
    return _attention(trajectory) is not None and bool(places.get(prompt_of(trajectory, sample)))


def prompt_maps(trajectory: Trajectory, sample: int = 0) -> PromptMaps:
    """Return the maps of an image's words.

    Raises
    ------
    VizdiffInputError
        Where the attention was not recorded, or the words of the prompt are not known.
    VizdiffUsageError
        Where there is no such image.
    """
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffUsageError(f"`sample` must lie in 0..{trajectory.num_images - 1} here, found {sample}")
    attention, steps = _attention(trajectory), trajectory.activation_steps
    if attention is None or steps is None:
        raise VizdiffInputError("this recording holds no attention to words; record_pipeline(pipe, word_maps=True)")
    places = json.loads(trajectory.conventions.get(WORDS, "{}")).get(prompt_of(trajectory, sample))
    if not places:
        raise VizdiffInputError(
            "the words of this recording's prompt are not known; call the pipeline with `prompt` and its own tokenizer"
        )
    own = attention[sample]
    maps = np.stack([own[:, first:end].sum(axis=1) for _, first, end in places], axis=1)
    return PromptMaps(tuple(word for word, _, _ in places), steps, maps)


def _attention(trajectory: Trajectory) -> Float32 | None:
    """Return (B, K, L, h, w), the attention to each token; None where it was not recorded."""
    return trajectory.activations.get(CROSS_ATTENTION, trajectory.activations.get(WORD_ATTENTION))
