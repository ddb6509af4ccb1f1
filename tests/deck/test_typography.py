"""Fonts of the handout: glyphs for every catalogue, licence notices, line breaks."""

from __future__ import annotations

from importlib import resources

import pytest

from viz_diffusion.deck.typography import (
    FONTS,
    SUBSCRIPT_SIZE,
    clean,
    draw,
    register_fonts,
    runs,
    subscripts,
    width,
    wrap,
)
from viz_diffusion.files import sha256_bytes
from viz_diffusion.text.catalogue import languages, load_texts


@pytest.mark.parametrize("lang", languages())
def test_every_character_of_every_catalogue_has_a_glyph(lang: str) -> None:
    used = {character for text in load_texts(lang).values() for character in text if character != "\n"}
    missing = sorted(character for character in used if clean(character) != character)
    assert not missing, "run scripts/subset_font.py"


def test_the_check_can_fail() -> None:
    assert clean("\N{GRINNING FACE}") == "?"
    assert clean("x̂₀ᾱε̂σ√·−β̃⊕中文，。") == "x̂₀ᾱε̂σ√·−β̃⊕中文，。"


def test_fonts_are_the_ones_their_notice_names() -> None:
    folder = resources.files("viz_diffusion").joinpath("assets", "fonts")
    notice = folder.joinpath("NOTICE").read_text("utf-8")
    for file in FONTS.values():
        assert sha256_bytes(folder.joinpath(file).read_bytes()) in notice
    assert "Apache" in folder.joinpath("LICENSE-Apache-2.0.txt").read_text("utf-8")
    assert "Bitstream" in folder.joinpath("LICENSE-DejaVu.txt").read_text("utf-8")


def test_a_text_is_split_between_the_fonts() -> None:
    assert runs("猜测 x̂₀。") == [("VizdiffHan", "猜测"), ("VizdiffSans", " x̂₀"), ("VizdiffHan", "。")]
    assert clean("a\x00b\N{GRINNING FACE}") == "a b?"
    assert width("x̂", 10) == pytest.approx(width("x", 10))
    assert width("中", 10) == pytest.approx(10)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x_t = √ᾱ x₀", [("x", False), ("t", True), (" = √ᾱ x₀", False)]),
        ("噪声图像x_t变成x_T", [("噪声图像x", False), ("t", True), ("变成x", False), ("T", True)]),
        ("max_t, x_text, L_1 and snake_case", [("max_t, x_text, L_1 and snake_case", False)]),
    ],
)
def test_indices_are_subscripts_and_other_underlines_are_none(text: str, parts: list[tuple[str, bool]]) -> None:
    assert subscripts(text) == parts


def test_a_line_is_as_wide_as_it_is_drawn_and_its_subscript_small_and_low() -> None:
    assert width("x_t", 10) == pytest.approx(width("x", 10) + width("t", 10 * SUBSCRIPT_SIZE))
    register_fonts()
    drawn = []

    class Line:
        def __init__(self, x: float, y: float) -> None:
            self.place = x, y

        def setFont(self, _: str, size: float) -> None:
            self.size = size

        def setHorizScale(self, _: float) -> None:
            pass

        def textOut(self, text: str) -> None:
            drawn.append((text, self.size, *self.place))

    class Canvas:
        beginText = Line

        def setFillColor(self, _: object) -> None:
            pass

        def drawText(self, _: Line) -> None:
            pass

    draw(Canvas(), 0, 0, "x_t ab", 10, "#000000")
    before, lowered, after = drawn
    assert (before[0], lowered[0], after[0]) == ("x", "t", " ab")
    assert lowered[1] < before[1] == after[1] == 10
    assert lowered[3] < before[3] == after[3] == 0
    assert after[2] == pytest.approx(width("x_t", 10))


@pytest.mark.parametrize("across", [60, 100, 200])
@pytest.mark.parametrize(
    "text", ["one noise, ten orders; only the order changes", "同一块石头，只是订单不同。模型现在看到了什么？（x̂₀）"]
)
def test_lines_are_no_wider_than_the_limit_and_lose_nothing(text: str, across: float) -> None:
    lines = wrap(text, 12, across)
    assert all(width(line, 12) <= across for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert not any(line[0] in "，。；？）" for line in lines)


def test_lines_break_at_newlines_and_long_words_stay_whole() -> None:
    assert wrap("a\n\nb", 12, 100) == ["a", "", "b"]
    assert wrap("x" * 60, 12, 50) == ["x" * 60]
