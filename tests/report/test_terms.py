"""Terms of the glossary in the texts of a chapter."""

from __future__ import annotations

import re

import pytest
from report_fakes import HOSTILE

from viz_diffusion.report.terms import TermMarker
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.text.glossary import glossary
from viz_diffusion.text.math_html import typeset


@pytest.fixture
def mark() -> TermMarker:
    return TermMarker(glossary(load_texts("en")))


def marked(html: str) -> list[tuple[str, str]]:
    """Return (name, words) of every marked term."""
    return re.findall(r'<a class="term" href="#ui-term-(\w+)" aria-describedby="ui-text-\1">(.*?)</a>', html)


def test_a_term_is_marked_once(mark: TermMarker) -> None:
    assert marked(mark("Timesteps, and a timestep")) == [("timestep", "Timesteps")]
    assert marked(mark("One more timestep, and the noise schedule")) == [("noise_schedule", "noise schedule")]


def test_the_longest_term_is_marked(mark: TermMarker) -> None:
    found = marked(mark("Guidance scales of classifier-free guidance, label embeddings, then a label"))
    names = ["guidance_scale", "classifier_free_guidance", "label_embedding", "label"]
    assert [name for name, _ in found] == names


def test_symbols_in_and_beside_a_term_are_typeset(mark: TermMarker) -> None:
    html = mark("From predicted x₀ at t = 3")
    assert marked(html) == [("predicted_x0", "predicted <var>x<sub>0</sub></var>")]
    assert html.endswith(str(typeset(" at t = 3")))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_texts_stay_text(mark: TermMarker, words: str) -> None:
    html = mark(f"{words} denoising step {words}")
    assert str(html) == str(typeset(words)) + " " + re.search("<a .*</a>", html)[0] + " " + str(typeset(words))  # type: ignore[index]


@pytest.mark.parametrize("lang", languages())
def test_marking_changes_no_word_of_the_catalogue(lang: str) -> None:
    texts = load_texts(lang)
    count = 0
    for key in (key for key in texts if key.startswith("chapter.") and key.endswith((".text", ".advanced"))):
        html = TermMarker(glossary(texts))(texts[key])
        count += len(marked(html))
        assert re.sub(r"</?(?:a|span)\b[^>]*>", "", html) == re.sub(r"</?span\b[^>]*>", "", typeset(texts[key])), key
    assert count > 40
