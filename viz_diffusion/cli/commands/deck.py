"""``vizdiff deck``: slides, a handout, or numbered pictures with captions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.generation_request import GENERATION, GenerationOptions, read_request
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    DataDirOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
)
from viz_diffusion.cli.outputs import Output
from viz_diffusion.cli.picture_options import SIZES, check_size, writes_pictures
from viz_diffusion.cli.study import (
    LessonsOption,
    command_options,
    figure_command,
    lessons_mark,
    pick_lessons,
    prepare_study,
    study_command,
    study_texts,
)
from viz_diffusion.deck.outline import MINUTES
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_dir
from viz_diffusion.files.output_places import place_file
from viz_diffusion.text.class_names import file_name

if TYPE_CHECKING:
    from viz_diffusion.deck.pictures import Film
    from viz_diffusion.deck.selection import Selection
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.study.study import Study
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Write slides, a handout or pictures of a generation.\n\n"
    "Records a generation, measures it, and writes a lecture of 20, 45 or 90 minutes: slides with notes (pptx), an A4 "
    "handout (pdf), or numbered pictures with captions for your own slides (folder).\n\n"
    "Example: vizdiff deck --minutes 45"
)
_ENDINGS = {"pptx": ".pptx", "pdf": ".pdf", "folder": ""}
_DEFAULT_MINUTES, _DEFAULT_SIZE = 45, "720p"


MinutesOption = Annotated[
    int, typer.Option(metavar="|".join(map(str, MINUTES)), help="Length of the lecture: chooses the slides.")
]
SlidesOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="Show only these slides, or those of --minutes with +NAME and without -NAME; all shows every slide. "
        "A name is a slide's, a figure's or a lesson's.",
    ),
]
TemplateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.pptx",
        help="PowerPoint template (.pptx, .potx) whose size, layouts, fonts and colours are used.",
        rich_help_panel=OUTPUT,
    ),
]
SizeOption = Annotated[str, typer.Option(metavar="|".join(SIZES), help="Size of the film.", rich_help_panel=OUTPUT)]

OutOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File or folder to write.",
        show_default="reports/deck…, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class _DeckFile:
    """What to write, and where."""

    format: str
    """pptx, pdf or folder."""
    template: Path | None
    """A PowerPoint template."""
    out: Path
    """The file or folder."""
    size: str
    """Size of the film."""


@writes_pictures
@takes(generation=GENERATION)
def run_command(
    *,
    format: Annotated[str, typer.Option("--format", metavar="pptx|pdf|folder", help="What to write.")] = "pptx",
    minutes: MinutesOption = _DEFAULT_MINUTES,
    slides: SlidesOption = None,
    generation: GenerationOptions,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    lessons: LessonsOption = "core",
    template: TemplateOption = None,
    size: SizeOption = _DEFAULT_SIZE,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure, plan, write."""
    terminal = Terminal(as_json, quiet, lang)
    _check_options(format, template, out, size)
    chosen, selection = pick_lessons(lessons), _read_selection(minutes, slides)
    request = read_request(generation)
    if out is None:
        name = _name(minutes, slides, lessons, template, size)
        out = request.default_out(name, _ENDINGS[format], lang, run)
    file = _DeckFile(format, template, out, size)
    _check_files(file)
    own = _own_options(minutes, slides, lessons, size)
    shown = Output(out, "deck", force, lang, options=own if template is None else [*own, "--template", template.name])
    if format == "folder":
        from viz_diffusion.deck.folder import is_deck_file

        shown = replace(shown, path=out / "facts.json", others=("*",), owns=is_deck_file)
    study = prepare_study(request, run, device, terminal, chosen, out=shown, data_dir=data_dir)
    command = study_command("deck", study, lang, *own)
    written = _write(study, file, selection, command, study_texts(study, terminal.texts), terminal)
    total = "" if out.is_dir() else f", {show_size(out)}"
    files = terminal.text(f"count_{written['what']}", count=written["count"]) + total
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    if written["left_out"]:
        terminal.tell("Left out", "slides_left_out", names=", ".join(written["left_out"]))
    facts = study.facts()
    terminal.result(
        {
            "out": str(out),
            "format": format,
            "minutes": minutes,
            written["what"]: written["count"],
            "film": written["film"],
            "shown": written["shown"],
            "left_out": written["left_out"],
            "digit": facts["recording"]["digit"],
            "seed": facts["recording"]["seed"],
            "seconds": round(terminal.seconds, 1),
            **facts,
        }
    )


def _own_options(minutes: int, slides: str | None, lessons: str, size: str) -> list[str]:
    """Return the command's own options, where they are not the default, for the command that makes the deck again."""
    words = ["--minutes", str(minutes)] if minutes != _DEFAULT_MINUTES else []
    words += [f"--slides={slides}"] if slides else []
    words += ["--lessons", lessons] if lessons != "core" else []
    return words + (["--size", size] if size != _DEFAULT_SIZE else [])


def _name(minutes: int, slides: str | None, lessons: str, file: Path | None, size: str) -> str:
    """Return the beginning of the file's name: what is shown, where it is not the default; ``file`` is a template."""
    marks = {
        f"{minutes}min": minutes != _DEFAULT_MINUTES,
        "slides": slides,
        size: size != _DEFAULT_SIZE,
        file_name(file.stem if file else ""): file,
    }
    return "_".join(["deck", *(mark for mark, differs in marks.items() if differs), *lessons_mark(lessons)])


def _read_selection(minutes: int, slides: str | None) -> Selection:
    """Return which slides were asked for; lessons are only loaded where slides are named."""
    from viz_diffusion.deck.selection import read_selection

    figures: list[tuple[str, str]] = []
    if slides:
        from viz_diffusion.lessons.base import all_lessons

        figures = [(lesson.name, figure) for lesson in all_lessons() for figure in lesson.figure_names]
    return read_selection(minutes, slides, figures)


def _check_options(format: str, template: Path | None, out: Path | None, size: str) -> None:
    """Refuse options that do not go together."""
    if format not in _ENDINGS:
        raise VizdiffUsageError(f"--format must be one of {', '.join(_ENDINGS)}, found {format!r}")
    check_size(size)
    if template is not None and format != "pptx":
        raise VizdiffUsageError(f"--template goes with --format pptx, not with {format}")
    if out is not None and format != "folder" and out.suffix.lower() != f".{format}":
        raise VizdiffUsageError(f"--out must end in .{format} for --format {format}, found {str(out)!r}")


def _check_files(file: _DeckFile) -> None:
    """Create the folder to write to; refuse a file or a template that cannot be used."""
    if file.format == "folder":
        from viz_diffusion.deck.folder import check_folder

        check_folder(file.out)
        make_dir(file.out.parent)
    else:
        place_file(file.out)
    if file.template is not None:
        from viz_diffusion.deck.template import check_template

        check_template(file.template)


def _write(
    study: Study, file: _DeckFile, selection: Selection, command: str, texts: Texts, terminal: Terminal
) -> dict[str, Any]:
    """Choose the slides, draw their figures once, and write the file or folder; return its facts."""
    from viz_diffusion.deck.pictures import PictureRenderer, make_film
    from viz_diffusion.deck.slide_plan import DeckPlan, plan_deck
    from viz_diffusion.plots.film import can_write_mp4
    from viz_diffusion.study.narrative import narrate

    lessons = narrate(study.findings, study.recording, texts, options=command_options(study.run))
    plan = DeckPlan.choose(study, lessons, selection, film=file.format != "pdf")
    shown = plan.figures(lessons)
    lessons_shown = [replace(one, drawings=_named(one, shown)) for one in lessons if _named(one, shown)]
    has_mp4 = can_write_mp4()
    facts: dict[str, Any] = {
        "film": ["gif", *(["mp4"] if has_mp4 else [])] if plan.has_film else [],
        "shown": [slide.name for slide in plan.chosen],
        "left_out": [slide.name for slide in plan.left_out],
    }
    with ThreadPoolExecutor(1) as pool, terminal.progress("Drawing", terminal.text("pictures"), None) as update:
        made = partial(make_film, study.trajectory, texts, has_mp4, size=file.size)
        filming = pool.submit(made) if plan.has_film else None  # encoded while the figures are drawn
        if file.format == "folder":
            film = filming.result() if filming else None
            names = _write_folder(study, lessons_shown, film, file.out, texts, update)
            return {"what": "files", "count": len(names), **facts}
        renderer = PictureRenderer()
        for drawing in (drawing for one in lessons_shown for drawing in one.drawings):
            update(renderer.draw(drawing), len(shown), drawing.name)
        film = filming.result() if filming else None
        deck = plan_deck(study, lessons, plan, renderer.finish(), film, command, texts)
    if file.format == "pptx":
        from viz_diffusion.deck.powerpoint import write_pptx

        write_pptx(deck, file.out, file.template)
        return {"what": "slides", "count": len(deck.slides), **facts}
    from viz_diffusion.deck.handout import write_pdf

    return {"what": "pages", "count": write_pdf(deck, file.out, texts), **facts}


def _named(lesson: NarratedLesson, names: Sequence[str]) -> tuple[Any, ...]:
    """Return the drawings of a lesson that are among ``names``."""
    return tuple(drawing for drawing in lesson.drawings if drawing.name in names)


def _write_folder(
    study: Study, lessons: Sequence[NarratedLesson], film: Film | None, out: Path, texts: Texts, update: Any
) -> tuple[str, ...]:
    """Write the chosen pictures with their captions; return the names of the files."""
    from viz_diffusion.deck.folder import write_folder

    names = [drawing.name for one in lessons for drawing in one.drawings]
    return write_folder(
        lessons,
        film,
        study.facts(),
        texts("deck.slide.cover.title", **study.recording),
        partial(figure_command, study, texts.lang),
        texts,
        out,
        lambda drawing: update(names.index(drawing.name) + 1, len(names), drawing.name),
    )
