"""Markdown of the pages that are generated: command reference, Python reference, gallery of figures and glossary.

A page holds ``<!-- generated: NAME -->`` where the text goes. All of it comes from the package itself, so that none of
it can say something else than the program: options from typer, docstrings, titles from the catalogue.
"""

from __future__ import annotations

import gzip
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import typer

import viz_diffusion
from viz_diffusion.cli import app as command_line
from viz_diffusion.cli.help_page import headed_options
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.lessons.precomputed import PRECOMPUTED_DIR
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.text.glossary import glossary
from viz_diffusion.text.math_html import formula

DOCS = Path(__file__).parents[1]
SHIPPED = DOCS / "gallery" / "shipped"
"""Unpacked when the pages are built."""
MARKER = re.compile(r"<!-- generated: (\w+) -->")
FOLDERS = {
    "diffusion": "Schedules, networks, samplers, interventions",
    "recording": "Recording",
    "training": "Trained models",
    "views": "Drawing",
}
"""What the reference calls the folders of the package."""
OTHER_FIGURES = {
    "compare": "vizdiff intervene --digit 3 --switch 8@500",
    "activations": "vizdiff trajectory --digit 3 --activations 'up.*'",
    "learning": "vizdiff export --figure learning",
}
"""Figures that belong to no lesson, with the command that draws each."""


class GalleryFigure(NamedTuple):
    """One figure of the gallery."""

    lesson: str
    """The lesson that draws it; empty where none does."""
    name: str
    """Its name, as ``vizdiff export --figure`` takes it."""
    command: str
    """The command that draws it."""
    picture: Path | None
    """Its picture in the repository, where there is one."""


def plain(text: str) -> str:
    """Return a text for Markdown, with nothing that would be read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", " ".join(text.split()))


def help_text(text: str) -> str:
    """Return a help text for Markdown, with options as code."""
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*[a-z]", r"`\g<0>`", plain(text))


def commands() -> Iterator[str]:
    """Yield the lines of the command reference."""
    group: Any = typer.main.get_command(command_line)
    for name, command in group.commands.items():
        context = typer.Context(command, info_name=f"vizdiff {name}")
        yield from (f"(command-{name})=", f"## vizdiff {name}", "")
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            yield from (help_text(paragraph), "")
        yield from ("```console", f"$ {(command.epilog or '').removeprefix('Example: ')}", "```", "")
        for heading, rows in headed_options(command.params, context).items():
            yield from (f"**{plain(heading)}**", "")
            for option, text in rows:
                yield from (f"`{' '.join(option.split())}`", f": {help_text(text)}", "")


def public_names() -> dict[str, list[str]]:
    """Return the public names of the package by the folder that defines them."""
    names = [name for name in viz_diffusion.__all__ if name != "__version__"]

    def folder(name: str) -> str:
        return str(getattr(viz_diffusion, name).__module__.split(".")[1])

    return {key: list(found) for key, found in groupby(sorted(names, key=folder), folder)}


def reference() -> Iterator[str]:
    """Yield the lines of the Python reference."""
    for folder, names in public_names().items():
        yield from (f"## {FOLDERS.get(folder, folder)}", "")
        for name in names:
            kind = "class" if inspect.isclass(getattr(viz_diffusion, name)) else "function"
            yield from ("```{eval-rst}", f".. auto{kind}:: viz_diffusion.{name}")
            yield from ("   :members:", "") if kind == "class" else ("",)
            yield from ("```", "")


def gallery_figures() -> list[GalleryFigure]:
    """Return every figure that the program draws, with its command and its picture."""
    owned = [(lesson.name, name) for lesson in all_lessons() for name in lesson.figure_names]
    figures = [(lesson, name, f"vizdiff export --figure {name}") for lesson, name in owned]
    figures += [("", name, command) for name, command in OTHER_FIGURES.items()]
    return [GalleryFigure(*figure, find_picture(*figure[:2])) for figure in figures]


def find_picture(lesson: str, name: str) -> Path | None:
    """Return the picture of a figure: the one that ships with the weights, unpacked, else the one of the gallery."""
    shipped, unpacked = PRECOMPUTED_DIR / f"{lesson}.{name}.en.svgz", SHIPPED / f"{name}.svg"
    if shipped.is_file():
        unpacked.parent.mkdir(exist_ok=True)
        unpacked.write_bytes(gzip.decompress(shipped.read_bytes()))
        return unpacked
    drawn = DOCS / "gallery" / f"{name}.webp"
    return drawn if drawn.is_file() else None


def is_shipped(figure: GalleryFigure) -> bool:
    """Return whether the picture of a figure ships with the weights, and need not be drawn for the gallery."""
    return figure.picture is not None and figure.picture.parent == SHIPPED


def gallery() -> Iterator[str]:
    """Yield the lines of the gallery."""
    texts = load_texts("en")
    for lesson, figures in groupby(gallery_figures(), lambda figure: figure.lesson):
        if lesson:
            yield from (f"(lesson-{lesson})=", f"## {plain(texts(f'chapter.{lesson}.question'))}", "")
            yield from (f"All of this chapter, with its numbers: `vizdiff lesson {lesson}`.", "")
        else:
            yield from ("## Figures of single commands", "")
        for figure in figures:
            title = plain(texts(f"picture.{figure.name}.title", digit=5))
            yield from (f"(figure-{figure.name})=", f"### {title}", "")
            if figure.picture is not None:
                place = (Path("..") / figure.picture.relative_to(DOCS.parent)).as_posix()
                yield from (f"```{{figure}} {place}", f":alt: {title}", "```", "")
            yield from ("```console", f"$ {figure.command}", "```", "")


def glossary_terms() -> Iterator[str]:
    """Yield the lines of the glossary; formulas are MathML."""
    texts = load_texts("en")
    yield "```{glossary}"
    for term in glossary(texts):
        chapter = term.entry.chapter
        symbol, shown = formula(term.entry.symbol), formula(term.entry.formula, block=True)
        yield from (term.term, f"  Symbol: {symbol}. {plain(term.text)}", "", f"  {shown}", "")
        yield from (f"  Shown in [{plain(texts[f'chapter.{chapter}.title'])}](#lesson-{chapter}).", "")
    yield "```"


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "reference": reference,
    "gallery": gallery,
    "glossary": glossary_terms,
}


def fill(text: str) -> str:
    """Return the source of a page with its markers replaced by what they name."""
    return MARKER.sub(lambda found: "\n".join(PAGES[found[1]]()), text)
