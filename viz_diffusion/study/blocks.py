"""Pictures, tables, charts, answers and chapters, checked; in no particular file format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import pixels

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MIMES = ("image/png", "image/svg+xml", "image/webp")
_ANCHOR = re.compile(r"[a-z][a-z0-9_-]*")
_NUMBER = re.compile(r"[<>≤≥≈±+−–—-]?|[<>≤≥≈±+−\s-]*\d[\d.,\s+−–±%()\[\]-]*(\s?[a-zA-Z]{1,4})?")


@dataclass(frozen=True, eq=False)
class Picture:
    """One figure with its words."""

    name: str
    """File-like name without folder, such as ``snr``."""
    data: bytes
    """The picture file's bytes."""
    alt: str
    """A description for readers who cannot see it, one or two sentences."""
    caption: str
    """The text below it, plain."""
    width: int
    """Pixels across, so that the page reserves its place while it loads; only the ratio to ``height`` matters."""
    height: int
    """Pixels downwards."""
    title: str = ""
    """A few words: the only text below it on a slide, where its caption goes to the speaker's notes."""
    mime: str = "image/png"
    """One of image/png, image/svg+xml, image/webp."""
    details: str = ""
    """How it was made: seeds, sizes, intervals, definitions; plain, shown on demand. Empty for none."""

    def __post_init__(self) -> None:
        if self.mime not in MIMES:
            raise VizdiffUsageError(f"picture {self.name!r} is {self.mime!r}; choose from {', '.join(MIMES)}")
        if self.width <= 0 or self.height <= 0:
            raise VizdiffUsageError(f"picture {self.name!r} must have a width and a height above 0")

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address, without double quotes, ``<``, ``>`` and ``&``."""
        return pixels.svg_uri(self.data) if self.mime == "image/svg+xml" else pixels.data_uri(self.data, self.mime)


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers behind a figure."""

    caption: str
    """What the numbers are, with units, plain text."""
    header: tuple[str, ...]
    """(C,) column names."""
    rows: tuple[tuple[str, ...], ...]
    """(R, C) finished texts; the first column names the row."""

    def __post_init__(self) -> None:
        if not self.header or any(len(row) != len(self.header) for row in self.rows):
            raise VizdiffUsageError(f"table {self.caption!r}: every row needs {len(self.header)} cells")

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """(C,) which columns after the first hold only numbers, and so are set flush right."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return tuple(
            index > 0 and bool(column) and all(_NUMBER.fullmatch(cell.strip()) for cell in column)
            for index, column in enumerate(columns)
        )


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart."""

    name: str
    """What it shows, a few words."""
    values: Float64
    """(S,) float64, finite."""


@dataclass(frozen=True, eq=False)
class Chart:
    """Numbers with one value at each recorded step; the page's scrubber moves along it."""

    name: str
    """Unique within its chapter."""
    title: str
    """The quantity, with its unit."""
    caption: str
    """The text below it, plain."""
    steps_left: Int64
    """(S,) int64, strictly falling, in 1 .. S."""
    lines: tuple[Line, ...]
    """One line or more."""

    def __post_init__(self) -> None:
        count = len(self.steps_left)
        if not self.lines or any(np.shape(line.values) != (count,) for line in self.lines):
            raise VizdiffUsageError(f"chart {self.name!r}: every line needs {count} values")
        if not all(np.isfinite(line.values).all() for line in self.lines):
            raise VizdiffNonFiniteError(f"chart {self.name!r} holds NaN or infinity")


@dataclass(frozen=True)
class Answer:
    """The answer of a measurement to a yes-or-no question, in words."""

    question: str
    """The question, in words."""
    verdict: str
    """Yes, No or Undecided, in the language of the text."""
    text: str
    """The answer with its numbers; it may begin with the verdict."""
    holds: bool | None
    """Whether it holds; None where it is undecided."""

    @property
    def rest(self) -> str:
        """The answer without the verdict, to stand after it."""
        rest = re.sub(rf"^{re.escape(self.verdict)}[.,:。，：]\s*", "", self.text)
        return rest[:1].upper() + rest[1:]

    @property
    def sentence(self) -> str:
        """The first sentence after the verdict, with its number."""
        return _sentences(self.rest)[0]

    @property
    def more(self) -> str:
        """What follows the first sentence; empty where nothing does."""
        return _sentences(self.rest)[1]


def _sentences(text: str) -> tuple[str, str]:
    """Return the first sentence of a text, and the rest."""
    end = re.search(r"(?<!et al)[.!?][”)]?(?=\s+[A-Z√“(0-9])|[。！？][”）]?(?=.)", text)
    return (text, "") if end is None else (text[: end.end()], text[end.end() :].strip())


@dataclass(frozen=True)
class Correction:
    """A saying of the story, and how far it holds."""

    said: str
    """The saying, in quotation marks."""
    holds: str
    """One or two sentences."""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One question with its figures, words and numbers."""

    id: str
    """Anchor: small letters, digits, ``-`` and ``_``; unique on the page."""
    title: str
    """The subject, such as "Classifier-free guidance": the heading, and the entry in the contents."""
    question: str
    """The question that it answers."""
    pictures: tuple[Picture, ...] = ()
    """Figures, in order."""
    paragraphs: tuple[str, ...] = ()
    """Plain text, one string a paragraph."""
    charts: tuple[Chart, ...] = ()
    """Charts of what has one value at each recorded step."""
    tables: tuple[Table, ...] = ()
    """Numbers, in order."""
    try_this: str = ""
    """A command to run next; empty for none."""
    say: str = ""
    """One sentence for the speaker; empty for none."""
    exercise: str = ""
    """A question for the class; empty for none."""
    answer: str = ""
    """Its answer, shown on demand."""
    folded: bool = False
    """Whether an advanced chapter starts closed."""
    answers: tuple[Answer, ...] = ()
    """Yes-or-no questions with their answers."""
    note: str = ""
    """How it was measured, where it is precomputed; empty for none."""
    advanced: tuple[Picture, ...] = ()
    """Figures of the advanced part, which stands last and is closed at first."""
    advanced_text: str = ""
    """The paragraph of that part."""
    correction: Correction | None = None
    """How far a saying of its story holds; shown with the others at the end."""
    subtitle: str = ""
    """The story's name, a few words above the title; empty for none."""

    def __post_init__(self) -> None:
        if not _ANCHOR.fullmatch(self.id) or self.id.startswith("ui-"):
            raise VizdiffUsageError(f"chapter id {self.id!r} must be small letters, digits, - or _, not ui-...")
