"""``vizdiff worksheet``: write exercises on a recording, and their answers."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.generation_request import GENERATION, GenerationOptions, read_request
from viz_diffusion.cli.live_lab import lab_of_worksheet
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
    check_at_least,
)
from viz_diffusion.cli.outputs import Output
from viz_diffusion.cli.study import study_command, study_texts
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files.output_places import place_folder
from viz_diffusion.training.bundled_runs import BUNDLED_TEXT

if TYPE_CHECKING:
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.worksheet.tasks import AnswerKey, Worksheet


HELP = (
    "Write exercises on a generation, and their answers.\n\n"
    "worksheet.html is for students and contains no answers; key.html contains the answers. Both print on A4.\n\n"
    "Example: vizdiff worksheet --digit 5 --open"
)
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/worksheet, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@takes(generation=GENERATION)
def run_command(
    *,
    generation: GenerationOptions,
    run: RunOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    open_page: Annotated[bool, typer.Option("--open", help="Open both pages in the browser.")] = False,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, choose, write."""
    terminal = Terminal(as_json, quiet, lang)
    from viz_diffusion.worksheet.plan import MIN_STEPS, make_worksheet

    texts = terminal.texts
    check_at_least("--steps of a worksheet", generation.sampling.given.get("steps", MIN_STEPS), MIN_STEPS)
    request = read_request(generation)
    out = request.default_out("worksheet", "", lang, run) if out is None else out
    place_folder(out)
    written = Output(out / "worksheet.html", "worksheet", force, lang, ("key.html",), shares=True)
    opened = open_study(request, run, device, terminal, written, data_dir)
    _require_pixels(opened.loaded.run.config)
    study = opened.measure(())
    texts = study_texts(study, texts)
    from viz_diffusion.lessons.context import typical_image
    from viz_diffusion.study.reading import read_study
    from viz_diffusion.views.frames import pictures
    from viz_diffusion.worksheet.page import write_worksheet

    config = study.run.config
    heldout = config.load_digits("test")
    label = int(study.trajectory.labels[0])
    real = typical_image(label, heldout, heldout if label in heldout.present else config.load_digits("train"))
    reading = read_study(study)
    others, image = study.comparison_runs.others, pictures(real.numpy())
    sheet, key = make_worksheet(study.trajectory, others, image, misread=reading.misread)
    sheet, key = _with_prompts(sheet, key, study.trajectory.weights_sha256, lang)
    lab = lab_of_worksheet(study.run, out, terminal)
    command = study_command("worksheet", study, lang)
    pages = write_worksheet(sheet, key, command, texts, out, reading.warning(texts), lab)
    _say(sheet, pages, texts, terminal)
    terminal.result(
        {
            "out": str(out),
            "worksheet": str(pages[0]),
            "key": str(pages[1]),
            "code": sheet.code,
            "digit": key.digit,
            "seed": key.seed,
            "seconds": round(terminal.seconds, 1),
            "left_out": list(sheet.left_out),
            "answers": key.facts(),
        }
    )
    if open_page:
        for page in pages:
            webbrowser.open(page.resolve().as_uri())


def _with_prompts(sheet: Worksheet, key: AnswerKey, weights_sha256: str, lang: str) -> tuple[Worksheet, AnswerKey]:
    """Return the exercises with the one on prompts, where samples of prompts ship for these weights."""
    from viz_diffusion.lessons.precomputed import load_results
    from viz_diffusion.lessons.text.lesson import LESSON
    from viz_diffusion.lessons.text.text_study import HELD_OUT_ROW, TextStudy
    from viz_diffusion.worksheet.prompt_exercise import with_prompts

    found = load_results([LESSON], weights_sha256)
    if TextStudy not in found:
        return sheet, key
    grid, first = found[TextStudy].grid, int(lang == "zh")
    prompts = grid.prompts[first::2]
    return with_prompts(sheet, key, prompts, grid.images[first::2], prompts[HELD_OUT_ROW])


def _require_pixels(config: RunConfig) -> None:
    """Refuse a network that works in latents, before anything is sampled."""
    if config.space == "latent":
        other = "bundled" if config.model.text is None else BUNDLED_TEXT
        raise VizdiffInputError(
            f"a worksheet calculates with pixels, and this network works in latents; choose `run` {other}"
        )


def _say(sheet: Worksheet, pages: Sequence[Path], texts: Texts, terminal: Terminal) -> None:
    """Say what was written, and which exercises are left out."""
    for page, what in zip(pages, ("sheet_students", "sheet_answers"), strict=True):
        terminal.tell("Written", what, path=show_path(page), size=show_size(page))
    for name, reason in sheet.left_out.items():
        terminal.say("Left out", f"{texts[f'worksheet.{name}.title']}: {texts[f'worksheet.{name}.{reason}']}")
    terminal.tell("Done", "done_sheet", code=sheet.code, seconds=terminal.seconds)
