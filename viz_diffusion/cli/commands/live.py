"""``vizdiff live``: write a page in which the network itself runs."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.option_groups import MODEL, OUTPUT
from viz_diffusion.cli.options import JsonOption, LangOption, QuietOption, default_out
from viz_diffusion.files import make_parent

HELP = (
    "Write a page in which the network itself runs, offline.\n\n"
    "One HTML file with the weights of a run: choose a class and a seed, watch the image form, and change the label, "
    "the guidance, the timestep or the image itself at any step.\n\n"
    "Example: vizdiff live --open"
)
FLOW = "bundled-flow"
"""Value of ``--run`` for the flow-matching weights that come with the package."""
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar=f"PATH|bundled|{FLOW}",
        help=f"Trained model to use: a run folder, bundled, or {FLOW}, the flow-matching model.",
        show_default="newest finished run under runs/, else bundled",
        rich_help_panel=MODEL,
    ),
]


def run_command(
    *,
    run: RunOption = None,
    lang: LangOption = "en",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write.",
            show_default="reports/live.html; the language is added if not en",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Load, write."""
    terminal = Terminal(as_json, quiet)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    out = default_out("live", ".html", None, lang) if out is None else out
    make_parent(out)
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.live.network_data import network_data
    from viz_diffusion.live.page import write_page
    from viz_diffusion.training.run import Run

    chosen = Run.control("flow") if run == FLOW else Run.choose(run)
    name = FLOW if run == FLOW else chosen.name_or_path
    data = network_data(chosen, FLOW if run == FLOW else None)
    digest = data.facts["weights_sha256"]
    terminal.say("Weights", f"{name} ({chosen.config.dataset}, {digest[:8]})")
    write_page(data, texts.for_classes(chosen.config.class_names), out)
    terminal.say("Done", f"{show_path(out)} ({show_size(out)}, {terminal.seconds:.0f} s)")
    terminal.result(
        {
            "out": str(out),
            "bytes": out.stat().st_size,
            "run": name,
            "weights_sha256": digest,
            "objective": chosen.config.training.objective,
            "seconds": round(terminal.seconds, 1),
        }
    )
    if open_page:
        webbrowser.open(out.resolve().as_uri())
