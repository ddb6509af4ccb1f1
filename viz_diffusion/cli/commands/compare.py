"""``vizdiff compare``: several training runs side by side."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.compared_runs import TableCells, measure_runs, quality_table, remarks_on, settings_table
from viz_diffusion.cli.console import Terminal, show_path, table
from viz_diffusion.cli.evaluation_text import FEW, how_sampled
from viz_diffusion.cli.loading import LoadedRun, pick_device
from viz_diffusion.cli.option_groups import OUTPUT, option_name, takes
from viz_diffusion.cli.options import (
    DataDirOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LangOption,
    QuietOption,
    SamplerOptions,
    SeedOption,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.outputs import Output, default_out, picture_names, sampling_marks
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder

if TYPE_CHECKING:
    from viz_diffusion.study.narrative import Drawing
    from viz_diffusion.study.run_comparison import ComparedRun
    from viz_diffusion.text.catalogue import Texts

_FILES = ("compare.html", "compare.json", *picture_names(["run_comparison"]))
COUNT, FEWEST, MOST = 100, 20, 10_000
"""Samples of each run: by default without --evaluate, at least, and at most."""
HELP = (
    "Compare training runs: loss, quality, samples.\n\n"
    "Shows the held-out loss during training, the share of samples that are classified as requested, samples of each "
    "run from the same noise, and the settings in which the runs differ. KID and FID are shown where --evaluate "
    "measures them, or where vizdiff evaluate --run RUN --out RUN.json did so before.\n\n"
    "Example: vizdiff compare bundled bundled-flow"
)
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN RUN ...", help="Run folders, or names of bundled runs; two or more.")
]
EvaluateOption = Annotated[
    bool, typer.Option("--evaluate", help="Measure KID and FID too, which takes minutes for each run.")
]
CountOption = Annotated[
    int | None,
    typer.Option("--count", help="Samples of each run, 20 to 10000.", show_default=f"{COUNT}; with --evaluate {FEW}"),
]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder to write.", show_default="reports/compare", rich_help_panel=OUTPUT)
]


@writes_pictures
@takes(sampling=sampler_options(SamplerConfig("ddim", 50)))
def run_command(
    *,
    runs: RunsArgument,
    evaluate: EvaluateOption = False,
    count: CountOption = None,
    sampling: SamplerOptions,
    seed: SeedOption = 0,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Open, sample, measure, draw, say."""
    terminal = Terminal(as_json, quiet, lang)
    config = sampling.config()
    count = (FEW if evaluate else COUNT) if count is None else count
    _check_options(runs, count, seed)
    out = default_out("compare", "", None, lang, seed=seed or None) if out is None else out
    place_folder(out)
    loaded = _load_runs(runs, data_dir, device, terminal)
    shown = {"sampling": "_".join(sampling_marks(config)), "seed": seed, "count": count, "evaluate": evaluate}
    shown["weights"] = ", ".join(one.weights_sha256[:8] for one in loaded)
    Output(out / "compare.json", "compare", force, lang, _FILES, shares=True).claim(terminal, **shown)
    how = how_sampled(config, terminal.text)
    lede = terminal.text("compared", runs=len(loaded), count=count, how=how)
    terminal.say("Comparing", lede)
    compared, labels = measure_runs(loaded, count, seed, config, terminal, evaluated=evaluate)
    texts = terminal.texts.for_classes(loaded[0].run.config.class_names)
    drawing = _draw(compared, labels, {"how": how, "seed": seed, "count": count}, texts)
    from viz_diffusion.report.run_comparison import write_run_comparison
    from viz_diffusion.study.narrative import captions_and_details, save_drawing
    from viz_diffusion.study.run_comparison import different_settings

    remarks = remarks_on(compared, terminal)
    quality, settings = quality_table(compared, terminal), settings_table(compared, terminal)
    _say(quality, settings, remarks, terminal)
    terminal.say("Drawing", drawing.name)
    save_drawing(drawing, out)
    words = (lede, _command(runs, sampling, seed, count, evaluate, data_dir), [remark for _, remark in remarks])
    write_run_comparison(drawing.picture(), quality, settings, words, texts, out / "compare.html")
    result = {
        "out": str(out),
        "runs": [one.facts() for one in compared],
        "different_settings": different_settings([one.run for one in compared]),
        "remarks": [remark for _, remark in remarks],
        **config.facts(),
        "seed": seed,
        "count": count,
        "seconds": round(terminal.seconds, 1),
        **captions_and_details([drawing]),
    }
    write_json(out / "compare.json", result)
    terminal.tell("Done", "done_folder", path=show_path(out), files=", ".join(sorted(_FILES)), seconds=terminal.seconds)
    terminal.result(result)
    if open_page:
        webbrowser.open((out / "compare.html").resolve().as_uri())


def _say(
    quality: TableCells, settings: TableCells | None, remarks: Sequence[tuple[str, str]], terminal: Terminal
) -> None:
    """Print both tables and the remarks."""
    same = [terminal.text("same_settings")]
    for label, lines in (("Runs", table(*quality)), ("Settings", table(*settings) if settings else same)):
        for number, line in enumerate(lines):
            terminal.say("" if number else label, line)
    for label, remark in remarks:
        terminal.say(label, remark)


def _command(
    runs: Sequence[str], sampling: SamplerOptions, seed: int, count: int, evaluate: bool, data_dir: Path | None
) -> str:
    """Return the command that makes the same comparison."""
    given = {name: value for name, value in sampling.given.items() if name != "clip"} | {"seed": seed, "count": count}
    options = [word for name, value in given.items() for word in (option_name(name), str(value))]
    if "clip" in sampling.given:
        options.append("--clip" if sampling.given["clip"] else "--no-clip")
    if data_dir is not None:
        options += ["--data-dir", show_path(data_dir)]
    return shlex.join(["vizdiff", "compare", *runs, *options, *["--evaluate"] * evaluate])


def _check_options(runs: Sequence[str], count: int, seed: int) -> None:
    """Refuse one run, a run twice, and impossible numbers."""
    if len(runs) < 2:
        raise VizdiffUsageError(f"compare needs two runs or more, found {len(runs)}")
    twice = [run for run in runs if runs.count(run) > 1]
    if twice:
        raise VizdiffUsageError(f"the run {twice[0]} is named twice; name each run once")
    if not FEWEST <= count <= MOST:
        raise VizdiffUsageError(f"--count must lie in {FEWEST}..{MOST}, found {count}")
    check_seed(seed, count)


def _load_runs(choices: Sequence[str], data_dir: Path | None, device: str, terminal: Terminal) -> list[LoadedRun]:
    """Open all runs, refuse those that are not comparable, and load their networks.

    ``data_dir`` is where their data lie, if they have moved.
    """
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.study.run_comparison import require_comparable
    from viz_diffusion.training.moved_data import with_data_dir
    from viz_diffusion.training.run import Run

    runs = [Run.choose(choice) for choice in choices]
    if data_dir is not None:
        runs = [with_data_dir(run, data_dir) for run in runs]
    require_comparable(runs)
    place = pick_device(device)
    return [LoadedRun(run, *run.load_model(place, lambda remark: terminal.note(remark))) for run in runs]


def _draw(compared: Sequence[ComparedRun], labels: Sequence[int], facts: dict[str, object], texts: Texts) -> Drawing:
    """Return the figure with its words."""
    from viz_diffusion.plots.lazy_figures import Figures
    from viz_diffusion.plots.run_comparison import MOST_SAMPLES, draw_run_comparison
    from viz_diffusion.study.narrative import drawings
    from viz_diffusion.study.run_comparison import drawn_runs
    from viz_diffusion.study.wording import wording

    shown = labels[:MOST_SAMPLES]
    drawn = drawn_runs(compared, len(shown))
    figures = Figures(run_comparison=lambda: draw_run_comparison(drawn, shown))
    values = facts | {"drawn": len(drawn), "shown": len(shown)}
    return drawings(figures, wording(values, texts), texts)[0]
