"""PowerPoint files read back: size, pictures, alt text, notes, tables, overflow, templates."""

from __future__ import annotations

import io
import re
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from deck_fakes import Made, text_height
from PIL import Image
from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.util import Inches

from viz_diffusion.deck.powerpoint import write_pptx
from viz_diffusion.deck.template import check_template
from viz_diffusion.deck.typography import subscripts
from viz_diffusion.errors import VizdiffInputError

EMU = 914400


@pytest.fixture(scope="module")
def written(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pptx") / "deck.pptx"
    write_pptx(made.deck(), path)
    return path


@pytest.fixture
def deck(written: Path) -> Any:
    return Presentation(str(written))


def written_out(text: str) -> str:
    """Return a text as a slide holds it: without the underlines that subscripts are written with."""
    return "".join(part for part, _ in subscripts(text))


def pictures(slide: Any) -> list[Any]:
    return [one for one in slide.shapes if one.shape_type in (MSO_SHAPE_TYPE.PICTURE, MSO_SHAPE_TYPE.MEDIA)]


def alt(shape: Any) -> str:
    return shape._element.xpath(".//p:cNvPr")[0].get("descr", "")


def test_it_is_16_to_9_with_the_planned_slides(deck: Any, made: Made) -> None:
    assert deck.slide_width / deck.slide_height == pytest.approx(16 / 9, abs=1e-4)
    assert deck.slide_width == pytest.approx(40 / 3 * EMU, abs=1)
    assert [slide.shapes.title.text for slide in deck.slides] == [written_out(one.title) for one in made.deck().slides]
    assert deck.core_properties.title == made.deck().title


def test_every_picture_has_alt_text_and_is_as_sharp_as_it_was_drawn(deck: Any, made: Made) -> None:
    shown = [shape for slide in deck.slides for shape in pictures(slide)]
    assert len(shown) >= 12
    assert all(len(alt(shape)) > 20 for shape in shown)
    for slide, planned in zip(deck.slides, made.deck().slides, strict=True):
        if planned.picture is not None and planned.movie is None:
            (picture,) = pictures(slide)
            assert picture.image.blob == planned.picture.data
            assert alt(picture) == planned.picture.alt
            drawn = picture.width / picture.height
            assert drawn == pytest.approx(planned.picture.width / planned.picture.height, rel=0.01)


def test_figures_are_large(deck: Any, made: Made) -> None:
    for slide, planned in zip(deck.slides, made.deck().slides, strict=True):
        if planned.name in made.pictures:
            (picture,) = pictures(slide)
            assert picture.height > 0.7 * deck.slide_height or picture.width > 0.9 * deck.slide_width, planned.name


def test_the_film_moves_and_the_movie_is_embedded(deck: Any, made: Made) -> None:
    slides = dict(zip([slide.name for slide in made.deck().slides], deck.slides, strict=True))
    with Image.open(io.BytesIO(pictures(slides["film"])[0].image.blob)) as film:
        assert film.format == "GIF"
        assert film.n_frames > 10
    (movie,) = pictures(slides["ask_strip"])
    assert movie.shape_type == MSO_SHAPE_TYPE.MEDIA
    stored = [
        rel.target_part for rel in slides["ask_strip"].part.rels.values() if rel.reltype == RELATIONSHIP_TYPE.MEDIA
    ]
    assert stored[0].blob == made.film.mp4
    assert movie.poster_frame is not None


def test_notes_say_what_was_planned(deck: Any, made: Made) -> None:
    for slide, planned in zip(deck.slides, made.deck().slides, strict=True):
        assert len(planned.notes) > 30
        assert slide.notes_slide.notes_text_frame.text == written_out(planned.notes)
    assert sum(planned.notes.count("Ask: ") for planned in made.deck().slides) >= 12


def test_tables_are_native_and_hold_the_facts(deck: Any, made: Made) -> None:
    facts = made.study.facts()
    tables = {
        planned.name: [[cell.text for cell in row.cells] for row in shape.table.rows]
        for slide, planned in zip(deck.slides, made.deck().slides, strict=True)
        for shape in slide.shapes
        if shape.has_table
    }
    answers = dict(tables["summary_1"][1:])
    crossing = facts["lessons"]["noising"]["crossing"]
    assert f"t = {crossing} on" in answers["At which t is the noise as strong as the image?"]


def overflows(shape: Any, size: float) -> bool:
    """Estimate whether a text frame's paragraphs are higher than their shape."""
    high = 0.0
    for paragraph in shape.text_frame.paragraphs:
        points = max((run.font.size.pt for run in paragraph.runs if run.font.size), default=size)
        assert points >= 18, paragraph.text
        high += text_height(paragraph.text, points, shape.width / EMU) + (paragraph.space_before or 0) / EMU
    return high > shape.height / EMU + 0.02


def test_everything_lies_on_the_slide_and_no_text_overflows(deck: Any) -> None:
    for slide in deck.slides:
        texts = [shape for shape in slide.shapes if shape.has_text_frame and shape.text_frame.text]
        for shape in slide.shapes:
            assert shape.left >= 0, shape.name
            assert shape.top >= 0, shape.name
            assert shape.left + shape.width <= deck.slide_width + 9, shape.name
            assert shape.top + shape.height <= deck.slide_height + 9, shape.name
            if shape.has_table:
                assert sum(row.height for row in shape.table.rows) == pytest.approx(shape.height, abs=20)
                for row in shape.table.rows:
                    for cell, column in zip(row.cells, shape.table.columns, strict=True):
                        run = cell.text_frame.paragraphs[0].runs[0]
                        assert run.font.size.pt >= 18
                        room = column.width / EMU - 0.2
                        assert text_height(cell.text, run.font.size.pt, room) <= row.height / EMU - 0.05
        for shape in texts:
            if not shape.is_placeholder or shape == slide.shapes.title:
                size = 38.0 if slide == deck.slides[0] else 30.0
                assert not overflows(shape, size), (slide.shapes.title.text, shape.text_frame.text)


def test_the_estimate_of_overflow_can_fail(deck: Any) -> None:
    shape = deck.slides[2].shapes.title
    shape.text_frame.text = shape.text_frame.text * 4
    assert overflows(shape, 30)


def test_pictures_text_and_tables_do_not_lie_on_each_other(deck: Any) -> None:
    for slide in list(deck.slides)[1:]:
        bodies = [s for s in slide.shapes if s in pictures(slide) or s.has_table or s.name in ("line", "text")]
        bodies.append(slide.shapes.title)
        for index, one in enumerate(bodies):
            for other in bodies[index + 1 :]:
                apart = one.top + one.height <= other.top + 9 or other.top + other.height <= one.top + 9
                assert apart or one.left + one.width <= other.left or other.left + other.width <= one.left, (
                    slide.shapes.title.text,
                    one.name,
                    other.name,
                )


def test_lessons_are_powerpoints_sections(written: Path, made: Made) -> None:
    with zipfile.ZipFile(written) as archive:
        xml = archive.read("ppt/presentation.xml").decode()
    names = re.findall(r'<p14:section [^>]*name="([^"]+)"', xml)
    assert [lesson.title for lesson in made.lessons] == [
        name for name in names if name in {t.title for t in made.lessons}
    ]
    assert xml.count("<p14:sldId ") == len(made.deck().slides)


def test_chinese_runs_name_an_east_asian_font(made: Made, tmp_path: Path) -> None:
    chinese, _ = made.deck_in("zh")
    write_pptx(chinese, tmp_path / "zh.pptx")
    deck = Presentation(str(tmp_path / "zh.pptx"))
    seen = 0
    for slide in deck.slides:
        for shape in slide.shapes:
            cells = [cell for row in shape.table.rows for cell in row.cells] if shape.has_table else []
            frames = [shape.text_frame] if shape.has_text_frame else [cell.text_frame for cell in cells]
            for run in (run for frame in frames for paragraph in frame.paragraphs for run in paragraph.runs):
                properties = run._r.rPr
                assert properties.get("lang") == "zh-CN"
                assert [ea.get("typeface") for ea in properties.findall("{*}ea")] == ["Microsoft YaHei"]
                seen += 1
    assert seen > 60


def make_template(path: Path, keep: tuple[str, ...] | None = None) -> Path:
    """Make a template of another size, colour and font, with a slide in it; keep only some of its layouts."""
    file = Presentation()
    file.slide_width, file.slide_height = Inches(10), Inches(5.625)
    for holder in (file.slide_master, *file.slide_layouts):
        for shape in holder.placeholders:
            if shape._element.spPr.xfrm is not None:  # the others follow the master
                shape.top, shape.height = int(shape.top * 0.75), int(shape.height * 0.75)
    for one in list(file.slide_layouts):
        if keep is not None and one.name not in keep:
            file.slide_layouts.remove(one)
    theme = file.slide_master.part.part_related_by(RELATIONSHIP_TYPE.THEME)
    theme._blob = theme.blob.replace(b"Calibri", b"Georgia").replace(b"4F81BD", b"C00000")
    slide = file.slides.add_slide(file.slide_layouts[0])
    if slide.shapes.title is not None:
        slide.shapes.title.text = "a slide of the template's own"
    file.save(str(path))
    return path


def test_a_template_gives_size_layouts_colours_and_fonts(made: Made, tmp_path: Path) -> None:
    template = make_template(tmp_path / "house.pptx")
    before = template.read_bytes()
    write_pptx(made.deck(), tmp_path / "deck.pptx", template)
    assert template.read_bytes() == before
    deck = Presentation(str(tmp_path / "deck.pptx"))
    assert (deck.slide_width, deck.slide_height) == (Inches(10), Inches(5.625))
    assert [slide.shapes.title.text for slide in deck.slides] == [written_out(one.title) for one in made.deck().slides]
    assert {slide.slide_layout.name for slide in deck.slides} == {"Title Slide", "Title Only"}
    theme = deck.slide_master.part.part_related_by(RELATIONSHIP_TYPE.THEME).blob
    assert b"C00000" in theme
    assert b"Georgia" in theme
    with zipfile.ZipFile(tmp_path / "deck.pptx") as archive:
        slides = [archive.read(name) for name in archive.namelist() if re.fullmatch(r"ppt/slides/\w+\.xml", name)]
    assert len(slides) == len(made.deck().slides)
    assert not any(b"srgbClr" in slide or b"<a:latin" in slide for slide in slides)
    for slide in deck.slides:
        for shape in slide.shapes:
            assert shape.left >= 0, shape.name
            assert shape.top >= 0, shape.name
            assert shape.left + shape.width <= deck.slide_width + 9, shape.name
            assert shape.top + shape.height <= deck.slide_height + 9, shape.name
        for picture in pictures(slide)[: slide != deck.slides[0]]:
            assert picture.top >= slide.shapes.title.top + slide.shapes.title.height


def test_a_template_without_a_title_only_layout_is_used_all_the_same(made: Made, tmp_path: Path) -> None:
    template = make_template(tmp_path / "house.pptx", keep=("Title and Content",))
    write_pptx(made.deck(), tmp_path / "deck.pptx", template)
    deck = Presentation(str(tmp_path / "deck.pptx"))
    assert {slide.slide_layout.name for slide in deck.slides} == {"Title and Content"}
    for slide in deck.slides:
        assert not any(
            shape.is_placeholder and shape.has_text_frame and not shape.text_frame.text for shape in slide.shapes
        )


def test_a_potx_is_a_template_too(made: Made, tmp_path: Path) -> None:
    source = make_template(tmp_path / "house.pptx")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / "house.potx", "w") as copy:
        for name in archive.namelist():
            part = archive.read(name)
            copy.writestr(name, part.replace(b"presentation.main+xml", b"template.main+xml"))
    write_pptx(made.deck(), tmp_path / "deck.pptx", tmp_path / "house.potx")
    assert Presentation(str(tmp_path / "deck.pptx")).slide_width == Inches(10)


def test_what_is_no_template_is_refused_in_one_line(tmp_path: Path) -> None:
    blank = make_template(tmp_path / "blank.pptx", keep=("Blank",))
    with pytest.raises(VizdiffInputError, match="no layout with a title"):
        check_template(blank)
    for name, data in {"text.pptx": b"not a zip", "empty.pptx": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VizdiffInputError, match=rf"{name} is not a PowerPoint file"):
            check_template(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "zip.pptx", "w") as archive:
        archive.writestr("readme.txt", "a zip of something else")
    with pytest.raises(VizdiffInputError, match=r"zip\.pptx is not a PowerPoint file"):
        check_template(tmp_path / "zip.pptx")
    cut = tmp_path / "cut.pptx"
    cut.write_bytes(make_template(tmp_path / "whole.pptx").read_bytes()[:-400])
    with pytest.raises(VizdiffInputError, match=r"cut\.pptx is not a PowerPoint file"):
        check_template(cut)
    with pytest.raises(VizdiffInputError, match=r"nowhere\.pptx is missing"):
        check_template(tmp_path / "nowhere.pptx")


def test_an_index_in_a_line_is_a_subscript(deck: Any) -> None:
    paragraphs = [
        paragraph
        for slide in deck.slides
        for shape in slide.shapes
        if shape.has_text_frame
        for paragraph in shape.text_frame.paragraphs
    ]
    lowered = [
        (before.text[-1:], run.text)
        for paragraph in paragraphs
        for before, run in pairwise(paragraph.runs)
        if run._r.rPr is not None and run._r.rPr.get("baseline")
    ]
    assert ("x", "t") in lowered
    assert set(lowered) <= {("x", "t"), ("x", "T"), ("L", "T")}
    assert not [paragraph.text for paragraph in paragraphs if "x_t" in paragraph.text]
