"""A deck as a PDF handout for the class: A4 pages of pictures, captions, numbers, and questions with room to write.

What the speaker says and the answers to the questions are not in it: they stand in the notes of the slides. Knows
nothing about what is measured; it sets a finished plan. Text is text, in two embedded fonts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viz_diffusion.deck.layout import CELL_MARGIN, LEADING, ROW_PADDING, Box, TableShape, shape_table
from viz_diffusion.deck.pagination import Block, spread
from viz_diffusion.deck.pictures import Still
from viz_diffusion.deck.slides import Deck, Point, Slide
from viz_diffusion.deck.typography import clean, draw, register_fonts, width, wrap
from viz_diffusion.files import write_bytes
from viz_diffusion.plots import theme
from viz_diffusion.study.blocks import Table
from viz_diffusion.text.catalogue import Texts

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89
"""Points: A4."""
_SIDE, _TOP, _BOTTOM = 48.0, 48.0, 52.0
_ACROSS = PAGE_WIDTH - 2 * _SIDE
_TITLE, _HEADING, _BODY, _SMALL, _FOOT = 24.0, 16.0, 10.0, 9.0, 8.5
"""Points: the type of the first page, of a figure's question, of text, of captions and tables, of the foot."""
_PICTURE_HEIGHT, _COVER_HEIGHT = 232.0, 170.0
_TIGHT = 3.6
"""Points that a row of a table is lower than on a slide."""
_ROOM, _RULES = 24.0, 3
"""Points from one ruled line to the next, and how many there are for an answer."""
_ASCENT = 0.78
"""Ems from a line's top to its baseline."""


def write_pdf(deck: Deck, path: Path, texts: Texts) -> int:
    """Write a handout, whole or not at all; return its number of pages.

    Parameters
    ----------
    deck
        What is told; without a film, which paper cannot show.
    path
        Where to write.
    texts
        The catalogue of the deck's language.
    """
    from reportlab.pdfgen.canvas import Canvas

    data = io.BytesIO()
    first = register_fonts()
    canvas = Canvas(data, (PAGE_WIDTH, PAGE_HEIGHT), pageCompression=1, lang=deck.lang, initialFontName=first)
    canvas.setTitle(deck.title)
    canvas.setAuthor("viz_diffusion")
    canvas.setSubject(texts["deck.subject"])
    canvas.setCreator("vizdiff deck")
    pages = spread(_Setter(canvas).deck(deck), PAGE_HEIGHT - _TOP - _BOTTOM)
    for number, page in enumerate(pages, 1):
        for down, block in page:
            block.draw(PAGE_HEIGHT - _TOP - down)
        draw(canvas, _SIDE, _BOTTOM - 24, deck.title, _FOOT, theme.MUTED)
        counted = texts("deck.handout_page", page=number, pages=len(pages))
        draw(canvas, PAGE_WIDTH - _SIDE - width(counted, _FOOT), _BOTTOM - 24, counted, _FOOT, theme.MUTED)
        canvas.showPage()
    canvas.save()
    write_bytes(path, data.getvalue())
    return len(pages)


class _Setter:
    """Turns slides into blocks that draw themselves on a canvas, given the height of their top."""

    def __init__(self, canvas: Any) -> None:
        self.canvas = canvas

    def deck(self, deck: Deck) -> Iterator[Block]:
        """Yield everything in order; a table that stands under its figure is not set a second time."""
        told = [slide.numbers for slide in deck.slides]
        before = ""
        for slide in deck.slides:
            if slide.name == "cover":
                yield self.cover(slide)
            elif not any(slide.table is numbers for numbers in told if numbers is not None):
                yield from self.slide(slide, is_new=slide.title != before)
                before = slide.title

    def cover(self, slide: Slide) -> Block:
        """Return the finished digit with the title and the run's facts beside it."""
        left = _SIDE + _COVER_HEIGHT + 24
        title = wrap(slide.title, _TITLE, PAGE_WIDTH - _SIDE - left)

        def paint(top: float) -> None:
            self.mark(slide, top)
            if slide.picture is not None:
                self.image(slide.picture, _SIDE, top, _COVER_HEIGHT, _COVER_HEIGHT)
            y = self.lines(title, left, top, _TITLE, theme.INK) - 10
            self.lines(wrap(slide.line, _BODY, PAGE_WIDTH - _SIDE - left), left, y, _BODY, theme.MUTED)

        return Block(_COVER_HEIGHT + 20, paint)

    def slide(self, slide: Slide, is_new: bool) -> Iterator[Block]:
        """Yield what paper says of one slide."""
        if is_new:
            yield self.heading(slide)
        if slide.picture is not None:
            yield self.picture(slide.picture)
        yield from self.text(slide.caption, _SMALL, theme.MUTED, after=10)
        for point in slide.paragraphs:
            yield from self.point(point)
        for point in slide.points:
            yield from self.point(point, rules=_RULES if slide.write_in else 0)
        if slide.numbers is not None:
            yield from self.text(slide.numbers.caption, _SMALL, theme.MUTED, after=0, keep=True)
            yield from self.table(slide.numbers)
        if slide.table is not None:
            yield from self.table(slide.table)
            yield from self.text(slide.line, _BODY, theme.INK, after=10)

    def heading(self, slide: Slide) -> Block:
        section = slide.section if slide.section != slide.title else ""
        lines = wrap(slide.title, _HEADING, _ACROSS)
        above = 18.0 + (_SMALL * LEADING if section else 0)

        def paint(top: float) -> None:
            self.mark(slide, top)
            if section:
                self.lines([section], _SIDE, top - 16, _SMALL, theme.PURPLE)
            self.lines(lines, _SIDE, top - above, _HEADING, theme.INK)

        return Block(above + len(lines) * _HEADING * LEADING + 6, paint, keep=True)

    def picture(self, still: Still) -> Block:
        wide = min(_ACROSS, _PICTURE_HEIGHT * still.width / still.height)
        high = wide * still.height / still.width
        left = _SIDE + (_ACROSS - wide) / 2
        return Block(high + 8, lambda top: self.image(still, left, top, wide, high), keep=True)

    def text(self, text: str, size: float, colour: str, after: float = 0.0, keep: bool = False) -> Iterator[Block]:
        """Yield a paragraph, a block a line; its last two lines stay together, and with what follows if ``keep``."""
        lines = wrap(text, size, _ACROSS) if text else []
        for index, line in enumerate(lines):
            last = index == len(lines) - 1
            together = keep if last else index in (0, len(lines) - 2)
            yield Block(
                size * 1.4 + (after if last else 0),
                lambda top, line=line: self.lines([line], _SIDE, top, size, colour),  # type: ignore[misc]
                keep=together,
            )

    def point(self, point: Point, rules: int = 0) -> Iterator[Block]:
        """Yield a paragraph under its lead, with ruled lines to write on."""
        yield from self.text(point.lead, _BODY, theme.PURPLE, keep=True)
        yield from self.text(point.text, _BODY, theme.INK, after=0 if rules else 7, keep=rules > 0)
        for index in range(rules):
            last = index == rules - 1
            yield Block(_ROOM + 14 * last, lambda top: self.rule(_SIDE, top - _ROOM, _ACROSS), keep=not last)

    def table(self, table: Table) -> Iterator[Block]:
        """Yield a table, a block a row, all of them together where a page holds them."""
        room = Box(0, 0, _ACROSS / 72, 60)
        shape = shape_table(table.header, table.rows, room, least=7, most=round(_SMALL))
        assert shape is not None  # in a room as high as five pages
        rows = [table.header, *table.rows]
        for index, row in enumerate(rows):
            last = index == len(rows) - 1
            yield Block(
                shape.heights[index] * 72 - _TIGHT + 14 * last,
                lambda top, row=row, index=index: self.row(row, index, shape, table.numeric, top),  # type: ignore[misc]
                keep=not last,
            )

    def row(self, row: tuple[str, ...], index: int, shape: TableShape, numeric: tuple[bool, ...], top: float) -> None:
        """Draw a row of a table, its numbers to the right, and the line beneath it."""
        left, high = _SIDE, shape.heights[index] * 72 - _TIGHT
        for text, inches, is_number in zip(row, shape.widths, numeric, strict=True):
            across, margin = inches * 72, CELL_MARGIN * 72
            lines = wrap(text, shape.size, across - 2 * margin)
            spare = high - len(lines) * shape.size * LEADING
            y = top - (spare - (ROW_PADDING * 72 - _TIGHT) / 2 if index == 0 else spare / 2)
            for line in lines:
                shift = across - margin - width(line, shape.size) if is_number else margin
                y = self.lines([line], left + shift, y, shape.size, theme.MUTED if index == 0 else theme.INK)
            left += across
        self.rule(_SIDE, top - high, sum(shape.widths) * 72, theme.INK if index == 0 else theme.FAINT)

    def lines(self, lines: list[str], left: float, top: float, size: float, colour: str) -> float:
        """Write lines downwards; return how high the next one would begin."""
        for line in lines:
            draw(self.canvas, left, top - _ASCENT * size - (LEADING - 1) / 2 * size, line, size, colour)
            top -= size * LEADING
        return top

    def rule(self, left: float, y: float, across: float, colour: str = theme.FAINT) -> None:
        from reportlab.lib.colors import HexColor

        self.canvas.setStrokeColor(HexColor(colour))
        self.canvas.setLineWidth(0.5)
        self.canvas.line(left, y, left + across, y)

    def image(self, still: Still, left: float, top: float, wide: float, high: float) -> None:
        from reportlab.lib.utils import ImageReader

        self.canvas.drawImage(ImageReader(io.BytesIO(still.data)), left, top - high, wide, high)

    def mark(self, slide: Slide, top: float) -> None:
        """Let the reader's table of contents lead here."""
        self.canvas.bookmarkHorizontal(slide.name, 0, top)
        self.canvas.addOutlineEntry(clean(slide.title), slide.name, level=0)
