"""An answer begins with its verdict: Yes, No or Undecided, said once, whether or not its text says it too."""

from __future__ import annotations

import pytest

from viz_diffusion.study.blocks import Answer
from viz_diffusion.text.catalogue import languages, load_texts


@pytest.mark.parametrize(
    ("verdict", "text", "rest"),
    [
        ("Yes", "Yes. Of 200 samples 97%.", "Of 200 samples 97%."),
        ("Yes", "Yes, in most samples.", "In most samples."),
        ("Undecided", "Undecided: too few.", "Too few."),
        ("是", "是。在 200 个样本中。", "在 200 个样本中。"),
        ("Yes", "In most samples.", "In most samples."),
        ("No", "Nothing was found.", "Nothing was found."),
        ("Yes", "Yesterday. No.", "Yesterday. No."),
    ],
)
def test_the_verdict_is_not_said_twice(verdict: str, text: str, rest: str) -> None:
    assert Answer("Is it?", verdict, text, holds=True).rest == rest


def test_verdicts_are_three_words() -> None:
    expected = {"en": ["Yes", "No", "Undecided"], "zh": ["是", "否", "无法判断"]}
    for lang in languages():
        texts = load_texts(lang)
        assert [texts[f"report.claim_{outcome}"] for outcome in ("found", "not_found", "open")] == expected[lang]
