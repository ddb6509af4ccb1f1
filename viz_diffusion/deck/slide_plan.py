"""The slides of a deck: those of the outline that a study has results for, as chosen.

Knows nothing about PowerPoint or PDF.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from viz_diffusion.deck.outline import MINUTES, OUTLINE, PlannedSlide
from viz_diffusion.deck.pictures import DeckPicture, Film
from viz_diffusion.deck.selection import Selection, check_available
from viz_diffusion.deck.slide_writer import SlideWriter
from viz_diffusion.deck.slides import Deck
from viz_diffusion.lessons.suitability import own_figures, own_lessons
from viz_diffusion.study.narrative import NarratedLesson
from viz_diffusion.study.study import Study
from viz_diffusion.text.catalogue import Texts


@dataclass(frozen=True, eq=False)
class DeckPlan:
    """The chosen slides of a study's outline, before their figures are drawn."""

    chosen: tuple[PlannedSlide, ...]
    """The slides that are shown, in order."""
    left_out: tuple[PlannedSlide, ...]
    """The slides that could be shown as well."""
    film: bool = True
    """Whether the deck can show a film."""

    @classmethod
    def choose(cls, study: Study, lessons: Sequence[NarratedLesson], selection: Selection, film: bool) -> DeckPlan:
        """Choose the slides of a study; ``film`` says whether the deck can show one.

        Raises
        ------
        VizdiffInputError
            Where a slide was asked for that the study has no results for.
        """
        there = list(_available(study, lessons, film))
        check_available(selection, there)
        own, figures = own_lessons(study.run.config), own_figures(study.run.config)
        timed = [(replace(one, minutes=MINUTES[0]) if one.figure in figures else one, name) for one, name in there]
        chosen = [slide for slide, lesson in timed if selection.includes(slide, lesson, lesson in own)]
        return cls(tuple(chosen), tuple(slide for slide, _ in timed if slide not in chosen), film)

    @property
    def has_film(self) -> bool:
        """Whether a chosen slide shows the film, or asks with it."""
        return any("film" in (slide.name, slide.asked_with) for slide in self.chosen) and self.film

    def figures(self, lessons: Iterable[NarratedLesson]) -> tuple[str, ...]:
        """Return the names of the figures that the chosen slides show, in the order of the lessons."""
        wanted = {name for slide in self.chosen for name in (slide.figure, slide.asked_with)}
        return tuple(drawing.name for lesson in lessons for drawing in lesson.drawings if drawing.name in wanted)


def plan_deck(
    study: Study,
    lessons: Sequence[NarratedLesson],
    plan: DeckPlan,
    pictures: dict[str, DeckPicture],
    film: Film | None,
    command: str,
    texts: Texts,
) -> Deck:
    """Write the chosen slides.

    Parameters
    ----------
    study
        The recording and what was measured on it.
    lessons
        The same findings as texts.
    plan
        The slides to write.
    pictures
        The figures of the plan by name.
    film
        The recording as a film; None for a handout.
    command
        The command line that makes the same deck again.
    texts
        The catalogue of one language.
    """
    writer = SlideWriter(study, lessons, texts, command, pictures, film)
    shown = plan.figures(lessons)
    return Deck(
        title=writer.text("cover.title"),
        lang=texts.lang,
        slides=writer.slides(plan.chosen),
        left_out=tuple(slide.name for slide in plan.left_out),
        exercises=writer.exercises(shown),
        exercises_title=texts["deck.exercises_title"],
    )


def _available(study: Study, lessons: Sequence[NarratedLesson], film: bool) -> Iterable[tuple[PlannedSlide, str]]:
    """Yield (slide, lesson) for the outline's slides that the study has results for, and for its other figures."""
    owners = {drawing.name: lesson.name for lesson in lessons for drawing in lesson.drawings}
    decided = {
        finding.lesson.name: {claim.name for claim in finding.claims} for finding in study.findings
    }  # a title that says how a claim came out needs the claim
    planned = {name for slide in OUTLINE for name in (slide.figure, slide.asked_with)}
    last = {owners[slide.figure]: slide.name for slide in OUTLINE if slide.figure in owners}
    for slide in OUTLINE:
        lesson = owners.get(slide.figure, "")
        if (slide.figure and (not lesson or not decided[lesson].issuperset(slide.claims))) or (
            slide.name == "film" and not film
        ):
            continue
        yield slide, lesson
        if last.get(lesson) == slide.name:
            others = (name for name, owner in owners.items() if owner == lesson and name not in planned)
            yield from ((PlannedSlide(name, figure=name), lesson) for name in others)
