"""The live lab that a report or a worksheet links to: written beside it, or found there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.loading import LoadedRun
from viz_diffusion.cli.outputs import Output

if TYPE_CHECKING:
    from viz_diffusion.training.run import Run


def report_lab(loaded: LoadedRun, report: Path, terminal: Terminal, *, write: bool, force: bool) -> str:
    """Return the name of the lab that a report links to; empty for none. With ``write`` it is written first."""
    if write:
        return _written(loaded.run, report, terminal, force)
    return lab_beside(report.parent, loaded.weights_sha256, terminal.texts["language.tag"])


def lab_of_worksheet(run: Run, folder: Path, terminal: Terminal) -> str | None:
    """Return the lab of the bundled weights in a worksheet's folder or in the one above it, as a relative path.

    Empty where there is none; None for a run of other weights, which the lab's tasks are not about.
    """
    if not run.is_bundled:
        return None
    weights, tag = run.load_model()[1], terminal.texts["language.tag"]
    if name := lab_beside(folder, weights, tag):
        return name
    name = lab_beside(folder.resolve().parent, weights, tag)
    return f"../{name}" if name else ""


def _written(run: Run, report: Path, terminal: Terminal, force: bool) -> str:
    """Write the lab of a run beside a report, as ``NAME_live.html``, and return its name.

    Raises
    ------
    VizdiffInputError
        Where the page cannot run the network, or the file shows something else.
    """
    from viz_diffusion.live.network_data import network_data
    from viz_diffusion.live.page import write_page

    out = report.with_name(f"{report.stem}_live.html")
    data = network_data(run)
    Output(out, "live", force, terminal.texts.lang).claim(terminal, weights=data.facts["weights_sha256"][:8])
    write_page(data, terminal.texts.for_classes(run.config.class_names), out)
    terminal.tell("Written", "lab_written", path=show_path(out), size=show_size(out))
    return out.name


def lab_beside(folder: Path, weights_sha256: str, tag: str) -> str:
    """Return the name of a lab of these weights in a folder; empty where there is none.

    Its name has ``live`` in it, as those have that ``vizdiff live`` writes. One in the language of ``tag`` comes
    first.
    """
    from viz_diffusion.live.page import page_facts

    fitting = []
    for path in folder.glob("*live*.html"):
        facts = page_facts(path)
        if facts is not None and facts.weights_sha256 == weights_sha256:
            fitting.append((facts.language != tag, path.name))
    return min(fitting)[1] if fitting else ""
