"""A deck as PowerPoint: native titles, text, tables and notes, pictures with alt text, on our own or a given theme.

Knows nothing about what is measured; it sets a finished plan.
"""

from __future__ import annotations

import io
from copy import deepcopy
from pathlib import Path
from typing import Any

from viz_diffusion.deck import layout
from viz_diffusion.deck.layout import Box, shape_table, size_points, split_line
from viz_diffusion.deck.pictures import Still
from viz_diffusion.deck.slides import Deck, Point, Slide
from viz_diffusion.deck.template import EAST_ASIAN, EMU, Stage, holder_kind
from viz_diffusion.deck.typography import width
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import write_bytes
from viz_diffusion.study.blocks import Table

_NO_STYLE = "{2D5ABB26-0587-4C30-8999-92F81FD0307C}"
"""PowerPoint's table style without colours and lines; ours are drawn by hand."""
TEMPLATE_LEAST = 11
"""Points: on a narrow template type may shrink to this; on our own slides nothing has to."""
_LEAST_DIGIT = 0.2
"""Share of its height that a template's title slide must leave free to show the digit."""


def write_pptx(deck: Deck, path: Path, template: Path | None = None) -> None:
    """Write a deck, whole or not at all.

    Parameters
    ----------
    deck
        What is on the slides.
    path
        Where to write.
    template
        A .pptx or .potx whose size, layouts, fonts and colours are used; its own slides are left out.

    Raises
    ------
    VizdiffInputError
        Where the template is no PowerPoint file, or no layout of it has a title and room beneath.
    """
    stage = Stage.own() if template is None else Stage.of(template)
    for slide in deck.slides:
        _Setter(stage, deck.lang, slide).set()
    _name_sections(stage.file, deck)
    properties = stage.file.core_properties
    properties.title, properties.author, properties.language = deck.title, "viz_diffusion", deck.lang
    data = io.BytesIO()
    stage.file.save(data)
    write_bytes(path, data.getvalue())


class _Setter:
    """Sets one slide."""

    def __init__(self, stage: Stage, lang: str, plan: Slide) -> None:
        self.stage, self.lang, self.plan = stage, lang, plan
        self.is_cover = plan.name == "cover"
        self.slide = stage.file.slides.add_slide((self.is_cover and stage.cover) or stage.plain)

    def set(self) -> None:
        """Fill the slide."""
        plan, area = self.plan, self.stage.area
        self.title()
        if self.is_cover and self.stage.ours:
            self.cover()
        else:
            rest, foot = split_line(area, plan.line, self.stage.loose)
            if self.is_cover and self.stage.cover is not None:
                self.template_cover()
            elif plan.picture is not None:
                box = rest.fit(plan.picture.width / plan.picture.height)
                self.movie(plan.picture, plan.movie, box) if plan.movie else self.picture(plan.picture, box)
            if plan.table is not None:
                self.table(plan.table, rest)
            if plan.points:
                self.points(plan.points, area)
            if plan.line and not (self.is_cover and self.stage.cover is not None):
                self.line(plan.line.replace("\n", " · "), foot)
            if self.stage.ours and plan.section != plan.title:
                self.kicker(plan.section)
        self.drop_empty()
        if not self.is_cover:
            self.number()
        notes = self.slide.notes_slide.notes_text_frame
        if notes is not None:
            notes.text = plan.notes
            for paragraph in notes.paragraphs:
                for run in paragraph.runs:
                    self.speak(run)

    def emu(self, box: Box) -> tuple[int, int, int, int]:
        """Return a box in PowerPoint's units, on the slide's own scale."""
        left, top, wide, high = (
            round(value * self.stage.scale * EMU) for value in (box.left, box.top, box.width, box.height)
        )
        return left, top, wide, high

    def title(self) -> None:
        """Fill the title, a little smaller where it would not fit on one line."""
        from pptx.util import Pt

        shape = self.slide.shapes.title
        shape.text_frame.text = self.plan.title
        run = shape.text_frame.paragraphs[0].runs[0]
        if self.stage.ours and not self.is_cover:
            room = layout.TITLE.width * 72
            size = next((s for s in (layout.TITLE_SIZE, 26, 22) if width(self.plan.title, s) <= room), layout.BODY_SIZE)
            if size != layout.TITLE_SIZE:
                run.font.size = Pt(size)
        self.speak(run)

    def cover(self) -> None:
        """Put the finished digit over the slide's whole height, and the run's facts beneath the title."""
        if self.plan.picture is not None:
            self.picture(self.plan.picture, layout.COVER_PICTURE)
        self.subtitle()

    def template_cover(self) -> None:
        """Fill a template's own title slide; put the digit over or under its text where there is room for it."""
        self.subtitle()
        unit = self.stage.scale * EMU
        wide, high = self.stage.file.slide_width / unit, self.stage.file.slide_height / unit
        taken = [
            (shape.top / unit, (shape.top + shape.height) / unit)
            for holder in (self.slide.slide_layout, self.stage.file.slide_master)
            for shape in holder.shapes
            if shape.height
            and shape.top is not None
            and shape.width * shape.height < wide * high * unit**2 / 2
            and not (holder is self.stage.file.slide_master and shape.is_placeholder)
        ]
        first, last = min((top for top, _ in taken), default=high), max((end for _, end in taken), default=0.0)
        above, below = Box(0, 0.3, wide, first - 0.4), Box(0, last + 0.1, wide, high - last - 0.4)
        box = max(above, below, key=lambda one: one.height)
        if self.plan.picture is not None and box.height >= _LEAST_DIGIT * high:
            self.picture(self.plan.picture, box.fit(1))

    def subtitle(self) -> None:
        """Write the run's facts under the title."""
        for shape in self.slide.placeholders:
            if shape.placeholder_format.type == holder_kind("SUBTITLE"):
                shape.text_frame.text = self.plan.line
                for paragraph in shape.text_frame.paragraphs:
                    for run in paragraph.runs:
                        if self.stage.ours:
                            self.colour(run, "TEXT_2")
                        self.speak(run)

    def picture(self, still: Still, box: Box) -> None:
        shape = self.slide.shapes.add_picture(io.BytesIO(still.data), *self.emu(box))
        _describe(shape, still.name, still.alt)

    def movie(self, poster: Still, mp4: bytes, box: Box) -> None:
        shape = self.slide.shapes.add_movie(
            io.BytesIO(mp4), *self.emu(box), poster_frame_image=io.BytesIO(poster.data), mime_type="video/mp4"
        )
        _describe(shape, "movie", poster.alt)

    def text(self, box: Box, name: str) -> Any:
        """Add a text box without margins; return its frame."""
        from pptx.enum.text import MSO_AUTO_SIZE

        shape = self.slide.shapes.add_textbox(*self.emu(box))
        shape.name = name
        frame = shape.text_frame
        frame.word_wrap, frame.auto_size = True, MSO_AUTO_SIZE.NONE
        frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
        return frame

    def run(self, paragraph: Any, text: str, size: float, colour: str = "TEXT_1", bold: bool = False) -> None:
        from pptx.util import Pt

        run = paragraph.add_run()
        run.text, run.font.size, run.font.bold = text, Pt(round(size * self.stage.scale, 1)), bold
        self.colour(run, colour)
        self.speak(run)

    def colour(self, run: Any, name: str) -> None:
        from pptx.enum.dml import MSO_THEME_COLOR

        run.font.color.theme_color = getattr(MSO_THEME_COLOR, name)

    def speak(self, run: Any) -> None:
        """Say which language a run is in, and which font its Chinese characters want."""
        from lxml import etree
        from pptx.oxml.ns import qn

        chinese = self.lang.startswith("zh")
        properties = run._r.get_or_add_rPr()
        properties.set("lang", "zh-CN" if chinese else "en-US" if self.lang == "en" else self.lang)
        if chinese and properties.find(qn("a:ea")) is None:
            properties.set("altLang", "en-US")
            etree.SubElement(properties, qn("a:ea"), typeface=EAST_ASIAN)

    def line(self, text: str, box: Box) -> None:
        from pptx.enum.text import MSO_ANCHOR

        frame = self.text(box, "line")
        frame.vertical_anchor = MSO_ANCHOR.BOTTOM
        self.run(frame.paragraphs[0], text, layout.TEXT_SIZE)

    def kicker(self, text: str) -> None:
        """Say at the top right whose lesson it is, where there is room for it."""
        from pptx.enum.text import MSO_ANCHOR, PP_ALIGN

        if width(text, layout.TEXT_SIZE) <= layout.KICKER.width * 72:
            frame = self.text(layout.KICKER, "section")
            frame.vertical_anchor = MSO_ANCHOR.BOTTOM
            frame.paragraphs[0].alignment = PP_ALIGN.RIGHT
            self.run(frame.paragraphs[0], text, layout.TEXT_SIZE, "ACCENT_1")

    def points(self, points: tuple[Point, ...], area: Box) -> None:
        from pptx.util import Inches

        room = area.below(layout.POINTS.top - layout.AREA.top).above(0.4)
        size = (
            size_points([(point.lead, point.text) for point in points], self.tight(room), TEMPLATE_LEAST)
            or TEMPLATE_LEAST
        )
        frame = self.text(room, "text")
        for index, point in enumerate(points):
            lead = frame.paragraphs[0] if index == 0 else frame.add_paragraph()
            if index:
                lead.space_before = Inches(layout.POINT_GAP * self.stage.scale)
            self.run(lead, point.lead, layout.TEXT_SIZE, "ACCENT_1", bold=True)
            self.run(frame.add_paragraph(), point.text, size)

    def tight(self, room: Box) -> Box:
        """Return the room that text may be estimated to fill."""
        return Box(room.left, room.top, room.width / self.stage.loose, room.height)

    def table(self, table: Table, area: Box) -> None:
        room = area.below(0.1)
        shape = shape_table(table.header, table.rows, self.tight(room), TEMPLATE_LEAST)
        if shape is None:
            raise VizdiffInputError(f"table {table.caption!r} does not fit on a slide of this template")
        widths = [inches * self.stage.loose for inches in shape.widths]
        box = Box(room.left, room.top, sum(widths), shape.height)
        count = (len(table.rows) + 1, len(table.header))
        graphic = self.slide.shapes.add_table(*count, *self.emu(box))
        _describe(graphic, "table", table.caption)
        native = graphic.table
        graphic._element.graphic.graphicData.tbl.tblPr.find("{*}tableStyleId").text = _NO_STYLE
        native.horz_banding = False
        unit = self.stage.scale * EMU
        for column, inches in zip(native.columns, widths, strict=True):
            column.width = round(inches * unit)
        for row, inches in zip(native.rows, shape.heights, strict=True):
            row.height = round(inches * unit)
        for y, texts in enumerate([table.header, *table.rows]):
            for x, text in enumerate(texts):
                self.cell(native.cell(y, x), text, shape.size, y == 0, table.numeric[x])

    def cell(self, cell: Any, text: str, size: float, head: bool, number: bool) -> None:
        from lxml import etree
        from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
        from pptx.oxml.ns import qn

        unit = self.stage.scale * EMU
        cell.margin_left = cell.margin_right = round(layout.CELL_MARGIN * unit)
        cell.margin_top = cell.margin_bottom = round(layout.ROW_PADDING / 2 * unit)
        cell.vertical_anchor = MSO_ANCHOR.BOTTOM if head else MSO_ANCHOR.MIDDLE
        paragraph = cell.text_frame.paragraphs[0]
        paragraph.alignment = PP_ALIGN.RIGHT if number else PP_ALIGN.LEFT
        self.run(paragraph, text, size, "TEXT_2" if head else "TEXT_1")
        properties = cell._tc.get_or_add_tcPr()
        line = etree.SubElement(properties, qn("a:lnB"), w="12700" if head else "6350")
        fill = etree.SubElement(line, qn("a:solidFill"))
        etree.SubElement(fill, qn("a:schemeClr"), val="tx1" if head else "bg2")

    def drop_empty(self) -> None:
        """Take out placeholders that nothing was written in."""
        for shape in list(self.slide.placeholders):
            if (shape.has_text_frame and not shape.text_frame.text) or not shape.has_text_frame:
                shape._element.getparent().remove(shape._element)

    def number(self) -> None:
        """Copy the layout's slide number, where it has one."""
        for shape in self.slide.slide_layout.placeholders:
            if shape.placeholder_format.type == holder_kind("SLIDE_NUMBER"):
                self.slide.shapes._spTree.append(deepcopy(shape._element))


def _describe(shape: Any, name: str, alt: str) -> None:
    """Name a shape and give it its alt text, for which python-pptx has no method."""
    shape.name = name
    shape._element.xpath(".//p:cNvPr")[0].set("descr", alt)


def _name_sections(file: Any, deck: Deck) -> None:
    """Group the slides under the lessons' titles, as PowerPoint's sections."""
    from lxml import etree
    from pptx.oxml.ns import qn

    p14 = "http://schemas.microsoft.com/office/powerpoint/2010/main"
    root = file.part._element
    lists = root.find(qn("p:extLst"))
    if lists is None:
        lists = etree.SubElement(root, qn("p:extLst"))
    for old in lists.findall(f".//{{{p14}}}sectionLst"):
        lists.remove(old.getparent())
    extension = etree.SubElement(lists, qn("p:ext"), uri="{521415D9-36F7-43E2-AB2F-B90AF26B5E84}")
    sections = etree.SubElement(extension, f"{{{p14}}}sectionLst", nsmap={"p14": p14})
    entries = None
    before = None
    for number, (slide, entry) in enumerate(zip(deck.slides, file.slides._sldIdLst, strict=True), 1):
        if slide.section != before or entries is None:
            section = etree.SubElement(sections, f"{{{p14}}}section", name=slide.section)
            section.set("id", f"{{00000000-0000-4000-8000-{number:012d}}}")
            entries = etree.SubElement(section, f"{{{p14}}}sldIdLst")
            before = slide.section
        etree.SubElement(entries, f"{{{p14}}}sldId", id=entry.get("id"))
