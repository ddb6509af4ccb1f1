"""``vizdiff live``: write a page in which the network itself runs."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.loading import open_run
from viz_diffusion.cli.option_groups import MODEL, OUTPUT
from viz_diffusion.cli.options import ForceOption, JsonOption, LangOption, QuietOption
from viz_diffusion.cli.outputs import Output, default_out
from viz_diffusion.files import read_json
from viz_diffusion.files.output_places import place_file
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS

HELP = (
    "Write a page in which the network itself runs, offline.\n\n"
    "One HTML file with the weights of a run: choose a class and a seed, watch the image form, and change the label, "
    "the guidance, the timestep or the image itself at any step.\n\n"
    "Example: vizdiff live --open"
)
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="PATH|NAME",
        help="Trained model to use: a run folder, bundled or bundled-flow. The page runs no model in latents or with "
        "prompts.",
        show_default="newest well-trained run under runs/, else bundled",
        rich_help_panel=MODEL,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="HTML file to write.",
        show_default="reports/live.html, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


def run_command(
    *,
    run: RunOption = None,
    lang: LangOption = "en",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Load, write."""
    terminal = Terminal(as_json, quiet, lang)
    _check_named(run)
    out = default_out("live", ".html", lang=lang, run=run) if out is None else out
    place_file(out, ".html", ".htm")
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.live.network_data import network_data
    from viz_diffusion.live.page import write_page

    chosen = open_run(run, terminal)
    data = network_data(chosen)
    digest = data.facts["weights_sha256"]
    if chosen.is_bundled:
        terminal.tell("Weights", "weights_bundled", digest=digest[:8])
    else:
        facts = [chosen.config.dataset, terminal.text("training_steps", steps=chosen.trained_steps), digest[:8]]
        terminal.tell("Weights", "weights_own", path=chosen.name_or_path, facts=terminal.text("comma").join(facts))
    Output(out, "live", force, lang).claim(terminal, weights=digest[:8])
    write_page(data, terminal.texts.for_classes(chosen.config.class_names), out)
    terminal.tell("Done", "done_file", path=show_path(out), size=show_size(out), seconds=terminal.seconds)
    terminal.result(
        {
            "out": str(out),
            "bytes": out.stat().st_size,
            "run": chosen.name_or_path,
            "weights_sha256": digest,
            "objective": chosen.config.training.objective,
            "seconds": round(terminal.seconds, 1),
        }
    )
    if open_page:
        webbrowser.open(out.resolve().as_uri())


def _check_named(run: str | None) -> None:
    """Refuse a run that is named and that the page cannot run, before PyTorch is loaded."""
    from viz_diffusion.live.suitable_runs import check_config

    config = BUNDLED_RUNS.get(run or "", Path(run or "")) / "config.json"
    if run and config.is_file():
        check_config(read_json(config))
