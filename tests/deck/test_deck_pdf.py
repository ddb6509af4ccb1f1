"""The handout, opened again: pages, text, fonts, numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from deck_fakes import Made
from pypdf import PdfReader

from viz_diffusion.deck.lettering import clean
from viz_diffusion.deck.pdf import write_pdf


@pytest.fixture(scope="module")
def handout(made: Made, tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    path = tmp_path_factory.mktemp("pdf") / "deck.pdf"
    deck = made.deck(film=False)
    assert write_pdf(deck, path, made.texts) == len(deck.slides)
    return PdfReader(path)


def squeeze(text: str) -> str:
    return "".join(text.split())


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


def test_one_a4_page_a_slide_without_the_film(handout: PdfReader, made: Made) -> None:
    deck = made.deck(film=False)
    assert len(handout.pages) == len(deck.slides)
    assert not {"film", "movie"} & {slide.name for slide in deck.slides}
    for page in handout.pages:
        assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx((595.28, 841.89), abs=0.1)


def test_text_is_text(handout: PdfReader, made: Made) -> None:
    for number, (page, slide) in enumerate(zip(handout.pages, made.deck(film=False).slides, strict=True), 1):
        text = squeeze(page.extract_text())
        assert squeeze(slide.title) in text
        assert squeeze(f"{number} of {len(handout.pages)}") in text
        for paragraph in slide.notes.split("\n"):
            assert squeeze(paragraph) in text, slide.name


def test_figures_are_in_it(handout: PdfReader, made: Made) -> None:
    for page, slide in zip(handout.pages, made.deck(film=False).slides, strict=True):
        assert len(page.images) == (slide.picture is not None), slide.name
        if slide.picture is not None:
            assert page.images[0].image.size == (slide.picture.width, slide.picture.height)


def test_it_says_what_it_is(handout: PdfReader, made: Made) -> None:
    assert handout.metadata is not None
    assert handout.metadata.title == made.deck().title
    assert handout.trailer["/Root"]["/Lang"] == "en"
    assert [entry["/Title"] for entry in handout.outline] == [slide.title for slide in made.deck(film=False).slides]


def test_fonts_are_embedded_and_no_character_is_missing(handout: PdfReader, made: Made) -> None:
    assert fonts(handout) == {"VizdiffSans": True}
    for slide in made.deck().slides:
        for text in (slide.title, slide.line, slide.notes, *(point.text for point in slide.points)):
            assert clean(text) == text.replace("\n", " ")


def test_a_chinese_handout_embeds_chinese_glyphs(made: Made, tmp_path: Path) -> None:
    deck, texts = made.deck_in("zh")
    count = write_pdf(deck, tmp_path / "zh.pdf", texts)
    reader = PdfReader(tmp_path / "zh.pdf")
    assert len(reader.pages) == count >= len(deck.slides)
    assert fonts(reader) == {"VizdiffSans": True, "VizdiffHan": True}
    text = squeeze("".join(page.extract_text() for page in reader.pages))
    for slide in deck.slides:
        assert squeeze(slide.title) in text
        assert clean(slide.notes) == slide.notes.replace("\n", " ")
    assert reader.trailer["/Root"]["/Lang"] == "zh"


def test_long_notes_go_on_over_the_page(made: Made, tmp_path: Path) -> None:
    from dataclasses import replace

    deck = made.deck(film=False)
    long = "\n".join(f"line {number}." for number in range(120))
    deck = replace(deck, slides=(replace(deck.slides[1], notes=long),))
    assert write_pdf(deck, tmp_path / "long.pdf", made.texts) == 3
    pages = PdfReader(tmp_path / "long.pdf").pages
    text = "".join(page.extract_text() for page in pages)
    assert all(f"line {number}." in text for number in range(120))
    assert [len(page.images) for page in pages] == [1, 0, 0]
