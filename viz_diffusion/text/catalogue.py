"""The words of reports, decks and worksheets: one TOML catalogue for each language, read by dotted key.

Knows nothing about pages; a new language is one new file in ``catalogues/``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError


def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue, such as ``("en",)``."""
    folder = resources.files("viz_diffusion").joinpath("catalogues")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


class Texts(Mapping[str, str]):
    """A flat catalogue: ``texts["interface.play"]``, or ``texts("interface.digit", digit=5)`` to fill it in."""

    def __init__(self, lang: str, entries: Mapping[str, str]) -> None:
        self.lang = lang
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> str:
        """Return one text.

        Raises
        ------
        VizdiffInputError
            Where the catalogue has no such key.
        """
        if key not in self._entries:
            raise VizdiffInputError(f"text {key!r} is missing from the catalogue {self.lang}.toml")
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __call__(self, key: str, **values: object) -> str:
        """Return one text with its ``{names}`` filled in; values are inserted as they are, never parsed."""
        text = self[key]
        try:
            return text.format(**values)
        except (KeyError, IndexError, ValueError) as error:
            raise VizdiffInputError(f"text {key!r} of {self.lang}.toml does not fit its values: {error}") from error

    def section(self, prefix: str) -> dict[str, str]:
        """Return every text under ``prefix`` by what follows it.

        Raises
        ------
        VizdiffInputError
            Where there is none.
        """
        start = prefix + "."
        found = {key.removeprefix(start): text for key, text in self._entries.items() if key.startswith(start)}
        if not found:
            raise VizdiffInputError(f"section {prefix!r} is missing from the catalogue {self.lang}.toml")
        return found

    def preferring(self, prefix: str) -> Texts:
        """Return a catalogue in which the texts under ``prefix`` stand in for those of the same name without it.

        Raises
        ------
        VizdiffInputError
            Where there is none.
        """
        return Texts(self.lang, self._entries | self.section(prefix))


def load_texts(lang: str = "en") -> Texts:
    """Read the catalogue of one language.

    Raises
    ------
    VizdiffUsageError
        Where there is no catalogue for ``lang``.
    VizdiffInputError
        Where the catalogue is not TOML made of tables and texts.
    """
    known = languages()
    if lang not in known:
        raise VizdiffUsageError(f"language {lang!r} has no catalogue; choose from {', '.join(known)}")
    source = resources.files("viz_diffusion").joinpath("catalogues", f"{lang}.toml").read_text(encoding="utf-8")
    try:
        tree = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise VizdiffInputError(f"catalogue {lang}.toml is not TOML: {error}") from error
    return Texts(lang, dict(_flatten(tree, "", lang)))


def _flatten(tree: Mapping[str, Any], prefix: str, lang: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) for every leaf."""
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, dict):
            yield from _flatten(value, key + ".", lang)
        elif isinstance(value, str):
            yield key, value
        else:
            raise VizdiffInputError(f"text {key!r} of {lang}.toml must be a string, found {value!r}")
