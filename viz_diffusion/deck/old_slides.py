"""Removal of a template's own slides, with every reference to them and everything that shows them.

Knows nothing about layouts or about new slides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_P14 = "http://schemas.microsoft.com/office/powerpoint/2010/main"


def remove_slides(file: Any) -> None:
    """Remove all slides of a presentation of python-pptx.

    A slide that anything refers to would stay in the file, under a name that a new slide then gets too. So the
    references go as well: links on masters and layouts, custom shows, sections, the slides that the outline view has
    folded. The file's preview picture and its list of slide titles show the old slides, and go too.
    """
    from pptx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE

    package = file.part.package
    parts = list(package.iter_parts())
    old = {part for part in parts if part.content_type in (CONTENT_TYPE.PML_SLIDE, CONTENT_TYPE.PML_NOTES_SLIDE)}
    for part in parts:
        if part not in old:
            gone = {name for name, rel in part.rels.items() if not rel.is_external and rel.target_part in old}
            _edit(part, gone)
            for name in gone:
                part.rels.pop(name)
    shown = (RELATIONSHIP_TYPE.THUMBNAIL, RELATIONSHIP_TYPE.EXTENDED_PROPERTIES)
    for name in [name for name, rel in package._rels.items() if rel.reltype in shown]:
        package.drop_rel(name)


def _edit(part: Any, gone: set[str]) -> None:
    """Remove the elements of a part that use one of the relationships ``gone``, or name slides in other ways."""
    from lxml import etree
    from pptx.oxml import parse_xml

    if hasattr(part, "_element"):
        for element in list(_outdated(part._element, gone)):
            element.getparent().remove(element)
    elif str(part.partname).endswith(".xml") and part.blob:
        root = parse_xml(part.blob)
        outdated = list(_outdated(root, gone))
        for element in outdated:
            element.getparent().remove(element)
        if outdated:
            part.blob = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)


def _outdated(root: Any, gone: set[str]) -> Iterator[Any]:
    """Yield the elements to remove; none of them is the root."""
    from pptx.oxml.ns import qn

    relation = qn("r:id").removesuffix("id")
    sections, shows = f"{{{_P14}}}sectionLst", qn("p:custShowLst")
    chosen = (qn("p:custShow"), qn("p:sldRg"))  # in the settings of the slide show: which slides it shows
    for element in root.iter("*"):
        if element is root or element.getparent() is None:
            continue
        used = {value for name, value in element.items() if name.startswith(relation)}
        names_slides = (
            element.tag == shows
            or (element.tag in chosen and element.getparent().tag == qn("p:showPr"))
            or element.get("action", "").startswith("ppaction://customshow")
            or element.find(sections) is not None
        )
        if used & gone or names_slides:
            yield element
