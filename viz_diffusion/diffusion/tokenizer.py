"""Words of a prompt: split at spaces, or by longest match where a script has none, and checked with a vocabulary.

Imports no torch. Knows nothing about what words mean.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property

from viz_diffusion.errors import VizdiffUsageError

MOST_WORDS, MOST_CHARACTERS = 64, 1000
"""The longest prompt."""
EMPTY_PROMPT = "∅"
"""How a prompt without words is shown; it stands for the null label, and is read as no word."""
START, PADDING = 1, 0
"""Numbers of the tokens that begin every prompt and fill it up; words are numbered from 2 on."""
_SKIPPED = rf"[\s,.;:!?、，。；：！？{EMPTY_PROMPT}]+"
_MOST_NAMED, _LONGEST_NAMED = 5, 30


class Tokenizer:
    """A vocabulary, and the words of texts in it.

    Words of letters and figures a-z, 0-9 end where others begin; words of other scripts need no space between them, and
    the longest one that fits is taken. Capital and full-width letters count as small ones; punctuation is skipped.

    Parameters
    ----------
    vocabulary
        The words, in the order of their numbers.

    Examples
    --------
    >>> Tokenizer(("a", "seven", "一个", "一", "七")).words("A seven, 一个七")
    ('a', 'seven', '一个', '七')
    """

    def __init__(self, vocabulary: tuple[str, ...]) -> None:
        self.vocabulary = vocabulary
        self._numbers = {word: number for number, word in enumerate(vocabulary, START + 1)}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        by_length = sorted((word for word in self.vocabulary if not word.isascii()), key=len, reverse=True)
        known = "|".join(map(re.escape, by_length)) or "(?!)"
        return re.compile(rf"(?P<skipped>{_SKIPPED})|(?P<word>[a-z0-9]+)|(?P<known>{known})|(?P<other>.)", re.DOTALL)

    def words(self, prompt: str) -> tuple[str, ...]:
        """Return the words of a prompt; none where it is empty.

        Raises
        ------
        VizdiffUsageError
            Where the prompt is too long, or holds unknown words: the message names them with the nearest known ones.
        """
        if len(prompt) > MOST_CHARACTERS:
            raise VizdiffUsageError(f"`prompt` must have at most {MOST_CHARACTERS:,} characters, found {len(prompt):,}")
        pieces = list(self._pieces(unicodedata.normalize("NFKC", prompt).lower()))
        unknown = list(dict.fromkeys(word for word in pieces if word not in self._numbers))
        if unknown:
            raise VizdiffUsageError(self._about(unknown))
        if len(pieces) > MOST_WORDS:
            raise VizdiffUsageError(f"`prompt` must have at most {MOST_WORDS} words, found {len(pieces)}")
        return tuple(pieces)

    def numbers(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt as numbers, beginning with :data:`START`."""
        return [START, *(self._numbers[word] for word in self.words(prompt))]

    def places(self, prompt: str) -> list[tuple[str, int, int]]:
        """Return (word, its token, one past it) for each word of a prompt; token 0 is the start."""
        return [(word, place, place + 1) for place, word in enumerate(self.words(prompt), 1)]

    def _pieces(self, text: str) -> Iterator[str]:
        """Yield the words; characters that fit nowhere are joined to one unknown word."""
        unknown = ""
        for match in self._pattern.finditer(text):
            is_known = match.lastgroup == "known" or match[0] in self._numbers
            if match.lastgroup == "skipped" or is_known:
                if unknown:
                    yield unknown
                unknown = ""
            if is_known:
                yield match[0]
            elif match.lastgroup != "skipped":
                unknown += match[0]
        if unknown:
            yield unknown

    def _about(self, unknown: list[str]) -> str:
        """Return the message on unknown words."""
        named = [f"'{visible(word)}'{self._near(word)}" for word in unknown[:_MOST_NAMED]]
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        is_english = all(word.isascii() for word in unknown)
        known = [word for word in self.vocabulary if word.isascii() == is_english]
        return (
            f"`prompt` holds words that this run's text encoder does not know: {', '.join(named)}{more}; "
            f"it knows only words for digits and their shape: {', '.join(known)}"
        )

    def _near(self, word: str) -> str:
        near = difflib.get_close_matches(word[:_LONGEST_NAMED], self.vocabulary, n=2, cutoff=0.6)
        return f" (nearest: {', '.join(near)})" if near else ""


def visible(text: str) -> str:
    """Return a text for a terminal, shortened: letters and figures as they are, other characters as escapes.

    Letters that are written from right to left are escaped too, since they would turn the line around.
    """
    shown = "".join(_visible(letter) for letter in text[:_LONGEST_NAMED])
    return shown + "…" * (len(text) > _LONGEST_NAMED)


def _visible(letter: str) -> str:
    plain = letter.isprintable() if letter.isascii() else letter.isalnum()
    if plain and unicodedata.bidirectional(letter) not in ("R", "AL"):
        return letter
    return letter.encode("unicode_escape").decode()
