"""Options of commands that write pictures: their titles, and the size of films."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from viz_diffusion.cli.option_groups import OUTPUT, Command
from viz_diffusion.errors import VizdiffUsageError, did_you_mean

SIZES = ("360p", "480p", "720p", "1080p")
"""Sizes of films by name; :data:`~viz_diffusion.plots.film.FILM_SIZES` has them in pixels."""
FilmSizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="|".join(SIZES),
        help="Size of the film; its frames are enlarged by a whole factor, so that pixels stay sharp.",
        show_default="that of the enlarged frames",
        rich_help_panel=OUTPUT,
    ),
]
_TitlesOption = Annotated[
    str,
    typer.Option(
        "--titles",
        metavar="on|off",
        help="Titles in figures; off leaves them out, for slides that have their own.",
        rich_help_panel=OUTPUT,
    ),
]


def check_size(size: str | None) -> None:
    """Refuse a size that no film has."""
    if size is not None and size not in SIZES:
        raise VizdiffUsageError(f"--size must be one of {', '.join(SIZES)}, found {size!r}{did_you_mean(size, SIZES)}")


def writes_pictures(command: Command) -> Command:
    """Give a command the option ``--titles``: with ``off``, the pictures that it writes have no titles.

    All parameters of the command are keywords.
    """
    declared = inspect.signature(command, eval_str=True).parameters
    titles = inspect.Parameter("titles", inspect.Parameter.KEYWORD_ONLY, default="on", annotation=_TitlesOption)
    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in declared.values()]

    def run(*, titles: str = "on", **values: Any) -> None:
        if titles not in ("on", "off"):
            raise VizdiffUsageError(f"--titles must be on or off, found {titles!r}")
        if titles == "on":
            return command(**values)
        from viz_diffusion.plots.saving import titles_left_out

        with titles_left_out():
            return command(**values)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*own, titles])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, titles)}
    return run
