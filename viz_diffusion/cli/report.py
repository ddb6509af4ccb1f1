"""``vizdiff report``: all of it, in one page."""

from __future__ import annotations

import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.common import (
    DeviceOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    Voice,
    default_out,
    show_path,
    show_size,
)
from viz_diffusion.cli.prepare import (
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
    LessonsOption,
    TrajectoryOption,
    command_line,
    pick_lessons,
    prepare,
    take_order,
)
from viz_diffusion.files import make_dir

HELP = (
    "Example: vizdiff report --digit 5 --open\n\n"
    "Record a digit, measure and draw everything, and write one HTML file that opens offline."
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
    voice = Voice(as_json, quiet)
    from viz_diffusion.catalogue import load_texts

    texts = load_texts(lang)
    order = take_order(
        trajectory, digit=digit, seed=seed, allow_partial=allow_partial, sampler=sampler, steps=steps,
        guidance=guidance, variance=variance, eta=eta, timestep_spacing=timestep_spacing, clip=clip,
    )  # fmt: skip
    out = default_out("report", ".html", order.digit, lang) if out is None else out
    make_dir(out.parent)
    voice.replacing(out)
    found = prepare(order, run, device, voice, pick_lessons(lessons), comparisons=True)
    from viz_diffusion.report import write_report
    from viz_diffusion.report.chapters import Drawing, save_drawing, tell
    from viz_diffusion.report.gather import assemble, players, strip

    pending = {}
    played = players(found)
    with voice.progress("Drawing", "the pictures", None) as update, ThreadPoolExecutor(2) as pool:
        # sprites and pictures are encoded by the pool while the next figure is painted here
        encoding = [pool.submit(getattr, one, "sheets") for one in (*played.runs, *played.comparisons)]

        def keep(drawing: Drawing) -> None:
            pending[drawing.name] = drawing.picture(pool)
            if figures is not None:
                save_drawing(drawing, make_dir(figures))
            update(len(pending), None, drawing.name)

        told = tell(found.findings, found.recording, texts, keep)
        if "steps" not in pending:  # the page's strip is the figure of a lesson that was not asked for
            keep(strip(found, texts))
        pictures = {name: encoded.result() for name, encoded in pending.items()}
        for sheets in encoding:
            sheets.result()
        page = assemble(found, played, told, pictures, command_line("report", found, lang), texts)
    write_report(page, out)
    voice.say("Done", f"{show_path(out)} ({show_size(out)}, {voice.seconds:.0f} s)")
    voice.say("Next", "vizdiff train   (10 min; Ctrl-C keeps your work)")
    facts = found.facts()
    voice.result({
        "out": str(out), "bytes": out.stat().st_size, "digit": facts["recording"]["digit"],
        "seed": facts["recording"]["seed"], "seconds": round(voice.seconds, 1), **facts,
    })  # fmt: skip
    if open_page:
        webbrowser.open(out.resolve().as_uri())
