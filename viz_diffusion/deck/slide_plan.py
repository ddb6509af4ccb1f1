"""Choice of a deck's slides: all that lessons offer, cut to the number of slides that fits a lecture.

Knows nothing about PowerPoint or PDF.
"""

from __future__ import annotations

from collections.abc import Sequence

from viz_diffusion.deck.pictures import DeckPicture, Film
from viz_diffusion.deck.slide_writer import FigureCommand, SlideWriter
from viz_diffusion.deck.slides import Deck, Slide
from viz_diffusion.study.narrative import NarratedLesson
from viz_diffusion.study.study import Study
from viz_diffusion.text.catalogue import Texts

MOST_SLIDES = 24
"""Largest number of slides, unless more of them have rank 0."""


def plan_deck(
    study: Study,
    lessons: Sequence[NarratedLesson],
    pictures: dict[str, DeckPicture],
    film: Film | None,
    command: str,
    figure_command: FigureCommand,
    texts: Texts,
) -> Deck:
    """Write every possible slide, and choose those of a deck.

    Parameters
    ----------
    study
        The recording and what was measured on it.
    lessons
        The same findings as texts.
    pictures
        Every drawing of ``lessons`` by name.
    film
        The recording as a film; None for a handout.
    command
        The command line that makes the same deck again.
    figure_command
        Returns the command line that makes one figure again.
    texts
        The catalogue of one language.
    """
    writer = SlideWriter(study, texts, command, figure_command)
    slides = writer.slides(lessons, pictures, film, shown=pictures)
    # The second pass keeps only exercises on included figures. Their slides are at most as many as in the first pass.
    included = _choose(slides)
    slides = writer.slides(lessons, pictures, film, shown={slides[index].name for index in included})
    included = _choose(slides)
    left_out = [slide for index, slide in enumerate(slides) if index not in included]
    return Deck(
        title=texts("report.title", **writer.facts),
        lang=texts.lang,
        slides=tuple(slide for index, slide in enumerate(slides) if index in included),
        left_out=tuple(slide.name for slide in left_out),
        left_out_titles=tuple(slide.title for slide in left_out),
    )


def _choose(slides: Sequence[Slide]) -> set[int]:
    """Return the indices of the slides to include."""
    ranked = sorted(range(len(slides)), key=lambda index: (slides[index].rank, index))
    num_required = sum(slide.rank == 0 for slide in slides)
    return set(ranked[: max(MOST_SLIDES, num_required)])
