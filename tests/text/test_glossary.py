"""The glossary: terms with formulas that can be read and chapters that exist, and where a term is found."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.text.glossary import ENTRIES, glossary
from viz_diffusion.text.math_html import formula


def test_there_are_at_least_thirty_terms_of_chapters_that_exist() -> None:
    assert len(ENTRIES) == len({entry.name for entry in ENTRIES}) >= 30
    lessons = [lesson.name for lesson in all_lessons()]
    chapters = list(dict.fromkeys(entry.chapter for entry in ENTRIES))
    assert set(chapters) <= set(lessons)
    assert len(chapters) >= 10


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_symbol_and_formula_are_mathml(entry: object) -> None:
    for text in (entry.symbol, entry.formula):  # type: ignore[attr-defined]
        ElementTree.fromstring(str(formula(text)))


@pytest.mark.parametrize("lang", languages())
def test_every_language_has_all_terms_and_no_others(lang: str) -> None:
    texts = load_texts(lang)
    terms = glossary(texts)
    assert sorted(term.entry for term in terms) == sorted(ENTRIES)
    assert {key.split(".")[0] for key in texts.section("glossary")} == {entry.name for entry in ENTRIES}
    assert len({term.term for term in terms}) == len(ENTRIES)
    for term in terms:
        assert term.pattern.fullmatch(term.term), term.term
        assert all(term.pattern.fullmatch(word) for word in term.also), term.term


def test_english_terms_are_in_alphabetical_order() -> None:
    names = [term.term.casefold() for term in glossary(load_texts("en"))]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("lang", "name", "text", "found"),
    [
        ("en", "timestep", "At all Timesteps t", "Timesteps"),
        ("en", "label", "the labelled digit, and the label", "label"),
        ("en", "confidence interval", "(95% CI 1.6 to 4.9)", "CI"),
        ("en", "confidence interval", "the CIFAR images", None),
        ("en", "classifier accuracy", "accuracies and an accuracy", "accuracy"),
        ("zh", "时间步", "在每个时间步上", "时间步"),
        ("zh", "信噪比", "SNR 低于 1", "SNR"),
    ],
)
def test_a_term_is_found_as_a_whole_word(lang: str, name: str, text: str, found: str | None) -> None:
    term = next(term for term in glossary(load_texts(lang)) if term.term == name)
    match = term.pattern.search(text)
    assert (match and match[0]) == found


@pytest.mark.parametrize("lang", languages())
def test_definitions_hold_for_recordings_of_any_images(lang: str) -> None:
    """A recording without its network shows them too, whatever its images are."""
    for term in glossary(load_texts(lang)):
        assert not re.search(r"digit|MNIST|数字", term.text), term.term
