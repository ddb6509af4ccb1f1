"""HTML of a comparison of training runs: one document without scripts and external files.

Gets a finished picture, tables and texts; knows nothing about runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from viz_diffusion.files import write_bytes
from viz_diffusion.report.html import render_still
from viz_diffusion.study.blocks import Picture
from viz_diffusion.text.catalogue import Texts

TableCells = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The header of a table, and its rows."""


def write_run_comparison(
    picture: Picture,
    quality: TableCells,
    settings: TableCells | None,
    words: tuple[str, str, Sequence[str]],
    texts: Texts,
    path: Path,
) -> None:
    """Write the page atomically, as UTF-8.

    Parameters
    ----------
    quality
        Losses and quality, a row for each run.
    settings
        The settings that differ; None where none do.
    words
        The sentence under the title, the command that makes the page again, and remarks.
    """
    lede, command, notes = words
    values = {"quality": quality, "settings": settings, "lede": lede, "made_by": command, "notes": notes}
    write_bytes(path, render_still("run_comparison.html.j2", texts, shown=picture, **values).encode())
