"""A deck as a folder of numbered pictures, captions and facts, for slides of one's own.

Knows nothing about what is measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from viz_diffusion.deck.pictures import Film
from viz_diffusion.files import atomic_dir, write_bytes, write_json
from viz_diffusion.files.output_places import require_own_folder
from viz_diffusion.study.narrative import Drawing, NarratedLesson, save_drawing
from viz_diffusion.study.wording import join
from viz_diffusion.text.catalogue import Texts

FigureCommand = Callable[[str], str]
"""Returns the command line that makes a figure, given by its name, again."""
_DECK_FILE = re.compile(r"\d\d_\w+\.(png|svg)|film\.(gif|mp4)|captions\.md|facts\.json")


def check_folder(path: Path) -> None:
    """Raise unless the folder is new or holds only an earlier deck, which will be replaced.

    Raises
    ------
    VizdiffInputError
        Where it holds other files, or is the current folder.
    VizdiffIOError
        Where there is a file of this name.
    """
    require_own_folder(path, is_deck_file, replaced=True)


def is_deck_file(name: str) -> bool:
    """Return whether a deck has a file of this name."""
    return _DECK_FILE.fullmatch(name) is not None


def write_folder(
    lessons: Sequence[NarratedLesson],
    film: Film | None,
    facts: dict[str, Any],
    title: str,
    figure_command: FigureCommand,
    texts: Texts,
    path: Path,
    on_drawing: Callable[[Drawing], None] | None = None,
) -> tuple[str, ...]:
    """Write ``01_forward.png`` and ``.svg`` and so on, the film, ``captions.md`` and ``facts.json``.

    Returns
    -------
    The names of the files. The folder is written atomically.
    """
    check_folder(path)
    text = [f"# {title}", ""]
    number = 0
    with atomic_dir(path) as folder:
        for lesson in lessons:
            for drawing in lesson.drawings:
                number += 1
                name = f"{number:02d}_{drawing.name}"
                save_drawing(replace(drawing, name=name), folder)
                text += _caption(name, drawing, lesson, figure_command(drawing.name), texts)
                if on_drawing is not None:
                    on_drawing(drawing)
        if film is not None:
            write_bytes(folder / "film.gif", film.gif.data)
        if film is not None and film.mp4 is not None:
            write_bytes(folder / "film.mp4", film.mp4)
        write_bytes(folder / "captions.md", "\n".join(text).encode())
        write_json(folder / "facts.json", facts)
        return tuple(sorted(entry.name for entry in folder.iterdir()))


def _caption(name: str, drawing: Drawing, lesson: NarratedLesson, command: str, texts: Texts) -> list[str]:
    """Return the lines of ``captions.md`` for one picture."""
    caption = join(drawing.caption, lesson.other_digit.get(drawing.name, ""))
    then = (
        [] if command.startswith(lesson.try_this) else ["- " + texts("deck.captions_then", text=f"`{lesson.try_this}`")]
    )
    return [
        f"## {_plain(drawing.title)}",
        "",
        f"`{name}.png`, `{name}.svg`",
        "",
        _plain(caption),
        "",
        "- " + texts("deck.captions_alt", text=_plain(drawing.alt)),
        "- " + texts("deck.captions_say", text=_plain(lesson.say)),
        "- " + texts("deck.captions_command", text=f"`{command}`"),
        *then,
        "",
    ]


def _plain(text: str) -> str:
    """Escape the characters that Markdown would interpret."""
    return re.sub(r"([\\`*_<>\[\]#])", r"\\\1", " ".join(text.split()))
