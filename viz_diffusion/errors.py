"""One error type for each exit code of the command line.

Every message is one line that names the value and what to do. Where it names a parameter, it writes the parameter's
Python name between backticks: "`guidance_scale` must lie in 0..100, found 200". Python shows the plain name; the
command line shows its own option instead (:func:`with_options`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_PARAMETER = re.compile(r"`([a-z_][a-z0-9_]*)`")


class VizdiffError(Exception):
    """Base of every error that is shown to a user as one line, without a traceback.

    Parameters
    ----------
    message
        One line; parameters stand between backticks.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(_PARAMETER.sub(r"\1", message))
        self.marked = message
        """The message with its parameters between backticks, for a longer message that quotes it."""


def with_options(marked: str, option: Callable[[str], str]) -> str:
    """Return a message whose parameters stand between backticks with each as ``option`` writes it: ``--guidance``."""
    return _PARAMETER.sub(lambda match: option(match[1]), marked)


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Return the end of a message that lists choices: "; did you mean 'steps'?"; empty where none is close."""
    import difflib

    near = difflib.get_close_matches(value, list(choices), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class VizdiffUsageError(VizdiffError, ValueError):
    """An argument or the command line is wrong (exit code 2)."""

    exit_code = 2


class VizdiffInputError(VizdiffError, ValueError):
    """A file, a run, a recording or an array cannot be used as it is (exit code 3)."""

    exit_code = 3


class VizdiffIOError(VizdiffError, OSError):
    """Reading, writing or downloading failed (exit code 4)."""

    exit_code = 4


class VizdiffLockedError(VizdiffError, OSError):
    """Another process is writing to the same place (exit code 5)."""

    exit_code = 5


class VizdiffNonFiniteError(VizdiffError, ArithmeticError):
    """A NaN or an infinity appeared where only finite numbers make sense (exit code 6)."""

    exit_code = 6
