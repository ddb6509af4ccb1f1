"""The command line ``vizdiff``: its commands, one module each, and the exit code of an error.

Each command parses, loads, calls, saves and says; heavy imports happen inside it, so that ``--help``
answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from viz_diffusion import __version__
from viz_diffusion.cli.commands import (
    data,
    deck,
    embeddings,
    evaluate,
    export,
    forward,
    info,
    lesson,
    lessons,
    report,
    sample,
    train,
    train_classifier,
    trajectory,
    worksheet,
)
from viz_diffusion.cli.option_groups import option_name
from viz_diffusion.cli.standard_streams import standard_streams
from viz_diffusion.errors import VizdiffError, VizdiffIOError
from viz_diffusion.files import empty_dirs_removed

app = typer.Typer(
    name="vizdiff",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "Example: vizdiff report --digit 5 --open\n\n"
        "See how a diffusion model works: train one on MNIST, record every step of a generation, draw it, "
        "and put it all into one offline HTML report. Bundled weights make every command work at once."
    ),
)
COMMANDS = (
    report,
    lesson,
    lessons,
    trajectory,
    forward,
    embeddings,
    deck,
    worksheet,
    export,
    sample,
    evaluate,
    train,
    train_classifier,
    data,
    info,
)
for command in COMMANDS:
    app.command(command.__name__.rsplit(".", 1)[-1].replace("_", "-"), help=command.HELP)(command.run_command)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vizdiff {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Declare the options that belong to no command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Every error becomes one line on stderr, never a traceback."""
    with standard_streams():
        code = _run(argv)
        try:
            sys.stdout.flush()
        except VizdiffIOError as error:
            return code or _say(str(error), error.exit_code)
        return code


def _run(argv: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        os.getcwd()
    except OSError:  # libraries end the process without a word of their own
        return _say("the current folder was removed; change to another one", VizdiffIOError.exit_code)
    try:
        with empty_dirs_removed():
            code = command.main(args=None if argv is None else list(argv), prog_name="vizdiff", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except VizdiffError as error:
        return _say(error.with_options(option_name), error.exit_code)
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own: a wrong option or value
            return _say(error.format_message().rstrip(".") + "; see vizdiff --help", 2)
        if type(error).__name__ == "Abort":  # typer's name for Ctrl-C
            return _say("stopped", 130)
        if os.environ.get("VIZDIFF_DEBUG"):
            raise
        kind = type(error).__name__
        return _say(f"unexpected {kind}: {error} (a bug; VIZDIFF_DEBUG=1 shows where, please report it)", 1)


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"vizdiff: {line}", file=sys.stderr)
    return code
