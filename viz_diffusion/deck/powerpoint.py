"""A deck as a PowerPoint file: native titles, texts, tables and notes, pictures with alt text.

Knows nothing about what is measured: it writes a finished :class:`~viz_diffusion.deck.slides.Deck`.
"""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from viz_diffusion.deck import layout
from viz_diffusion.deck.layout import Box, split_line, title_size
from viz_diffusion.deck.pptx_shapes import ShapeWriter
from viz_diffusion.deck.slides import Deck, Slide
from viz_diffusion.deck.template import EMU, SlideTemplate, placeholder_type
from viz_diffusion.deck.typography import subscripts
from viz_diffusion.files import write_bytes

_SMALLEST_COVER_PICTURE = 0.2
"""Share of the slide's height that a template's title slide must leave free to show the digit on it."""


def write_pptx(deck: Deck, path: Path, template: Path | None = None) -> None:
    """Write a deck atomically.

    Parameters
    ----------
    deck
        The contents of the slides.
    path
        The file to write.
    template
        A .pptx or .potx whose size, layouts, fonts and colours are used; its own slides are left out.

    Raises
    ------
    VizdiffInputError
        Where the template is no PowerPoint file, no layout of it has a title and free area below, or a table does
        not fit on its slides.
    """
    opened = SlideTemplate.default() if template is None else SlideTemplate.open(template)
    for slide in deck.slides:
        _SlideComposer(opened, deck.lang, slide).compose()
    _add_sections(opened.file, deck)
    properties = opened.file.core_properties
    properties.title, properties.author, properties.language = deck.title, "viz_diffusion", deck.lang
    data = io.BytesIO()
    opened.file.save(data)
    write_bytes(path, data.getvalue())


class _SlideComposer:
    """Composes one slide."""

    def __init__(self, template: SlideTemplate, lang: str, content: Slide) -> None:
        self.template, self.content = template, content
        self.is_cover = content.name == "cover"
        self.is_question_alone = content.name.startswith("ask_") and content.picture is None
        self.slide = template.file.slides.add_slide((self.is_cover and template.cover) or template.plain)
        self.shapes = ShapeWriter(self.slide, template, lang)

    def compose(self) -> None:
        """Add everything to the slide."""
        self.title()
        if self.is_cover and self.template.is_default:
            self.default_cover()
        else:
            self.body()
        self.remove_empty_placeholders()
        if not self.is_cover:
            self.number()
        self.notes()
        for part in (self.slide, self.slide.notes_slide):
            for run in part._element.xpath(".//a:r"):
                lower_subscripts(run)

    def title(self) -> None:
        """Fill the title, in smaller type or in two lines where it does not fit on one; a question alone is large."""
        from pptx.util import Pt

        title = self.content.title
        shape = self.slide.shapes.title
        shape.text_frame.text = title
        run = shape.text_frame.paragraphs[0].runs[0]
        if self.template.is_default and not self.is_cover:
            size, lines = title_size(title)
            box = replace(layout.TITLE, height=layout.TITLE.height + (lines - 1) * layout.SECOND_LINE)
            if self.is_question_alone:
                size, box = layout.QUESTION_SIZE, layout.QUESTION
            if box != layout.TITLE:
                self.shapes.place(shape, box)
            if size != layout.TITLE_SIZES[0]:
                run.font.size = Pt(size)
        self.shapes.set_language(run)

    def body(self) -> None:
        """Add picture, table, paragraphs and line of any slide but the default cover."""
        content, area = self.content, self.area()
        has_cover_layout = self.is_cover and self.template.cover is not None
        line = "" if content.line is None else f"{content.line.lead}  {content.line.text}"
        upper, foot = split_line(area, line, self.template.text_stretch)
        if has_cover_layout:
            self.template_cover()
        elif content.picture is not None:
            box = upper.fit(content.picture.width / content.picture.height)
            if content.movie:
                self.shapes.movie(content.picture, content.movie, box)
            else:
                self.shapes.picture(content.picture, box)
        if content.table is not None:
            self.shapes.table(content.table, upper.below(0.1))
        if self.is_question_alone and self.template.is_default:
            self.shapes.hint(content.points[0].text, layout.HINT)
        elif content.points:
            self.shapes.points(content.points, area.below(layout.POINTS.top - layout.AREA.top).above(0.4))
        if content.line and not has_cover_layout:
            self.shapes.line(replace(content.line, text=content.line.text.replace("\n", " · ")), foot)

    def area(self) -> Box:
        """Return the free area below the title."""
        lines = title_size(self.content.title)[1] if self.template.is_default else 1
        return self.template.area.below((lines - 1) * layout.SECOND_LINE)

    def default_cover(self) -> None:
        """Add the finished digit in the slide's full height, and the facts of the run below the title."""
        if self.content.picture is not None:
            self.shapes.picture(self.content.picture, layout.COVER_PICTURE)
        self.subtitle()

    def template_cover(self) -> None:
        """Fill a template's title slide; add the digit above or below its text if there is enough space."""
        self.subtitle()
        unit = self.template.scale * EMU
        wide, high = self.template.file.slide_width / unit, self.template.file.slide_height / unit
        occupied = [
            (shape.top / unit, (shape.top + shape.height) / unit)
            for holder in (self.slide.slide_layout, self.template.file.slide_master)
            for shape in holder.shapes
            if shape.height
            and shape.top is not None
            and shape.width * shape.height < wide * high * unit**2 / 2
            and not (holder is self.template.file.slide_master and shape.is_placeholder)
        ]
        first, last = min((top for top, _ in occupied), default=high), max((end for _, end in occupied), default=0.0)
        above, below = Box(0, 0.3, wide, first - 0.4), Box(0, last + 0.1, wide, high - last - 0.4)
        box = max(above, below, key=lambda one: one.height)
        if self.content.picture is not None and box.height >= _SMALLEST_COVER_PICTURE * high:
            self.shapes.picture(self.content.picture, box.fit(1))

    def subtitle(self) -> None:
        """Write the facts of the run into the subtitle."""
        for shape in self.slide.placeholders:
            if shape.placeholder_format.type == placeholder_type("SUBTITLE"):
                shape.text_frame.text = self.content.line.text if self.content.line else ""
                for paragraph in shape.text_frame.paragraphs:
                    for run in paragraph.runs:
                        if self.template.is_default:
                            self.shapes.set_colour(run, "TEXT_2")
                        self.shapes.set_language(run)

    def remove_empty_placeholders(self) -> None:
        """Remove placeholders without text."""
        for shape in list(self.slide.placeholders):
            if (shape.has_text_frame and not shape.text_frame.text) or not shape.has_text_frame:
                shape._element.getparent().remove(shape._element)

    def number(self) -> None:
        """Copy the slide number of the layout, if it has one."""
        for shape in self.slide.slide_layout.placeholders:
            if shape.placeholder_format.type == placeholder_type("SLIDE_NUMBER"):
                self.slide.shapes._spTree.append(deepcopy(shape._element))

    def notes(self) -> None:
        """Write the speaker's notes."""
        frame = self.slide.notes_slide.notes_text_frame
        if frame is not None:
            frame.text = self.content.notes
            for paragraph in frame.paragraphs:
                for run in paragraph.runs:
                    self.shapes.set_language(run)


def lower_subscripts(run: Any) -> None:
    """Split a run of text, as lxml's element, so that the t of ``x_t`` is set as a subscript."""
    for part, lowered in subscripts(run.text):
        piece = deepcopy(run)
        piece.text = part
        if lowered:
            piece.get_or_add_rPr().set("baseline", "-25000")
        run.addprevious(piece)
    if run.text:
        run.getparent().remove(run)


def _add_sections(file: Any, deck: Deck) -> None:
    """Group the slides by lesson, as PowerPoint's sections."""
    from lxml import etree
    from pptx.oxml.ns import qn

    p14 = "http://schemas.microsoft.com/office/powerpoint/2010/main"
    root = file.part._element
    lists = root.find(qn("p:extLst"))
    if lists is None:
        lists = etree.SubElement(root, qn("p:extLst"))
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
