"""``vizdiff report``: one HTML page on a recording and its lessons."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.generation_request import GENERATION, GenerationOptions, GenerationRequest, read_request
from viz_diffusion.cli.live_lab import report_lab
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
from viz_diffusion.cli.other_network import other_network
from viz_diffusion.cli.outputs import Output, default_out, picture_names
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.cli.recording_study import measure_recording, recording_command
from viz_diffusion.cli.study import (
    LessonsOption,
    command_options,
    lessons_mark,
    pick_lessons,
    study_command,
    study_texts,
)
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files.output_places import place_file, place_folder
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import Finding
    from viz_diffusion.report.page import Page
    from viz_diffusion.report.player import Player
    from viz_diffusion.study.blocks import Picture
    from viz_diffusion.study.narrative import Drawing, NarratedLesson
    from viz_diffusion.study.other_network import OtherNetwork
    from viz_diffusion.study.recording_study import RecordingStudy
    from viz_diffusion.study.study import Study
    from viz_diffusion.study.wording import CommandOptions
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Write an offline HTML report on a generation.\n\n"
    "Records a generation, measures it, and draws everything into one HTML file. With --trajectory, the report is on "
    "that recording; if another program made it, such as a pipeline of 🤗 diffusers, the report shows what the "
    "recording alone contains.\n\n"
    "Example: vizdiff report --digit 5 --open"
)
FiguresOption = Annotated[
    Path | None,
    typer.Option(help="Folder to write all figures to as well, as PNG and SVG.", rich_help_panel=OUTPUT),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="HTML file to write.",
        show_default="reports/report.html, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


DEFAULT_AUDIENCE = "lecturer"
AudienceOption = Annotated[
    str,
    typer.Option(
        metavar="lecturer|student",
        help="Who reads the page. For students it has the questions without answers, and no speaker notes.",
    ),
]
LiveOption = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Also write the live lab of the run, as NAME_live.html; the player links to it at every frame. Without "
        "this option the player links to a lab of the same run that is in the folder already.",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
@takes(generation=GENERATION)
def run_command(
    *,
    generation: GenerationOptions,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    lessons: LessonsOption = "core",
    audience: AudienceOption = DEFAULT_AUDIENCE,
    live: LiveOption = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    figures: FiguresOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    texts = terminal.texts
    for_whom = _audience_option(audience)
    request = read_request(generation, recording_only=True)
    if out is None:
        out = _default_out(request, lang, run, [*lessons_mark(lessons), *for_whom[1:]])
    place_file(out, ".html", ".htm")
    if figures is not None:
        place_folder(figures, "figures")
    options = [*for_whom, *([] if lessons == "core" else ["--lessons", lessons])]
    names = () if figures is None else _picture_names()
    written = Output(out, "report", force, lang, names, figures, options, shares=figures is not None)
    if request.is_recording_only:
        if live:
            raise VizdiffUsageError("`live` needs the network, and this recording has none here; leave the option out")
        recording_study = measure_recording(request, run, lessons, device, terminal)
        written.claim(terminal, recording=str((request.folder or out).resolve()), index=request.index or "")
        page = _recording_page(request, recording_study, texts, figures, terminal, audience)
        facts = recording_study.facts()
        following = terminal.text("next_report")
    else:
        chosen = pick_lessons(lessons)
        opened = open_study(request, run, device, terminal, written, data_dir)
        lab = report_lab(opened.loaded, out, terminal, write=live, force=force)
        study, other = opened.measure(chosen), other_network(opened, terminal)
        texts = study_texts(study, texts)
        page = _page(study, other, texts, figures, terminal, audience, [*for_whom, *["--live"] * live])
        page, facts = replace(page, lab=lab), study.facts()
        following = _next_command(study) or terminal.text("next_train")
    from viz_diffusion.report import write_report

    write_report(page, out)
    terminal.tell("Done", "done_file", path=show_path(out), size=show_size(out), seconds=terminal.seconds)
    terminal.say("Next", following)
    _tell_result(page, facts, out, terminal)
    if open_page:
        webbrowser.open(out.resolve().as_uri())


def _tell_result(page: Page, facts: dict[str, Any], out: Path, terminal: Terminal) -> None:
    recording = facts["recording"]
    terminal.result(
        {
            "out": str(out),
            "bytes": out.stat().st_size,
            "audience": page.audience,
            "live": page.lab or None,
            **{name: recording[name] for name in ("digit", "label", "seed") if name in recording},
            "seconds": round(terminal.seconds, 1),
            **facts,
        }
    )


def _audience_option(audience: str) -> list[str]:
    """Return the option that says for whom the page is, as words of its command; nothing for the default."""
    from viz_diffusion.report.page import check_audience

    check_audience(audience)
    return [] if audience == DEFAULT_AUDIENCE else ["--audience", audience]


def _default_out(request: GenerationRequest, lang: str, run: str | None, marks: list[str]) -> Path:
    """Return the file of a page without ``--out``; that of a recording by itself has the recording's name."""
    if request.is_recording_only and request.folder is not None:
        name = request.folder.resolve().with_suffix("").name + (f"_image{request.index}" if request.index else "")
        return default_out("_".join(["report_recording", *marks]), ".html", None, lang, name)
    return request.default_out("_".join(["report", *marks]), ".html", lang, run)


def _picture_names() -> tuple[str, ...]:
    """Return the names of the files that ``--figures`` writes."""
    from viz_diffusion.lessons.base import all_lessons

    return picture_names({figure for lesson in all_lessons() for figure in lesson.figure_names} | {"steps"})


def _next_command(study: Study) -> str:
    """Return what to run next: go on training, or measure a run of one's own; empty for a bundled one."""
    run = study.run
    if not run.is_finished:
        return shlex.join(["vizdiff", "train", "--resume", show_path(run.path)])
    if run.name_or_path not in BUNDLED_RUNS:
        return shlex.join(["vizdiff", "evaluate", "--run", show_path(run.path)])
    return ""


def _page(
    study: Study,
    other: OtherNetwork | None,
    texts: Texts,
    figures: Path | None,
    terminal: Terminal,
    audience: str,
    options: list[str],
) -> Page:
    """Return the page of a recording with its network, its comparison runs and chapters."""
    from viz_diffusion.report.assembly import assemble, players, strip, with_other_network

    played = players(study)
    if other is not None:
        played = with_other_network(played, study, other, texts)
    all_players = (*played.runs, *played.comparisons)
    drawn = (all_players, lambda: strip(study, texts), texts, figures, terminal)
    lessons, pictures = _draw(study.findings, study.recording, *drawn, options=command_options(study.run))
    command = study_command("report", study, texts.lang, *options)
    return assemble(study, played, lessons, pictures, command, texts, audience)


def _recording_page(
    request: GenerationRequest,
    study: RecordingStudy,
    texts: Texts,
    figures: Path | None,
    terminal: Terminal,
    audience: str,
) -> Page:
    """Return the page of a recording whose network is not available."""
    from viz_diffusion.recording.latent_pictures import PicturedLatents
    from viz_diffusion.report.recording_assembly import assemble, player, strip

    space = "latent" if isinstance(study.trajectory, PicturedLatents) else "pixel"
    texts, played = texts.preferring("alone").for_space(space), player(study.trajectory)
    lessons, pictures = _draw(
        study.findings, study.words(texts), (played,), lambda: strip(study, texts), texts, figures, terminal
    )
    assert request.folder is not None
    command = recording_command(request.folder, request.index, texts.lang, *_audience_option(audience))
    return assemble(study, played, lessons, pictures, command, texts, audience)


def _draw(
    findings: Sequence[Finding],
    recording: dict[str, Any],
    players: Sequence[Player],
    strip: Callable[[], Drawing],
    texts: Texts,
    figures: Path | None,
    terminal: Terminal,
    options: CommandOptions | None = None,
) -> tuple[Sequence[NarratedLesson], dict[str, Picture]]:
    """Put findings into words and draw them; return them with their pictures by name, ``steps`` among them.

    Meanwhile the sheets of the players are encoded. ``strip`` draws ``steps`` where no lesson does; ``figures`` is a
    folder for the pictures as files, and ``options`` are those of chapters' commands.
    """
    from viz_diffusion.study.narrative import narrate, save_drawing

    pictures: dict[str, Picture] = {}
    with terminal.progress("Drawing", terminal.text("pictures"), None) as update, ThreadPoolExecutor(2) as pool:
        # sprites are encoded in the pool while the figures are drawn here
        encoding = [pool.submit(getattr, player, "sheets") for player in players]

        def keep(drawing: Drawing) -> None:
            pictures[drawing.name] = drawing.picture()
            if figures is not None:
                save_drawing(drawing, figures)
            update(len(pictures), None, drawing.name)

        lessons = narrate(findings, recording, texts, keep, options or {})
        if "steps" not in pictures:  # the lesson that draws the strip was not chosen
            keep(strip())
        for sheets in encoding:
            sheets.result()
        return lessons, pictures
