"""Errors in the terminal's language: the library's English message is matched to a template of the catalogue.

As gettext does, the English text is the key, with ``{}`` for each value: ``"{} is missing" = "缺少 {}"``. The
library stays English and knows nothing of this; a message without a template is shown as it is.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from string import Formatter

FOLDER = Path(__file__).parents[1] / "catalogues" / "errors"
"""Holds a folder of TOML files for each language but English."""
_LAST = ("outside.toml", "phrases.toml")
_VALUE = r"((?>\([^()]*\)|.)+?)"
"""What stands in a field: any text, the shorter the better; parentheses and what is between them are kept together."""


@dataclass(frozen=True)
class Template:
    """A message with a field for each value, in English and in another language."""

    english: str
    other: str

    @cached_property
    def literals(self) -> list[str]:
        """The English texts between the fields."""
        return [literal for literal, *_ in Formatter().parse(self.english) if literal]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The English text as a regular expression with a group for each value."""
        parts = Formatter().parse(self.english)
        text = "".join(re.escape(literal) + _VALUE * (field is not None) for literal, field, *_ in parts)
        return re.compile(text, re.DOTALL)

    def values(self, message: str) -> tuple[str, ...] | None:
        """Return the values of an English message; None where it is another message."""
        if not all(literal in message for literal in self.literals):
            return None
        match = self.pattern.fullmatch(message)
        return None if match is None else match.groups()


def read(lang: str, file: str) -> dict[str, str]:
    """Return the texts of one file by their English text."""
    return tomllib.loads((FOLDER / lang / file).read_text(encoding="utf-8"))


@cache
def templates(lang: str) -> tuple[Template, ...]:
    """Return the templates of a language, none for English, in the order in which they are tried.

    Endings of messages come first, then whole messages, then phrases and what others say; of each kind, those with the
    most text first.
    """
    files = sorted((FOLDER / lang).glob("*.toml"))
    found = [(path.name in _LAST, Template(*texts)) for path in files for texts in read(lang, path.name).items()]
    found.sort(key=lambda one: (not one[1].english.startswith("{}; "), one[0], -sum(map(len, one[1].literals))))
    return tuple(template for _, template in found)


def matching(message: str, lang: str) -> tuple[Template, tuple[str, ...]] | None:
    """Return the template of an English message and the values in it; None where there is no template."""
    for template in templates(lang):
        values = template.values(message)
        if values is not None:
            return template, values
    return None


def in_language(message: str, lang: str) -> str:
    """Return an English message in another language; a value that is a message itself is put into it too.

    Parameters
    ----------
    message
        One line; parameters stand between backticks, and stay there.
    """
    found = matching(message, lang)
    if found is None:
        return message
    template, values = found
    return template.other.format(*(in_language(value, lang) for value in values))
