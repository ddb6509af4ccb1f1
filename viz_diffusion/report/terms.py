"""Marks terms of the glossary in the texts of a chapter, each where it occurs first."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from viz_diffusion.text.glossary import Term
from viz_diffusion.text.math_html import typeset

_LINK = Markup('<a class="term" href="#ui-term-{name}" aria-describedby="ui-text-{name}">{words}</a>')


class TermMarker:
    """Typesets the texts of one chapter, in their order; the first occurrence of each term links to the glossary."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._unseen = list(terms)

    def __call__(self, text: str) -> Markup:
        """Return a text as HTML (see :func:`~viz_diffusion.text.math_html.typeset`)."""
        parts, end = [], 0
        while found := [(match, term) for term in self._unseen if (match := term.pattern.search(text, end))]:
            match, term = min(found, key=lambda one: (one[0].start(), -one[0].end()))
            parts += [typeset(text[end : match.start()]), _LINK.format(name=term.entry.name, words=typeset(match[0]))]
            self._unseen.remove(term)
            end = match.end()
        return Markup("").join([*parts, typeset(text[end:])])
