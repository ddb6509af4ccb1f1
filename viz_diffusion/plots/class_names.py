"""Labels in figures: digits as they are, classes by short names of letters that the figures' fonts have.

Knows nothing about data sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font, LoadFlags

from viz_diffusion.plots import theme
from viz_diffusion.text.class_names import on_one_line

LONGEST = 6.0
"""The greatest width of a name in a figure, in ems: about nine letters."""
_NAMES: ContextVar[tuple[str, ...]] = ContextVar("class_names", default=())


@contextmanager
def named(class_names: Sequence[str]) -> Iterator[None]:
    """Write labels by these names in all figures drawn within the block; without names, as digits."""
    token = _NAMES.set(tuple(class_names))
    try:
        yield
    finally:
        _NAMES.reset(token)


def label_text(label: int, room: float = np.inf, size: float = theme.TEXT_SIZE) -> str:
    """Return what a figure writes for a label, with ``$`` escaped, which would begin a formula.

    A long name is shortened in the middle; one with letters that the figures' fonts lack is written as its number,
    such as ``#3``. ``room`` is its width in page pixels, in letters of ``size`` points.
    """
    names, index = _NAMES.get(), int(label)
    return fitted(short_names(names)[index], room, size) if 0 <= index < len(names) else str(index)


def whole_name(label: int) -> str:
    """Return the name of a label as it is, on one line; its number where the figures' fonts lack a letter of it."""
    names = _NAMES.get()
    if not 0 <= label < len(names):
        return str(label)
    return names[label] if has_letters(names[label]) else f"#{label}"


@lru_cache(maxsize=16)
def short_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of all classes as figures write them, each at most :data:`LONGEST` ems wide; no two alike."""
    shown = [shorten(name, LONGEST) if has_letters(name) else f"#{k}" for k, name in enumerate(names)]
    alike = [shown.count(name) > 1 for name in shown]
    shown = [shorten(names[k], LONGEST, at_end=True) if alike[k] else name for k, name in enumerate(shown)]
    return tuple(f"#{k}" if shown.count(name) > 1 else name for k, name in enumerate(shown))


def fitted(text: str, room: float, size: float) -> str:
    """Return a text of somebody else's, shortened in the middle to a width in page pixels, with ``$`` escaped."""
    return shorten(text, room / (size * theme.DPI / 72)).replace("$", r"\$")


def fitted_title(title: str, prompt: str) -> str:
    """Return a title that holds ``{prompt}``, filled in with as much of the prompt as fits."""
    taken = width_of(title.format(prompt="")) * theme.TITLE_SIZE * theme.DPI / 72
    room = theme.PAGE_WIDTH - 2 * theme.TITLE_LEFT - taken
    return title.format(prompt=fitted(on_one_line(prompt), room, theme.TITLE_SIZE))


def shorten(text: str, ems: float, at_end: bool = False) -> str:
    """Return a text, at most ``ems`` wide: a wider one without its middle, or without its end."""
    if width_of(text) <= ems:
        return text
    for kept in range(len(text) - 1, 0, -1):
        first = kept if at_end else kept - kept // 2
        short = f"{text[:first].rstrip()}…{text[len(text) - kept + first :].lstrip()}"
        if width_of(short) <= ems:
            return short
    return "…"


def width_of(text: str) -> float:
    """Return the width of a line of text in ems."""
    return sum(map(_advance, text))


def has_letters(name: str) -> bool:
    """Return whether the figures' fonts have every letter of a name."""
    return name.isprintable() and all(ord(letter) in _letters() for letter in name)


@lru_cache(maxsize=1)
def _fonts() -> tuple[FT2Font, ...]:
    """Return the fonts of figures; a letter is drawn by the first that has it."""
    return tuple(FT2Font(file) for file in (font_manager.findfont("DejaVu Sans"), theme.register_han_font()))


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(letter for font in _fonts() for letter in font.get_charmap())


@lru_cache(maxsize=4096)
def _advance(letter: str) -> float:
    """Return the width of a letter in ems."""
    font = next((one for one in _fonts() if ord(letter) in one.get_charmap()), _fonts()[0])
    font.set_size(100, 72)
    return float(font.load_char(ord(letter), LoadFlags.NO_HINTING).linearHoriAdvance) / 65536 / 100
