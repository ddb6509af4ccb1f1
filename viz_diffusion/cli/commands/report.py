"""``vizdiff report``: all of it, in one page."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.generation_request import (
    AllowPartialOption,
    AskedClip,
    AskedDigit,
    AskedEta,
    AskedGuidance,
    AskedSampler,
    AskedSeed,
    AskedSteps,
    AskedTimestepSpacing,
    AskedVariance,
    GenerationRequest,
    TrajectoryOption,
    read_request,
)
from viz_diffusion.cli.options import (
    DEFAULT_DIGIT,
    DeviceOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    default_out,
)
from viz_diffusion.cli.recording_study import command_line as command_line_alone
from viz_diffusion.cli.recording_study import study_without_network
from viz_diffusion.cli.study import LessonsOption, command_line, pick_lessons, prepare
from viz_diffusion.files import make_dir, make_parent

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import Finding
    from viz_diffusion.report.page import Page
    from viz_diffusion.report.player import Player
    from viz_diffusion.study.blocks import Picture
    from viz_diffusion.study.narrative import Drawing, NarratedLesson
    from viz_diffusion.study.recording_study import RecordingStudy
    from viz_diffusion.study.study import Study
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Example: vizdiff report --digit 5 --open\n\n"
    "Record a digit, measure and draw everything, and write one HTML file that opens offline. With "
    "--trajectory, of a recording that is there; of another program's, such as a pipeline of 🤗 diffusers, what it "
    "shows by itself."
)


def run_command(
    digit: AskedDigit = None,
    run: RunOption = None,
    trajectory: TrajectoryOption = None,
    allow_partial: AllowPartialOption = False,
    sampler: AskedSampler = None,
    steps: AskedSteps = None,
    guidance: AskedGuidance = None,
    variance: AskedVariance = None,
    eta: AskedEta = None,
    timestep_spacing: AskedTimestepSpacing = None,
    clip: AskedClip = None,
    seed: AskedSeed = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    lessons: LessonsOption = "core",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder for the pictures, PNG and SVG.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file to write; reports/report.html, with digit and language if not 5 and en."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, measure, draw, write."""
    terminal = Terminal(as_json, quiet)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    order = read_request(
        trajectory,
        digit=digit,
        seed=seed,
        allow_partial=allow_partial,
        sampler=sampler,
        steps=steps,
        guidance=guidance,
        variance=variance,
        eta=eta,
        timestep_spacing=timestep_spacing,
        clip=clip,
        alone=True,
    )
    if out is None:
        name, told_digit = ("report_recording", DEFAULT_DIGIT) if order.is_alone else ("report", order.digit)
        out = default_out(name, ".html", told_digit, lang)
    make_parent(out)
    if order.is_alone:
        alone = study_without_network(order, run, lessons, device, terminal)
        terminal.replacing(out)
        page, facts = _page_alone(order, alone, texts, figures, terminal), alone.facts()
        following = "vizdiff report --open   (all chapters, of the bundled network)"
    else:
        found = prepare(order, run, device, terminal, pick_lessons(lessons), comparisons=True, out=out)
        page, facts = _page(found, texts, figures, terminal), found.facts()
        following = "vizdiff train   (10 min; Ctrl-C keeps your work)"
    from viz_diffusion.report import write_report

    write_report(page, out)
    terminal.say("Done", f"{show_path(out)} ({show_size(out)}, {terminal.seconds:.0f} s)")
    terminal.say("Next", following)
    asked = {name: facts["recording"][name] for name in ("digit", "label", "seed") if name in facts["recording"]}
    terminal.result(
        {
            "out": str(out),
            "bytes": out.stat().st_size,
            **asked,
            "seconds": round(terminal.seconds, 1),
            **facts,
        }
    )
    if open_page:
        webbrowser.open(out.resolve().as_uri())


def _page(found: Study, texts: Texts, figures: Path | None, terminal: Terminal) -> Page:
    """Return the page of a generation of ours, with companions and chapters."""
    from viz_diffusion.report.assembly import assemble, players, strip

    played = players(found)
    shown = (*played.runs, *played.comparisons)
    told, pictures = _draw(
        found.findings, found.recording, shown, lambda: strip(found, texts), texts, figures, terminal
    )
    return assemble(found, played, told, pictures, command_line("report", found, texts.lang), texts)


def _page_alone(
    order: GenerationRequest, found: RecordingStudy, texts: Texts, figures: Path | None, terminal: Terminal
) -> Page:
    """Return the page of a recording whose network is not at hand."""
    from viz_diffusion.report.recording_assembly import assemble, player, strip

    texts, played = texts.preferring("alone"), player(found.trajectory)
    told, pictures = _draw(
        found.findings, found.words(texts), (played,), lambda: strip(found, texts), texts, figures, terminal
    )
    assert order.folder is not None
    return assemble(found, played, told, pictures, command_line_alone(order.folder, texts.lang), texts)


def _draw(
    findings: Sequence[Finding],
    recording: dict[str, Any],
    shown: Sequence[Player],
    strip: Callable[[], Drawing],
    texts: Texts,
    figures: Path | None,
    terminal: Terminal,
) -> tuple[Sequence[NarratedLesson], dict[str, Picture]]:
    """Tell findings, and return them with their pictures by name, encoded, ``steps`` among them.

    The sheets of the players ``shown`` are encoded meanwhile; ``figures`` is a folder for the pictures as files.
    """
    from viz_diffusion.study.narrative import narrate, save_drawing

    pending: dict[str, Future[Picture]] = {}
    with terminal.progress("Drawing", "the pictures", None) as update, ThreadPoolExecutor(2) as pool:
        # sprites and pictures are encoded by the pool while the next figure is painted here
        encoding = [pool.submit(getattr, one, "sheets") for one in shown]

        def keep(drawing: Drawing) -> None:
            pending[drawing.name] = drawing.picture(pool)
            if figures is not None:
                save_drawing(drawing, make_dir(figures))
            update(len(pending), None, drawing.name)

        told = narrate(findings, recording, texts, keep)
        if "steps" not in pending:  # the page's strip is the figure of a lesson that was not asked for
            keep(strip())
        for sheets in encoding:
            sheets.result()
        return told, {name: encoded.result() for name, encoded in pending.items()}
