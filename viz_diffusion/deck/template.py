"""PowerPoint templates: the default 16:9 presentation, or a user's file without its slides.

Knows nothing about the contents of slides.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viz_diffusion.deck import layout
from viz_diffusion.deck.layout import Box
from viz_diffusion.deck.old_slides import remove_slides
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import damage_named, read_regular
from viz_diffusion.plots import theme

LATIN, EAST_ASIAN = "Arial", "Microsoft YaHei"
"""Fonts installed with every office suite; Liberation Sans has the same widths as Arial."""
EMU = 914400
"""English Metric Units, the unit of PowerPoint, in an inch."""
LARGEST_TEMPLATE = 2**28
"""Bytes of the largest template, packed and unpacked: 256 MiB."""
_TEMPLATE_TYPE = b"presentationml.template.main+xml"
_PRESENTATION_TYPE = b"presentationml.presentation.main+xml"
_SMALLEST_AREA = 0.45
"""Smallest usable area of a layout, as a share of the slide's height."""
_FONT_ALLOWANCE = 1.15
"""Allowance for the fonts of a template: text may be this many times wider than estimated."""


def check_template(path: Path) -> None:
    """Raise unless a template can be used; meant to be called before lessons are measured.

    Raises
    ------
    VizdiffInputError
        Where it is no PowerPoint file, or no layout of it has a title and a free area below.
    """
    SlideTemplate.open(path)


@dataclass(frozen=True, eq=False)
class SlideTemplate:
    """A presentation without slides, its layouts, and the area that they leave free."""

    file: Any
    """The presentation of python-pptx."""
    cover: Any
    """Layout of the first slide; None where ``plain`` is used for it too."""
    plain: Any
    """Layout of the other slides: a title, and a free area."""
    area: Box
    """The free area, in inches of a slide of the default size."""
    scale: float
    """Inches of this template per inch of the default one; type sizes are multiplied by it too."""
    is_default: bool
    """Whether this is the default template."""

    @property
    def text_stretch(self) -> float:
        """How many times wider than estimated text may be."""
        return 1.0 if self.is_default else _FONT_ALLOWANCE

    @classmethod
    def default(cls) -> SlideTemplate:
        """Return a white 16:9 presentation with the colours and fonts of this package."""
        from pptx import Presentation

        file: Any = Presentation()
        file.slide_width, file.slide_height = round(layout.SLIDE_WIDTH * EMU), round(layout.SLIDE_HEIGHT * EMU)
        _paint_theme(file)
        layouts = {one.name: one for one in file.slide_layouts}
        for name, one in layouts.items():
            if name not in ("Title Slide", "Title Only"):
                file.slide_layouts.remove(one)
        cover, plain = layouts["Title Slide"], layouts["Title Only"]
        for holder in (file.slide_master, plain):
            _style_titles(holder, layout.TITLE, layout.TITLE_SIZES[0], anchor="b")
        _style_titles(cover, layout.COVER_TITLE, layout.COVER_SIZE, anchor="b")
        for holder in (file.slide_master, cover, plain):
            _style_number(holder)
        for shape in cover.placeholders:
            if shape.placeholder_format.type == placeholder_type("SUBTITLE"):
                _place(shape, layout.COVER_TEXT)
                _style_holder(shape, layout.TEXT_SIZE + 2, "l", "t")
        body = next(s for s in file.slide_master.placeholders if s.placeholder_format.type == placeholder_type("BODY"))
        _place(body, layout.AREA)
        return cls(file, cover, plain, layout.AREA, 1.0, True)

    @classmethod
    def open(cls, path: Path) -> SlideTemplate:
        """Read a user's template, and remove its slides."""
        from pptx import Presentation

        data = read_regular(path, LARGEST_TEMPLATE)
        with damage_named(path, "`template` takes a .pptx or .potx", "is not a PowerPoint file"):
            file: Any = Presentation(io.BytesIO(_as_presentation(data)))
            remove_slides(file)
            areas = [(one, _free_area(one, file)) for one in file.slide_layouts]
        usable = [(one, area) for one, area in areas if area is not None]
        if not usable:
            raise VizdiffInputError(
                f"{path} has no layout with a title and room beneath it; add one in its slide master"
            )
        plain, free = max(
            usable,
            key=lambda pair: (_type(pair[0]) == "titleOnly", -_num_bodies(pair[0]), pair[1].width * pair[1].height),
        )
        cover = next((one for one in file.slide_layouts if _type(one) == "title" and one.placeholders), None)
        scale = min(file.slide_width / layout.SLIDE_WIDTH, file.slide_height / layout.SLIDE_HEIGHT) / EMU
        area = Box(*(value / scale for value in (free.left, free.top, free.width, free.height)))
        return cls(file, cover, plain, area, scale, False)


def _as_presentation(data: bytes) -> bytes:
    """Return the bytes of a .potx as those of a .pptx; python-pptx opens only the latter."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_TEMPLATE:
            raise ValueError(f"it would unpack to {size:,} bytes")
        if _TEMPLATE_TYPE not in archive.read("[Content_Types].xml"):
            return data
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as changed:
            for name in archive.namelist():
                part = archive.read(name)
                changed.writestr(
                    name, part.replace(_TEMPLATE_TYPE, _PRESENTATION_TYPE) if name == "[Content_Types].xml" else part
                )
        return copy.getvalue()


def _type(slide_layout: Any) -> str:
    return str(slide_layout._element.get("type", ""))


def placeholder_type(name: str) -> Any:
    """Return a kind of placeholder by python-pptx's name for it."""
    from pptx.enum.shapes import PP_PLACEHOLDER

    return getattr(PP_PLACEHOLDER, name)


def _num_bodies(slide_layout: Any) -> int:
    """Return the number of placeholders of a layout besides title, date, footer and slide number."""
    plain = {placeholder_type(n) for n in ("TITLE", "CENTER_TITLE", "DATE", "FOOTER", "SLIDE_NUMBER")}
    return sum(shape.placeholder_format.type not in plain for shape in slide_layout.placeholders)


def _free_area(slide_layout: Any, file: Any) -> Box | None:
    """Return the area between a layout's title and its footer; None where it is too small."""
    wide, high = (file.slide_width or 0) / EMU, (file.slide_height or 0) / EMU
    title, foot = None, high - 0.15
    titles = {placeholder_type(name) for name in ("TITLE", "CENTER_TITLE")}
    footers = {placeholder_type(name) for name in ("DATE", "FOOTER", "SLIDE_NUMBER")}
    for shape in slide_layout.placeholders:
        kind = shape.placeholder_format.type
        if shape.top is None or shape.height is None:
            continue
        top = shape.top / EMU
        if kind in titles:
            title = shape
        elif kind in footers and top > high / 2:
            foot = min(foot, top)
    if title is None:
        return None
    top = (title.top + title.height) / EMU + 0.1
    side = min(max(title.left / EMU, 0.3), wide / 10)
    box = Box(side, top, wide - 2 * side, foot - top)
    return box if box.height >= _SMALLEST_AREA * high else None


def _paint_theme(file: Any) -> None:
    """Set the colours and fonts of the theme, so that PowerPoint's menus offer them."""
    from pptx.opc.constants import RELATIONSHIP_TYPE

    part = file.slide_master.part.part_related_by(RELATIONSHIP_TYPE.THEME)
    xml = part.blob.decode("utf-8")
    colours = {
        "dk1": theme.INK,
        "lt1": "#FFFFFF",
        "dk2": theme.MUTED,
        "lt2": theme.FAINT,
        "accent1": theme.PURPLE,
        "accent2": theme.ORANGE,
        "accent3": theme.QUARTERS[1],
        "accent4": theme.QUARTERS[2],
        "accent5": theme.QUARTERS[3],
        "accent6": theme.MUTED,
    }
    for name, colour in colours.items():
        xml = re.sub(
            rf"(<a:{name}>).*?(</a:{name}>)", rf'\g<1><a:srgbClr val="{colour[1:].upper()}"/>\g<2>', xml, flags=re.S
        )
    for group in ("majorFont", "minorFont"):
        xml = re.sub(
            rf"(<a:{group}>\s*)<a:latin [^>]*/>\s*<a:ea [^>]*/>",
            rf'\g<1><a:latin typeface="{LATIN}"/><a:ea typeface="{EAST_ASIAN}"/>',
            xml,
        )
    part._blob = xml.replace('name="Office Theme"', 'name="viz_diffusion"').encode("utf-8")


def _place(shape: Any, box: Box) -> None:
    shape.left, shape.top = round(box.left * EMU), round(box.top * EMU)
    shape.width, shape.height = round(box.width * EMU), round(box.height * EMU)


def _style_holder(shape: Any, size: float, align: str, anchor: str, colour: str = "tx1") -> None:
    """Set type size, alignment and colour of a placeholder in its layout, for all slides made from it."""
    from pptx.oxml import parse_xml
    from pptx.oxml.ns import nsdecls, qn

    body = shape._element.txBody
    properties = body.find(qn("a:bodyPr"))
    properties.set("anchor", anchor)
    for side in ("lIns", "rIns", "tIns", "bIns"):
        properties.set(side, "0")
    for child in list(properties):
        properties.remove(child)
    listed = body.find(qn("a:lstStyle"))
    fresh = parse_xml(
        f'<a:lstStyle {nsdecls("a")}><a:lvl1pPr marL="0" indent="0" algn="{align}"><a:buNone/>'
        f'<a:defRPr sz="{round(size * 100)}" b="0"><a:solidFill><a:schemeClr val="{colour}"/></a:solidFill>'
        "</a:defRPr></a:lvl1pPr></a:lstStyle>"
    )
    if listed is None:
        properties.addnext(fresh)
    else:
        body.replace(listed, fresh)


def _style_titles(holder: Any, box: Box, size: float, anchor: str) -> None:
    for shape in holder.placeholders:
        if shape.placeholder_format.type in (placeholder_type("TITLE"), placeholder_type("CENTER_TITLE")):
            _place(shape, box)
            _style_holder(shape, size, "l", anchor)


def _style_number(holder: Any) -> None:
    """Place the slide number of a layout, and remove its date and its footer."""
    for shape in list(holder.placeholders):
        kind = shape.placeholder_format.type
        if kind == placeholder_type("SLIDE_NUMBER"):
            _place(shape, layout.NUMBER)
            _style_holder(shape, layout.TEXT_SIZE, "r", "b", "tx2")
        elif kind in (placeholder_type("DATE"), placeholder_type("FOOTER")):
            shape._element.getparent().remove(shape._element)
