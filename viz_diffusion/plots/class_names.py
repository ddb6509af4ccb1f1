"""Labels in figures: digits as they are, classes by short names of letters that the figures' fonts have.

Knows nothing about data sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from viz_diffusion.plots.theme import register_han_font

LONGEST = 9
"""Letters of a name in a figure."""
_NAMES: ContextVar[tuple[str, ...]] = ContextVar("class_names", default=())


@contextmanager
def named(class_names: Sequence[str]) -> Iterator[None]:
    """Write labels by these names in all figures drawn within the block; without names, as digits."""
    token = _NAMES.set(tuple(class_names))
    try:
        yield
    finally:
        _NAMES.reset(token)


def label_text(label: int) -> str:
    """Return what a figure writes for a label, with ``$`` escaped, which would begin a formula.

    A name with letters that the figures' fonts lack is written as its number, such as ``#3``.
    """
    names, index = _NAMES.get(), int(label)
    if not 0 <= index < len(names):
        return str(index)
    return figure_name(names[index], index).replace("$", r"\$")


def figure_name(name: str, label: int) -> str:
    """Return a class's name as figures write it."""
    if not has_letters(name):
        return f"#{label}"
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…"


def has_letters(name: str) -> bool:
    """Return whether the figures' fonts have every letter of a name."""
    return name.isprintable() and all(ord(letter) in _letters() for letter in name)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    files = font_manager.findfont("DejaVu Sans"), register_han_font()
    return frozenset(letter for file in files for letter in FT2Font(file).get_charmap())
