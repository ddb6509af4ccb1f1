"""Names of classes in texts, commands and file names, and texts about digits reworded for other classes.

Names come from folders of other people: they are text, never markup. Knows nothing about pages or figures.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 40
"""Characters of a name in running text; longer names are shortened."""
LABEL_FACTS = frozenset(
    {
        "digit",
        "digits",
        "labels",
        "shown_digits",
        "ideal_digit",
        "coarse_digit",
        "guidance_digit",
        "mistakes_digit",
        "stroke_digit",
        "nearest_pair",
        "farthest_pair",
        "hardest",
        "easiest",
    }
)
"""Facts that are labels, and whose names texts show."""

_OF_TEXT = ("prompts", "attributes", "word_maps", "text_similarity")
_OF_LATENT = ("latent_space", "latent_walk", "latent_map", "channel_contents", "latent_quality", "stable_diffusion")
_ABOUT_DIGITS = tuple(
    f"{part}.{name}."
    for part in ("chapter", "picture", "figure", "deck.slide")
    for name in (("text", "latent") if part == "chapter" else _OF_TEXT + _OF_LATENT)
)
"""Texts of the lessons text and latent: they are about digits, whichever prompts a page is about."""
_AS_THEY_ARE = ("report.reason_", "report.left_out_", "own.", "alone.", *_ABOUT_DIGITS)
_NO_FIELD = r"(?![^{}]*\})"
_OF_CLASSES = "which|another|requested|same|one|each|every|new|final|any|within a|Gaussian a|final|own"
_Rule = tuple[str, str | Callable[[re.Match[str]], str]]
_RULES: Mapping[str, tuple[_Rule, ...]] = {
    "en": (
        (r"^vizdiff (forward|train)\b", r"vizdiff \1 --data-dir DIR"),
        (r"--digit \{(\w+)\}", r"--label {\1_arg}"),
        (r"\b([Tt]est|[Tt]raining|[Rr]eal|[Hh]andwritten) digit (?=\{)", r"\1 image of the class "),
        (r"\b([Dd])igit (?=\{)", lambda match: ("C" if match[1] == "D" else "c") + "lass "),
        (r"; one in ten would be chance", ""),
        (r"\bit is one digit\b", "it is one image"),
        (r"\bone a digit\b", "one a class"),
        (r"\b(some|alike) digits\b", r"\1 classes"),
        (r"\b(know the|no) digit\b", r"\1 class"),
        (r"\b(?:[Tt]he )?ten digits\b", "the classes"),
        (r"\b[Aa]ll digits\b", "all classes"),
        (rf"\b({_OF_CLASSES}) digit\b", r"\1 class"),
        (r"\bdigit (?=that was asked for|asked for|is ordered)", "class "),
        (r"\b(?<!handwritten )digit by digit\b", "class by class"),
        (rf"\bdigits\b{_NO_FIELD}", "images"),
        (rf"\bDigits\b{_NO_FIELD}", "Images"),
        (rf"\bdigit\b{_NO_FIELD}", "image"),
        (rf"\bDigit\b{_NO_FIELD}", "Image"),
        (r"\b([Aa]) (?=image\b)", r"\1n "),
    ),
    "zh": (
        (r"^vizdiff (forward|train)\b", r"vizdiff \1 --data-dir DIR"),
        (r"--digit \{(\w+)\}", r"--label {\1_arg}"),
        (r"；随机猜是十分之一", ""),
        (r"测试集(?:中的)?数字 ?(\{\w+\})", r"测试集中类别 \1 的图像"),
        (r"数字 ?(?=\{)", "类别 "),
        (r"(同一个?|各个?|每个|哪个|新|最终|所要求的?|要求的|要求画的|另一个|别的|其他|全部|十个|一种)数字", r"\1类别"),
        (r"(?<!大号)(?<![方边]的)数字(?!是它们|也完全|：剩余)", "图像"),
        (r"([一两])个图像", r"\1幅图像"),
    ),
}


_OF_PROMPTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"^vizdiff forward --data-dir DIR --label \{\w+_arg\}", "vizdiff forward"),
        (r"^vizdiff train --data-dir DIR", "vizdiff train --conditioning text"),
        (r"--label (?=\{\w+_arg\})", "--prompt "),
        (r"\banother label\b", "another prompt"),
        (r"^label y$", "prompt y"),
        (r"^Label (\{digit\})", r"Prompt “\1”"),
        (r"\blabel (\{digit\})", r"prompt “\1”"),
        (r"\bnoise and a label\b", "noise and a prompt"),
        (r"(\{num_labels\}) labels\b", r"\1 prompts"),
        (r"\bwithout a label\b", "without a prompt"),
        (r"\bonly the label (changed|differs)\b", r"only the prompt \1"),
        (r"\bnoise, label and weights\b", "noise, prompt and weights"),
        (r"\b(x_t, t|mixture, t|timestep) and the label\b", r"\1 and the prompt"),
        (r"\bknow the class\b", "see what the prompt names"),
        (r"\bthe same class\b", "the same prompt"),
        (r"\bclass (?=“\{)", "prompt "),
        (r"\bclass (\{(?!\w*_arg\b)\w+\})", r"prompt “\1”"),
        (r"\bClass (\{(?!\w*_arg\b)\w+\})", r"Prompt “\1”"),
    ),
    "zh": (
        (r"^vizdiff forward --data-dir DIR --label \{\w+_arg\}", "vizdiff forward"),
        (r"^vizdiff train --data-dir DIR", "vizdiff train --conditioning text"),
        (r"--label (?=\{\w+_arg\})", "--prompt "),
        (r"另一个标签", "另一个提示词"),
        (r"^标签 y$", "提示词 y"),
        (r"标签 ?(\{digit\})", r"提示词“\1”"),
        (r"噪声和一个标签", "噪声和一个提示词"),
        (r"(\{num_labels\} 个)标签：不同的只有标签", r"\1提示词：不同的只有提示词"),
        (r"只有标签不同", "只有提示词不同"),
        (r"没有标签", "没有提示词"),
        (r"噪声、标签和权重", "噪声、提示词和权重"),
        (r"(t ?|时间步)和标签(?=。|，|输入)", r"\1和提示词"),
        (r"有了标签，这些(图像|潜变量)都是同一个类别", r"有了提示词，这些\1都符合它"),
        (r"同一类别", "同一提示词"),
        (r"(“\{\w+\}”)类的图像", r"提示词为\1的图像"),
        (r"类别 ?(\{(?!\w*_arg\b)\w+\}) ?", r"提示词“\1”"),
    ),
}


def call_prompts(entries: Mapping[str, str], lang: str) -> dict[str, str]:
    """Return texts that name classes with each named class called a prompt, in quotation marks."""
    rules = [(re.compile(pattern), new) for pattern, new in _OF_PROMPTS.get(lang, ())]
    changed = dict(entries)
    for pattern, new in rules:
        changed = {
            key: text if key.startswith(_ABOUT_DIGITS) else pattern.sub(new, text) for key, text in changed.items()
        }
    return changed


def shown_name(name: str) -> str:
    """Return a class's name for running text: on one line, not longer than 40, a longer one without its middle."""
    text, half = on_one_line(name), LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half].rstrip()}…{text[len(text) - half + 1 :].lstrip()}"


def on_one_line(name: str) -> str:
    """Return a name on one line, without control characters; ``?`` where nothing of it can be seen."""
    visible = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in name)
    return " ".join(visible.split()) or "?"


def file_name(name: str) -> str:
    """Return a class's name as a part of a file's name: letters, digits, dots inside, ``-`` and ``_``."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[:LONGEST] or "class"


def name_labels(facts: Mapping[str, Any], class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return the facts that are labels as names, and each single one as a word of a command (``digit_arg``)."""
    named: dict[str, Any] = {}
    for key in LABEL_FACTS & facts.keys():
        value = facts[key]
        if isinstance(value, int):
            known = 0 <= value < len(class_names)
            named[key] = shown_name(class_names[value]) if known else str(value)
            named[f"{key}_arg"] = shlex.quote(class_names[value]) if known else str(value)
        elif isinstance(value, (list, tuple)):
            named[key] = [shown_name(class_names[label]) for label in value]
        elif isinstance(value, str) and value:
            named[key] = ", ".join(shown_name(class_names[int(label)]) for label in value.split(", "))
    return named


def reword(entries: Mapping[str, str], lang: str) -> dict[str, str]:
    """Return the texts of a catalogue with "digit" replaced by "class" or "image", as each sentence needs."""
    rules = [(re.compile(pattern), new) for pattern, new in _RULES.get(lang, ())]

    def reworded(text: str) -> str:
        for pattern, new in rules:
            text = pattern.sub(new, text)
        return text

    return {key: text if key.startswith(_AS_THEY_ARE) else reworded(text) for key, text in entries.items()}
