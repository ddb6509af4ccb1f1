"""Answers begin with one word: their own Yes, No or Undecided, or the verdict where they have none."""

from __future__ import annotations

import pytest

from viz_diffusion.study.blocks import Answer


@pytest.mark.parametrize(
    ("text", "word", "rest"),
    [
        ("Yes. Of 200 samples 97%.", "Yes", "Of 200 samples 97%."),
        ("Yes, in most samples.", "Yes", "In most samples."),
        ("Undecided: too few.", "Undecided", "Too few."),
        ("是。在 200 个样本中。", "是", "在 200 个样本中。"),
        ("Nothing was found.", "Found", "Nothing was found."),
        ("Yesterday. No.", "Found", "Yesterday. No."),
    ],
)
def test_an_answer_has_one_first_word(text: str, word: str, rest: str) -> None:
    answer = Answer("Is it?", "Found", text, holds=True)
    assert (answer.word, answer.rest) == (word, rest)
