"""Words of the slides: their length, and titles that follow what was measured, in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from deck_fakes import Made, small_picture

from viz_diffusion.deck.outline import OUTLINE, PlannedSlide
from viz_diffusion.deck.references import PAPERS
from viz_diffusion.deck.slides import Slide
from viz_diffusion.deck.typography import num_words
from viz_diffusion.lessons.base import Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.precomputed import load_results
from viz_diffusion.live.tasks import PLANS
from viz_diffusion.study.narrative import narrate
from viz_diffusion.text.catalogue import Texts, languages, load_texts
from viz_diffusion.training.run import Run

OWNERS = {figure: lesson.name for lesson in all_lessons() for figure in lesson.figure_names}
DECIDED = [slide for slide in OUTLINE if slide.claims]
OUTCOMES = {"found": True, "not_found": False, "open": None}


@pytest.fixture(scope="module")
def shipped(made: Made) -> Made:
    """Return a study with every result that ships; the rest is as it was measured."""
    study = made.study
    run, recorded = study.run, study.trajectory
    known = load_results(all_lessons(), recorded.weights_sha256)
    digits = run.config.load_digits("test")
    others = study.comparison_runs.others
    context = LessonContext(run, run.load_model()[0], digits, 5, 0, recorded, others, precomputed=known)
    measured = {finding.lesson.name: finding for finding in study.findings}
    findings = [
        Finding.measure(lesson, context) if lesson.result in known else measured[lesson.name]
        for lesson in all_lessons()
        if lesson.result in known or lesson.name in measured
    ]
    return in_language(replace(made, study=replace(study, findings=tuple(findings))), made.texts)


def in_language(made: Made, texts: Texts) -> Made:
    """Return the same study in another language, with a small picture for every figure."""
    lessons = narrate(made.study.findings, made.study.recording, texts)
    drawn = [drawing for lesson in lessons for drawing in lesson.drawings]
    picture = small_picture(drawn[0])
    return replace(made, lessons=lessons, texts=texts, pictures={one.name: picture for one in drawn})


def decided(made: Made, holds: bool | None) -> Made:
    """Return the study with every claim decided in one way."""
    findings = [
        replace(one, claims=tuple(replace(claim, holds=holds) for claim in one.claims)) for one in made.study.findings
    ]
    return replace(made, study=replace(made.study, findings=tuple(findings)))


def other_words(slide: Slide) -> str:
    """Return all words on a slide besides its title and its table."""
    line = [] if slide.line is None else [slide.line]
    return " ".join(f"{one.lead} {one.text}" for one in (*line, *slide.points))


def limits(slides: Iterator[Slide]) -> list[tuple[str, str, int]]:
    """Return (slide, what, words) of everything that is too long."""
    found = []
    for slide in slides:
        parts = [("title", slide.title, 12), ("notes", slide.notes, 60)]
        if not slide.name.startswith("references"):
            parts.append(("slide", other_words(slide), 20))
        found += [(slide.name, what, num_words(text)) for what, text, most in parts if num_words(text) > most]
    return found


@pytest.mark.parametrize("lang", languages())
def test_titles_lines_and_notes_are_short_however_claims_came_out(lang: str, shipped: Made) -> None:
    made = in_language(shipped, load_texts(lang))
    assert limits(made.slides().values()) == []
    assert len(made.slides()) > 60
    for outcome, holds in OUTCOMES.items():
        slides = decided(made, holds).slides()
        for one in DECIDED:
            if has_outcome(made.texts, OWNERS[one.figure], one, outcome) and one.name in slides:
                title = slides[one.name].title
                assert num_words(title) <= 12, title


def has_outcome(texts: Texts, lesson: str, slide: PlannedSlide, outcome: str) -> bool:
    """Return whether the claims of a slide can come out so."""
    return all(f"chapter.{lesson}.claim_{claim}_{outcome}" in texts for claim in slide.claims)


def test_the_count_of_words_can_fail() -> None:
    assert num_words("From t = 259 on, the noise is stronger than the image") == 11
    assert num_words("从 t = 259 起，噪声强于图像") == 6
    assert num_words("x_t = √ᾱ x₀ + √(1−ᾱ) ε") == 5
    long = Slide("a", "b", " ".join(["word"] * 13), notes=" ".join(["word"] * 61))
    assert [what for _, what, _ in limits(iter([long]))] == ["title", "notes"]


@pytest.mark.parametrize("lang", languages())
@pytest.mark.parametrize("slide", DECIDED, ids=lambda slide: slide.name)
def test_every_outcome_of_a_claim_has_a_title_of_its_own(lang: str, slide: PlannedSlide) -> None:
    texts = load_texts(lang)
    lesson = OWNERS[slide.figure]
    assert all(f"chapter.{lesson}.claim_{claim}" in texts for claim in slide.claims)
    titles = [
        texts[f"deck.slide.{slide.name}.title_{outcome}"]
        for outcome in OUTCOMES
        if has_outcome(texts, lesson, slide, outcome)
    ]
    assert titles[0] not in titles[1:]
    assert f"deck.slide.{slide.name}.title" not in texts


@pytest.mark.parametrize("lang", languages())
def test_a_title_follows_the_measurement(lang: str, shipped: Made) -> None:
    made = in_language(shipped, load_texts(lang))
    facts = {one.lesson.name: one for one in made.study.findings}
    (gain,) = (claim.facts for claim in facts["guidance"].claims if claim.name == "obeys")
    (loss,) = (claim.facts for claim in facts["guidance"].claims if claim.name == "forgets")
    title = made.slides()["guidance"].title
    shares = [f"{one:.0%}" for one in (gain["plain"], gain["strong"], loss["plain"], loss["strong"])]
    assert re.findall(r"\d+%", title) == shares
    copied = facts["memorisation"].facts_by_name
    assert {str(copied["flagged"]), str(copied["count"])} <= set(re.findall(r"\d+", made.slides()["copies"].title))
    (few,) = (claim.facts for claim in facts["samplers"].claims if claim.name == "few_strokes")
    assert f"{few['share']:.1%}" in made.slides()["samplers"].title
    opposite = decided(made, False).slides()["guidance"].title
    assert opposite != title
    assert re.findall(r"\d+%", opposite) == shares


PRAISE = re.compile(r"\b(right|better|enough|buys|nearer|straighter|Yes|No:)\b|是：|更直|更近|够了|模糊是对的")


@pytest.mark.parametrize("lang", languages())
def test_nothing_is_praised_where_no_claim_was_found(lang: str, shipped: Made) -> None:
    """An unfinished network: no title says that something was reached that was not."""
    made = in_language(shipped, load_texts(lang))
    poor = decided(made, False).slides()
    negated = re.compile(r"\b[Nn]ot\b|\b[Nn]o\b|并不|不够|不是")
    praised = [slide.title for slide in poor.values() if PRAISE.search(slide.title) and not negated.search(slide.title)]
    assert [title for title in praised if not title.endswith(("?", "？"))] == []
    assert len([slide for slide in decided(made, True).slides().values() if PRAISE.search(slide.title)]) > 5


_CITATION = r"([A-Z][\w-]+)(?: et al\.| ?(?:&|与|和) ?[A-Z][\w-]+)?[,，]? ?[(（]?((?:19|20)\d\d)\b"


def citations(texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield (first author, year) of every paper that the lessons and slides name."""
    for key, text in texts.items():
        if key.split(".")[0] in ("chapter", "deck", "own", "picture"):
            yield from re.findall(_CITATION, text)


@pytest.mark.parametrize("lang", languages())
def test_every_paper_that_the_lessons_name_is_among_the_references(lang: str) -> None:
    known = {
        (paper.split(",")[0].split(" (")[0].split()[-1], re.findall(r"\((\d{4})\)", paper)[0])
        for paper in PAPERS.values()
    }
    named = set(citations(load_texts(lang)))
    assert len(named) >= 8
    assert named <= known


def test_every_reference_has_authors_year_and_title() -> None:
    for key, paper in PAPERS.items():
        found: Any = re.fullmatch(r"([^()]+) \((\d{4})\)\. ([^.]+(?:\.ai)?[.?])( .+)\.", paper)
        assert found, paper
        assert key.rstrip("b").endswith(found[2])


@pytest.mark.parametrize("lang", languages())
def test_slides_name_the_tasks_of_the_live_lab(lang: str, shipped: Made) -> None:
    tasks = {plan.name: plan.lesson for plan in PLANS}
    named = [slide for slide in OUTLINE if slide.task]
    assert [OWNERS[slide.figure] for slide in named] == [tasks[slide.task] for slide in named]
    assert len({slide.task for slide in named}) == len(named) == 10
    made = in_language(shipped, load_texts(lang))
    slides, other = made.slides(), replace(made, study=replace(made.study, run=Run.control("flow"))).slides()
    for slide in named:
        title = made.texts[f"live.task.{slide.task}.title"]
        spoken = slides[f"ask_{slide.name}" if slide.question else slide.name]
        assert title in spoken.notes.rpartition("vizdiff live")[2]
        assert title in slides[slide.name].handout_paragraphs[-1].text
        assert "vizdiff live" not in other[slide.name].notes, "its tasks are about the bundled weights"
