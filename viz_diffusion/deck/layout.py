"""Where things stand on a slide and how large their type is, in inches and points.

Knows nothing about what a slide says nor which file it is written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viz_diffusion.deck.typography import width, wrap

SLIDE_WIDTH, SLIDE_HEIGHT = 13 + 1 / 3, 7.5
MARGIN = 0.55

COVER_SIZE = 38
TITLE_SIZE = 30
BODY_SIZE = 22
TEXT_SIZE = 18
"""The smallest type on a slide."""
LEADING = 1.2
"""Lines are this many times their type apart."""


@dataclass(frozen=True)
class Box:
    """A rectangle on a slide, in inches from the top left."""

    left: float
    top: float
    width: float
    height: float

    def fit(self, aspect: float) -> Box:
        """Return the largest box of ``aspect`` = width / height within this one, centred."""
        wide = min(self.width, self.height * aspect)
        high = wide / aspect
        return Box(self.left + (self.width - wide) / 2, self.top + (self.height - high) / 2, wide, high)

    def below(self, height: float) -> Box:
        """Return what is left of this box under its first ``height`` inches."""
        return Box(self.left, self.top + height, self.width, self.height - height)

    def above(self, height: float) -> Box:
        """Return what is left of this box over its last ``height`` inches."""
        return Box(self.left, self.top, self.width, self.height - height)


TITLE = Box(MARGIN, 0.2, 9.2, 0.64)
KICKER = Box(TITLE.left + TITLE.width + 0.1, 0.2, SLIDE_WIDTH - 2 * MARGIN - TITLE.width - 0.1, 0.6)
"""Right of the title: whose lesson it is."""
AREA = Box(MARGIN, 1.02, SLIDE_WIDTH - 2 * MARGIN, SLIDE_HEIGHT - 1.02 - 0.2)
"""Everything between the title and the foot of the slide."""
POINTS = AREA.below(0.1).above(0.5)
"""Paragraphs stand here."""
NUMBER = Box(SLIDE_WIDTH - MARGIN - 0.8, SLIDE_HEIGHT - 0.6, 0.8, 0.4)
COVER_PICTURE = Box(0, 0, SLIDE_HEIGHT, SLIDE_HEIGHT)
COVER_TITLE = Box(SLIDE_HEIGHT + 0.6, 1.2, SLIDE_WIDTH - SLIDE_HEIGHT - 1.1, 3.0)
COVER_TEXT = Box(COVER_TITLE.left, 4.4, COVER_TITLE.width, 2.4)
_NUMBER_ROOM = 0.9
"""Inches at the right of the last row that belong to the slide's number."""


def text_height(text: str, size: float, inches: float) -> float:
    """Return the height in inches of ``text`` set in ``size`` points across ``inches``."""
    return len(wrap(text, size, inches * 72)) * size * LEADING / 72


def split_line(area: Box, line: str, loose: float = 1.0) -> tuple[Box, Box]:
    """Return the room for a picture, and beneath it the room for a short line of text.

    ``loose`` is how much wider than ours the type may turn out, in a template's own font.
    """
    inner = area.width - _NUMBER_ROOM
    high = text_height(line, TEXT_SIZE, inner / loose) + 0.12 if line else 0.4
    return area.above(high + 0.1), Box(area.left, area.top + area.height - high, inner, high)


CELL_MARGIN = 0.1
ROW_PADDING = 0.1
_TABLE_SIZES = (28, 26, 24, 22, 20, TEXT_SIZE)
_POINT_SIZES = (28, 26, 24, BODY_SIZE, 20)
POINT_GAP = 0.24
"""Inches between one point and the next."""


@dataclass(frozen=True)
class TableShape:
    """How a table is set."""

    size: float
    """Points of its type."""
    widths: tuple[float, ...]
    """(C,) inches."""
    heights: tuple[float, ...]
    """(1 + R,) inches, the header's first."""

    @property
    def height(self) -> float:
        """Inches in all."""
        return sum(self.heights)


def shape_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], room: Box, least: int = TEXT_SIZE, most: int = 28
) -> TableShape | None:
    """Lay out a table in the largest type that fits into ``room``; None where ``least`` points do not.

    Nor does type get larger than ``most`` points.
    """
    sizes = (*_TABLE_SIZES, *range(TEXT_SIZE - 1, least - 1, -1))
    for size in (size for size in sizes if size <= most):
        shape, squeezed = _shape_at(header, rows, size, room.width)
        if shape.height <= room.height and (size <= TEXT_SIZE or not squeezed):
            return shape
    return None


def _shape_at(
    header: Sequence[str], rows: Sequence[Sequence[str]], size: float, across: float
) -> tuple[TableShape, bool]:
    """Lay out a table in one size; tell whether columns had to be cut to fit ``across`` inches."""
    columns = list(zip(header, zip(*rows, strict=True), strict=True))
    asked: list[float] = []
    for lines in (1.0, 1.9, 2.6):  # a header takes one row, or a little less than two or three
        asked = [_column_width(name, cells, size, lines) for name, cells in columns]
        if sum(asked) <= across:
            break
    squeezed = sum(asked) > across
    limit = _level(asked, across) if squeezed else across
    spare = 0.0 if squeezed else min((across - sum(asked)) / len(asked), 0.6)
    widths = [min(value, limit) + spare for value in asked]
    heights = [
        max(text_height(cell, size, inches - 2 * CELL_MARGIN) for cell, inches in zip(row, widths, strict=True))
        + ROW_PADDING
        for row in [header, *rows]
    ]
    return TableShape(size, tuple(widths), tuple(heights)), squeezed


def _column_width(name: str, cells: Sequence[str], size: float, lines: float) -> float:
    """Return the inches a column asks for: no cell is broken, its header is set in so many lines."""
    longest = max((width(word, size) for word in wrap(name, size, 1)), default=0.0)
    natural = max(longest, width(name, size) / lines, *(width(cell, size) for cell in cells)) / 72
    return natural + 2 * CELL_MARGIN + 0.12


def _level(asked: Sequence[float], across: float) -> float:
    """Return the width at which all columns wider than it must be cut to fill ``across`` together."""
    left, rest = across, sorted(asked)
    for index, value in enumerate(rest):
        share = left / (len(rest) - index)
        if value > share:
            return share
        left -= value
    return rest[-1]


def point_height(lead: str, text: str, size: float, across: float) -> float:
    """Return how many inches a paragraph and its lead take, in ``size`` points across so many inches."""
    return text_height(lead, TEXT_SIZE, across) + text_height(text, size, across) + POINT_GAP


def size_points(points: Sequence[tuple[str, str]], room: Box, least: int = TEXT_SIZE) -> float | None:
    """Return the largest type in which (lead, text) paragraphs fit into ``room``; None where ``least`` does not."""
    for size in (*_POINT_SIZES, *range(TEXT_SIZE, least - 1, -1)):
        if sum(point_height(lead, text, size, room.width) for lead, text in points) <= room.height:
            return size
    return None
