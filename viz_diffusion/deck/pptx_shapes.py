"""Shapes of a PowerPoint slide: text boxes, pictures, movies and native tables, scaled to a template.

Knows nothing about which shapes a slide has.
"""

from __future__ import annotations

import io
from typing import Any

from viz_diffusion.deck import layout
from viz_diffusion.deck.layout import Box, shape_table, size_points
from viz_diffusion.deck.pictures import DeckPicture
from viz_diffusion.deck.slides import Paragraph
from viz_diffusion.deck.template import EAST_ASIAN, EMU, SlideTemplate
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.study.blocks import Table

_NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"
"""PowerPoint's table style without colours and lines; the lines are drawn cell by cell."""
SMALLEST_TYPE = 11
"""Smallest type on a user's template, in points; the default template never needs it."""


class ShapeWriter:
    """Adds shapes to one slide."""

    def __init__(self, slide: Any, template: SlideTemplate, lang: str) -> None:
        self.slide, self.template, self.lang = slide, template, lang

    def picture(self, picture: DeckPicture, box: Box) -> None:
        """Add a picture with its alt text."""
        shape = self.slide.shapes.add_picture(io.BytesIO(picture.data), *self._emu(box))
        _describe(shape, picture.name, picture.alt)

    def movie(self, poster: DeckPicture, mp4: bytes, box: Box) -> None:
        """Add a movie with its poster frame and alt text."""
        shape = self.slide.shapes.add_movie(
            io.BytesIO(mp4), *self._emu(box), poster_frame_image=io.BytesIO(poster.data), mime_type="video/mp4"
        )
        _describe(shape, "movie", poster.alt)

    def line(self, line: Paragraph, box: Box) -> None:
        """Add the short line at the lower edge of a slide, its term first, in the accent colour."""
        from pptx.enum.text import MSO_ANCHOR

        frame = self._text_box(box, "line")
        frame.vertical_anchor = MSO_ANCHOR.BOTTOM
        size = layout.line_size(f"{line.lead}  {line.text}", box.width / self.template.text_stretch)
        if line.lead:
            self._run(frame.paragraphs[0], f"{line.lead}  ", size, "ACCENT_1", bold=True)
        self._run(frame.paragraphs[0], line.text, size)

    def hint(self, text: str, box: Box) -> None:
        """Add what to think about, below a question that has no picture."""
        self._run(self._text_box(box, "text").paragraphs[0], text, layout.BODY_SIZE + 4, "TEXT_2")

    def points(self, points: tuple[Paragraph, ...], box: Box) -> None:
        """Add paragraphs under their leads, in the largest type that fits."""
        from pptx.util import Inches

        size = (
            size_points([(point.lead, point.text) for point in points], self._estimable(box), SMALLEST_TYPE)
            or SMALLEST_TYPE
        )
        frame = self._text_box(box, "text")
        for index, point in enumerate(points):
            first = frame.paragraphs[0] if index == 0 else frame.add_paragraph()
            if index:
                first.space_before = Inches(layout.POINT_GAP * self.template.scale)
            if point.lead:
                self._run(first, point.lead, layout.TEXT_SIZE, "ACCENT_1", bold=True)
            self._run(frame.add_paragraph() if point.lead else first, point.text, size)

    def table(self, table: Table, area: Box) -> None:
        """Add a native table, in the largest type that fits.

        Raises
        ------
        VizdiffInputError
            Where it does not fit in the smallest type.
        """
        shape = shape_table(table.header, table.rows, self._estimable(area), SMALLEST_TYPE)
        if shape is None:
            raise VizdiffInputError(f"table {table.caption!r} does not fit on a slide of this template")
        widths = [inches * self.template.text_stretch for inches in shape.widths]
        box = Box(area.left, area.top, sum(widths), shape.height)
        count = (len(table.rows) + 1, len(table.header))
        graphic = self.slide.shapes.add_table(*count, *self._emu(box))
        _describe(graphic, "table", table.caption)
        native = graphic.table
        graphic._element.graphic.graphicData.tbl.tblPr.find("{*}tableStyleId").text = _NO_STYLE
        native.horz_banding = False
        unit = self.template.scale * EMU
        for column, inches in zip(native.columns, widths, strict=True):
            column.width = round(inches * unit)
        for row, inches in zip(native.rows, shape.heights, strict=True):
            row.height = round(inches * unit)
        for y, texts in enumerate([table.header, *table.rows]):
            for x, text in enumerate(texts):
                self._cell(native.cell(y, x), text, shape.size, y == 0, table.numeric[x])

    def place(self, shape: Any, box: Box) -> None:
        """Move a shape, such as a placeholder of the layout, to a box."""
        shape.left, shape.top, shape.width, shape.height = self._emu(box)

    def set_colour(self, run: Any, name: str) -> None:
        """Set the colour of a run by its name in the theme, such as TEXT_1."""
        from pptx.enum.dml import MSO_THEME_COLOR

        run.font.color.theme_color = getattr(MSO_THEME_COLOR, name)

    def set_language(self, run: Any) -> None:
        """Set the language of a run, and the font of its Chinese characters."""
        from lxml import etree
        from pptx.oxml.ns import qn

        chinese = self.lang.startswith("zh")
        properties = run._r.get_or_add_rPr()
        properties.set("lang", "zh-CN" if chinese else "en-US" if self.lang == "en" else self.lang)
        if chinese and properties.find(qn("a:ea")) is None:
            properties.set("altLang", "en-US")
            etree.SubElement(properties, qn("a:ea"), typeface=EAST_ASIAN)

    def _emu(self, box: Box) -> tuple[int, int, int, int]:
        """Return left, top, width and height of a box in PowerPoint's units, scaled to the template."""
        left, top, wide, high = (
            round(value * self.template.scale * EMU) for value in (box.left, box.top, box.width, box.height)
        )
        return left, top, wide, high

    def _estimable(self, box: Box) -> Box:
        """Return the part of a box that text may fill by estimate, given the allowance for the template's font."""
        return Box(box.left, box.top, box.width / self.template.text_stretch, box.height)

    def _text_box(self, box: Box, name: str) -> Any:
        """Add a text box without margins; return its text frame."""
        from pptx.enum.text import MSO_AUTO_SIZE

        shape = self.slide.shapes.add_textbox(*self._emu(box))
        shape.name = name
        frame = shape.text_frame
        frame.word_wrap, frame.auto_size = True, MSO_AUTO_SIZE.NONE
        frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
        return frame

    def _run(self, paragraph: Any, text: str, size: float, colour: str = "TEXT_1", bold: bool = False) -> None:
        from pptx.util import Pt

        run = paragraph.add_run()
        run.text, run.font.size, run.font.bold = text, Pt(round(size * self.template.scale, 1)), bold
        self.set_colour(run, colour)
        self.set_language(run)

    def _cell(self, cell: Any, text: str, size: float, is_header: bool, is_number: bool) -> None:
        from lxml import etree
        from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
        from pptx.oxml.ns import qn

        unit = self.template.scale * EMU
        cell.margin_left = cell.margin_right = round(layout.CELL_MARGIN * unit)
        cell.margin_top = cell.margin_bottom = round(layout.ROW_PADDING / 2 * unit)
        cell.vertical_anchor = MSO_ANCHOR.BOTTOM if is_header else MSO_ANCHOR.MIDDLE
        paragraph = cell.text_frame.paragraphs[0]
        paragraph.alignment = PP_ALIGN.RIGHT if is_number else PP_ALIGN.LEFT
        self._run(paragraph, text, size, "TEXT_2" if is_header else "TEXT_1")
        properties = cell._tc.get_or_add_tcPr()
        line = etree.SubElement(properties, qn("a:lnB"), w="12700" if is_header else "6350")
        fill = etree.SubElement(line, qn("a:solidFill"))
        etree.SubElement(fill, qn("a:schemeClr"), val="tx1" if is_header else "bg2")


def _describe(shape: Any, name: str, alt: str) -> None:
    """Set the name and the alt text of a shape; python-pptx has no method for the latter."""
    shape.name = name
    shape._element.xpath(".//p:cNvPr")[0].set("descr", alt)
