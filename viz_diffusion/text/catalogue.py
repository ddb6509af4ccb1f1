"""Message catalogues: the texts of reports, decks and worksheets, one TOML file per language, read by dotted key.

Knows nothing about pages; a new language is a new file in ``catalogues/``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.text.class_names import reword, shown_name


def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue, such as ``("en",)``."""
    folder = resources.files("viz_diffusion").joinpath("catalogues")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


class Texts(Mapping[str, str]):
    """The texts of one language: ``texts["interface.play"]``, or with fields ``texts("interface.digit", digit=5)``."""

    class_names: tuple[str, ...] = ()
    """(K,) the names of the classes that the texts are about; empty for digits."""

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
        """Return one text with its ``{fields}`` replaced; values are inserted literally and never parsed.

        Raises
        ------
        VizdiffInputError
            Where the catalogue has no such key, or a field has no value or another format.
        """
        text = self[key]
        try:
            return text.format(**values)
        except (KeyError, IndexError, ValueError) as error:
            raise VizdiffInputError(f"text {key!r} of {self.lang}.toml does not fit its values: {error}") from error

    def section(self, prefix: str) -> dict[str, str]:
        """Return all texts whose key begins with ``prefix`` and a dot, by the rest of their key.

        Raises
        ------
        VizdiffInputError
            Where there is no such text.
        """
        start = prefix + "."
        texts = {key.removeprefix(start): text for key, text in self._entries.items() if key.startswith(start)}
        if not texts:
            raise VizdiffInputError(f"section {prefix!r} is missing from the catalogue {self.lang}.toml")
        return texts

    def preferring(self, prefix: str) -> Texts:
        """Return a catalogue in which the text at ``prefix.KEY``, where there is one, replaces the text at ``KEY``.

        Raises
        ------
        VizdiffInputError
            Where no key begins with ``prefix`` and a dot.
        """
        return Texts(self.lang, self._entries | self.section(prefix))

    def for_classes(self, class_names: Sequence[str] | None) -> Texts:
        """Return the catalogue for classes of these names; without names, for digits, the catalogue itself.

        The texts at ``own.KEY`` replace those at ``KEY``; in the others "digit" becomes "class" or "image".
        """
        if not class_names:
            return self
        own = self.section("own")
        texts = Texts(self.lang, reword(self._entries, self.lang) | own)
        texts.class_names = tuple(class_names)
        return texts

    def label(self, label: int) -> str:
        """Return a label as a text names it: the class's name, or the digit."""
        return shown_name(self.class_names[label]) if 0 <= label < len(self.class_names) else str(label)


def load_texts(lang: str = "en") -> Texts:
    """Read the catalogue of one language.

    Raises
    ------
    VizdiffUsageError
        Where there is no catalogue for ``lang``.
    VizdiffInputError
        Where the file is not TOML, or a value is neither a table nor a string.
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
