"""Texts about digits reworded for named classes, and names as texts, commands and file names show them."""

from __future__ import annotations

import re
import string

import pytest

from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.text.class_names import file_name, name_labels, reword, shown_name

NAMES = ("cat", "dog", "owl")
ABOUT_DIGITS = re.compile(
    r"report\.(left_out|reason)_|chapter\.(?!noising|training|guess|step|label|network|clock)|alone\."
    r"|(picture|figure|deck\.slide)\.(prompts|attributes|word_maps|text_similarity)\."  # of lesson text
    r"|(picture|figure|deck\.slide)\.(latent_\w+|channel_contents|stable_diffusion)\."  # of lesson latent
)


def fields(text: str) -> list[str]:
    return sorted(re.sub(r"\[.*|_arg$", "", field or "") for _, field, _, _ in string.Formatter().parse(text) if field)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_rewording_keeps_every_field(lang: str) -> None:
    texts = load_texts(lang)
    entries = {key: texts[key] for key in texts}
    for key, text in reword(entries, lang).items():
        assert fields(text) == fields(entries[key]), key


@pytest.mark.parametrize(
    ("lang", "word"), [("en", r"(?<!\{)\bdigits?\b(?![^{}]*\})"), ("zh", r"[这各同]个数字|数字 ?\{")]
)
def test_no_text_of_a_lesson_on_any_data_speaks_of_digits(lang: str, word: str) -> None:
    texts = load_texts(lang).for_classes(NAMES)
    left = {key: texts[key] for key in texts if not ABOUT_DIGITS.match(key) and re.search(word, texts[key], re.I)}
    assert left == {}


def test_digits_need_no_other_texts() -> None:
    texts = load_texts("en")
    assert texts.for_classes(None) is texts
    assert texts.for_classes(()) is texts
    assert texts.label(5) == "5"
    assert texts.for_classes(NAMES).label(2) == "owl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Compare the digit {digit} with ten digits.", "Compare the class {digit} with the classes."),
        ("A test digit {ideal_digit} at t.", "A test image of the class {ideal_digit} at t."),
        ("a digit, many digits, {digits}", "an image, many images, {digits}"),
        ("variance within a digit; the same digit", "variance within a class; the same class"),
        ("vizdiff report --digit {digit} --open", "vizdiff report --label {digit_arg} --open"),
        ("Digit {digit}: every step", "Class {digit}: every step"),
    ],
)
def test_words_become_those_of_classes(text: str, expected: str) -> None:
    assert reword({"a": text}, "en") == {"a": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("大号数字是剩余步数；数字 {digit}", "大号数字是剩余步数；类别 {digit}"),
        ("同一个数字，测试集数字，右边的数字", "同一个类别，测试集图像，右边的数字"),
        ("两个数字", "两幅图像"),
    ],
)
def test_words_become_those_of_classes_in_chinese(text: str, expected: str) -> None:
    assert reword({"a": text}, "zh") == {"a": expected}


def test_facts_that_are_labels_are_named() -> None:
    facts = {"digit": 1, "digits": [2, 0], "seed": 1, "nearest_pair": [0, 1], "shown_digits": "0, 2", "labels": "1"}
    assert name_labels(facts, ("a b", "$x$", "c")) == {
        "digit": "$x$",
        "digit_arg": "'$x$'",
        "digits": ["c", "a b"],
        "nearest_pair": ["a b", "$x$"],
        "shown_digits": "a b, c",
        "labels": "$x$",
    }


@pytest.mark.parametrize(
    ("name", "shown", "file"),
    [
        ("cat", "cat", "cat"),
        ("a\nb\tc", "a b c", "a_b_c"),
        ("猫 与 狗", "猫 与 狗", "猫_与_狗"),
        ("$x^2$", "$x^2$", "x_2"),
        ("..", "..", "class"),
        ("v1.2", "v1.2", "v1.2"),
        ("\u202e\u200b", "?", "class"),
        ("x" * 49 + "y", "x" * 20 + "…" + "x" * 18 + "y", "x" * 40),
    ],
)
def test_names_are_shown_on_one_line_and_make_file_names(name: str, shown: str, file: str) -> None:
    assert shown_name(name) == shown
    assert file_name(name) == file
