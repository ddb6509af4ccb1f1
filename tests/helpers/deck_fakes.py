"""What tests of decks share: a study with its pictures, and a rough estimate of how high text stands."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from io import BytesIO

import pytest
from matplotlib.figure import Figure
from PIL import Image
from reportlab.pdfbase.pdfmetrics import stringWidth

from viz_diffusion.deck.pictures import Film, Still
from viz_diffusion.deck.slides import Deck, plan
from viz_diffusion.lessons.base import Finding
from viz_diffusion.study import study as gather
from viz_diffusion.study.narrative import Drawing, NarratedLesson, narrate
from viz_diffusion.study.study import Study
from viz_diffusion.text.catalogue import Texts, load_texts

COMMAND = "vizdiff deck --digit 5 --seed 0 --sampler ddim --steps 12 --run bundled"


def remake(told: NarratedLesson, figure: str) -> str:
    """Return what stands for the command that makes a figure again."""
    return f"vizdiff export --figure {figure} --seed 0 ({told.name})"


@dataclass(frozen=True, eq=False)
class Made:
    """A study, and what it is told and shown with."""

    found: Study
    told: tuple[NarratedLesson, ...]
    stills: dict[str, Still]
    film: Film
    texts: Texts

    def deck(self, film: bool = True) -> Deck:
        return plan(self.found, self.told, self.stills, self.film if film else None, COMMAND, remake, self.texts)

    def deck_in(self, lang: str) -> tuple[Deck, Texts]:
        """Plan the handout in another language, with the pictures that are there."""
        texts = load_texts(lang)
        findings = [undrawn(finding, self.stills) for finding in self.found.findings]
        told = narrate(findings, self.found.recording, texts)
        return plan(self.found, told, self.stills, None, COMMAND, remake, texts), texts


def ship_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let studies find no lessons that came with the weights."""
    patch.setattr(gather, "load_results", lambda *_: {})


def undrawn(finding: Finding, drawn: Container[str]) -> Finding:
    """Return a finding whose figures are blank, of those that were drawn: drawing takes most of the time."""
    names = [name for name in finding.lesson.figure_names if name in drawn]
    return replace(finding, lesson=replace(finding.lesson, draw=lambda _: {name: Figure() for name in names}))


def small_still(drawing: Drawing) -> Still:
    """Return a picture that is quickly made and has a figure's shape."""
    data = BytesIO()
    Image.linear_gradient("L").resize((640, 352)).save(data, "PNG")
    return Still(drawing.name, data.getvalue(), 640, 352, drawing.alt)


def text_height(text: str, size: float, inches: float) -> float:
    """Estimate the inches a paragraph takes in Arial, whose widths are Helvetica's, broken at spaces."""
    lines, line = 1, ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and stringWidth(longer, "Helvetica", size) > inches * 72:
            lines, line = lines + 1, word
        else:
            line = longer
    return lines * size * 1.17 / 72
