"""Handouts read back from PDF: texts, tables, answer lines, fonts, and what must not be in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deck_fakes import Made
from PIL import ImageFont
from pypdf import PdfReader

from viz_diffusion.deck.handout import write_pdf
from viz_diffusion.deck.typography import clean, subscripts


@pytest.fixture(scope="module")
def handout(made: Made, tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    path = tmp_path_factory.mktemp("pdf") / "deck.pdf"
    count = write_pdf(made.deck(film=False), path, made.texts)
    reader = PdfReader(path)
    assert len(reader.pages) == count
    return reader


def squeeze(text: str) -> str:
    """Return a text without spaces, and without the underlines that subscripts are written with."""
    return "".join("".join(part for part, _ in subscripts(text)).split())


def words(reader: PdfReader) -> str:
    return squeeze("".join(page.extract_text() for page in reader.pages))


def fonts(reader: PdfReader) -> dict[str, bool]:
    """Return the fonts of all pages by name, and whether each is embedded."""
    found = {}
    for page in reader.pages:
        for entry in page["/Resources"]["/Font"].values():
            font = entry.get_object()
            descriptor = font.get("/FontDescriptor")
            name = str(font["/BaseFont"]).rpartition("+")[2]
            found[name] = descriptor is not None and "/FontFile2" in descriptor.get_object()
    return found


def places(page: Any) -> list[tuple[str, float, float]]:
    """Return the texts of a page with the x and y of their first letter, in points."""
    found: list[tuple[str, float, float]] = []
    page.extract_text(visitor_text=lambda text, _, tm, *__: found.append((text.strip(), tm[4], tm[5])))
    return found


def test_pages_are_a4_and_counted(handout: PdfReader, made: Made) -> None:
    assert "film" not in made.slides(film=False)
    for number, page in enumerate(handout.pages, 1):
        assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx((595.28, 841.89), abs=0.1)
        assert squeeze(f"{number} of {len(handout.pages)}") in squeeze(page.extract_text())


def test_it_holds_every_title_caption_finding_and_question(handout: PdfReader, made: Made) -> None:
    text = words(handout)
    deck = made.deck(film=False)
    shown = {slide.picture.name for slide in deck.slides if slide.handout and slide.picture}
    assert {"forward", "snr", "steps", "ledger"} <= shown
    for slide in (slide for slide in deck.slides if slide.handout):
        title = slide.handout_title or slide.title
        points = (*slide.handout_paragraphs, *slide.points, *deck.exercises)
        for said in (title, slide.caption, *(point.text for point in points)):
            # a paragraph may go on over the page, past its foot
            assert squeeze(said)[:60] in text, slide.name
            assert squeeze(said)[-30:] in text, slide.name
    for lesson in made.lessons:
        if lesson.drawings[0].name in shown:
            assert squeeze(lesson.text)[:60] in text
            assert all(squeeze(one.text)[-30:] in text for one in lesson.answers)


def test_it_holds_neither_notes_nor_answers(handout: PdfReader, made: Made) -> None:
    text = words(handout)
    for lesson in made.lessons:
        assert squeeze(lesson.say) not in text
        assert squeeze(lesson.answer)[:40] not in text
        assert squeeze(lesson.answer)[-40:] not in text
    for key in ("deck.notes_say", "deck.notes_point", "deck.notes_ask"):
        assert squeeze(made.texts(key, text="")) not in text
    slides = made.slides(film=False)
    assert squeeze(made.texts["deck.notes_point"].format(text="")) in squeeze(slides["snr"].notes)  # a control
    asked = [squeeze(slide.line.text) for slide in slides.values() if slide.handout_title and slide.line]
    assert asked
    assert not any(hint in text for hint in asked)


def test_a_lessons_table_is_on_the_page_of_its_figure(handout: PdfReader, made: Made) -> None:
    slides = [slide for slide in made.deck(film=False).slides if slide.handout_table is not None]
    assert len(slides) > 4
    pages = [squeeze(page.extract_text()) for page in handout.pages]
    for slide in slides:
        assert slide.handout_table is not None
        (page,) = [page for page in pages if squeeze(slide.handout_table.caption) in page]
        assert squeeze(slide.title) in page
        assert squeeze(slide.caption)[-30:] in page
        assert all(squeeze(row[0]) in page for row in slide.handout_table.rows)


def test_tables_are_set_in_columns(handout: PdfReader, made: Made) -> None:
    table = next(lesson.table for lesson in made.lessons if lesson.name == "guess")
    page = next(page for page in handout.pages if squeeze(table.caption) in squeeze(page.extract_text()))
    written = places(page)
    for row in table.rows:
        (first,) = {
            y
            for text, _, y in written
            if text == row[0] and any(other == row[4] and abs(high - y) < 0.5 for other, _, high in written)
        }
        across = [x for text, x, y in written if abs(y - first) < 0.5 and text]
        assert len(across) == len(row)
        assert across == sorted(across)


def test_questions_have_room_for_an_answer(handout: PdfReader, made: Made) -> None:
    wanted = made.deck(film=False).exercises
    assert wanted
    for point in wanted:
        page = next(page for page in handout.pages if squeeze(point.text)[-30:] in squeeze(page.extract_text()))
        heights = sorted((y for text, _, y in places(page) if text), reverse=True)
        last = min(y for text, _, y in places(page) if text and squeeze(text) in squeeze(point.text) and len(text) > 12)
        below = [y for y in heights if y < last - 4]  # a subscript of the last line is no line
        assert last - below[0] > 60, point.text


def test_every_page_but_the_last_is_well_filled(handout: PdfReader) -> None:
    for page in handout.pages[:-1]:
        lowest = min(y for text, _, y in places(page) if text and y > 40)
        assert lowest < 0.55 * 842, "a page of a few lines"


def test_figures_are_in_it_once(handout: PdfReader, made: Made) -> None:
    slides = [slide for slide in made.deck(film=False).slides if slide.handout]
    pictures = [slide.picture for slide in slides if slide.picture is not None]
    placed = [re.findall(rb"/\S+ Do\b", page.get_contents().get_data()) for page in handout.pages]
    assert sum(map(len, placed)) == len(pictures)
    sizes = {image.image.size for page in handout.pages for image in page.images}
    assert sizes == {(one.width, one.height) for one in pictures}


def test_it_says_what_it_is(handout: PdfReader, made: Made) -> None:
    assert handout.metadata is not None
    assert handout.metadata.title == made.deck().title
    assert handout.trailer["/Root"]["/Lang"] == "en"
    names = [entry["/Title"] for entry in handout.outline]
    titles = [slide.handout_title or slide.title for slide in made.deck(film=False).slides if slide.handout]
    wanted = list(dict.fromkeys(titles))
    wanted.insert(wanted.index(made.texts["deck.summary_title"]), "Exercises")
    assert names == wanted


def test_fonts_are_embedded_and_no_character_is_missing(handout: PdfReader, made: Made) -> None:
    assert fonts(handout) == {"VizdiffSans": True}
    for slide in made.deck().slides:
        line = slide.line.text if slide.line else ""
        for text in (slide.title, line, slide.notes, *(point.text for point in slide.points)):
            assert clean(text) == text.replace("\n", " ")


def test_a_chinese_handout_embeds_chinese_glyphs(made: Made, tmp_path: Path) -> None:
    deck, texts = made.deck_in("zh")
    count = write_pdf(deck, tmp_path / "zh.pdf", texts)
    reader = PdfReader(tmp_path / "zh.pdf")
    assert len(reader.pages) == count
    assert fonts(reader) == {"VizdiffSans": True, "VizdiffHan": True}
    text = words(reader)
    for slide in deck.slides:
        assert not slide.handout or squeeze(slide.handout_title or slide.title) in text
        assert clean(slide.notes) == slide.notes.replace("\n", " ")
    assert squeeze(texts("deck.notes_say", text="")) not in text
    assert reader.trailer["/Root"]["/Lang"] == "zh"


def test_a_tilde_stands_over_a_tall_letter(tmp_path: Path) -> None:
    """β̃ differs from β only in the tilde, so the tilde must not overlap the letter."""
    from importlib import resources

    from reportlab.pdfgen.canvas import Canvas

    from viz_diffusion.deck.typography import draw, register_fonts

    size = 100.0
    canvas = Canvas(str(tmp_path / "marks.pdf"), (400, 200), initialFontName=register_fonts())
    for x, letter in ((20, "β\u0303"), (220, "x\u0302")):
        draw(canvas, x, 40, letter, size, "#000000")
    canvas.save()
    marks = {text: y for text, _, y in places(PdfReader(tmp_path / "marks.pdf").pages[0]) if text}
    file = resources.files("viz_diffusion").joinpath("assets", "fonts", "vizdiff-sans.ttf")
    with resources.as_file(file) as path:
        type_ = ImageFont.truetype(str(path), 1000)
    top = {letter: -type_.getbbox(letter, anchor="ls")[1] / 1000 for letter in "βx"}
    pixels = np.asarray(type_.getmask("\u0303"))
    assert pixels.any()
    assert top["β"] > top["x"]
    assert marks["\u0302"] == pytest.approx(40, abs=1)
    assert marks["\u0303"] - 40 == pytest.approx((top["β"] - top["x"]) * size, abs=1)
