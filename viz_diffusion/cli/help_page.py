"""What ``--help`` prints of a command: its options under headings, and the example last.

It is plain text: drawing typer's panels would load rich, which takes longer than all the rest of ``--help``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

from viz_diffusion.cli.option_groups import BASICS, HEADINGS, OUTPUT


class HeadedCommand(TyperCommand):
    """A command whose ``--help`` lists its options under :data:`~viz_diffusion.cli.option_groups.HEADINGS`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, heading by heading."""
        for heading, rows in headed_options(self.get_params(ctx), ctx).items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def headed_options(parameters: Iterable[Any], context: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the names and help texts of options and arguments by their heading, in the order of the headings.

    ``context`` is the command's. Hidden options are left out.
    """
    found: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
    for one in parameters:
        record = one.get_help_record(context)
        if record is not None:
            heading = OUTPUT if one.name == "help" else getattr(one, "rich_help_panel", None) or BASICS
            # typer puts a default that is given as text between two pairs of brackets
            found[heading].append((record[0], re.sub(r"\[default: \((.*)\)\]$", r"[default: \1]", record[1])))
    return {heading: rows for heading, rows in found.items() if rows}


def split_example(text: str) -> tuple[str, str]:
    """Return a help text without its last paragraph, and that paragraph: the example."""
    words, _, example = text.rpartition("\n\n")
    return words, example
