"""Options of ``vizdiff export`` that say which figure, and how it is written."""

from __future__ import annotations

from typing import Annotated

import typer

from viz_diffusion.cli.option_groups import OUTPUT

DPI = 240
"""Pixels per inch of a png."""

FigureOption = Annotated[
    str | None,
    typer.Option(
        "--figure", metavar="NAME", help="Figure or film to write (required). Without it, all names are listed."
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="png|svg|pdf|gif|webp|mp4",
        help="File format.",
        show_default="the ending of --out, else png",
    ),
]
DpiOption = Annotated[
    int | None,
    typer.Option(
        help="Pixels per inch of a png, which is 13.33 inches wide.",
        show_default=str(DPI),
        rich_help_panel=OUTPUT,
    ),
]
TransparentOption = Annotated[
    bool, typer.Option("--transparent", help="Leave out the white background.", rich_help_panel=OUTPUT)
]
FramesOption = Annotated[
    str | None,
    typer.Option(
        help="Frames of steps or of a film: how many, or a list of steps left, such as 1000,500,1.",
        rich_help_panel=OUTPUT,
    ),
]
SpacingOption = Annotated[
    str,
    typer.Option(metavar="default|t|log-snr", help="Choose frames evenly in t, or in log-SNR.", rich_help_panel=OUTPUT),
]
FullOption = Annotated[
    bool,
    typer.Option("--full", help="Measure on more images what was not precomputed; the report then shows it too."),
]
