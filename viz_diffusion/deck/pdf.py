"""A deck as a PDF handout: A4 pages, the slide above, what the speaker says beneath.

Knows nothing about what is measured; it sets a finished plan. Text is text, in two embedded fonts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viz_diffusion.catalogue import Texts
from viz_diffusion.deck import layout
from viz_diffusion.deck.layout import LEADING, Box, shape_table, size_points, split_line
from viz_diffusion.deck.lettering import clean, draw, register_fonts, width, wrap
from viz_diffusion.deck.slides import Deck, Slide
from viz_diffusion.deck.stills import Still
from viz_diffusion.files import write_bytes
from viz_diffusion.plots import theme
from viz_diffusion.report.parts import Table

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89
"""Points: A4."""
_SIDE, _TOP, _BOTTOM = 42.0, 44.0, 40.0
_NOTE_SIZES = (11.0, 10.0, 9.0)
"""Points: the largest in which a page's notes fit; at the smallest they go on over the page."""
_FOOT_SIZE = 9.0
_ASCENT = 0.78
"""Ems from a line's top to its baseline."""


def write_pdf(deck: Deck, path: Path, texts: Texts) -> int:
    """Write a handout, whole or not at all; return its number of pages.

    Parameters
    ----------
    deck
        What is on the slides; without a film, which paper cannot show.
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
    pages = [(slide, part) for slide in deck.slides for part in _Page.all(slide)]
    for number, (slide, page) in enumerate(pages, 1):
        if page.has_slide:
            canvas.bookmarkPage(slide.name)
            canvas.addOutlineEntry(clean(slide.title), slide.name, level=0)
            _Stage(canvas).draw(slide)
        page.draw_notes(canvas)
        draw(canvas, _SIDE, _BOTTOM - 14, deck.title, _FOOT_SIZE, theme.MUTED)
        counted = texts("deck.handout_page", page=number, pages=len(pages))
        right = PAGE_WIDTH - _SIDE - width(counted, _FOOT_SIZE)
        draw(canvas, right, _BOTTOM - 14, counted, _FOOT_SIZE, theme.MUTED)
        canvas.showPage()
    canvas.save()
    write_bytes(path, data.getvalue())
    return len(pages)


_SCALE = (PAGE_WIDTH - 2 * _SIDE) / (layout.SLIDE_WIDTH * 72)
_SLIDE_BOTTOM = PAGE_HEIGHT - _TOP - layout.SLIDE_HEIGHT * 72 * _SCALE


class _Page:
    """One page's share of a slide's notes."""

    def __init__(self, lines: list[str], size: float, has_slide: bool) -> None:
        self.lines, self.size, self.has_slide = lines, size, has_slide

    @classmethod
    def all(cls, slide: Slide) -> Iterator[_Page]:
        """Yield the page with the slide, and those on which its notes go on."""
        first, more = _SLIDE_BOTTOM - 26 - _BOTTOM, PAGE_HEIGHT - _TOP - _BOTTOM
        for size in _NOTE_SIZES:
            lines = wrap(slide.notes, size, PAGE_WIDTH - 2 * _SIDE)
            if _height(lines, size) <= first:
                break
        has_slide = True
        while lines or has_slide:
            room = first if has_slide else more
            count = len(lines)
            while _height(lines[:count], size) > room:
                count -= 1
            yield cls(lines[:count], size, has_slide)
            lines, has_slide = lines[count:], False

    def draw_notes(self, canvas: Any) -> None:
        y = (_SLIDE_BOTTOM - 26) if self.has_slide else PAGE_HEIGHT - _TOP
        for line in self.lines:
            draw(canvas, _SIDE, y - _ASCENT * self.size, line, self.size, theme.INK)
            y -= _height([line], self.size)


def _height(lines: list[str], size: float) -> float:
    """Return the points that lines take; an empty one is half as high."""
    return sum(size * (1.35 if line else 0.7) for line in lines)


class _Stage:
    """Draws one slide, in inches from its top left, on the upper half of the page."""

    def __init__(self, canvas: Any) -> None:
        self.canvas = canvas

    def draw(self, slide: Slide) -> None:
        """Draw the slide and a hairline around it."""
        from reportlab.lib.colors import HexColor

        canvas = self.canvas
        canvas.saveState()
        canvas.translate(_SIDE, _SLIDE_BOTTOM)
        canvas.scale(_SCALE, _SCALE)
        if slide.name == "cover":
            self.cover(slide)
        else:
            self.plain(slide)
        canvas.setStrokeColor(HexColor(theme.FAINT))
        canvas.setLineWidth(1.2)
        canvas.rect(0, 0, layout.SLIDE_WIDTH * 72, layout.SLIDE_HEIGHT * 72, fill=0)
        canvas.restoreState()

    def cover(self, slide: Slide) -> None:
        if slide.picture is not None:
            self.picture(slide.picture, layout.COVER_PICTURE)
        box = layout.COVER_TITLE
        lines = wrap(slide.title, layout.COVER_SIZE, box.width * 72)
        high = len(lines) * layout.COVER_SIZE * LEADING / 72
        self.lines(lines, box.below(max(0.0, box.height - high)), layout.COVER_SIZE)
        size = layout.TEXT_SIZE + 2
        self.lines(wrap(slide.line, size, layout.COVER_TEXT.width * 72), layout.COVER_TEXT, size, theme.MUTED)

    def plain(self, slide: Slide) -> None:
        sizes = (layout.TITLE_SIZE, 26, 22, 18)
        size = next((s for s in sizes if width(slide.title, s) <= layout.TITLE.width * 72), sizes[-1])
        self.lines([slide.title], layout.TITLE.below(layout.TITLE.height - size * LEADING / 72), size)
        if slide.section != slide.title:
            box, kicker = layout.KICKER, layout.TEXT_SIZE
            across = width(slide.section, kicker) / 72
            if across <= box.width:
                place = Box(box.left + box.width - across, box.top, across, box.height)
                self.lines([slide.section], place.below(box.height - kicker * LEADING / 72), kicker, theme.PURPLE)
        rest, foot = split_line(layout.AREA, slide.line)
        if slide.picture is not None:
            self.picture(slide.picture, rest.fit(slide.picture.width / slide.picture.height))
        if slide.table is not None:
            self.table(slide.table, rest.below(0.1))
        if slide.points:
            self.points(slide)
        if slide.line:
            lines = wrap(slide.line, layout.TEXT_SIZE, foot.width * 72)
            high = len(lines) * layout.TEXT_SIZE * LEADING / 72
            self.lines(lines, foot.below(foot.height - high), layout.TEXT_SIZE)

    def lines(self, lines: list[str], box: Box, size: float, colour: str = theme.INK) -> None:
        """Write lines from the top of a box downwards."""
        y = (layout.SLIDE_HEIGHT - box.top) * 72 - (_ASCENT + (LEADING - 1) / 2) * size
        for line in lines:
            draw(self.canvas, box.left * 72, y, line, size, colour)
            y -= size * LEADING

    def picture(self, still: Still, box: Box) -> None:
        from reportlab.lib.utils import ImageReader

        bottom = layout.SLIDE_HEIGHT - box.top - box.height
        image = ImageReader(io.BytesIO(still.data))
        self.canvas.drawImage(image, box.left * 72, bottom * 72, box.width * 72, box.height * 72)

    def points(self, slide: Slide) -> None:
        box = layout.POINTS
        size = size_points([(point.lead, point.text) for point in slide.points], box) or layout.TEXT_SIZE
        for point in slide.points:
            for text, points, colour in (
                (point.lead, layout.TEXT_SIZE, theme.PURPLE),
                (point.text, size, theme.INK),
            ):
                lines = wrap(text, points, box.width * 72)
                self.lines(lines, box, points, colour)
                box = box.below(len(lines) * points * LEADING / 72)
            box = box.below(layout.POINT_GAP)

    def table(self, table: Table, room: Box) -> None:
        from reportlab.lib.colors import HexColor

        shape = shape_table(table.header, table.rows, room, least=9)
        if shape is None:
            return
        top = room.top
        for index, (row, high) in enumerate(zip([table.header, *table.rows], shape.heights, strict=True)):
            left = room.left
            for text, across, number in zip(row, shape.widths, table.numeric, strict=True):
                lines = wrap(text, shape.size, (across - 2 * layout.CELL_MARGIN) * 72)
                spare = high - len(lines) * shape.size * LEADING / 72
                y = top + spare - layout.ROW_PADDING / 2 if index == 0 else top + spare / 2
                colour = theme.MUTED if index == 0 else theme.INK
                for line in lines:
                    shift = across - layout.CELL_MARGIN - width(line, shape.size) / 72 if number else layout.CELL_MARGIN
                    self.lines([line], Box(left + shift, y, across, high), shape.size, colour)
                    y += shape.size * LEADING / 72
                left += across
            top += high
            self.canvas.setStrokeColor(HexColor(theme.INK if index == 0 else theme.FAINT))
            self.canvas.setLineWidth(1.0 if index == 0 else 0.6)
            ruled = (layout.SLIDE_HEIGHT - top) * 72
            self.canvas.line(room.left * 72, ruled, (room.left + sum(shape.widths)) * 72, ruled)
