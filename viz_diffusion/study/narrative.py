"""Findings in words: a lesson's facts and claims, joined with its texts, figures, table and charts.

Gets findings only; knows nothing about networks, nor which lessons there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from viz_diffusion.lessons.base import Claim, Finding, Series
from viz_diffusion.plots.page_svg import page_svg
from viz_diffusion.plots.saving import save_figure
from viz_diffusion.plots.theme import PAGE_HEIGHT, PAGE_WIDTH
from viz_diffusion.study.blocks import Answer, Chapter, Chart, Correction, Line, Picture, Table
from viz_diffusion.study.class_names import draw_in_words
from viz_diffusion.study.wording import (
    NO_OPTIONS,
    CommandOptions,
    join,
    quoted_with_options,
    with_options,
    wording,
)
from viz_diffusion.text.catalogue import Texts, true_minus


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its words, in no particular file format yet."""

    name: str
    """``steps``, ``forward`` and so on: the file name without its ending."""
    draw: Callable[[], Figure]
    """Draws it."""
    title: str
    """A few words, as on a slide."""
    alt: str
    """A description for readers who cannot see it."""
    caption: str
    """The text below it."""
    svg: bytes = b""
    """The image as the page shows it, where it is precomputed; empty where it has to be drawn."""
    details: str = ""
    """How it was made: seeds, sizes, intervals, definitions; empty for none."""

    @cached_property
    def figure(self) -> Figure:
        """The figure, drawn on first use."""
        return self.draw()

    def picture(self) -> Picture:
        """Return it as an SVG for the page, in light and dark colours."""
        data = self.svg or page_svg(self.figure)
        size = (PAGE_WIDTH, PAGE_HEIGHT)
        return Picture(self.name, data, self.alt, self.caption, *size, self.title, "image/svg+xml", self.details)


@dataclass(frozen=True, eq=False)
class NarratedLesson:
    """A finding in one language: what a page or a deck shows of a lesson."""

    name: str
    """The lesson's name."""
    title: str
    """The subject, such as "Classifier-free guidance"."""
    question: str
    """The lesson's question."""
    text: str
    """One paragraph."""
    drawings: tuple[Drawing, ...]
    """The figures, in order."""
    table: Table
    """The numbers."""
    charts: tuple[Chart, ...]
    """What has one value at each recorded step."""
    try_this: str
    """A command to run next."""
    say: str
    """One sentence for the speaker."""
    exercise: str
    """A question for the class."""
    answer: str
    """Its answer."""
    folded: bool
    """Whether it is an advanced chapter."""
    facts: dict[str, Any]
    """The facts that the texts were filled with, by name."""
    answers: tuple[Answer, ...] = ()
    """The claims, as questions with their answers."""
    note: str = ""
    """How it was measured, where it is precomputed; empty where it was measured now."""
    precomputed: bool = False
    """Whether all of it was precomputed for these weights."""
    in_exercise: tuple[str, ...] = ()
    """Names of the drawings that the exercise is about."""
    other_digit: Mapping[str, str] = field(default_factory=dict)
    """For a drawing whose digit is not the recording's, by its name: a sentence that says which and why."""
    advanced: tuple[str, ...] = ()
    """Names of the drawings that belong to the advanced part."""
    advanced_text: str = ""
    """The paragraph of that part; empty where there is none."""
    correction: Correction | None = None
    """How far a saying of the story holds."""
    subtitle: str = ""
    """The story's name, such as "The loud patron"; empty for none."""

    def chapter(self, pictures: dict[str, Picture]) -> Chapter:
        """Return it as a chapter of the page, given its drawings as pictures."""
        return Chapter(
            id=self.name,
            title=self.title,
            question=self.question,
            pictures=tuple(pictures[one.name] for one in self.drawings if one.name not in self.advanced),
            paragraphs=(self.text,),
            charts=self.charts,
            tables=(self.table,),
            try_this=self.try_this,
            say=self.say,
            exercise=self.exercise,
            answer=self.answer,
            folded=self.folded,
            answers=self.answers,
            note=self.note,
            advanced=tuple(pictures[one.name] for one in self.drawings if one.name in self.advanced),
            advanced_text=self.advanced_text,
            correction=self.correction,
            subtitle=self.subtitle,
        )


def narrate(
    findings: Iterable[Finding],
    recording: dict[str, Any],
    texts: Texts,
    on_drawing: Callable[[Drawing], None] | None = None,
    options: CommandOptions = NO_OPTIONS,
) -> tuple[NarratedLesson, ...]:
    """Join findings with their figures and texts, filled in.

    Parameters
    ----------
    findings
        Measured lessons, in the order of the story.
    recording
        The facts of the recording, by name; every text may name them.
    texts
        The catalogue of one language.
    on_drawing
        Called with each figure.
    options
        Options that commands need to be about the run that was measured.
    """
    return tuple(_narrate(finding, recording, texts, on_drawing, options) for finding in findings)


def _narrate(
    finding: Finding,
    recording: dict[str, Any],
    texts: Texts,
    on_drawing: Callable[[Drawing], None] | None,
    options: CommandOptions,
) -> NarratedLesson:
    name = f"chapter.{finding.lesson.name}"
    facts = wording(recording | finding.facts_by_name, texts)
    drawn = drawings(finding.lesson.draw(finding.data), facts, texts, finding.pictures(texts.lang))
    if on_drawing is not None:
        for drawing in drawn:
            on_drawing(drawing)
    in_advanced = tuple(figure.name for figure in finding.lesson.all_figures if figure.advanced)
    advanced = any(drawing.name in in_advanced for drawing in drawn) and f"{name}.advanced" in texts
    rows = finding.lesson.rows(finding.facts, texts)
    cells = tuple(tuple(map(true_minus, row)) for row in rows.rows)
    header = tuple(texts[f"{name}.column_{column}"] for column in rows.columns)
    other = _other_digit(finding, recording, texts)
    precomputed = finding.precomputed and not finding.lesson.core
    measured = _optional(texts, f"{name}.measured_full", facts) or texts("report.measured_full", **facts)
    return NarratedLesson(
        name=finding.lesson.name,
        title=texts[f"{name}.title"],
        question=texts[f"{name}.question"],
        text=true_minus(texts(f"{name}.text", **facts)),
        drawings=tuple(drawn),
        table=Table(true_minus(texts(f"{name}.table", **facts)), header, cells),
        charts=tuple(_chart(series, name, facts, texts) for series in finding.lesson.series(finding.data)),
        try_this=with_options(texts(f"{name}.try_this", **facts), options),
        say=true_minus(texts(f"{name}.say", **facts)),
        exercise=true_minus(texts(f"{name}.exercise", **facts)),
        answer=true_minus(texts(f"{name}.answer", **facts)),
        folded=not finding.lesson.core,
        facts=finding.facts_by_name,
        answers=tuple(_answer(claim, name, facts, texts) for claim in finding.claims),
        note=join(measured if finding.precomputed else "", *(other.values() if precomputed else ())),
        precomputed=precomputed,
        in_exercise=tuple(figure.name for figure in finding.lesson.all_figures if figure.in_exercise),
        other_digit=other,
        advanced=in_advanced,
        advanced_text=true_minus(texts(f"{name}.advanced", **facts)) if advanced else "",
        correction=_correction(finding.lesson.name, facts, texts, options),
        subtitle=_optional(texts, f"{name}.subtitle", facts),
    )


def _other_digit(finding: Finding, recording: dict[str, Any], texts: Texts) -> dict[str, str]:
    """Return a sentence for each figure whose digit is not the recording's, by its name."""
    figures = [figure for figure in finding.lesson.all_figures if figure.digit]
    shown = {figure.name: finding.facts_by_name.get(figure.digit) for figure in figures}
    return {
        name: texts("report.other_digit", other=texts.label(digit))
        for name, digit in shown.items()
        if digit is not None and digit != recording.get("digit", digit)
    }


def _answer(claim: Claim, chapter: str, facts: dict[str, Any], texts: Texts) -> Answer:
    """Return a claim in words: those of its outcome, filled in with its facts and the lesson's."""
    key = f"{chapter}.claim_{claim.name}"
    values = facts | wording(dict(claim.facts), texts)
    return Answer(
        question=texts(key, **values),
        verdict=texts[f"report.claim_{claim.outcome}"],
        text=true_minus(texts(f"{key}_{claim.outcome}", **values)),
        holds=claim.holds,
    )


def _correction(lesson: str, facts: dict[str, Any], texts: Texts, options: CommandOptions) -> Correction | None:
    key = f"deck.correction.{lesson}"
    if f"{key}.said" not in texts:
        return None
    said, holds = (true_minus(texts(f"{key}.{part}", **facts)) for part in ("said", "holds"))
    return Correction(said, quoted_with_options(holds, options))


def _optional(texts: Texts, key: str, facts: dict[str, Any]) -> str:
    """Return a text, filled in; empty where the catalogue has none."""
    return true_minus(texts(key, **facts)) if key in texts else ""


def _chart(series: Series, chapter: str, facts: dict[str, Any], texts: Texts) -> Chart:
    words = f"{chapter}.series_{series.name}"
    return Chart(
        name=series.name,
        title=true_minus(texts(words, **facts)),
        caption=true_minus(texts(f"{words}_caption", **facts)),
        steps_left=series.steps_left,
        lines=tuple(Line(texts[f"{words}_{line}"], values) for line, values in series.lines.items()),
    )


def drawings(
    figures: Mapping[str, Figure], facts: dict[str, Any], texts: Texts, pictures: Mapping[str, bytes] | None = None
) -> list[Drawing]:
    """Join figures with their texts, filled in from ``facts`` (see :func:`~viz_diffusion.study.wording.wording`).

    ``pictures`` are those that are drawn already (SVG), by name: their figures are only drawn when they are used.
    """
    joined = []
    for name in figures:
        words = (texts(f"picture.{name}.{part}", **facts) for part in ("title", "alt", "caption"))
        title, alt, caption = map(true_minus, words)
        details = _optional(texts, f"picture.{name}.details", facts)
        svg, draw = (pictures or {}).get(name, b""), partial(draw_in_words, figures, name, texts)
        joined.append(Drawing(name, draw, title, alt, caption, svg, details))
    return joined


def captions_and_details(drawn: Iterable[Drawing]) -> dict[str, dict[str, str]]:
    """Return the captions of drawings, and the details of those that have any, by name: what is written as JSON."""
    shown = tuple(drawn)
    return {
        "captions": {drawing.name: drawing.caption for drawing in shown},
        "details": {drawing.name: drawing.details for drawing in shown if drawing.details},
    }


def save_drawing(drawing: Drawing, folder: Path) -> None:
    """Write a drawing as PNG and SVG, with its caption as metadata."""
    for ending in ("png", "svg"):
        save_figure(drawing.figure, folder / f"{drawing.name}.{ending}", description=drawing.caption)
