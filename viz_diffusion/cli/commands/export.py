"""``vizdiff export``: write one figure or film in the format of a slide or a paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.export_options import (
    DPI,
    DpiOption,
    FigureOption,
    FormatOption,
    FramesOption,
    FullOption,
    SpacingOption,
    TransparentOption,
)
from viz_diffusion.cli.export_pictures import (
    FILM_FIGURES,
    FILMS,
    LEARNING,
    STILLS,
    ExportFormat,
    film_of,
    still_of,
    training_samples,
)
from viz_diffusion.cli.figure_study import caption_path, figure_study, write_caption
from viz_diffusion.cli.generation_request import GENERATION, GenerationOptions, read_request
from viz_diffusion.cli.lesson_study import lesson_run
from viz_diffusion.cli.open_study import open_study
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
from viz_diffusion.cli.outputs import Output, default_out
from viz_diffusion.cli.picture_options import FilmSizeOption, check_size, writes_pictures
from viz_diffusion.errors import VizdiffUsageError, did_you_mean
from viz_diffusion.files import write_bytes
from viz_diffusion.files.output_places import place_file

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import AnyLesson


HELP = (
    "Write one figure or film to a file.\n\n"
    "A figure is png, svg or pdf. A film, of a generation or of the samples during training, is gif, webp or mp4.\n\n"
    "Example: vizdiff export --figure steps --format gif"
)
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="File to write.",
        show_default="reports/FIGURE.FORMAT, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
@takes(generation=GENERATION)
def run_command(
    *,
    context: typer.Context,
    figure: FigureOption = None,
    format: FormatOption = None,
    generation: GenerationOptions,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    dpi: DpiOption = None,
    transparent: TransparentOption = False,
    frames: FramesOption = None,
    spacing: SpacingOption = "default",
    full: FullOption = False,
    size: FilmSizeOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure one lesson, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    if figure is None:
        raise VizdiffUsageError(f"--figure is missing; choose from {_names(_owners())}")
    form = _check_format(format, out, dpi, transparent, size)
    texts, own = terminal.texts, _own_options(form, frames, spacing) + ["--full"] * full
    if figure == LEARNING:
        _check_unused(context)
        path = out or default_out(figure, f".{form.kind}", None, lang, run=run)
        place_file(path)
        written = Output(path, f"export {figure}", force, lang, (caption_path(path).name,), options=own)
        facts, data = training_samples(run, form, texts, written, terminal)
    else:
        lesson = _owner(figure, form.kind, frames, spacing)
        request = read_request(generation)
        _check_frames(request.steps, frames, spacing, form.kind)
        path = out or request.default_out(figure, f".{form.kind}", lang, run)
        place_file(path)
        written = Output(path, f"export {figure}", force, lang, (caption_path(path).name,), options=own)
        is_film = form.kind in FILMS
        if request.recorded is None and not request.prompts:
            run = lesson_run(lesson, run)
        opened = open_study(request, run, device, terminal, written, data_dir)
        study = figure_study(opened, lesson, full=full, film=is_film)
        texts = study.texts(texts)
        terminal.say("Drawing", figure)
        if is_film:
            facts, data = film_of(study, figure, form, frames, spacing, texts)
        else:
            facts, data = still_of(study.drawing(figure, texts), form)
        facts |= study.facts
    _write(path, data, figure, form, facts, terminal)


def _own_options(form: ExportFormat, frames: str | None, spacing: str) -> list[str]:
    """Return the command's own options, where they are not the default."""
    own = {"dpi": form.dpi, "transparent": form.transparent, "frames": frames, "spacing": spacing, "size": form.size}
    return [f"--{name} {value}" for name, value in own.items() if value not in (DPI, False, None, "default")]


def _write(path: Path, data: bytes, figure: str, form: ExportFormat, facts: dict[str, Any], terminal: Terminal) -> None:
    """Write the file, and say what it is."""
    write_bytes(path, data)
    caption = write_caption(path, facts)
    terminal.tell("Done", "done_file", path=show_path(path), size=show_size(path), seconds=terminal.seconds)
    said = {"out": str(path), "caption_out": str(caption), "figure": figure, "format": form.kind, "bytes": len(data)}
    terminal.result({**said, "seconds": round(terminal.seconds, 1), **facts})


def _check_format(
    format: str | None, out: Path | None, dpi: int | None, transparent: bool, size: str | None
) -> ExportFormat:
    """Return the format: the given one, or the ending of the file's name; refuse options that it does not take."""
    ending = "" if out is None else out.suffix.lower().lstrip(".")
    kind = format or ending or "png"
    if kind not in (*STILLS, *FILMS):
        raise VizdiffUsageError(f"--format must be one of {', '.join((*STILLS, *FILMS))}, found {kind!r}")
    if out is not None and ending != kind:
        raise VizdiffUsageError(f"--out must end in .{kind} for --format {kind}, found {str(out)!r}")
    if kind == "mp4":
        from viz_diffusion.plots.film import require_mp4

        require_mp4()
    if kind in FILMS and (dpi is not None or transparent):
        raise VizdiffUsageError(f"--dpi and --transparent go with {', '.join(STILLS)}, not with {kind}")
    if dpi is not None and (kind != "png" or not 10 <= dpi <= 1200):
        raise VizdiffUsageError(f"--dpi goes with png and lies in 10..1200, found {kind} and {dpi}")
    check_size(size)
    if size is not None and kind not in FILMS:
        raise VizdiffUsageError(f"--size goes with {', '.join(FILMS)}, not with {kind}; --dpi sets the size of a png")
    return ExportFormat(kind, dpi or DPI, transparent, size)


def _owners() -> dict[str, AnyLesson]:
    """Return the lesson of every figure that a lesson draws."""
    from viz_diffusion.lessons.base import all_lessons

    return {name: lesson for lesson in all_lessons() for name in lesson.figure_names}


def _names(owners: Iterable[str]) -> str:
    """Return the names of all figures and films, for a message."""
    return f"{', '.join((*owners, LEARNING))}; as a film (gif, webp, mp4): {', '.join((*FILM_FIGURES, LEARNING))}"


def _owner(figure: str, kind: str, frames: str | None, spacing: str) -> AnyLesson:
    """Return the lesson that draws a figure, set to ``frames`` and ``spacing``."""
    from viz_diffusion.lessons.guess import lesson as guess
    from viz_diffusion.views import strip as strip_view

    owners = _owners()
    if figure not in owners and figure not in FILM_FIGURES:
        hint = did_you_mean(figure, (*owners, *FILM_FIGURES, LEARNING))
        raise VizdiffUsageError(f"--figure {figure!r} is unknown; choose from {_names(owners)}{hint}")
    if kind in FILMS and figure not in FILM_FIGURES:
        raise VizdiffUsageError(
            f"--figure {figure} stands still and cannot be {kind}; choose {', '.join(STILLS)}, "
            f"or the film of {', '.join(FILM_FIGURES)} or {LEARNING}"
        )
    if kind in STILLS and figure not in owners:
        raise VizdiffUsageError(f"--figure {figure} is a film; choose {', '.join(FILMS)} as --format")
    if figure in FILM_FIGURES:  # its strip alone, which needs no other measurement
        shown = (None, "default") if kind in FILMS else (frames, spacing)
        return replace(guess.LESSON, measure=lambda m: strip_view.measure(m.trajectory, m.sample, *shown))
    if frames is not None or spacing != "default":
        raise VizdiffUsageError(f"--frames and --spacing go with the figure steps and with films, not with {figure}")
    return owners[figure]


def _check_unused(context: typer.Context) -> None:
    """Refuse the options of a generation: the samples of a training were kept while it ran."""
    unused = (
        "digit",
        "label",
        "trajectory",
        "allow_partial",
        "refresh",
        "full",
        "sampler",
        "steps",
        "guidance",
        "variance",
        "eta",
        "timestep_spacing",
        "clip",
        "seed",
        "device",
        "frames",
        "spacing",
        "size",
    )
    sources = {name: context.get_parameter_source(name) for name in unused}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise VizdiffUsageError(
            f"--{given[0].replace('_', '-')} does not go with --figure {LEARNING}: it shows what the run kept"
        )


def _check_frames(steps: int | None, frames: str | None, spacing: str, kind: str) -> None:
    """Refuse frames that no recording has, before one is made or opened."""
    from viz_diffusion.views.frames import MOST_FRAMES, choose_frames

    film = kind in FILMS  # a film has one frame more, the finished image
    choose_frames((steps or 1000) + film, frames, spacing, most=1001 if film else MOST_FRAMES)
