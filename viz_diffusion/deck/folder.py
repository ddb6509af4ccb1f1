"""A deck as a folder: numbered pictures, their words and their numbers, for those who have slides of their own.

Knows nothing about what is measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from viz_diffusion.deck.pictures import Film
from viz_diffusion.deck.slides import Remake
from viz_diffusion.errors import VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import atomic_dir, write_bytes, write_json
from viz_diffusion.study.narrative import Drawing, NarratedLesson, join, save_drawing
from viz_diffusion.text.catalogue import Texts

_OURS = re.compile(r"\d\d_\w+\.(png|svg)|film\.(gif|mp4)|captions\.md|facts\.json")


def check_folder(path: Path) -> None:
    """Refuse a folder that holds anything but an earlier deck, since what is there will be replaced.

    Raises
    ------
    VizdiffUsageError
        Naming what is in the way.
    VizdiffIOError
        Where a file has the folder's name.
    """
    if path.exists() and not path.is_dir():
        raise VizdiffIOError(f"cannot write {path}: a file is in the place of the folder")
    strange = [entry.name for entry in path.iterdir() if not _OURS.fullmatch(entry.name)] if path.is_dir() else []
    if strange:
        raise VizdiffUsageError(f"`out` {path} holds other things ({min(strange)}); name a new folder")


def write_folder(
    told: Sequence[NarratedLesson],
    film: Film,
    facts: dict[str, Any],
    title: str,
    remake: Remake,
    texts: Texts,
    path: Path,
    on_drawing: Callable[[Drawing], None] | None = None,
) -> tuple[str, ...]:
    """Write ``01_forward.png`` and ``.svg`` and so on, the film, ``captions.md`` and ``facts.json``.

    Returns
    -------
    The names of the files. The folder appears whole, or not at all.
    """
    check_folder(path)
    text = [f"# {title}", ""]
    number = 0
    with atomic_dir(path) as folder:
        for one in told:
            for drawing in one.drawings:
                number += 1
                name = f"{number:02d}_{drawing.name}"
                save_drawing(replace(drawing, name=name), folder)
                text += _caption(name, drawing, one, remake(one, drawing.name), texts)
                if on_drawing is not None:
                    on_drawing(drawing)
        write_bytes(folder / "film.gif", film.gif.data)
        if film.mp4 is not None:
            write_bytes(folder / "film.mp4", film.mp4)
        write_bytes(folder / "captions.md", "\n".join(text).encode())
        write_json(folder / "facts.json", facts)
        return tuple(sorted(entry.name for entry in folder.iterdir()))


def _caption(name: str, drawing: Drawing, told: NarratedLesson, command: str, texts: Texts) -> list[str]:
    """Return one picture's part of ``captions.md``."""
    caption = join(drawing.caption, told.other_digit.get(drawing.name, ""))
    then = [] if command.startswith(told.try_this) else ["- " + texts("deck.captions_then", text=f"`{told.try_this}`")]
    return [
        f"## {_plain(drawing.title)}",
        "",
        f"`{name}.png`, `{name}.svg`",
        "",
        _plain(caption),
        "",
        "- " + texts("deck.captions_alt", text=_plain(drawing.alt)),
        "- " + texts("deck.captions_say", text=_plain(told.say)),
        "- " + texts("deck.captions_command", text=f"`{command}`"),
        *then,
        "",
    ]


def _plain(text: str) -> str:
    """Keep Markdown from reading marks into a text."""
    return re.sub(r"([\\`*_<>\[\]#])", r"\\\1", " ".join(text.split()))
