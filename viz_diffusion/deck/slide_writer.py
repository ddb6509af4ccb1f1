"""Texts, pictures and tables of the slides, one kind of slide a method.

Knows nothing about PowerPoint or PDF. Every number comes from the facts of the study.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from viz_diffusion.deck.layout import POINTS, TEXT_SIZE, pack_points
from viz_diffusion.deck.outline import PlannedSlide
from viz_diffusion.deck.pictures import DeckPicture, Film, grey_picture
from viz_diffusion.deck.references import reference_list
from viz_diffusion.deck.slides import Paragraph, Slide
from viz_diffusion.lessons.suitability import FIGURE_RUNS, OWN_RUNS
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.blocks import Table
from viz_diffusion.study.narrative import Drawing, NarratedLesson
from viz_diffusion.study.reading import read_study
from viz_diffusion.study.study import Study, provenance
from viz_diffusion.study.wording import join, wording
from viz_diffusion.text.catalogue import Texts, true_minus
from viz_diffusion.views import frames as frames_view

COVER_SIDE = 1680
"""Most picture pixels along each side of the cover's picture."""
MOST_NOTES = 60
"""Words of the speaker's notes where they are not the catalogue's own."""
_ROWS = 7
"""Most rows of the summary on one slide."""
_MADE_WITH = ("run", "weights_sha256", "dataset", "steps", "seed", "sampler", "guidance")
"""What the notes of the last slide say of the deck's making."""


@dataclass(frozen=True, eq=False)
class SlideWriter:
    """Writes the slides of one study in one language."""

    study: Study
    lessons: Sequence[NarratedLesson]
    texts: Texts
    command: str
    pictures: dict[str, DeckPicture]
    film: Film | None

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The facts of the recording, as texts use them."""
        return wording(self.study.recording, self.texts) | {"trained": f"{self.study.run.trained_steps:,}"}

    @cached_property
    def owners(self) -> dict[str, tuple[NarratedLesson, Drawing]]:
        """The lesson and the drawing of every figure, by the figure's name."""
        return {drawing.name: (lesson, drawing) for lesson in self.lessons for drawing in lesson.drawings}

    def text(self, key: str, **facts: Any) -> str:
        """Return a text of a slide, filled in; empty where the catalogue has none."""
        full = f"deck.slide.{key}"
        return true_minus(self.texts(full, **{**self.facts, **facts})) if full in self.texts else ""

    def slides(self, planned: Sequence[PlannedSlide]) -> tuple[Slide, ...]:
        """Write the slides, in order; the summary answers their questions, and the references are their papers."""
        written = [slide for one in planned for slide in self.planned(one, planned)]
        return tuple(written)

    def planned(self, slide: PlannedSlide, planned: Sequence[PlannedSlide]) -> Iterator[Slide]:
        """Write one slide of the outline, after its question."""
        if slide.name == "cover":
            yield self.cover()
        elif slide.name == "film" and self.film is not None:
            start = self.texts["deck.section_start"]
            line = Paragraph(self.text("film.lead"), self.text("film.line"))
            yield Slide("film", start, self.text("film.title"), line, self.film.gif, notes=self.notes(slide))
        elif slide.name == "summary":
            yield from self.summary(planned)
        elif slide.name == "references":
            yield from self.references(planned)
        elif slide.name == "made_with":
            yield self.made_with()
        elif slide.figure:
            if slide.question:
                yield self.question(slide, planned)
            yield self.figure(slide, planned)

    def cover(self) -> Slide:
        """Write the first slide: the finished image, the lecture's title and the facts of the run.

        Where the model was not trained well or to its end, the notes say so instead of introducing it.
        """
        trajectory, facts, texts = self.study.trajectory, self.facts, self.texts
        reading = read_study(self.study)
        line = texts("deck.cover_line", run=self.study.run.name, **facts)
        line = "\n".join(filter(None, (line, reading.short_warning(texts))))
        alt = texts("deck.cover_alt", digit=facts["digit"])
        finished = frames_view.pictures(trajectory.x0[0])
        picture = grey_picture("finished", finished, _cover_scale(trajectory), alt)
        warning = reading.long_warning(texts)
        notes = texts("deck.notes_say", text=warning) if warning else self.notes(PlannedSlide("cover"))
        section, title = texts["deck.section_start"], self.text("cover.title")
        return Slide("cover", section, title, Paragraph("", line), picture, notes=notes)

    def figure(self, slide: PlannedSlide, planned: Sequence[PlannedSlide]) -> Slide:
        """Write the slide of a figure; the first of a lesson has the lesson's table and answers in the handout."""
        lesson, drawing = self.owners[slide.figure]
        facts = self.facts_of(slide)
        line = Paragraph(self.text(f"{slide.name}.lead", **facts), self.text(f"{slide.name}.line", **facts))
        first = next(one for one in planned if one.figure and self.owners[one.figure][0] is lesson) is slide
        answers = [Paragraph(f"{one.question} {one.verdict}.", one.text) for one in lesson.answers]
        paragraphs = (Paragraph("", lesson.text), *answers, *([Paragraph("", lesson.note)] if lesson.note else ()))
        task = self.live_task(slide)
        return Slide(
            name=slide.name,
            section=lesson.title,
            title=self.message(slide),
            line=line if line.text else None,
            picture=self.pictures[slide.figure],
            notes=self.notes(slide, lesson),
            caption=join(drawing.caption, lesson.other_digit.get(drawing.name, "")),
            handout_table=lesson.table if first else None,
            handout_paragraphs=(*(paragraphs if first else ()), *([Paragraph("", task)] if task else ())),
        )

    def live_task(self, slide: PlannedSlide) -> str:
        """Return the sentence that names the live lab's task of a slide; its tasks are about the bundled weights."""
        if not slide.task or not self.study.run.is_bundled:
            return ""
        return self.texts("deck.try_live", task=self.texts[f"live.task.{slide.task}.title"])

    def question(self, slide: PlannedSlide, planned: Sequence[PlannedSlide]) -> Slide:
        """Write the question that a slide answers: with a figure, with the film, which can be stopped, or alone.

        The handout has only its figure, where no other slide has it: in print, the answer would stand below.
        """
        lesson, _ = self.owners[slide.figure]
        facts = self.facts_of(slide)
        hint = Paragraph("", self.text(f"{slide.name}.hint", **facts))
        picture, movie = self.pictures.get(slide.asked_with), None
        if slide.asked_with == "film" and self.film is not None:
            picture, movie = self.film.poster, self.film.mp4
        asking = self.texts["deck.question_movie" if movie else "deck.question_say"]
        printed = slide.asked_with in self.pictures and slide.asked_with not in {one.figure for one in planned}
        drawing = self.owners[slide.asked_with][1] if printed else None
        return Slide(
            name=f"ask_{slide.name}",
            section=lesson.title,
            title=self.text(f"{slide.name}.question", **facts),
            line=hint if picture else None,
            picture=picture,
            movie=movie,
            points=() if picture else (hint,),
            notes="\n\n".join(filter(None, (asking, self.live_task(slide)))),
            caption=join(drawing.caption, lesson.other_digit.get(drawing.name, "")) if drawing else "",
            handout=printed,
            handout_title=drawing.title if drawing else "",
        )

    def facts_of(self, slide: PlannedSlide) -> dict[str, Any]:
        """Return what the texts of a slide may name: the facts of its lesson and of its claim.

        Where it has several claims, each one's facts have the claim's name before them: ``{obeys[plain]}``.
        """
        lesson, _ = self.owners[slide.figure]
        claims = {claim.name: dict(claim.facts) for claim in self._claims(lesson.name) if claim.name in slide.claims}
        own = claims if len(claims) != 1 else claims[slide.claims[0]]
        return wording(self.study.recording | lesson.facts | own, self.texts)

    def _claims(self, lesson: str) -> Sequence[Any]:
        return next(finding.claims for finding in self.study.findings if finding.lesson.name == lesson)

    def message(self, slide: PlannedSlide) -> str:
        """Return the title of a figure's slide: what was measured, as its claims came out."""
        lesson, drawing = self.owners[slide.figure]
        facts, key = self.facts_of(slide), f"{slide.name}.title"
        if slide.claims:
            held = [claim.holds for claim in self._claims(lesson.name) if claim.name in slide.claims]
            key += "_not_found" if False in held else "_open" if None in held else "_found"
        return self.text(key, **facts) or drawing.title

    def notes(self, slide: PlannedSlide, lesson: NarratedLesson | None = None) -> str:
        """Return the speaker's notes: what to say, where to point, one question to ask; else the lesson's words."""
        facts = {} if lesson is None else self.facts_of(slide)
        parts = [
            self.texts(f"deck.notes_{part}", text=text)
            for part in ("say", "point", "ask")
            if (text := self.text(f"{slide.name}.{part}", **facts))
        ]
        if lesson is not None and lesson.other_digit.get(slide.figure):
            parts.append(lesson.other_digit[slide.figure])
        if not parts and lesson is not None:
            parts = [self.texts("deck.notes_say", text=at_most(lesson.say, MOST_NOTES - 1))]
        if lesson is not None and lesson.precomputed:
            run = FIGURE_RUNS.get(slide.figure, OWN_RUNS.get(lesson.name, ""))
            parts.append(self.texts("deck.notes_run", run=run) if run else "")
        if not slide.question:
            parts.append(self.live_task(slide))
        return "\n\n".join(filter(None, parts))

    def summary(self, planned: Sequence[PlannedSlide]) -> Iterator[Slide]:
        """Write every question of the deck with its answer, as tables that fit on a slide."""
        texts = self.texts
        header = (texts["deck.summary_question"], texts["deck.summary_answer"])
        asked = [one for one in planned if one.question]
        rows = [(self.text(f"{one.name}.question", **self.facts_of(one)), self.message(one)) for one in asked]
        title = texts["deck.summary_title"]
        for number, group in enumerate(_even(rows, _ROWS), 1):
            yield Slide(
                name=f"summary_{number}",
                section=texts["deck.section_end"],
                title=title,
                table=Table(title, header, tuple(group)),
                notes=texts["deck.summary_notes"],
            )

    def references(self, planned: Sequence[PlannedSlide]) -> Iterator[Slide]:
        """Write the papers that the deck's slides draw on."""
        papers = [("", paper) for paper in reference_list(key for one in planned for key in one.papers)]
        for number, group in enumerate(pack_points(papers, POINTS, TEXT_SIZE), 1):
            yield Slide(
                name=f"references_{number}",
                section=self.texts["deck.section_end"],
                title=self.texts["deck.references_title"],
                points=tuple(Paragraph("", papers[index][1]) for index in group),
                notes=self.texts["deck.references_notes"],
            )

    def made_with(self) -> Slide:
        """Write the last slide: the command that makes the deck again; the notes say which weights made it."""
        known = provenance(self.study, self.command, self.texts)
        known["steps"] = (known["steps"][0], self.facts["trained"])
        rows = [" · ".join(known[key]) for key in _MADE_WITH if key in known]
        version = known["versions"][1].split(", ")[0]
        return Slide(
            name="made_with",
            section=self.texts["deck.section_end"],
            title=self.texts["deck.made_with_title"],
            points=(Paragraph("", self.command),),
            notes="\n".join([*rows, version]),
        )

    def exercises(self, shown: Container[str]) -> tuple[Paragraph, ...]:
        """Return the exercises of the core lessons on figures in ``shown``, for the handout."""
        return tuple(
            Paragraph(one.question, one.exercise)
            for one in self.lessons
            if one.exercise and not one.folded and all(name in shown for name in one.in_exercise)
            if any(drawing.name in shown for drawing in one.drawings)
        )


def at_most(text: str, words: int) -> str:
    """Return the first sentences of a text that have ``words`` words together at most, and at least one sentence."""
    kept = ""
    for sentence in re.findall(r".+?(?:[.!?](?=\s|$)|[。！？]|$)\s*", text):
        if kept and len((kept + sentence).split()) > words:
            break
        kept += sentence
    return kept.strip()


def _even(rows: Sequence[tuple[str, str]], most: int) -> list[Sequence[tuple[str, str]]]:
    """Return rows in groups of about the same size, as few as hold at most ``most`` each."""
    groups = -(-len(rows) // most)
    edges = [len(rows) * k // groups for k in range(groups + 1)] if groups else []
    return [rows[first:last] for first, last in pairwise(edges)]


def _cover_scale(trajectory: Trajectory) -> int:
    """Return how many picture pixels one pixel of the finished image takes on the cover: 60 of 28 x 28."""
    return max(1, COVER_SIDE // max(trajectory.x0.shape[-2:]))
