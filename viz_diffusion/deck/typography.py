"""Fonts of the handout, widths of texts, and line breaks.

Knows nothing about slides. DejaVu Sans sets Latin, Greek and mathematics, Droid Sans Fallback sets
Chinese; :func:`runs` says which font sets which part of a text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from PIL import ImageFont

FONTS = {"VizdiffSans": "vizdiff-sans.ttf", "VizdiffHan": "vizdiff-han.ttf"}
"""Name in a PDF: file under ``assets/fonts``. A character is set in the first font that has it."""
_NOT_FIRST = "，。、；：？！）》”’」』】％,.;:?!)"
"""Characters that may not begin a line."""
_NOT_LAST = "（《“‘「『【("
"""Characters that may not end a line."""
_HORIZONTAL_SCALE = {"VizdiffSans": 0.9, "VizdiffHan": 1.0}
"""Horizontal scale of each font. DejaVu Sans at 90% (like DejaVu Sans Condensed) is about as wide as Arial."""
_MARK_HEIGHT = 1120 / 2048
"""Ems: height of the letters that combining marks are designed for; above higher letters a mark is raised."""
_MARK_CENTRE = -0.25
"""Ems from the origin of a combining mark to its middle, in DejaVu Sans."""
_SUBSCRIPT = re.compile(r"(?<![A-Za-z0-9_][xL])(?<=[xL])_([tT])(?![A-Za-z0-9_])")
SUBSCRIPT_SIZE, SUBSCRIPT_DROP = 0.7, 0.18
"""Size of a subscript, and how far it is set below the line, as shares of the type size."""


@cache
def font(name: str) -> Any:
    """Return one of the fonts as reportlab's ``TTFont``."""
    from reportlab.pdfbase.ttfonts import TTFont

    path = resources.files("viz_diffusion").joinpath("assets", "fonts", FONTS[name])
    with resources.as_file(path) as file:
        return TTFont(name, str(file))


@cache
def _font_of(character: str) -> str:
    for name in FONTS:
        if ord(character) in font(name).face.charToGlyph:
            return name
    return ""


def clean(text: str) -> str:
    """Replace control characters by spaces, and characters without glyph by ``?``."""
    plain = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)
    return "".join(c if _font_of(c) else "?" for c in plain)


def runs(text: str) -> list[tuple[str, str]]:
    """Return (font name, part) pairs that make up ``clean(text)``."""
    return [(name, "".join(part)) for name, part in groupby(clean(text), _font_of)]


@cache
def _top(letter: str) -> float:
    """Return the height of a letter of the first font above the baseline, in ems."""
    path = resources.files("viz_diffusion").joinpath("assets", "fonts", FONTS["VizdiffSans"])
    with resources.as_file(path) as file:
        ems = 2048
        return -ImageFont.truetype(str(file), ems).getbbox(letter, anchor="ls")[1] / ems


def subscripts(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text and whether each is a subscript: ``x_t`` is x, and t as its subscript."""
    parts = [(part, place % 2 == 1) for place, part in enumerate(_SUBSCRIPT.split(text))]
    return [(part, lowered) for part, lowered in parts if part]


def width(text: str, size: float) -> float:
    """Return the width in points of a text on one line in ``size`` points."""
    return sum(
        _advance(name, part, size * SUBSCRIPT_SIZE if lowered else size)
        for words, lowered in subscripts(text)
        for name, part in runs(words)
    )


def _advance(name: str, part: str, size: float) -> float:
    return float(font(name).stringWidth(part, size)) * _HORIZONTAL_SCALE[name]


def wrap(text: str, size: float, across: float) -> list[str]:
    """Break a text into lines at most ``across`` points wide: at spaces, and between Chinese characters."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in _pieces(paragraph):
            if line and width((line + piece).rstrip(), size) > across:
                lines.append(line.rstrip())
                line = piece.lstrip()
            else:
                line += piece
        lines.append(line.rstrip())
    return lines


def _pieces(text: str) -> list[str]:
    """Split a text where a line may break; joined, the parts are the text."""
    pieces: list[str] = []
    for word in re.findall(r"\S+\s*|\s+", text):
        for character in word:
            wide = unicodedata.east_asian_width(character) in "WF"
            before = pieces[-1][-1] if pieces else " "
            split = before.isspace() or wide or unicodedata.east_asian_width(before) in "WF"
            glued = character in _NOT_FIRST or before in _NOT_LAST or character.isspace()
            if pieces and (glued or not split):
                pieces[-1] += character
            else:
                pieces.append(character)
    return pieces


def register_fonts() -> str:
    """Register the fonts with reportlab; return the name of the first."""
    from reportlab.pdfbase import pdfmetrics

    for name in FONTS:
        pdfmetrics.registerFont(font(name))
    return next(iter(FONTS))


def draw(canvas: Any, x: float, y: float, text: str, size: float, colour: str) -> None:
    """Write one line on a PDF canvas, its baseline at ``y``, with subscripts below it."""
    from reportlab.lib.colors import HexColor

    canvas.setFillColor(HexColor(colour))
    for words, lowered in subscripts(text):
        if lowered:
            _draw(canvas, x, y - SUBSCRIPT_DROP * size, words, size * SUBSCRIPT_SIZE)
        else:
            _draw(canvas, x, y, words, size)
        x += width(words, size * SUBSCRIPT_SIZE if lowered else size)


def _draw(canvas: Any, x: float, y: float, text: str, size: float) -> None:
    """Write a text without subscripts; combining marks are centred above the letter before."""
    for name, part in runs(text):
        for plain in re.findall(r".[\u0300-\u036f]+|[^\u0300-\u036f]+?(?=.[\u0300-\u036f]|$)", part):
            marked = len(plain) > 1 and "\u0300" <= plain[1] <= "\u036f"
            letters, marks = (plain[0], plain[1:]) if marked else (plain, "")
            advance = _advance(name, letters, size)
            middle = x + advance / 2 - _MARK_CENTRE * _HORIZONTAL_SCALE[name] * size
            lift = max(0.0, _top(letters) - _MARK_HEIGHT) * size if marked else 0.0
            for place, up, piece in ((x, 0.0, letters), *((middle, lift, mark) for mark in marks)):
                line = canvas.beginText(place, y + up)
                line.setFont(name, size)
                line.setHorizScale(100 * _HORIZONTAL_SCALE[name])
                line.textOut(piece)
                canvas.drawText(line)
            x += advance


def num_words(text: str) -> int:
    """Return how many words a text has: those with a letter or a digit in them, and half of its Chinese characters."""
    han = sum(unicodedata.east_asian_width(c) == "W" and c.isalpha() for c in text)
    spaced = "".join(" " if unicodedata.east_asian_width(c) in "WF" else c for c in text)
    return sum(any(c.isalnum() for c in word) for word in spaced.split()) + -(-han // 2)
