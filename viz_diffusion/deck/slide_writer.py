"""Texts, pictures and tables of every slide that a deck can contain, one kind of slide a method.

Knows nothing about PowerPoint or PDF. Every number comes from the facts of the lessons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from viz_diffusion.deck.layout import AREA, POINTS, pack_points, shape_table, split_line
from viz_diffusion.deck.pictures import DeckPicture, Film, grey_picture
from viz_diffusion.deck.slides import Paragraph, Slide
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.blocks import Table
from viz_diffusion.study.narrative import Drawing, NarratedLesson
from viz_diffusion.study.reading import read_study
from viz_diffusion.study.study import Study, provenance
from viz_diffusion.study.wording import join, wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views import frames as frames_view

COVER_SIDE = 1680
"""Most picture pixels along each side of the cover's picture."""
_TABLE_LESSONS = ("guess", "step", "noising")
"""Lessons whose table gets a slide, the most important first; the tables of others are in the notes only."""
LAST_RANK = 9
"""Rank of advanced figures and of a lesson's third figure: included only if there is room for everything."""
_RANKS = {(False, True): 0, (False, False): 2, (True, True): 1, (True, False): LAST_RANK}
"""Rank of a figure's slide by (whether its lesson is outside the core, whether it is the lesson's first figure)."""
_PROVENANCE = (
    "run",
    "weights_sha256",
    "dataset",
    "steps",
    "weighting",
    "schedule",
    "seed",
    "sampler",
    "guidance",
    "versions",
)
"""Rows of the last slide's table; the notes hold the others too."""


def _cover_scale(trajectory: Trajectory) -> int:
    """Return how many picture pixels one pixel of the finished image takes on the cover: 60 of 28 x 28."""
    return max(1, COVER_SIDE // max(trajectory.x0.shape[-2:]))


FigureCommand = Callable[[NarratedLesson, str], str]
"""Returns the command line that makes a figure of a lesson, given by its name, again."""


@dataclass(frozen=True, eq=False)
class SlideWriter:
    """Writes the slides of one study in one language."""

    study: Study
    texts: Texts
    command: str
    figure_command: FigureCommand

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the recording, as texts use them."""
        return wording(self.study.recording, self.texts)

    def slides(
        self,
        lessons: Sequence[NarratedLesson],
        pictures: dict[str, DeckPicture],
        film: Film | None,
        shown: Container[str],
    ) -> list[Slide]:
        """Write every possible slide, with exercises only on figures in ``shown``."""
        slides = [self.cover(), *(self.film(film) if film is not None else ())]
        for lesson in lessons:
            slides += [*self.figures(lesson, pictures), *self.table(lesson)]
        slides += self.movie(film) if film is not None else ()
        slides += [*self.exercises(lessons, shown), *self.corrections(lessons)]
        slides += [self.commands(lessons), self.provenance(lessons)]
        return slides

    def notes(self, say: str = "", *paragraphs: str, command: str = "", then: str = "") -> str:
        """Join the speaker's notes; ``command`` makes the picture again, ``then`` is a command to try next."""
        first = [self.texts("deck.notes_say", text=say)] if say else []
        commands = [self.texts("deck.notes_command", text=command)] if command else []
        commands += [self.texts("deck.notes_then", text=then)] if then and not command.startswith(then) else []
        return "\n\n".join([*first, *(text for text in paragraphs if text), *commands])

    def cover(self) -> Slide:
        """Write the first slide: the finished digit, the deck's title and the facts of the run."""
        facts, trajectory = self.facts, self.study.trajectory
        weights = trajectory.weights_sha256[:8]
        line = self.texts("deck.cover_line", run=self.study.run.name, weights=weights, **facts)
        reading = read_study(self.study)
        line = "\n".join(filter(None, (line, reading.warning(self.texts))))
        alt = self.texts("deck.cover_alt", digit=facts["digit"])
        finished = frames_view.pictures(trajectory.x0[0])
        picture = grey_picture("finished", finished, _cover_scale(trajectory), alt)
        title = self.texts("report.title", **facts)
        say = self.texts("deck.cover_say", **facts)
        notes = self.notes(say, reading.long_warning(self.texts), command=self.command)
        return Slide("cover", self.texts["deck.section_start"], title, line, picture, notes=notes)

    def film(self, film: Film) -> Iterator[Slide]:
        """Write the slide with the film as a GIF."""
        texts, facts = self.texts, self.facts
        section, title, line = texts["deck.section_start"], texts["deck.film_title"], texts["deck.film_line"]
        notes = self.notes(texts("deck.film_say", **facts), film.gif.alt, command=self.command)
        yield Slide("film", section, title, line, film.gif, notes=notes, rank=1)

    def movie(self, film: Film) -> Iterator[Slide]:
        """Write the exercise of stopping the film, if there is an MP4, which can be stopped."""
        texts = self.texts
        if film.mp4 is not None:
            notes = self.notes(texts["deck.movie_say"], texts["deck.movie_note"], command=self.command)
            section, title, line = texts["deck.exercises_title"], texts["deck.movie_title"], texts["deck.movie_line"]
            yield Slide("movie", section, title, line, film.poster, film.mp4, notes=notes, rank=3)

    def figures(self, lesson: NarratedLesson, pictures: dict[str, DeckPicture]) -> Iterator[Slide]:
        """Write one slide for each figure; the first has the lesson's question as its title."""
        answers = [Paragraph(f"{one.question} {one.verdict}.", one.text) for one in lesson.answers]
        texts = [Paragraph("", text) for text in (lesson.text, lesson.note) if text]
        for index, drawing in enumerate(lesson.drawings):
            line = self.short_line(drawing, lesson)
            first = index == 0
            caption = join(drawing.caption, lesson.other_digit.get(drawing.name, ""))
            rest = (*(f"{one.lead} {one.text}" for one in answers), lesson.note) if first else ()
            yield Slide(
                name=drawing.name,
                section=lesson.title,
                title=lesson.question if first else drawing.title,
                line=line,
                picture=pictures[drawing.name],
                notes=self.notes(
                    lesson.say if first else line,
                    lesson.text if first else "",
                    caption,
                    *rest,
                    _table_text(lesson.table) if first else "",
                    command=self.figure_command(lesson, drawing.name),
                    then=lesson.try_this,
                ),
                caption=caption,
                handout_paragraphs=(*texts[:1], *answers, *texts[1:]) if first else (),
                handout_table=lesson.table if first else None,
                rank=LAST_RANK if index > 1 or drawing.name in lesson.advanced else _RANKS[lesson.folded, first],
            )

    def table(self, lesson: NarratedLesson) -> Iterator[Slide]:
        """Write the slide of a lesson's table, if the lesson is one of those that get one and the table fits."""
        if lesson.name in _TABLE_LESSONS and _fits(lesson.table, lesson.table.caption):
            yield Slide(
                name=f"table_{lesson.name}",
                section=lesson.title,
                title=lesson.title,
                line=lesson.table.caption,
                table=lesson.table,
                notes=self.notes(
                    lesson.say,
                    lesson.text,
                    command=f"{self.figure_command(lesson, lesson.drawings[0].name)} --json",
                    then=lesson.try_this,
                ),
                rank=4 + _TABLE_LESSONS.index(lesson.name),
            )

    def short_line(self, drawing: Drawing, lesson: NarratedLesson) -> str:
        """Return the figure's own line for a slide, or else the first sentence of its caption."""
        key = f"deck.line.{drawing.name}"
        if key in self.texts:
            line = self.texts(key, **wording(self.study.recording | lesson.facts, self.texts))
        else:
            line = re.split(r"(?<=[.!?])\s+|(?<=[。！？])", drawing.caption, maxsplit=1)[0]
        return join(line, lesson.other_digit.get(drawing.name, ""))

    def exercises(self, lessons: Sequence[NarratedLesson], shown: Container[str]) -> Iterator[Slide]:
        """Write the exercises of the core lessons, as many on a slide as fit, with the answers in the notes.

        Left out are exercises on figures that are not among ``shown``.
        """
        chosen = [
            one for one in lessons if one.exercise and not one.folded and all(name in shown for name in one.in_exercise)
        ]
        points = [Paragraph(one.question, one.exercise) for one in chosen]
        answers = {one.question: f"{one.question} {one.answer}" for one in chosen}
        title = self.texts["deck.exercises_title"]
        groups = pack_points([(point.lead, point.text) for point in points], POINTS)
        for number, group in enumerate(groups, 1):
            yield Slide(
                name=f"exercises_{number}",
                section=title,
                title=title,
                points=tuple(points[index] for index in group),
                has_answer_lines=True,
                notes=self.notes(
                    "", self.texts["deck.exercises_note"], *(answers[points[index].lead] for index in group)
                ),
                rank=1,
            )

    def corrections(self, lessons: Sequence[NarratedLesson]) -> Iterator[Slide]:
        """Write where the sculptor metaphor does not hold, for the lessons of this deck."""
        points = []
        for lesson in lessons:
            key = f"deck.correction.{lesson.name}"
            if f"{key}.said" in self.texts:
                facts = wording(self.study.recording | lesson.facts, self.texts)
                points.append(Paragraph(self.texts(f"{key}.said", **facts), self.texts(f"{key}.holds", **facts)))
        title = self.texts["deck.corrections_title"]
        if points:
            notes = self.notes(self.texts["deck.corrections_say"], *(f"{p.lead} {p.text}" for p in points))
            yield Slide("corrections", title, title, points=tuple(points), notes=notes)

    def commands(self, lessons: Sequence[NarratedLesson]) -> Slide:
        """Write the table of commands to try, one for each lesson, as many as fit; the notes hold all."""
        texts = self.texts
        header = (texts["deck.commands_question"], texts["deck.commands_command"])
        questions: dict[str, str] = {}
        for lesson in lessons:
            questions.setdefault(lesson.try_this, lesson.question)  # a command of two lessons gets one row
        rows: list[tuple[str, str]] = []
        for command, question in questions.items():
            if _fits(Table("", header, (*rows, (question, command))), texts["deck.commands_line"]):
                rows.append((question, command))
        return Slide(
            name="commands",
            section=texts["deck.section_end"],
            title=texts["deck.commands_title"],
            line=texts["deck.commands_line"],
            table=Table(texts["deck.commands_title"], header, tuple(rows)),
            notes=self.notes(texts["deck.commands_say"], *(f"{q} {c}" for c, q in questions.items())),
            rank=2,
        )

    def provenance(self, lessons: Sequence[NarratedLesson]) -> Slide:
        """Write the last slide: which weights, seed, sampler and versions the deck was made with."""
        texts = self.texts
        known = provenance(self.study, self.command, texts)
        rows = tuple(known[key] for key in _PROVENANCE if key in known)
        caption = texts["interface.provenance_caption"]
        header = (texts["interface.provenance_name"], texts["interface.provenance_value"])
        table = Table(texts["interface.provenance"], header, rows)
        all_rows = "\n".join(f"{name} · {value}" for name, value in known.values())
        commands = "\n".join(dict.fromkeys(lesson.try_this for lesson in lessons))
        return Slide(
            name="provenance",
            section=texts["deck.section_end"],
            title=texts["interface.provenance"],
            line=self.command,
            table=table,
            notes=self.notes(texts["deck.closing_say"], caption, all_rows, commands, command=self.command),
        )


def _table_text(table: Table) -> str:
    """Return a table as lines for the notes."""
    return "\n".join([table.caption, *(" · ".join(row) for row in (table.header, *table.rows))])


def _fits(table: Table, line: str) -> bool:
    """Return whether a table fits on a slide of the default template, above its line."""
    return shape_table(table.header, table.rows, split_line(AREA, line)[0]) is not None
