"""``vizdiff deck``: slides, a handout, or numbered pictures with captions."""

from __future__ import annotations

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
from viz_diffusion.cli.study import (
    LessonsOption,
    figure_command,
    pick_lessons,
    prepare_study,
    study_command,
    study_texts,
)
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_dir, make_parent

if TYPE_CHECKING:
    from viz_diffusion.study.study import Study
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Write slides, a handout or pictures of a generation.\n\n"
    "Records a generation, measures it, and writes slides with notes (pptx), an A4 handout (pdf), or numbered pictures "
    "with captions for your own slides (folder).\n\n"
    "Example: vizdiff deck --digit 5"
)
_ENDINGS = {"pptx": ".pptx", "pdf": ".pdf", "folder": ""}
OutOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File or folder to write.",
        show_default="reports/deck…, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@takes(generation=GENERATION)
def run_command(
    *,
    format: Annotated[str, typer.Option("--format", metavar="pptx|pdf|folder", help="What to write.")] = "pptx",
    generation: GenerationOptions,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    lessons: LessonsOption = "core",
    template: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pptx",
            help="PowerPoint template (.pptx, .potx) whose size, layouts, fonts and colours are used.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure, plan, write."""
    terminal = Terminal(as_json, quiet, lang)
    _check_options(format, template, out)
    texts = terminal.texts
    request = read_request(generation)
    out = request.default_out("deck", _ENDINGS[format], lang, run) if out is None else out
    _check_files(format, template, out)
    written = Output(out / "facts.json" if format == "folder" else out, "deck", force, lang)
    study = prepare_study(request, run, device, terminal, pick_lessons(lessons), out=written, data_dir=data_dir)
    texts = study_texts(study, texts)
    made = _write(study, format, template, out, texts, terminal)
    size = "" if out.is_dir() else f", {show_size(out)}"
    files = terminal.text(f"count_{made['what']}", count=made["count"]) + size
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    if made["left_out"]:
        terminal.tell("Left out", "no_room", titles="; ".join(made["left_out_titles"]))
    facts = study.facts()
    terminal.result(
        {
            "out": str(out),
            "format": format,
            made["what"]: made["count"],
            "film": made["film"],
            "left_out": made["left_out"],
            "digit": facts["recording"]["digit"],
            "seed": facts["recording"]["seed"],
            "seconds": round(terminal.seconds, 1),
            **facts,
        }
    )


def _check_options(format: str, template: Path | None, out: Path | None) -> None:
    """Refuse options that do not go together."""
    if format not in _ENDINGS:
        raise VizdiffUsageError(f"--format must be one of {', '.join(_ENDINGS)}, found {format!r}")
    if template is not None and format != "pptx":
        raise VizdiffUsageError(f"--template goes with --format pptx, not with {format}")
    if out is not None and format != "folder" and out.suffix.lower() != f".{format}":
        raise VizdiffUsageError(f"--out must end in .{format} for --format {format}, found {str(out)!r}")


def _check_files(format: str, template: Path | None, out: Path) -> None:
    """Create the folder to write to; refuse a file or a template that cannot be used."""
    if format == "folder":
        from viz_diffusion.deck.folder import check_folder

        check_folder(out)
        make_dir(out.parent)
    else:
        make_parent(out)
    if template is not None:
        from viz_diffusion.deck.template import check_template

        check_template(template)


def _write(
    study: Study, format: str, template: Path | None, out: Path, texts: Texts, terminal: Terminal
) -> dict[str, Any]:
    """Draw every figure once, and write the file or folder; return its facts."""
    from viz_diffusion.deck.pictures import PictureRenderer, make_film
    from viz_diffusion.deck.slide_plan import plan_deck
    from viz_diffusion.plots.film import can_write_mp4
    from viz_diffusion.study.narrative import narrate
    from viz_diffusion.study.wording import wording

    film = None if format == "pdf" else make_film(study.trajectory, texts, can_write_mp4())
    command_of_figure = partial(figure_command, study, texts.lang)
    film_formats = [] if film is None else ["gif", *(["mp4"] if film.mp4 is not None else [])]
    renderer = PictureRenderer()
    with terminal.progress("Drawing", terminal.text("pictures"), None) as update:
        if format == "folder" and film is not None:
            from viz_diffusion.deck.folder import write_folder

            lessons = narrate(study.findings, study.recording, texts)
            title = texts("report.title", **wording(study.recording, texts))
            names = write_folder(
                lessons,
                film,
                study.facts(),
                title,
                command_of_figure,
                texts,
                out,
                lambda drawing: update(0, None, drawing.name),
            )
            return {"what": "files", "count": len(names), "left_out": [], "left_out_titles": [], "film": film_formats}

        lessons = narrate(
            study.findings,
            study.recording,
            texts,
            lambda drawing: update(renderer.draw(drawing), None, drawing.name),
        )
        pictures = renderer.finish()
    command = study_command("deck", study, texts.lang)
    deck = plan_deck(study, lessons, pictures, film, command, command_of_figure, texts)
    if format == "pptx":
        from viz_diffusion.deck.powerpoint import write_pptx

        write_pptx(deck, out, template)
        count, what = len(deck.slides), "slides"
    else:
        from viz_diffusion.deck.handout import write_pdf

        count, what = write_pdf(deck, out, texts), "pages"
    return {
        "what": what,
        "count": count,
        "film": film_formats,
        "left_out": list(deck.left_out),
        "left_out_titles": list(deck.left_out_titles),
    }
