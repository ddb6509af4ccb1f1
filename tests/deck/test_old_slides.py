"""Templates whose own slides are referred to from elsewhere: nothing of them is left, and no part is there twice."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deck_fakes import Made
from lxml import etree
from pptx import Presentation
from pptx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn

from viz_diffusion.deck.powerpoint import write_pptx
from viz_diffusion.deck.template import SlideTemplate

OLD = "LEFTOVER"
P14 = "http://schemas.microsoft.com/office/powerpoint/2010/main"


def button(target: str, kind: str = "hlinkClick") -> Any:
    return parse_xml(
        f'<p:sp {nsdecls("p", "a", "r")}><p:nvSpPr><p:cNvPr id="99" name="Home"><a:{kind} r:id="{target}" '
        'action="ppaction://hlinksldjump"/></p:cNvPr><p:cNvSpPr/><p:nvPr userDrawn="1"/></p:nvSpPr><p:spPr><a:xfrm>'
        '<a:off x="0" y="0"/><a:ext cx="300000" cy="300000"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/></a:prstGeom>'
        "</p:spPr></p:sp>"
    )


def link_from(holder: Any, file: Any, kind: str = "hlinkClick") -> None:
    """Put a button on a master or a layout that jumps to the first slide."""
    target = holder.part.relate_to(file.slides[0].part, RELATIONSHIP_TYPE.SLIDE)
    holder.shapes._spTree.append(button(target, kind))


def master(file: Any) -> None:
    link_from(file.slide_master, file)


def layout_hover(file: Any) -> None:
    link_from(file.slide_layouts[5], file, "hlinkHover")


def notes_master(file: Any) -> None:
    link_from(file.notes_master, file)


def linked_word(file: Any) -> None:
    """A word in a layout's own text that jumps to a slide."""
    layout = file.slide_layouts[0]
    target = layout.part.relate_to(file.slides[1].part, RELATIONSHIP_TYPE.SLIDE)
    run = next(shape for shape in layout.placeholders if shape.text_frame.text).text_frame.paragraphs[0].runs[0]
    link = parse_xml(f'<a:hlinkClick {nsdecls("a", "r")} r:id="{target}" action="ppaction://hlinksldjump"/>')
    run._r.get_or_add_rPr().append(link)


def custom_show(file: Any) -> None:
    """A custom show, a link on the master that begins it, and the setting that only it is shown."""
    shown = "".join(f'<p:sld r:id="{entry.rId}"/>' for entry in file.slides._sldIdLst)
    file.part._element.find(qn("p:notesSz")).addnext(
        parse_xml(
            f'<p:custShowLst {nsdecls("p", "r")}><p:custShow name="{OLD}" id="0"><p:sldLst>{shown}</p:sldLst>'
            "</p:custShow></p:custShowLst>"
        )
    )
    shape = button("", "hlinkClick")
    shape.find(f".//{qn('a:hlinkClick')}").set("action", "ppaction://customshow?id=0&return=true")
    file.slide_master.shapes._spTree.append(shape)
    properties = file.part.part_related_by(RELATIONSHIP_TYPE.PRES_PROPS)
    root = etree.fromstring(properties.blob)
    root.insert(0, parse_xml(f'<p:showPr {nsdecls("p")}><p:present/><p:custShow id="0"/></p:showPr>'))
    properties.blob = etree.tostring(root)


def sections(file: Any) -> None:
    ids = "".join(f'<p14:sldId id="{entry.get("id")}"/>' for entry in file.slides._sldIdLst)
    file.part._element.append(
        parse_xml(
            f'<p:extLst {nsdecls("p")}><p:ext uri="{{521415D9-36F7-43E2-AB2F-B90AF26B5E84}}"><p14:sectionLst '
            f'xmlns:p14="{P14}"><p14:section name="{OLD}" id="{{00000000-0000-4000-8000-00000000000A}}">'
            f"<p14:sldIdLst>{ids}</p14:sldIdLst></p14:section></p14:sectionLst></p:ext></p:extLst>"
        )
    )


def outline_view(file: Any) -> None:
    """The outline view keeps which slides are folded."""
    view = file.part.part_related_by(RELATIONSHIP_TYPE.VIEW_PROPS)
    target = view.relate_to(file.slides[2].part, RELATIONSHIP_TYPE.SLIDE)
    root = etree.fromstring(view.blob)
    root.insert(
        0,
        parse_xml(
            f'<p:outlineViewPr {nsdecls("p", "r")}><p:cViewPr><p:scale/><p:origin x="0" y="0"/></p:cViewPr>'
            f'<p:sldLst><p:sld r:id="{target}" collapse="1"/></p:sldLst></p:outlineViewPr>'
        ),
    )
    view.blob = etree.tostring(root)


def titles_and_preview(file: Any) -> None:
    package = file.part.package
    for name, kind, relation, data in (
        ("/docProps/thumbnail.jpeg", CONTENT_TYPE.JPEG, RELATIONSHIP_TYPE.THUMBNAIL, OLD.encode()),
        ("/docProps/app.xml", CONTENT_TYPE.OFC_EXTENDED_PROPERTIES, RELATIONSHIP_TYPE.EXTENDED_PROPERTIES, b""),
    ):
        for old in [n for n, rel in package._rels.items() if rel.reltype == relation]:
            package.drop_rel(old)
        xml = f"<Properties><TitlesOfParts>{OLD} 0</TitlesOfParts></Properties>".encode()
        package.relate_to(Part(PackURI(name), kind, package, data or xml), relation)


def notes(file: Any) -> None:
    for slide in file.slides:
        slide.notes_slide.notes_text_frame.text = f"{OLD} in the notes"


def slide_outside_the_list(file: Any) -> None:
    """Only the master knows a slide that an editor took out of the list."""
    link_from(file.slide_master, file)
    entries = file.slides._sldIdLst
    file.part.rels.pop(entries[0].rId)
    entries.remove(entries[0])


def plain(_: Any) -> None:
    """Nothing refers to the slides."""


def everything(file: Any) -> None:
    for change in (master, layout_hover, notes_master, linked_word, custom_show, outline_view, notes):
        change(file)
    titles_and_preview(file)
    sections(file)


KINDS = (
    plain,
    master,
    layout_hover,
    notes_master,
    linked_word,
    custom_show,
    sections,
    outline_view,
    titles_and_preview,
    notes,
    slide_outside_the_list,
    everything,
)


def make(path: Path, change: Any) -> Path:
    file = Presentation()
    for number in range(3):
        file.slides.add_slide(file.slide_layouts[5]).shapes.title.text = f"{OLD} {number}"
    change(file)
    file.save(str(path))
    return path


def check(data: bytes, num_slides: int) -> None:
    """Check that a package has each part once, nothing of the old slides, and no reference without a target."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        names = package.namelist()
        assert [name for name, times in Counter(names).items() if times > 1] == []
        parts = {name: package.read(name) for name in names}
    assert [name for name, part in parts.items() if OLD.encode() in part] == []
    assert sum(bool(re.fullmatch(r"ppt/slides/slide\d+\.xml", name)) for name in parts) == num_slides
    for name, part in parts.items():
        if name.endswith(".xml") and name != "[Content_Types].xml":
            folder, _, file = name.rpartition("/")
            relations = parts.get(f"{folder}/_rels/{file}.rels", b"")
            known = set(re.findall(rb'\bId="([^"]+)"', relations))
            used = set(re.findall(rb'\br:(?:id|embed|link)="([^"]+)"', part))
            assert used <= known, name
    ids = [int(i) for i in re.findall(rb'<p:sldId [^>]*?id="(\d+)"', parts["ppt/presentation.xml"])]
    listed = [int(i) for i in re.findall(rb'<p14:sldId id="(\d+)"', parts["ppt/presentation.xml"])]
    assert len(ids) == num_slides
    assert set(listed) <= set(ids)
    assert b"custShow" not in b"".join(part for name, part in parts.items() if name.endswith(".xml"))
    assert len(Presentation(io.BytesIO(data)).slides) == num_slides


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_of_the_old_slides_is_left(kind: Any, tmp_path: Path) -> None:
    path = make(tmp_path / "t.pptx", kind)
    assert OLD.encode() in zipfile.ZipFile(path).read("ppt/slides/slide2.xml")  # a control
    template = SlideTemplate.open(path)
    for number in range(3):
        template.file.slides.add_slide(template.plain).shapes.title.text = f"new {number}"
    data = io.BytesIO()
    template.file.save(data)
    check(data.getvalue(), 3)


def test_other_links_stay(tmp_path: Path) -> None:
    """A link from the master to a web page, and to the first slide of whatever is shown, is part of the house style."""

    def change(file: Any) -> None:
        target = file.slide_master.part.relate_to("https://example.org/", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
        file.slide_master.shapes._spTree.append(button(target))
        first = button("")
        first.find(f".//{qn('a:hlinkClick')}").set("action", "ppaction://hlinkshowjump?jump=firstslide")
        file.slide_master.shapes._spTree.append(first)

    template = SlideTemplate.open(make(tmp_path / "t.pptx", change))
    links = template.file.slide_master._element.findall(f".//{qn('a:hlinkClick')}")
    assert len(links) == 2
    assert template.file.slide_master.part.target_ref(links[0].get(qn("r:id"))) == "https://example.org/"


def test_a_whole_deck_on_such_a_template(made: Made, tmp_path: Path) -> None:
    write_pptx(made.deck(), tmp_path / "deck.pptx", make(tmp_path / "t.pptx", everything))
    check((tmp_path / "deck.pptx").read_bytes(), len(made.deck().slides))
