"""Where a deck is set: our own 16:9 presentation, or a user's template, emptied and measured.

Knows nothing about what slides say.
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
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import io_errors
from viz_diffusion.plots import theme

LATIN, EAST_ASIAN = "Arial", "Microsoft YaHei"
"""What every office has; Arial's widths are also Liberation Sans's."""
EMU = 914400
"""PowerPoint's units in an inch."""
_POTX = b"presentationml.template.main+xml"
_PPTX = b"presentationml.presentation.main+xml"
_LEAST_ROOM = 0.45
"""Share of a slide's height that a layout must leave free to be used."""
_LOOSE = 1.15
"""How much wider than ours a template's font is allowed to be."""


def check_template(path: Path) -> None:
    """Refuse a template that cannot be used, before anything is measured.

    Raises
    ------
    VizdiffInputError
        Where it is no PowerPoint file, or no layout of it has a title and room beneath.
    """
    Stage.of(path)


@dataclass(frozen=True, eq=False)
class Stage:
    """A presentation without slides, and where things stand in its layouts."""

    file: Any
    """python-pptx's presentation."""
    cover: Any
    """The layout of the first slide; None to use ``plain`` there too."""
    plain: Any
    """The layout of every other slide: a title, and room."""
    area: Box
    """The room, in inches of a slide of our own size."""
    scale: float
    """How many of a template's inches one of ours is; its type shrinks or grows as much."""
    ours: bool
    """Whether the theme is our own."""

    @property
    def loose(self) -> float:
        """How much wider than estimated text may turn out."""
        return 1.0 if self.ours else _LOOSE

    @classmethod
    def own(cls) -> Stage:
        """Return a white 16:9 presentation in the house's type and colours."""
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
            _place_titles(holder, layout.TITLE, layout.TITLE_SIZE, anchor="b")
        _place_titles(cover, layout.COVER_TITLE, layout.COVER_SIZE, anchor="b")
        for holder in (file.slide_master, cover, plain):
            _place_number(holder)
        for shape in cover.placeholders:
            if shape.placeholder_format.type == holder_kind("SUBTITLE"):
                _put(shape, layout.COVER_TEXT)
                _style_holder(shape, layout.TEXT_SIZE + 2, "l", "t")
        body = next(s for s in file.slide_master.placeholders if s.placeholder_format.type == holder_kind("BODY"))
        _put(body, layout.AREA)
        return cls(file, cover, plain, layout.AREA, 1.0, True)

    @classmethod
    def of(cls, template: Path) -> Stage:
        """Return a user's template, its slides taken out."""
        from pptx import Presentation

        try:
            with io_errors("read", template):
                file: Any = Presentation(io.BytesIO(_as_presentation(template.read_bytes())))
                slides = file.slides._sldIdLst
                for entry in list(slides):
                    file.part.drop_rel(entry.rId)
                    slides.remove(entry)
                rooms = [(one, _room(one, file)) for one in file.slide_layouts]
        except (KeyError, ValueError, AttributeError, zipfile.BadZipFile, SyntaxError) as error:
            raise VizdiffInputError(
                f"{template} is not a PowerPoint file ({str(error).splitlines()[0]}); `template` takes a .pptx or .potx"
            ) from error
        usable = [(one, room) for one, room in rooms if room is not None]
        if not usable:
            raise VizdiffInputError(
                f"{template} has no layout with a title and room beneath it; add one in its slide master"
            )
        plain, room = max(
            usable, key=lambda pair: (_type(pair[0]) == "titleOnly", -_bodies(pair[0]), _surface(pair[1]))
        )
        cover = next((one for one in file.slide_layouts if _type(one) == "title" and one.placeholders), None)
        scale = min(file.slide_width / layout.SLIDE_WIDTH, file.slide_height / layout.SLIDE_HEIGHT) / EMU
        area = Box(*(value / scale for value in (room.left, room.top, room.width, room.height)))
        return cls(file, cover, plain, area, scale, False)


def _as_presentation(data: bytes) -> bytes:
    """Return a .potx's bytes as those of a .pptx, which is all that python-pptx opens."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if _POTX not in archive.read("[Content_Types].xml"):
            return data
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as changed:
            for name in archive.namelist():
                part = archive.read(name)
                changed.writestr(name, part.replace(_POTX, _PPTX) if name == "[Content_Types].xml" else part)
        return copy.getvalue()


def _type(slide_layout: Any) -> str:
    return str(slide_layout._element.get("type", ""))


def holder_kind(name: str) -> Any:
    """Return a kind of placeholder by python-pptx's name for it."""
    from pptx.enum.shapes import PP_PLACEHOLDER

    return getattr(PP_PLACEHOLDER, name)


def _bodies(slide_layout: Any) -> int:
    """Return how many placeholders a layout has besides its title and its foot."""
    plain = {holder_kind(n) for n in ("TITLE", "CENTER_TITLE", "DATE", "FOOTER", "SLIDE_NUMBER")}
    return sum(shape.placeholder_format.type not in plain for shape in slide_layout.placeholders)


def _surface(box: Box | None) -> float:
    return 0.0 if box is None else box.width * box.height


def _room(slide_layout: Any, file: Any) -> Box | None:
    """Return the room under a layout's title and over its foot; None where there is too little."""
    wide, high = (file.slide_width or 0) / EMU, (file.slide_height or 0) / EMU
    title, foot = None, high - 0.15
    for shape in slide_layout.placeholders:
        kind = shape.placeholder_format.type
        if shape.top is None or shape.height is None:
            continue
        top = shape.top / EMU
        if kind in (holder_kind("TITLE"), holder_kind("CENTER_TITLE")):
            title = shape
        elif kind in (holder_kind("DATE"), holder_kind("FOOTER"), holder_kind("SLIDE_NUMBER")) and top > high / 2:
            foot = min(foot, top)
    if title is None:
        return None
    top = (title.top + title.height) / EMU + 0.1
    side = min(max(title.left / EMU, 0.3), wide / 10)
    box = Box(side, top, wide - 2 * side, foot - top)
    return box if box.height >= _LEAST_ROOM * high else None


def _paint_theme(file: Any) -> None:
    """Give the default theme the house's colours and fonts, so that a user finds them in PowerPoint's menus."""
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


def _put(shape: Any, box: Box) -> None:
    shape.left, shape.top = round(box.left * EMU), round(box.top * EMU)
    shape.width, shape.height = round(box.width * EMU), round(box.height * EMU)


def _style_holder(shape: Any, size: float, align: str, anchor: str, colour: str = "tx1") -> None:
    """Set a placeholder's type in its layout, for every slide made from it."""
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


def _place_titles(holder: Any, box: Box, size: float, anchor: str) -> None:
    for shape in holder.placeholders:
        if shape.placeholder_format.type in (holder_kind("TITLE"), holder_kind("CENTER_TITLE")):
            _put(shape, box)
            _style_holder(shape, size, "l", anchor)


def _place_number(holder: Any) -> None:
    """Keep the slide number of a layout's foot, and drop the date and the footer."""
    for shape in list(holder.placeholders):
        kind = shape.placeholder_format.type
        if kind == holder_kind("SLIDE_NUMBER"):
            _put(shape, layout.NUMBER)
            _style_holder(shape, layout.TEXT_SIZE, "r", "b", "tx2")
        elif kind in (holder_kind("DATE"), holder_kind("FOOTER")):
            shape._element.getparent().remove(shape._element)
