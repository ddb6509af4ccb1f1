"""The plan of a deck: which slides there are and what each says, in no particular file format.

Knows nothing about PowerPoint or PDF. Every number comes from the facts that the lessons found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from viz_diffusion.deck.layout import AREA, BODY_SIZE, POINTS, Box, point_height, shape_table, split_line
from viz_diffusion.deck.pictures import Film, Still, grey_still
from viz_diffusion.study.blocks import Table
from viz_diffusion.study.narrative import Drawing, NarratedLesson, join, wording
from viz_diffusion.study.study import Study, provenance
from viz_diffusion.text.catalogue import Texts

MOST_SLIDES = 20
COVER_SCALE = 60
_NUMBERS_MATTER = ("guess", "step", "noising")
"""Lessons whose table gets a slide, the most important one first; other tables stand in the notes."""
LAST_RANK = 9
"""Of advanced figures and of third ones: in where there is room for everything."""
_RANKS = {(False, True): 0, (False, False): 2, (True, True): 1, (True, False): LAST_RANK}
"""The rank of a figure's slide, by whether its lesson is outside of the core, and whether it is its first figure."""
_SHOWN_PROVENANCE = (
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


@dataclass(frozen=True)
class Point:
    """A paragraph with a lead."""

    lead: str
    """A few words in the accent colour; empty for a paragraph by itself."""
    text: str
    """What follows it."""


@dataclass(frozen=True, eq=False)
class Slide:
    """One slide. What is empty is not on it."""

    name: str
    """``cover``, a figure's name, ``table_<lesson>`` and so on: unique in a deck."""
    section: str
    """The lesson it belongs to, by its title."""
    title: str
    """One line."""
    line: str = ""
    """One short line beneath everything else."""
    picture: Still | None = None
    """As large as possible."""
    movie: bytes | None = None
    """An MP4 in the picture's place; the picture is its poster."""
    table: Table | None = None
    """Numbers."""
    points: tuple[Point, ...] = ()
    """Paragraphs."""
    notes: str = ""
    """What the speaker reads: paragraphs with an empty line between."""
    caption: str = ""
    """What stands under the picture on paper."""
    paragraphs: tuple[Point, ...] = ()
    """What else paper says: nothing that is the speaker's alone, nor the answer of an exercise."""
    write_in: bool = False
    """Whether paper leaves room for an answer under each of the points."""
    numbers: Table | None = None
    """The table that stands beneath on paper."""
    rank: int = 0
    """0 must be there; of the others the smallest go in first while there is room."""


@dataclass(frozen=True, eq=False)
class Deck:
    """Slides in order, and what their file is called inside."""

    title: str
    """The claim on the cover."""
    lang: str
    """The language of its words."""
    slides: tuple[Slide, ...]
    """At most :data:`MOST_SLIDES`, where those that must be there allow it."""
    left_out: tuple[str, ...]
    """Names of the slides for which there was no room."""
    left_out_titles: tuple[str, ...] = ()
    """Their titles, as a reader knows them."""


Remake = Callable[[NarratedLesson, str], str]
"""The command that makes a lesson's figure, by its name, again."""


def plan(
    found: Study,
    told: Sequence[NarratedLesson],
    stills: dict[str, Still],
    film: Film | None,
    command: str,
    remake: Remake,
    texts: Texts,
) -> Deck:
    """Plan a deck.

    Parameters
    ----------
    found, told
        What was measured, and the same in words.
    stills
        Every drawing of ``told`` by name.
    film
        The moving picture; None for a handout, which cannot move.
    command
        What makes the same deck again.
    remake
        What makes one figure again.
    texts
        The catalogue of one language.
    """
    writer = _Writer(found, texts, command, remake)
    wanted = writer.slides(told, stills, film, stills)
    # once more with what can be answered from the slides there is room for, of which no fewer exercises cost one
    shown = {wanted[index].name for index in _kept(wanted)}
    wanted = writer.slides(told, stills, film, shown)
    kept = _kept(wanted)
    return Deck(
        title=texts("report.title", **writer.facts),
        lang=texts.lang,
        slides=tuple(slide for index, slide in enumerate(wanted) if index in kept),
        left_out=tuple(slide.name for index, slide in enumerate(wanted) if index not in kept),
        left_out_titles=tuple(slide.title for index, slide in enumerate(wanted) if index not in kept),
    )


def _kept(wanted: Sequence[Slide]) -> set[int]:
    """Return the places of the slides there is room for."""
    ranked = sorted(range(len(wanted)), key=lambda index: (wanted[index].rank, index))
    musts = sum(slide.rank == 0 for slide in wanted)
    return set(ranked[: max(MOST_SLIDES, musts)])


@dataclass(frozen=True, eq=False)
class _Writer:
    """Writes slides, one kind a method."""

    found: Study
    texts: Texts
    command: str
    remake: Remake

    @property
    def facts(self) -> dict[str, Any]:
        return wording(self.found.recording, self.texts)

    def slides(
        self, told: Sequence[NarratedLesson], stills: dict[str, Still], film: Film | None, shown: Container[str]
    ) -> list[Slide]:
        """Write every slide there may be; exercises are those that ask about figures in ``shown`` alone."""
        slides = [self.cover(), *(self.film(film) if film is not None else ())]
        for one in told:
            slides += self.lesson(one, stills)
        slides += self.movie(film) if film is not None else ()
        slides += [*self.exercises(told, shown), *self.corrections(told), self.commands(told), self.closing(told)]
        return slides

    def notes(self, say: str = "", *paragraphs: str, command: str = "", then: str = "") -> str:
        """Join what a speaker reads; ``command`` makes the slide's picture again, ``then`` is to be tried."""
        said = [self.texts("deck.notes_say", text=say)] if say else []
        run = [self.texts("deck.notes_command", text=command)] if command else []
        run += [self.texts("deck.notes_then", text=then)] if then and not command.startswith(then) else []
        return "\n\n".join([*said, *(text for text in paragraphs if text), *run])

    def cover(self) -> Slide:
        facts, trajectory = self.facts, self.found.trajectory
        weights = trajectory.weights_sha256[:8]
        line = self.texts("deck.cover_line", run=self.found.run.name, weights=weights, **facts)
        picture = grey_still(
            "finished", trajectory.x0[0, 0], COVER_SCALE, self.texts("deck.cover_alt", digit=facts["digit"])
        )
        title = self.texts("report.title", **facts)
        notes = self.notes(self.texts("deck.cover_say", **facts), command=self.command)
        return Slide("cover", self.texts["deck.section_start"], title, line, picture, notes=notes)

    def film(self, film: Film) -> Iterator[Slide]:
        texts, facts = self.texts, self.facts
        section, title, line = texts["deck.section_start"], texts["deck.film_title"], texts["deck.film_line"]
        notes = self.notes(texts("deck.film_say", **facts), film.gif.alt, command=self.command)
        yield Slide("film", section, title, line, film.gif, notes=notes, rank=1)

    def movie(self, film: Film) -> Iterator[Slide]:
        """Ask the class to stop the film, where it can be stopped."""
        texts = self.texts
        if film.mp4 is not None:
            notes = self.notes(texts["deck.movie_say"], texts["deck.movie_note"], command=self.command)
            section, title, line = texts["deck.exercises_title"], texts["deck.movie_title"], texts["deck.movie_line"]
            yield Slide("movie", section, title, line, film.poster, film.mp4, notes=notes, rank=3)

    def lesson(self, told: NarratedLesson, stills: dict[str, Still]) -> Iterator[Slide]:
        """Give one slide a figure, the first one asking the lesson's question, and one for the table."""
        found = [Point(f"{one.question} {one.verdict}.", one.text) for one in told.answers]
        said = [Point("", text) for text in (told.text, told.note) if text]
        for index, drawing in enumerate(told.drawings):
            line = self.short_line(drawing, told)
            first = index == 0
            caption = join(drawing.caption, told.other_digit.get(drawing.name, ""))
            rest = (*(f"{one.lead} {one.text}" for one in found), told.note) if first else ()
            yield Slide(
                name=drawing.name,
                section=told.title,
                title=told.question if first else drawing.title,
                line=line,
                picture=stills[drawing.name],
                notes=self.notes(
                    told.say if first else line,
                    told.text if first else "",
                    caption,
                    *rest,
                    _spell(told.table) if first else "",
                    command=self.remake(told, drawing.name),
                    then=told.try_this,
                ),
                caption=caption,
                paragraphs=(*said[:1], *found, *said[1:]) if first else (),
                numbers=told.table if first else None,
                rank=LAST_RANK if index > 1 or drawing.name in told.advanced else _RANKS[told.folded, first],
            )
        if told.name in _NUMBERS_MATTER and _fits(told.table, told.table.caption):
            yield Slide(
                name=f"table_{told.name}",
                section=told.title,
                title=told.title,
                line=told.table.caption,
                table=told.table,
                notes=self.notes(
                    told.say,
                    told.text,
                    command=f"{self.remake(told, told.drawings[0].name)} --json",
                    then=told.try_this,
                ),
                rank=4 + _NUMBERS_MATTER.index(told.name),
            )

    def short_line(self, drawing: Drawing, told: NarratedLesson) -> str:
        """Return the figure's line for a slide: its own where there is one, else its caption's beginning."""
        key = f"deck.line.{drawing.name}"
        if key in self.texts:
            line = self.texts(key, **wording(self.found.recording | told.facts, self.texts))
        else:
            line = re.split(r"(?<=[.!?])\s+|(?<=[。！？])", drawing.caption, maxsplit=1)[0]
        return join(line, told.other_digit.get(drawing.name, ""))

    def exercises(self, told: Sequence[NarratedLesson], shown: Container[str]) -> Iterator[Slide]:
        """Give the exercises of the open lessons, as many on a slide as fit, their answers in the notes.

        Only those are asked whose figures are among ``shown``.
        """
        asked = [
            one for one in told if one.exercise and not one.folded and all(name in shown for name in one.in_exercise)
        ]
        points = [Point(one.question, one.exercise) for one in asked]
        answers = {one.question: f"{one.question} {one.answer}" for one in asked}
        title = self.texts["deck.exercises_title"]
        for number, group in enumerate(_pack(points, POINTS), 1):
            yield Slide(
                name=f"exercises_{number}",
                section=title,
                title=title,
                points=tuple(group),
                write_in=True,
                notes=self.notes("", self.texts["deck.exercises_note"], *(answers[point.lead] for point in group)),
                rank=1,
            )

    def corrections(self, told: Sequence[NarratedLesson]) -> Iterator[Slide]:
        """Say where the story of the sculptor is not to be taken at its word, for the lessons that are told."""
        points = []
        for one in told:
            key = f"deck.correction.{one.name}"
            if f"{key}.said" in self.texts:
                facts = wording(self.found.recording | one.facts, self.texts)
                points.append(Point(self.texts(f"{key}.said", **facts), self.texts(f"{key}.holds", **facts)))
        title = self.texts["deck.corrections_title"]
        if points:
            notes = self.notes(self.texts["deck.corrections_say"], *(f"{p.lead} {p.text}" for p in points))
            yield Slide("corrections", title, title, points=tuple(points), notes=notes)

    def commands(self, told: Sequence[NarratedLesson]) -> Slide:
        texts = self.texts
        header = (texts["deck.commands_question"], texts["deck.commands_command"])
        rows: dict[str, str] = {}
        for one in told:
            rows.setdefault(one.try_this, one.question)  # a command that serves two lessons is named once
        shown: list[tuple[str, str]] = []
        for command, question in rows.items():
            if _fits(Table("", header, (*shown, (question, command))), texts["deck.commands_line"]):
                shown.append((question, command))
        return Slide(
            name="commands",
            section=texts["deck.section_end"],
            title=texts["deck.commands_title"],
            line=texts["deck.commands_line"],
            table=Table(texts["deck.commands_title"], header, tuple(shown)),
            notes=self.notes(texts["deck.commands_say"], *(f"{q} {c}" for c, q in rows.items())),
            rank=2,
        )

    def closing(self, told: Sequence[NarratedLesson]) -> Slide:
        texts = self.texts
        known = provenance(self.found, self.command, texts)
        rows = tuple(known[key] for key in _SHOWN_PROVENANCE if key in known)
        caption = texts["interface.provenance_caption"]
        header = (texts["interface.provenance_name"], texts["interface.provenance_value"])
        table = Table(texts["interface.provenance"], header, rows)
        every = "\n".join(f"{name} · {value}" for name, value in known.values())
        tried = "\n".join(dict.fromkeys(one.try_this for one in told))
        return Slide(
            name="provenance",
            section=texts["deck.section_end"],
            title=texts["interface.provenance"],
            line=self.command,
            table=table,
            notes=self.notes(texts["deck.closing_say"], caption, every, tried, command=self.command),
        )


def _spell(table: Table) -> str:
    """Return a table as lines for the notes."""
    return "\n".join([table.caption, *(" · ".join(row) for row in (table.header, *table.rows))])


def _fits(table: Table, line: str) -> bool:
    """Return whether a table fits on a slide of ours, over its line."""
    return shape_table(table.header, table.rows, split_line(AREA, line)[0]) is not None


def _pack(points: Sequence[Point], area: Box) -> list[list[Point]]:
    """Spread points over as few slides as hold them, as evenly as can be, their order kept."""
    heights = [point_height(point.lead, point.text, BODY_SIZE, area.width) for point in points]
    fewest = len(_fill(heights, area.height))
    limits = sorted({sum(heights[i:j]) for i in range(len(heights)) for j in range(i + 1, len(heights) + 1)})
    even = next((limit for limit in limits if len(_fill(heights, limit)) <= fewest), area.height)
    return [[points[index] for index in group] for group in _fill(heights, even)]


def _fill(heights: Sequence[float], limit: float) -> list[list[int]]:
    """Return indices in groups, each filled while its heights stay within ``limit`` (or it holds one)."""
    groups: list[list[int]] = []
    for index, high in enumerate(heights):
        if groups and sum(heights[i] for i in groups[-1]) + high <= limit + 1e-9:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
