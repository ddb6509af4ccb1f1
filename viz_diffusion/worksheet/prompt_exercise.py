"""Exercise 5 of a worksheet: which prompt was each sample made with?

It is there where a network of prompts was sampled. Knows nothing about networks, texts or pages; NumPy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase

import numpy as np

from viz_diffusion.worksheet.tasks import AnswerKey, Float32, PromptAnswer, PromptTask, Worksheet

SAMPLES = 2
"""Samples of each prompt."""


def with_prompts(
    sheet: Worksheet, key: AnswerKey, prompts: Sequence[str], images: Float32, held_out: str
) -> tuple[Worksheet, AnswerKey]:
    """Return a worksheet and its answers with exercise 5.

    Parameters
    ----------
    prompts
        P prompts.
    images
        (P, K, H, W) float32: K samples of each; the first two are used.
    held_out
        The prompt whose combination of words no training image had.
    """
    digest = hashlib.sha256(f"prompts {key.seed} {key.digit} {sheet.code}".encode()).digest()
    places = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32)).permutation(SAMPLES * len(prompts))
    frames = images[:, :SAMPLES].reshape(-1, *images.shape[2:])[places]
    letters = tuple(ascii_uppercase[: len(places)])
    made_with = [
        tuple(letter for letter, place in zip(letters, places, strict=True) if place // SAMPLES == k)
        for k in range(len(prompts))
    ]
    task, answer = PromptTask(tuple(prompts), letters, frames), PromptAnswer(tuple(made_with), held_out)
    return replace(sheet, prompts=task), replace(key, prompts=answer)
