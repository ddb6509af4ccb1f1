"""The command line ``vizdiff``: its commands, one module each, and the exit code of an error.

Each command parses, loads, calls, saves and says; heavy imports happen inside it, so that ``--help``
answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from viz_diffusion import __version__
from viz_diffusion.cli.commands import (
    compare,
    data,
    deck,
    embeddings,
    evaluate,
    export,
    forward,
    info,
    intervene,
    lesson,
    lessons,
    live,
    report,
    sample,
    train,
    train_classifier,
    trajectory,
    worksheet,
)
from viz_diffusion.cli.commands import record as record_pipeline  # cli.record is another module
from viz_diffusion.cli.error_language import in_language
from viz_diffusion.cli.help_page import HeadedCommand, split_example
from viz_diffusion.cli.language import terminal_texts
from viz_diffusion.cli.option_groups import option_name
from viz_diffusion.cli.standard_streams import standard_streams
from viz_diffusion.cli.usage_errors import named_program, usage_line, with_help
from viz_diffusion.errors import VizdiffError, VizdiffIOError, VizdiffUsageError, with_options
from viz_diffusion.files import empty_dirs_removed
from viz_diffusion.stopping import stopped_code, was_stopped

app = typer.Typer(
    name="vizdiff",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Show how a diffusion model generates an image, step by step.\n\n"
        "Train a small model on MNIST, record every step of a generation, measure and draw it, and write a report, "
        "slides or exercises. A trained model is included, so every command works at once. vizdiff COMMAND --help "
        "lists the options of a command."
    ),
    epilog="Example: vizdiff report --digit 5 --open",
)
COMMANDS = (
    report,
    lesson,
    lessons,
    trajectory,
    intervene,
    record_pipeline,
    forward,
    embeddings,
    live,
    deck,
    worksheet,
    export,
    sample,
    evaluate,
    train,
    train_classifier,
    compare,
    data,
    info,
)
for command in COMMANDS:
    about, example = split_example(command.HELP)
    declare = app.command(
        command.__name__.rsplit(".", 1)[-1].replace("_", "-"), cls=HeadedCommand, help=about, epilog=example
    )
    declare(command.run_command)


@app.callback()
def _without_command(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Print the version, or how to begin; with a command, do nothing."""
    if version:
        typer.echo(f"vizdiff {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        texts = terminal_texts(())
        typer.echo(texts("terminal.start", version=__version__))


_SYSTEMS = {
    getattr(errno, name)
    for name in ("EACCES", "EDQUOT", "EIO", "ELOOP", "EMFILE", "ENAMETOOLONG", "ENOSPC", "EPERM", "EROFS", "ESTALE")
    if hasattr(errno, name)
}
"""Refusals of the system that say themselves what is wrong: they are the user's to mend, and no bugs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Every error becomes one line on stderr, never a traceback."""
    with standard_streams():
        code = _run(argv)
        try:
            sys.stdout.flush()
        except VizdiffIOError as error:
            words = argv or sys.argv[1:]
            return code or _say(in_language(str(error), terminal_texts(words).lang), error.exit_code, words)
        return code


@cache
def _command() -> Any:
    """Return all commands with their options, built once in a process."""
    return typer.main.get_command(app)


def _run(argv: Sequence[str] | None) -> int:
    command = _command()
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        os.getcwd()
    except OSError:  # libraries end the process without a word of their own
        return _say("", VizdiffIOError.exit_code, words, "no_folder")
    try:
        with empty_dirs_removed():
            code = command.main(args=None if argv is None else words, prog_name="vizdiff", standalone_mode=False)
        if was_stopped():  # typer answers Ctrl-C with a code of its own
            return _say("", stopped_code(), words, "stopped")
        return code if isinstance(code, int) else 0
    except VizdiffError as error:
        texts = terminal_texts(words)
        message = with_options(in_language(error.marked, texts.lang), option_name)
        if isinstance(error, VizdiffUsageError) and "vizdiff" not in message:  # it names no command to see or to run
            message = with_help(message, named_program(words, command.commands), texts)
        return _say(message, error.exit_code, words)
    except KeyboardInterrupt:
        return _say("", stopped_code(), words, "stopped")
    except Exception as error:
        if was_stopped():  # a library may turn what the signal raised into an error of its own
            return _say("", stopped_code(), words, "stopped")
        if isinstance(error, OSError) and error.errno in _SYSTEMS and not os.environ.get("VIZDIFF_DEBUG"):
            named = "" if error.filename is None else f"{error.filename}: "
            said = in_language(str(error.strerror), terminal_texts(words).lang)
            return _say(named + said, VizdiffIOError.exit_code, words)
        if hasattr(error, "format_message"):  # typer's own: a wrong option or value
            return _say(usage_line(error, words, command.commands, terminal_texts(words)), 2, words)
        if type(error).__name__ == "Abort":  # typer's name for Ctrl-C
            return _say("", stopped_code(), words, "stopped")
        if os.environ.get("VIZDIFF_DEBUG"):
            raise
        return _say(f"{type(error).__name__}: {error}", 1, words, "unexpected")


def _say(message: str, code: int, words: Sequence[str], key: str = "") -> int:
    """Print an error in one line, in the language of the command line; return ``code``.

    ``key`` names the text that the message is put into.
    """
    texts, line = terminal_texts(words), " ".join(message.split())
    line = texts(f"terminal.{key}", message=line) if key else line
    print(texts("terminal.error", message=line), file=sys.stderr)
    return code
