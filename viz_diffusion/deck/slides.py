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
    """``cover``, a figure's name, ``table_<lesson>`` and so on: unique in a deck."""
    section: str
    """The title of the lesson that the slide belongs to."""
    title: str
    """One line."""
    line: str = ""
    """One short line below everything else."""
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
    handout_paragraphs: tuple[Paragraph, ...] = ()
    """Handout only: further paragraphs, without the speaker's notes and without answers of exercises."""
    has_answer_lines: bool = False
    """Handout only: whether ruled lines follow each of the points."""
    handout_table: Table | None = None
    """Handout only: the table below the paragraphs."""
    rank: int = 0
    """0: always included. Of the others, those of the smallest rank are included first while there is room."""


@dataclass(frozen=True, eq=False)
class Deck:
    """Slides in order, and the properties of their file."""

    title: str
    """The title of the cover and of the file."""
    lang: str
    """The language of the texts."""
    slides: tuple[Slide, ...]
    """The slides that are included, in order."""
    left_out: tuple[str, ...]
    """Names of the slides for which there was no room."""
    left_out_titles: tuple[str, ...] = ()
    """Titles of the slides for which there was no room."""
