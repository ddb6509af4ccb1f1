"""Positions and type sizes on a slide, in inches and points.

Knows nothing about the contents of a slide nor about the file it is written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viz_diffusion.deck.typography import width, wrap

SLIDE_WIDTH, SLIDE_HEIGHT = 13 + 1 / 3, 7.5
MARGIN = 0.55

COVER_SIZE = 38
QUESTION_SIZE = 40
TITLE_SIZES = (30, 28, 26)
"""Type sizes of titles, the largest that fits on one line; the last also where a title takes two lines."""
BODY_SIZE = 22
LINE_SIZES = (20, 18)
"""Type sizes of the text below a picture: the first where it fits on one line."""
TEXT_SIZE = 18
"""Smallest type on a slide of the default template, in points."""
LEADING = 1.2
"""Distance between lines, as a multiple of the type size."""


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
        """Return this box without its first ``height`` inches."""
        return Box(self.left, self.top + height, self.width, self.height - height)

    def above(self, height: float) -> Box:
        """Return this box without its last ``height`` inches."""
        return Box(self.left, self.top, self.width, self.height - height)


TITLE = Box(MARGIN, 0.2, SLIDE_WIDTH - 2 * MARGIN, 0.64)
SECOND_LINE = 0.4
"""Inches by which a title of two lines is higher."""
QUESTION = Box(1.2, 1.5, SLIDE_WIDTH - 2.4, 1.9)
"""Title of a question that has no picture."""
HINT = Box(1.2, 3.7, SLIDE_WIDTH - 2.4, 2.4)
"""Below it: what to think about."""
AREA = Box(MARGIN, 1.02, SLIDE_WIDTH - 2 * MARGIN, SLIDE_HEIGHT - 1.02 - 0.2)
"""Everything between the title and the lower edge of the slide."""
POINTS = AREA.below(0.1).above(0.5)
"""Area of the paragraphs."""
NUMBER = Box(SLIDE_WIDTH - MARGIN - 0.8, SLIDE_HEIGHT - 0.6, 0.8, 0.4)
COVER_PICTURE = Box(0, 0, SLIDE_HEIGHT, SLIDE_HEIGHT)
COVER_TITLE = Box(SLIDE_HEIGHT + 0.6, 1.2, SLIDE_WIDTH - SLIDE_HEIGHT - 1.1, 3.0)
COVER_TEXT = Box(COVER_TITLE.left, 4.4, COVER_TITLE.width, 2.4)
_NUMBER_ROOM = 0.9
"""Inches at the right of the last line reserved for the slide's number."""


def text_height(text: str, size: float, inches: float) -> float:
    """Return the height in inches of ``text`` set in ``size`` points across ``inches``."""
    return len(wrap(text, size, inches * 72)) * size * LEADING / 72


def title_size(title: str) -> tuple[float, int]:
    """Return the type size of a title on the default template, and how many lines it takes."""
    across = TITLE.width * 72
    size = next((size for size in TITLE_SIZES if width(title, size) <= across), TITLE_SIZES[-1])
    return size, len(wrap(title, size, across))


def line_size(line: str, across: float) -> float:
    """Return the type size of the text below a picture, ``across`` inches wide."""
    return next((size for size in LINE_SIZES if width(line, size) <= across * 72), LINE_SIZES[-1])


def split_line(area: Box, line: str, text_stretch: float = 1.0) -> tuple[Box, Box]:
    """Return the area of a picture, and below it the area of a short line of text.

    ``text_stretch`` is how many times wider than estimated text may be, in a template's own font.
    """
    inner = area.width - _NUMBER_ROOM
    high = text_height(line, line_size(line, inner / text_stretch), inner / text_stretch) + 0.12 if line else 0.4
    return area.above(high + 0.1), Box(area.left, area.top + area.height - high, inner, high)


CELL_MARGIN = 0.1
ROW_PADDING = 0.1
_TABLE_SIZES = (28, 26, 24, 22, 20, TEXT_SIZE)
_POINT_SIZES = (28, 26, 24, BODY_SIZE, 20)
POINT_GAP = 0.24
"""Inches between one point and the next."""


@dataclass(frozen=True)
class TableShape:
    """Type size, column widths and row heights of a table."""

    size: float
    """Type size in points."""
    widths: tuple[float, ...]
    """(C,) column widths in inches."""
    heights: tuple[float, ...]
    """(1 + R,) row heights in inches, the header first."""

    @property
    def height(self) -> float:
        """Height of the table in inches."""
        return sum(self.heights)


def shape_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], area: Box, least: int = TEXT_SIZE, most: int = 28
) -> TableShape | None:
    """Lay out a table in the largest type, between ``least`` and ``most`` points, that fits into ``area``.

    None where ``least`` points do not fit.
    """
    sizes = (*_TABLE_SIZES, *range(TEXT_SIZE - 1, least - 1, -1))
    for size in (size for size in sizes if size <= most):
        shape, squeezed = _shape_at(header, rows, size, area.width)
        if shape.height <= area.height and (size <= TEXT_SIZE or not squeezed):
            return shape
    return None


def _shape_at(
    header: Sequence[str], rows: Sequence[Sequence[str]], size: float, across: float
) -> tuple[TableShape, bool]:
    """Lay out a table in one type size; return also whether columns were narrowed to fit ``across`` inches."""
    columns = list(zip(header, zip(*rows, strict=True), strict=True))
    natural: list[float] = []
    for lines in (1.0, 1.9, 2.6):  # width of a header set in one, two or three lines
        natural = [_column_width(name, cells, size, lines) for name, cells in columns]
        if sum(natural) <= across:
            break
    squeezed = sum(natural) > across
    limit = _level(natural, across) if squeezed else across
    spare = 0.0 if squeezed else min((across - sum(natural)) / len(natural), 0.6)
    widths = [min(value, limit) + spare for value in natural]
    heights = [
        max(text_height(cell, size, inches - 2 * CELL_MARGIN) for cell, inches in zip(row, widths, strict=True))
        + ROW_PADDING
        for row in [header, *rows]
    ]
    return TableShape(size, tuple(widths), tuple(heights)), squeezed


def _column_width(name: str, cells: Sequence[str], size: float, lines: float) -> float:
    """Return the width in inches that a column needs with no cell broken and its header in ``lines`` lines."""
    longest = max((width(word, size) for word in wrap(name, size, 1)), default=0.0)
    inches = max(longest, width(name, size) / lines, *(width(cell, size) for cell in cells)) / 72
    return inches + 2 * CELL_MARGIN + 0.12


def _level(natural: Sequence[float], across: float) -> float:
    """Return the width limit for wide columns at which all columns together are ``across`` wide."""
    left, rest = across, sorted(natural)
    for index, value in enumerate(rest):
        share = left / (len(rest) - index)
        if value > share:
            return share
        left -= value
    return rest[-1]


def point_height(lead: str, text: str, size: float, across: float) -> float:
    """Return the height in inches of a paragraph and its lead, in ``size`` points, ``across`` inches wide."""
    above = text_height(lead, TEXT_SIZE, across) if lead else 0.0
    return above + text_height(text, size, across) + POINT_GAP


def size_points(points: Sequence[tuple[str, str]], area: Box, least: int = TEXT_SIZE) -> float | None:
    """Return the largest type in which (lead, text) paragraphs fit into ``area``; None where ``least`` does not."""
    for size in (*_POINT_SIZES, *range(TEXT_SIZE, least - 1, -1)):
        if sum(point_height(lead, text, size, area.width) for lead, text in points) <= area.height:
            return size
    return None


def pack_points(points: Sequence[tuple[str, str]], area: Box, size: float = BODY_SIZE) -> list[list[int]]:
    """Distribute (lead, text) paragraphs, in order, over as few areas as hold them, as evenly as possible.

    Returns the indices of the paragraphs, in one list for each area.
    """
    heights = [point_height(lead, text, size, area.width) for lead, text in points]
    fewest = len(_fill(heights, area.height))
    limits = sorted({sum(heights[i:j]) for i in range(len(heights)) for j in range(i + 1, len(heights) + 1)})
    even = next((limit for limit in limits if len(_fill(heights, limit)) <= fewest), area.height)
    return _fill(heights, even)


def _fill(heights: Sequence[float], limit: float) -> list[list[int]]:
    """Return indices in groups of at most ``limit`` height each (more if a single one is higher)."""
    groups: list[list[int]] = []
    for index, high in enumerate(heights):
        if groups and sum(heights[i] for i in groups[-1]) + high <= limit + 1e-9:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
