"""Words of prompts: longest match, unknown ones with the nearest known, and prompts that are no prompts."""

from __future__ import annotations

import pytest

from viz_diffusion.data.caption_words import VOCABULARY
from viz_diffusion.diffusion.tokenizer import START, Tokenizer
from viz_diffusion.errors import VizdiffUsageError

TOKENIZER = Tokenizer(VOCABULARY)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a thick slanted seven", ["a", "thick", "slanted", "seven"]),
        ("  A THICK,\n slanted  Seven. ", ["a", "thick", "slanted", "seven"]),
        ("一个又粗又斜的七", ["一个", "又", "粗", "又", "斜", "的", "七"]),
        ("一个一", ["一个", "一"]),  # the longest word first
        ("一 个一", ["一", "个", "一"]),
        ("粗壮的粗7", ["粗壮", "的", "粗", "7"]),
        ("a 粗 seven", ["a", "粗", "seven"]),
        ("７", ["7"]),
        ("", []),
        (" ∅ ，。", []),
    ],
)
def test_words_by_hand(prompt: str, words: list[str]) -> None:
    assert list(TOKENIZER.words(prompt)) == words


def test_numbers_begin_with_the_start_token_and_are_those_of_the_vocabulary() -> None:
    assert Tokenizer(("b", "a")).numbers("a b a") == [START, 3, 2, 3]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a sevn", "'sevn' (nearest: seven"),
        ("a thik slantd seven", "'thik' (nearest: thick"),
        ("一个胖的七", "'胖'"),
        ("<b>seven</b>", "'<b>', '</b>'"),
        ("a red seven", "'red'"),
        ("77", "'77'"),
        ("seven 🙂", r"'\U0001f642'"),
        ("seven \u202eneves", r"'\u202eneves'"),
        ("שבע", r"'\u05e9\u05d1\u05e2'"),
        ("seven\x1b[31m", r"'\x1b[31m'"),
        ("x" * 900, f"'{'x' * 30}…'"),
        ("qq ww jj rr kk yy uu", "'qq', 'ww', 'jj', 'rr', 'kk' and 2 more"),
    ],
)
def test_unknown_words_are_named(prompt: str, said: str) -> None:
    with pytest.raises(VizdiffUsageError) as refusal:
        TOKENIZER.words(prompt)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a " * 65, "at most 64 words, found 65"),
        ("a " * 10_000, "at most 1,000 characters, found 20,000"),
        ("七" * 1001, "at most 1,000 characters, found 1,001"),
    ],
)
def test_long_prompts_are_refused(prompt: str, said: str) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        TOKENIZER.words(prompt)
    assert len(TOKENIZER.words("a " * 64)) == 64
