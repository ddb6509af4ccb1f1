"""A deck as a PDF handout: A4 pages of figures, captions, tables, and exercises with ruled lines for the answers.

The speaker's notes and the answers of the exercises are left out. Knows nothing about what is measured: it writes a
finished :class:`~viz_diffusion.deck.slides.Deck`. Texts are real text in two embedded fonts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viz_diffusion.deck.layout import CELL_MARGIN, LEADING, ROW_PADDING, Box, TableShape, shape_table
from viz_diffusion.deck.pagination import PageBlock, paginate
from viz_diffusion.deck.pictures import DeckPicture
from viz_diffusion.deck.slides import Deck, Paragraph, Slide
from viz_diffusion.deck.typography import clean, draw, register_fonts, width, wrap
from viz_diffusion.files import write_bytes
from viz_diffusion.plots import theme
from viz_diffusion.study.blocks import Table
from viz_diffusion.text.catalogue import Texts

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89
"""A4, in points."""
_SIDE, _TOP, _BOTTOM = 48.0, 48.0, 52.0
"""Margins in points."""
_TEXT_WIDTH = PAGE_WIDTH - 2 * _SIDE
_TITLE, _HEADING, _BODY, _SMALL, _FOOT = 24.0, 16.0, 10.0, 9.0, 8.5
"""Type sizes in points: deck title, question, text, captions and tables, footer."""
_PICTURE_HEIGHT, _COVER_HEIGHT = 232.0, 170.0
"""Largest height of a figure, and height of the digit on the first page, in points."""
_ROW_REDUCTION = 3.6
"""Points by which a table row is lower than on a slide."""
_RULE_DISTANCE, _NUM_RULES = 24.0, 3
"""Distance of the ruled lines in points, and their number for each answer."""
_ASCENT = 0.78
"""Distance from the top of a line to its baseline, in ems."""


def write_pdf(deck: Deck, path: Path, texts: Texts) -> int:
    """Write a handout atomically; return its number of pages.

    Parameters
    ----------
    deck
        The contents; planned without a film, which paper cannot show.
    path
        The file to write.
    texts
        The catalogue of the deck's language.
    """
    from reportlab.pdfgen.canvas import Canvas

    data = io.BytesIO()
    first_font = register_fonts()
    canvas = Canvas(data, (PAGE_WIDTH, PAGE_HEIGHT), pageCompression=1, lang=deck.lang, initialFontName=first_font)
    canvas.setTitle(deck.title)
    canvas.setAuthor("viz_diffusion")
    canvas.setSubject(texts["deck.subject"])
    canvas.setCreator("vizdiff deck")
    pages = paginate(_HandoutComposer(canvas).deck(deck), PAGE_HEIGHT - _TOP - _BOTTOM)
    for number, page in enumerate(pages, 1):
        for offset, block in page:
            block.draw(PAGE_HEIGHT - _TOP - offset)
        draw(canvas, _SIDE, _BOTTOM - 24, deck.title, _FOOT, theme.MUTED)
        page_number = texts("deck.handout_page", page=number, pages=len(pages))
        draw(canvas, PAGE_WIDTH - _SIDE - width(page_number, _FOOT), _BOTTOM - 24, page_number, _FOOT, theme.MUTED)
        canvas.showPage()
    canvas.save()
    write_bytes(path, data.getvalue())
    return len(pages)


class _HandoutComposer:
    """Turns slides into blocks; a block draws itself on the canvas at a given height."""

    def __init__(self, canvas: Any) -> None:
        self.canvas = canvas

    def deck(self, deck: Deck) -> Iterator[PageBlock]:
        """Yield the blocks of all slides that the handout has, and the exercises behind those of the lessons."""
        previous, exercises = "", deck.exercises
        for slide in (slide for slide in deck.slides if slide.handout):
            if slide.name == "cover":
                yield self.cover(slide)
                continue
            if exercises and slide.picture is None:
                yield from self.exercises(deck)
                exercises = ()
            title = slide.handout_title or slide.title
            yield from self.slide(slide, title, is_new=title != previous)
            previous = title
        if exercises:
            yield from self.exercises(deck)

    def exercises(self, deck: Deck) -> Iterator[PageBlock]:
        """Yield the exercises, each with ruled lines for an answer."""
        yield self.heading("exercises", deck.exercises_title)
        for exercise in deck.exercises:
            yield from self.point(exercise, rules=_NUM_RULES)

    def cover(self, slide: Slide) -> PageBlock:
        """Return the finished digit, with the title and the facts of the run to its right."""
        left = _SIDE + _COVER_HEIGHT + 24
        title = wrap(slide.title, _TITLE, PAGE_WIDTH - _SIDE - left)

        def paint(top: float) -> None:
            self.bookmark(slide.name, slide.title, top)
            if slide.picture is not None:
                self.image(slide.picture, _SIDE, top, _COVER_HEIGHT, _COVER_HEIGHT)
            y = self.lines(title, left, top, _TITLE, theme.INK) - 10
            line = slide.line.text if slide.line else ""
            self.lines(wrap(line, _BODY, PAGE_WIDTH - _SIDE - left), left, y, _BODY, theme.MUTED)

        return PageBlock(_COVER_HEIGHT + 20, paint)

    def slide(self, slide: Slide, title: str, is_new: bool) -> Iterator[PageBlock]:
        """Yield the blocks of one slide; ``is_new`` where its title differs from the one before.

        A lesson's table is kept on the page of its figure: nothing between them may be separated.
        """
        if is_new:
            yield self.heading(slide.name, title, slide.section if slide.section != title else "")
        if slide.picture is not None:
            yield self.picture(slide.picture)
        table = slide.handout_table or slide.table
        if slide.line is not None and not slide.handout_title:
            yield from self.point(slide.line, keep=True)
        yield from self.text(slide.caption, _SMALL, theme.MUTED, after=10, keep=table is not None, together=True)
        if table is not None:
            caption = table.caption if table.caption != slide.title else ""
            yield from self.text(caption, _SMALL, theme.MUTED, keep=True, together=True)
            yield from self.table(table)
        for point in (*slide.handout_paragraphs, *slide.points):
            yield from self.point(point)

    def heading(self, name: str, title: str, section: str = "") -> PageBlock:
        """Return the title of a slide or of another part, below the title of its section."""
        lines = wrap(title, _HEADING, _TEXT_WIDTH)
        above = 18.0 + (_SMALL * LEADING if section else 0)

        def paint(top: float) -> None:
            self.bookmark(name, title, top)
            if section:
                self.lines([section], _SIDE, top - 16, _SMALL, theme.PURPLE)
            self.lines(lines, _SIDE, top - above, _HEADING, theme.INK)

        return PageBlock(above + len(lines) * _HEADING * LEADING + 6, paint, keep=True)

    def picture(self, picture: DeckPicture) -> PageBlock:
        """Return a figure, centred."""
        wide = min(_TEXT_WIDTH, _PICTURE_HEIGHT * picture.width / picture.height)
        high = wide * picture.height / picture.width
        left = _SIDE + (_TEXT_WIDTH - wide) / 2
        return PageBlock(high + 8, lambda top: self.image(picture, left, top, wide, high), keep=True)

    def text(
        self, text: str, size: float, colour: str, after: float = 0.0, keep: bool = False, together: bool = False
    ) -> Iterator[PageBlock]:
        """Yield a paragraph, one block a line; a page break never separates a single line.

        With ``keep`` the last line stays on the page of the next block, with ``together`` all lines on one page.
        """
        lines = wrap(text, size, _TEXT_WIDTH) if text else []
        for index, line in enumerate(lines):
            last = index == len(lines) - 1
            keep_next = keep if last else together or index in (0, len(lines) - 2)
            yield PageBlock(
                size * 1.4 + (after if last else 0),
                lambda top, line=line: self.lines([line], _SIDE, top, size, colour),  # type: ignore[misc]
                keep=keep_next,
            )

    def point(self, point: Paragraph, rules: int = 0, keep: bool = False) -> Iterator[PageBlock]:
        """Yield a paragraph under its lead, followed by ruled lines for an answer."""
        yield from self.text(point.lead, _BODY, theme.PURPLE, keep=True)
        after = 0 if rules else 7
        yield from self.text(point.text, _BODY, theme.INK, after=after, keep=keep or rules > 0, together=keep)
        for index in range(rules):
            last = index == rules - 1
            yield PageBlock(
                _RULE_DISTANCE + 14 * last,
                lambda top: self.rule(_SIDE, top - _RULE_DISTANCE, _TEXT_WIDTH),
                keep=not last,
            )

    def table(self, table: Table) -> Iterator[PageBlock]:
        """Yield a table, one block a row, on one page where it fits."""
        area = Box(0, 0, _TEXT_WIDTH / 72, 60)
        shape = shape_table(table.header, table.rows, area, least=7, most=round(_SMALL))
        assert shape is not None  # the area is as high as five pages
        rows = [table.header, *table.rows]
        for index, row in enumerate(rows):
            last = index == len(rows) - 1
            yield PageBlock(
                shape.heights[index] * 72 - _ROW_REDUCTION + 14 * last,
                lambda top, row=row, index=index: self.row(row, index, shape, table.numeric, top),  # type: ignore[misc]
                keep=not last,
            )

    def row(self, row: tuple[str, ...], index: int, shape: TableShape, numeric: tuple[bool, ...], top: float) -> None:
        """Draw a row of a table, numbers right-aligned, and the line below it."""
        left, high = _SIDE, shape.heights[index] * 72 - _ROW_REDUCTION
        for text, inches, is_number in zip(row, shape.widths, numeric, strict=True):
            across, margin = inches * 72, CELL_MARGIN * 72
            lines = wrap(text, shape.size, across - 2 * margin)
            spare = high - len(lines) * shape.size * LEADING
            y = top - (spare - (ROW_PADDING * 72 - _ROW_REDUCTION) / 2 if index == 0 else spare / 2)
            for line in lines:
                shift = across - margin - width(line, shape.size) if is_number else margin
                y = self.lines([line], left + shift, y, shape.size, theme.MUTED if index == 0 else theme.INK)
            left += across
        self.rule(_SIDE, top - high, sum(shape.widths) * 72, theme.INK if index == 0 else theme.FAINT)

    def lines(self, lines: list[str], left: float, top: float, size: float, colour: str) -> float:
        """Draw lines of text from ``top`` downwards; return the top of the line after them."""
        for line in lines:
            draw(self.canvas, left, top - _ASCENT * size - (LEADING - 1) / 2 * size, line, size, colour)
            top -= size * LEADING
        return top

    def rule(self, left: float, y: float, across: float, colour: str = theme.FAINT) -> None:
        """Draw a horizontal line."""
        from reportlab.lib.colors import HexColor

        self.canvas.setStrokeColor(HexColor(colour))
        self.canvas.setLineWidth(0.5)
        self.canvas.line(left, y, left + across, y)

    def image(self, picture: DeckPicture, left: float, top: float, wide: float, high: float) -> None:
        """Draw a picture."""
        from reportlab.lib.utils import ImageReader

        self.canvas.drawImage(ImageReader(io.BytesIO(picture.data)), left, top - high, wide, high)

    def bookmark(self, name: str, title: str, top: float) -> None:
        """Add an entry to the PDF's outline."""
        self.canvas.bookmarkHorizontal(name, 0, top)
        self.canvas.addOutlineEntry(clean(title), name, level=0)
