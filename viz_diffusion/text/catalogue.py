"""Message catalogues: the texts of reports, decks and worksheets, a folder of TOML files per language, by dotted key.

Knows nothing about pages; a new language is a new folder in ``catalogues/``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.text.class_names import call_prompts, reword, shown_name
from viz_diffusion.text.latent_words import in_latents
from viz_diffusion.text.singular import singular

_NEGATIVE = re.compile(r"(?<![\w-])-(?=[\d.∞])")
_FOLDER = Path(__file__).parents[1] / "catalogues"


def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue, such as ``("en",)``."""
    return tuple(sorted(entry.name for entry in _FOLDER.iterdir() if entry.is_dir() and len(entry.name) == 2))


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
            raise VizdiffInputError(f"text {key!r} is missing from the catalogue {self.lang}")
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __call__(self, key: str, **values: object) -> str:
        """Return one text with its ``{fields}`` replaced; values are inserted literally and never parsed.

        In English the singular stands after the number 1.

        Raises
        ------
        VizdiffInputError
            Where the catalogue has no such key, or a field has no value or another format.
        """
        text = self[key]
        try:
            return (singular(text, values) if self.lang == "en" else text).format(**values)
        except (KeyError, IndexError, ValueError) as error:
            raise VizdiffInputError(f"text {key!r} of the catalogue {self.lang} does not fit: {error}") from error

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
            raise VizdiffInputError(f"section {prefix!r} is missing from the catalogue {self.lang}")
        return texts

    def preferring(self, prefix: str, **words: str) -> Texts:
        """Return a catalogue in which the text at ``prefix.KEY``, where there is one, replaces the text at ``KEY``.

        Parameters
        ----------
        words
            For fields of these texts that a caller does not know, by name: what stands there.

        Raises
        ------
        VizdiffInputError
            Where no key begins with ``prefix`` and a dot.
        """
        preferred = self.section(prefix)
        for name, word in words.items():
            preferred = {key: text.replace(f"{{{name}}}", word) for key, text in preferred.items()}
        texts = Texts(self.lang, self._entries | preferred)
        texts.class_names = self.class_names
        return texts

    def for_classes(self, class_names: Sequence[str] | None) -> Texts:
        """Return the catalogue for classes of these names; without names, for digits, the catalogue itself.

        The texts at ``own.KEY`` replace those at ``KEY``; in the others "digit" becomes "class" or "image".
        """
        if not class_names:
            return self
        texts = Texts(self.lang, self._about_classes)
        texts.class_names = tuple(class_names)
        return texts

    @cached_property
    def _about_classes(self) -> dict[str, str]:
        """The texts for classes, whatever their names."""
        return reword(self._entries, self.lang) | self.section("own")

    def for_space(self, space: str) -> Texts:
        """Return the catalogue for a network that works on ``pixel`` or ``latent``: the texts that differ for latents.

        The texts at ``latent.KEY`` replace those at ``KEY``; those on what is measured on latents speak of latents.
        """
        if space == "pixel":
            return self
        texts = Texts(self.lang, in_latents(self._entries, self.lang))
        texts.class_names = self.class_names
        return texts.preferring("latent")

    def for_prompts(self, prompts: Sequence[str]) -> Texts:
        """Return texts in which classes are called prompts; where there are none, the texts themselves."""
        if not prompts:
            return self
        texts = Texts(self.lang, self._about_prompts)
        texts.class_names = self.class_names
        return texts

    @cached_property
    def _about_prompts(self) -> dict[str, str]:
        """The texts that say prompt for class."""
        return call_prompts(self._entries, self.lang)

    def label(self, label: int) -> str:
        """Return a label as a text names it: the class's name, or the digit."""
        return shown_name(self.class_names[label]) if 0 <= label < len(self.class_names) else str(label)


def true_minus(text: str) -> str:
    """Return a text whose negative numbers have a true minus sign."""
    return _NEGATIVE.sub("−", text)


def load_texts(lang: str = "en") -> Texts:
    """Read the catalogue of one language.

    Raises
    ------
    VizdiffUsageError
        Where there is no catalogue for ``lang``.
    VizdiffInputError
        Where a file is not TOML, a value is neither a table nor a string, or a key stands in two files.
    """
    known = languages()
    if lang not in known:
        raise VizdiffUsageError(f"language {lang!r} has no catalogue; choose from {', '.join(known)}")
    return _read_texts(_FOLDER, lang)


@cache
def _read_texts(folder: Path, lang: str) -> Texts:
    """Read a catalogue, once in a process."""
    entries: dict[str, str] = {}
    for file in sorted((folder / lang).iterdir()):
        name = f"{lang}/{file.name}"
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise VizdiffInputError(f"catalogue {name} is not TOML: {error}") from error
        for key, text in _flatten(tree, "", name):
            if key in entries:
                raise VizdiffInputError(f"text {key!r} of {name} stands in another file of the catalogue too")
            entries[key] = text
    return Texts(lang, entries)


def _flatten(tree: Mapping[str, Any], prefix: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) for every leaf."""
    for part, value in tree.items():
        key = prefix + part
        if isinstance(value, dict):
            yield from _flatten(value, key + ".", name)
        elif isinstance(value, str):
            yield key, value
        else:
            raise VizdiffInputError(f"text {key!r} of {name} must be a string, found {value!r}")
