"""The words of figures, in the language of the texts in use: English unless :func:`use_texts` says otherwise.

Symbols stand beside words as plain letters (x̂₀, ε̂, ᾱ), since a formula of matplotlib has no Chinese.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from viz_diffusion.plots.class_names import named
from viz_diffusion.text.catalogue import Texts, load_texts, true_minus

_TEXTS: ContextVar[Texts | None] = ContextVar("figure_texts", default=None)


class FigureWords:
    """The words of one figure: ``words("title")``, or with fields ``words("share", samples=40)``.

    The catalogue has them under ``figure.<name>.<key>``; what several figures say stands under ``figure.common.<key>``.
    """

    def __init__(self, name: str, texts: Texts) -> None:
        self._name, self._texts = name, texts

    def __call__(self, key: str, **values: object) -> str:
        """Return one text with its ``{fields}`` replaced, and true minus signs.

        Raises
        ------
        VizdiffInputError
            Where the catalogue has no such key, or a field has no value.
        """
        own = f"figure.{self._name}.{key}"
        return true_minus(self._texts(own if own in self._texts else f"figure.common.{key}", **values))


@contextmanager
def use_texts(texts: Texts) -> Iterator[None]:
    """Draw all figures within the block in the language of these texts, and with their names of classes."""
    token = _TEXTS.set(texts)
    try:
        with named(texts.class_names):
            yield
    finally:
        _TEXTS.reset(token)


def figure_words(name: str) -> FigureWords:
    """Return the words of the figure of that name, in the language in use."""
    return FigureWords(name, _TEXTS.get() or _english())


@lru_cache(maxsize=1)
def _english() -> Texts:
    return load_texts("en")
