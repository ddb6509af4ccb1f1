"""A measured study with pictures for tests of decks, and an estimate of text heights."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from io import BytesIO

import pytest
from matplotlib.figure import Figure
from PIL import Image
from reportlab.pdfbase.pdfmetrics import stringWidth

from viz_diffusion.deck.pictures import DeckPicture, Film
from viz_diffusion.deck.selection import Selection
from viz_diffusion.deck.slide_plan import DeckPlan, plan_deck
from viz_diffusion.deck.slides import Deck, Slide
from viz_diffusion.lessons.base import Finding
from viz_diffusion.study import lesson_plan
from viz_diffusion.study.narrative import Drawing, NarratedLesson, narrate
from viz_diffusion.study.study import Study
from viz_diffusion.text.catalogue import Texts, load_texts

EVERYTHING = Selection(only=frozenset({"all"}))
"""Every slide that there is."""
COMMAND = "vizdiff deck --digit 5 --seed 0 --sampler ddim --steps 12 --run bundled"


def figure_command(figure: str) -> str:
    """Return a stand-in for the command that makes a figure again."""
    return f"vizdiff export --figure {figure} --seed 0"


@dataclass(frozen=True, eq=False)
class Made:
    """A study, its lessons in words, their pictures, and the film."""

    study: Study
    lessons: tuple[NarratedLesson, ...]
    pictures: dict[str, DeckPicture]
    film: Film
    texts: Texts

    def deck(self, film: bool = True, selection: Selection = EVERYTHING, command: str = COMMAND) -> Deck:
        plan = DeckPlan.choose(self.study, self.lessons, selection, film)
        shown = self.film if film else None
        return plan_deck(self.study, self.lessons, plan, self.pictures, shown, command, self.texts)

    def slides(self, film: bool = True, selection: Selection = EVERYTHING) -> dict[str, Slide]:
        """Return the slides by name."""
        return {slide.name: slide for slide in self.deck(film, selection).slides}

    def deck_in(self, lang: str) -> tuple[Deck, Texts]:
        """Plan the handout in another language, with the same pictures."""
        texts = load_texts(lang)
        findings = [undrawn(finding, self.pictures) for finding in self.study.findings]
        lessons = narrate(findings, self.study.recording, texts)
        made = Made(self.study, lessons, self.pictures, self.film, texts)
        return made.deck(film=False), texts


def ship_nothing(patch: pytest.MonkeyPatch) -> None:
    """Make studies ignore the precomputed lessons of the bundled weights."""
    patch.setattr(lesson_plan, "load_results", lambda *_: {})


def undrawn(finding: Finding, drawn: Container[str]) -> Finding:
    """Return a finding with blank figures named as in ``drawn``, because drawing takes most of the time."""
    names = [name for name in finding.lesson.figure_names if name in drawn]
    return replace(finding, lesson=replace(finding.lesson, draw=lambda _: {name: Figure() for name in names}))


def small_picture(drawing: Drawing) -> DeckPicture:
    """Return a small gradient with the aspect ratio of a figure, which is quicker than drawing one."""
    data = BytesIO()
    Image.linear_gradient("L").resize((640, 352)).save(data, "PNG")
    return DeckPicture(drawing.name, data.getvalue(), 640, 352, drawing.alt)


def text_height(text: str, size: float, inches: float) -> float:
    """Estimate the height in inches of a paragraph in Arial (as wide as Helvetica), broken at spaces."""
    lines, line = 1, ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and stringWidth(longer, "Helvetica", size) > inches * 72:
            lines, line = lines + 1, word
        else:
            line = longer
    return lines * size * 1.17 / 72
