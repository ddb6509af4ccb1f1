"""Contents of a deck's slides, in no particular file format.

Knows nothing about PowerPoint or PDF, nor how the contents are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from viz_diffusion.deck.pictures import DeckPicture
from viz_diffusion.study.blocks import Table


@dataclass(frozen=True)
class Paragraph:
    """A paragraph with a short heading."""

    lead: str
    """A few words in the accent colour; empty for a paragraph without heading."""
    text: str
    """The paragraph."""


@dataclass(frozen=True, eq=False)
class Slide:
    """One slide, and its part of the handout. Empty fields are left out."""

    name: str
    """``cover``, ``strip``, ``ask_strip`` and so on: unique in a deck."""
    section: str
    """The title of the lesson that the slide belongs to: a section of the presentation."""
    title: str
    """One message, or one question."""
    line: Paragraph | None = None
    """Below the picture: a short text, after the term that it explains."""
    picture: DeckPicture | None = None
    """Drawn as large as the slide allows."""
    movie: bytes | None = None
    """An MP4 in the place of the picture, which is its poster frame."""
    table: Table | None = None
    """A table on the slide."""
    points: tuple[Paragraph, ...] = ()
    """Paragraphs on the slide."""
    notes: str = ""
    """The speaker's notes: paragraphs separated by empty lines."""
    caption: str = ""
    """Handout only: the caption below the picture."""
    handout_table: Table | None = None
    """Handout only: the lesson's table, on the page of the picture."""
    handout_paragraphs: tuple[Paragraph, ...] = ()
    """Handout only: further paragraphs, without the speaker's notes and without answers of exercises."""
    handout: bool = True
    """Whether the handout has it."""
    handout_title: str = ""
    """Handout only: what stands there for the title and the line, where the slide is a question to its picture."""


@dataclass(frozen=True, eq=False)
class Deck:
    """Slides in order, and the properties of their file."""

    title: str
    """The title of the cover and of the file."""
    lang: str
    """The language of the texts."""
    slides: tuple[Slide, ...]
    """The slides, in order."""
    left_out: tuple[str, ...] = ()
    """Names of the slides that there are and that were not chosen; each can be asked for."""
    exercises: tuple[Paragraph, ...] = ()
    """Handout only: questions with room for an answer."""
    exercises_title: str = ""
    """Handout only: the heading of the exercises."""
