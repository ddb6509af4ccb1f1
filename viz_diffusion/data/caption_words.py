"""The words of captions in English and Chinese: what each says about a digit, and the phrases that are made of them.

Knows nothing about images.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data.digit_shapes import ATTRIBUTES, Int8

DIGIT_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "zh": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
    "": tuple("0123456789"),
}
"""The ten digits in both languages, and as figures, which both languages use."""
LEVEL_WORDS: Mapping[str, Mapping[tuple[str, int], tuple[str, ...]]] = {
    "en": {
        ("slant", 1): ("slanted", "leaning", "tilted"),
        ("slant", -1): ("upright", "straight"),
        ("thickness", 1): ("thick", "bold", "heavy"),
        ("thickness", -1): ("thin", "fine", "light"),
        ("width", 1): ("wide", "broad"),
        ("width", -1): ("narrow", "slim"),
        ("height", 1): ("tall",),
        ("height", -1): ("short",),
    },
    "zh": {
        ("slant", 1): ("斜", "倾斜"),
        ("slant", -1): ("直", "端正"),
        ("thickness", 1): ("粗", "粗壮"),
        ("thickness", -1): ("细", "纤细"),
        ("width", 1): ("宽", "宽大"),
        ("width", -1): ("窄", "狭窄"),
        ("height", 1): ("高", "高大"),
        ("height", -1): ("矮", "矮小"),
    },
}
"""Words for an attribute of a digit that is high (1) or low (-1) among the digits of its class."""
OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("a", "an", "the", "digit", "number", "and", "that", "is"),
    "zh": ("一个", "个", "数字", "又", "而", "的", "写得"),
}
"""Words that say nothing about the digit."""
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Meaning:
    """What a caption says."""

    digit: int | None
    """0 .. 9; None where it names none, or more than one."""
    levels: tuple[int, ...]
    """(4,) the levels it names, in the order of :data:`ATTRIBUTES`; 0 where it says nothing of an attribute."""

    @property
    def named(self) -> list[tuple[str, int]]:
        """The attributes that it names, with their levels."""
        return [(name, level) for name, level in zip(ATTRIBUTES, self.levels, strict=True) if level]


def _senses() -> dict[str, tuple[str, int] | None]:
    """Return what each word says: ("digit", k), or an attribute and its level, or None."""
    senses: dict[str, tuple[str, int] | None] = {}
    for words in DIGIT_WORDS.values():
        senses |= {word: ("digit", k) for k, word in enumerate(words)}
    for by_level in LEVEL_WORDS.values():
        senses |= {word: level for level, words in by_level.items() for word in words}
    return senses | {word: None for words in OTHER_WORDS.values() for word in words}


SENSES = _senses()
"""What each word of the vocabulary says: ("digit", k), an attribute and its level, or None."""
VOCABULARY = tuple(SENSES)
"""All words, in the order of their numbers."""
PLAIN_PROMPTS = tuple(f"{'an' if word == 'eight' else 'a'} {word}" for word in DIGIT_WORDS["en"])
"""(10,) the prompts that stand for the labels 0 .. 9 where no others are given."""


def meaning_of(words: Iterable[str]) -> Meaning:
    """Return what words of the vocabulary say; an attribute that is named both high and low counts as not named."""
    found: dict[str, set[int]] = {}
    for sense in (SENSES[word] for word in words):
        if sense is not None:
            found.setdefault(sense[0], set()).add(sense[1])
    single = {name: levels.copy().pop() for name, levels in found.items() if len(levels) == 1}
    return Meaning(single.get("digit"), tuple(single.get(name, 0) for name in ATTRIBUTES))


def digits_of(words: Iterable[str]) -> tuple[int, ...]:
    """Return the digits that words of the vocabulary name, each once, in their order."""
    senses = (SENSES[word] for word in words)
    return tuple(dict.fromkeys(sense[1] for sense in senses if sense is not None and sense[0] == "digit"))


def fits(words: Sequence[str], labels: NDArray[Any], levels: Int8) -> NDArray[np.bool_]:
    """Return which of N digits with (N,) labels and (N, 4) levels every word is true of, (N,) bool."""
    values = {"digit": labels, **{name: levels[:, i] for i, name in enumerate(ATTRIBUTES)}}
    true = np.ones(len(labels), dtype=bool)
    for sense in (SENSES[word] for word in words):
        if sense is not None:
            true &= values[sense[0]] == sense[1]
    return true


def phrase(meaning: Meaning, lang: str, draw: random.Random) -> str:
    """Return one of the phrases that say this, in a random form, with random synonyms in random order."""
    words = [draw.choice(LEVEL_WORDS[lang][level]) for level in meaning.named]
    draw.shuffle(words)
    if meaning.digit is None:
        noun = draw.choice(("digit", "number")) if lang == "en" else "数字"
    else:
        noun = DIGIT_WORDS[lang if draw.random() < 0.8 else ""][meaning.digit]
    return _english(noun, words, draw) if lang == "en" else _chinese(noun, words, draw)


def _english(noun: str, words: list[str], draw: random.Random) -> str:
    kind = draw.choice(("digit", "number"))
    name = noun if noun in ("digit", "number") else draw.choice((noun, noun, f"{kind} {noun}"))
    form = draw.randrange(4) if words else draw.choice((0, 3))
    if form == 0:
        return _with_article(" ".join([*words, name]))
    if form == 1:
        return f"{_with_article(name)} that is {' and '.join(words)}"
    if form == 2:
        return f"the {name} is {' and '.join(words)}"
    return " ".join([*words, name])


def _with_article(text: str) -> str:
    return f"{'an' if text.startswith(('upright', 'eight', '8')) else 'a'} {text}"


def _chinese(noun: str, words: list[str], draw: random.Random) -> str:
    name = noun if noun == "数字" else draw.choice((noun, noun, f"数字{noun}"))
    one = draw.choice(("一个", ""))
    if not words:
        return f"{one}{name}"
    form = draw.randrange(3)
    if form == 0:
        said = "".join(f"又{word}" for word in words) if len(words) > 1 else words[0]
        return f"{one}{said}的{name}"
    if form == 1:
        return f"{one}写得{'而'.join(words)}的{name}"
    return f"{one}{''.join(f'{word}的' for word in words)}{name}"
