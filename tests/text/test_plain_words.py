"""Texts of lessons in plain words: no private idiom, short captions, notes and answers, one word for each answer.

Held for all lessons and their figures, and for the figures of recordings and of training.
"""

from __future__ import annotations

import re

import pytest

from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.text.catalogue import Texts, languages, load_texts

LESSONS = tuple(lesson.name for lesson in all_lessons())
OTHER_FIGURES = ("compare", "activations", "pipeline_steps", "learning")
"""Figures of no lesson."""
FIGURES = {figure: lesson.name for lesson in all_lessons() for figure in lesson.figure_names}
LANGUAGES = languages()

IDIOMS = {
    "en": (
        r"\b[Tt]he article",
        r"\bsculptor|\bstatue|\bstone\b|\bchisel|\bcarv|\bdust\b|\bworkshop|\bcommission|\bpatron",
        r"\bstrikes?\b|\b(?:number of|fewer|many|more) strokes|\bthrow(?:n|s) on\b",
        r"\b(?:the|new|old|an?|no|ten|two|its) orders?\b(?! of)|\bordered\b|\binsist|\blouder|\bobey",
        r"\btold\b|\btells? (?:it|the network)|\b(?:is|was|are|were) asked\b|\basked for\b|\bexam\b",
        r"\bread as\b|\b(?:it|network|classifier) (?:reads|sees)\b|\bnoise (?:it|the model) (?:sees|saw)\b",
        r"\b(?:the|this|its|their|each|every|both|first|early|late|network’s|model’s) guess(?:es)?\b(?! of)",
        r"\bcompanion|\bbeside\b|\bperfect memory|\bquestions about\b|\bthe floor\b|\bclock\b|\bthe eye of\b",
        r"\bcannot be told|\b[Nn]ot found|\b[Ff]ound:|came with the package",
        r"∇|\b1 N\b|𝒩",
    ),
    "zh": (
        r"文章(?!数)|雕刻家|雕像|石料|凿|尘土|工坊|作坊|委托|雇主",
        r"新要求|旧要求|服从(?! N)|听到|改口|更响|告诉它|没有要求|要求画",
        r"考题|认作|读成|看到的噪声|完美记|的猜测|次猜测|猜测 x̂₀|撒上",
        r"未发现|随包|无法分辨是|成品|近似复制品",
        r"∇|1 N\b|𝒩",
    ),
}
"""Words of the old idiom, by language (regular expressions)."""
FIRST_WORDS = {
    "en": {"found": "Yes. ", "not_found": "No. ", "open": "Undecided. "},
    "zh": {"found": "是。", "not_found": "否。", "open": "无法判断。"},
}
LONGEST_NOTE = {"en": 60, "zh": 120}
"""Words of a speaker's note; in Chinese characters, of which two are about a word."""


def lesson_of(key: str) -> str | None:
    """Return the lesson of a text, ``""`` for a figure of :data:`OTHER_FIGURES`, None for any other text."""
    kind, *rest = key.removeprefix("alone.").removeprefix("own.").split(".")
    if kind == "chapter":
        return rest[0]
    if kind != "picture":
        return None
    return "" if rest[0] in OTHER_FIGURES else FIGURES.get(rest[0])


def texts_of(texts: Texts, lesson: str) -> dict[str, str]:
    """Return the texts of a lesson by key, without placeholders; numbers stand in their place."""
    own = {key: re.sub(r"\{[^{}]*_note\}|\{first_guess\}", "", text) for key, text in texts.items()}
    return {key: re.sub(r"\{[^{}]*\}", "7", text) for key, text in own.items() if lesson_of(key) == lesson}


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; abbreviations and decimals end none."""
    plain = re.sub(r"\b(et al|e\.g|i\.e|eq|vs)\.", r"\1", text)
    return [one for one in re.split(r"(?<=[.!?])[”)]?\s+(?=\S)|(?<=[。！？])(?=[^”）])", plain.strip()) if one]


def words(text: str) -> int:
    """Return how many words a text has; of Chinese, its characters and other words."""
    return len(re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]*\w[^\s\u4e00-\u9fff]*", text))


def idioms(lang: str, text: str) -> list[str]:
    """Return the words of the old idiom in a text."""
    return [hit[0] for pattern in IDIOMS[lang] for hit in re.finditer(pattern, text)]


parametrised = pytest.mark.parametrize("lesson", [*LESSONS, ""])


@parametrised
@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_old_idiom_does_not_occur(lang: str, lesson: str) -> None:
    """A chapter's subtitle is the place of the metaphor; commands and keys are not texts."""
    own = {key: text for key, text in texts_of(load_texts(lang), lesson).items() if not is_exempt(key)}
    assert own
    assert {key: found for key, text in own.items() if (found := idioms(lang, text))} == {}


def is_exempt(key: str) -> bool:
    return key.endswith((".subtitle", ".try_this"))


@parametrised
@pytest.mark.parametrize("lang", LANGUAGES)
def test_captions_and_alt_texts_are_short(lang: str, lesson: str) -> None:
    """A caption has two sentences: what one sees, and what to look for. A description has at most two."""
    own = texts_of(load_texts(lang), lesson)
    captions = {key: len(sentences(text)) for key, text in own.items() if key.endswith(".caption")}
    assert {key: count for key, count in captions.items() if count != 2} == {}
    alts = {key: len(sentences(text)) for key, text in own.items() if key.endswith(".alt")}
    assert {key: count for key, count in alts.items() if count > 2} == {}


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_introductions_notes_and_titles_are_short(lang: str, lesson: str) -> None:
    own = texts_of(load_texts(lang), lesson)
    for key in (key for key in own if ".chapter." in f".{key}"):
        part = key.rpartition(".")[2]
        if part == "text":
            assert len(sentences(own[key])) <= 3, key
        if part == "say":
            assert words(own[key]) <= LONGEST_NOTE[lang], (key, words(own[key]))
            assert own[key].endswith(("?", "？")), f"{key} ends with a question to ask"
        if part == "question":
            assert words(own[key]) <= (12 if lang == "en" else 24), key
    assert f"chapter.{lesson}.subtitle" in own


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_answers_begin_with_their_word_and_are_short(lang: str, lesson: str) -> None:
    own = texts_of(load_texts(lang), lesson)
    for key, text in own.items():
        outcome = re.search(r"\.claim_\w+?_(not_found|found|open)$", key)
        if outcome:
            word = FIRST_WORDS[lang][outcome[1]]
            assert text.startswith(word), key
            assert len(sentences(text.removeprefix(word))) <= 3, key
            assert not re.search(r"\b(?:Yes|No)\.\s", text.removeprefix(word)), key


@parametrised
def test_a_figure_whose_words_are_replaced_has_its_details_replaced_too(lesson: str) -> None:
    """Else those of the general figure would be shown, which may name facts that a recording does not have."""
    texts = load_texts()
    keys = texts_of(texts, lesson)
    replaced = {
        key.removesuffix(".caption") for key in keys if key.startswith(("alone.", "own.")) and key.endswith(".caption")
    }
    for figure in replaced:
        general = figure.removeprefix("alone.").removeprefix("own.")
        assert (f"{figure}.details" in texts) == (f"{general}.details" in texts), figure


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "The article’s sculptor only removes."),
        ("en", "Changed at t = 7, the order is obeyed."),
        ("en", "7% of them are read as asked."),
        ("en", "Beneath it, the guess x̂₀ and the noise it sees."),
        ("en", "∇ counts the optimizer steps."),
        ("zh", "在 t = 7 更改，服从的不到一半。"),
        ("zh", "下面是模型对成品的猜测。"),
        ("zh", "7 道考题上的损失。"),
    ],
)
def test_control_idioms_are_found(lang: str, text: str) -> None:
    assert idioms(lang, text)


def test_control_plain_words_are_not_idioms() -> None:
    assert idioms("en", "The predicted noise, in the order of t. Guess, then look: a digit of thick strokes.") == []
    assert idioms("zh", "被分类为所要求的数字的比例；预测噪声，预测 x₀。") == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One (Ho et al. 2020, eq. 7) at t = 0.5. Two?", 2),
        ("Yes. It is 3.5.", 2),
        ("是。它是 3.5。", 2),
        ("一句：“好。”", 1),
        ("It is so. That too! And this.", 3),
    ],
)
def test_control_sentences_are_counted(text: str, count: int) -> None:
    assert len(sentences(text)) == count


def test_control_words_are_counted() -> None:
    assert words("It is √ᾱ·x₀ at t = 7.") == 6
    assert words("在 t = 7 处为 3.5。") == 6
