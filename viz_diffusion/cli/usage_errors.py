"""The line that a user sees of an error that typer finds: what is wrong, and whose ``--help`` tells more."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from viz_diffusion.cli.error_language import in_language
from viz_diffusion.text.catalogue import Texts

_KINDS = {"int": "a whole number", "float": "a number"}
"""How typer calls a type, and its name in a message."""
_MOVED = dict.fromkeys(("--switch", "--clock", "--drop-label", "--guide-within"), "intervene") | {
    "--diffusers": "record"
}
"""Options that a reader may look for elsewhere, and the command that has them."""


def usage_line(error: Any, words: Iterable[str], commands: Container[str], texts: Texts) -> str:
    """Return the line for an error of typer's.

    Parameters
    ----------
    words
        The command line that was given.
    commands
        The names of all commands.
    texts
        The catalogue of the terminal's language.
    """
    context = getattr(error, "ctx", None)  # None where an option has no value
    other = _MOVED.get(getattr(error, "option_name", ""))
    if other is not None and context is not None and context.info_name != other:
        message = texts("terminal.belongs", option=error.option_name, command=other)
        return texts("terminal.see", message=message, command=f"vizdiff {other}")
    message = in_language(_wrong_number(error) or error.format_message().rstrip("."), texts.lang)
    return with_help(message, context.command_path if context else named_program(words, commands), texts)


def with_help(message: str, program: str, texts: Texts) -> str:
    """Return a message with the command line whose ``--help`` tells more, such as ``vizdiff export``."""
    key = "terminal.see_question" if message.endswith(("?", "？")) else "terminal.see"
    return texts(key, message=message, command=program)


def named_program(words: Iterable[str], commands: Container[str]) -> str:
    """Return the command that a command line names, such as ``vizdiff export``; ``vizdiff`` where it names none."""
    named = next((word for word in words if word in commands), None)
    return " ".join(filter(None, ("vizdiff", named)))


def _wrong_number(error: Any) -> str | None:
    """Return the message where text was given for a number, else None; typer's own leaves out the text."""
    problems: list[Any] = getattr(error.__cause__, "errors", list)()
    kind = _KINDS.get(problems[0]["type"].partition("_")[0]) if problems else None
    if kind is None:
        return None
    option = error.param.get_error_hint().strip("'")
    return f"{option} must be {kind}, found {problems[0]['input']!r}"
