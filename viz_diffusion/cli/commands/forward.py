"""``vizdiff forward``: draw the forward process on real digits, and its noise schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_class
from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.option_groups import MODEL, OUTPUT
from viz_diffusion.cli.options import (
    DataDirOption,
    DigitOption,
    ForceOption,
    ImageSizeOption,
    JsonOption,
    LabelOption,
    LangOption,
    QuietOption,
    SeedOption,
    check_seed,
)
from viz_diffusion.cli.outputs import Output, default_out
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files.output_places import place_folder

HELP = (
    "Add noise to real digits, step by step, and draw them.\n\n"
    "Draws five digits at rising timesteps, and the noise schedule that sets how fast the noise grows.\n\n"
    "Example: vizdiff forward --digit 5"
)
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/forward, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
def run_command(
    digit: DigitOption = None,
    label: LabelOption = None,
    schedule: Annotated[str, typer.Option(metavar="linear|cosine", help="Noise schedule.")] = "linear",
    dataset: Annotated[
        str,
        typer.Option(metavar="mnist|fashion-mnist|kmnist", help="Data set of the digits.", rich_help_panel=MODEL),
    ] = "mnist",
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Add noise, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    check_choice(digit, label)
    check_seed(seed)
    if schedule not in ("linear", "cosine"):
        raise VizdiffUsageError(f"--schedule must be linear or cosine, found {schedule!r}")
    from viz_diffusion.diffusion.schedule import NoiseSchedule

    noise_schedule, texts = NoiseSchedule.named(schedule), terminal.texts
    if out is None:
        data_name = "" if dataset == "mnist" and data_dir is None else data_dir.resolve().name if data_dir else dataset
        name = "_".join(["forward", *([schedule] if schedule != "linear" else []), *filter(None, [data_name])])
        out = default_out(name, "", digit, lang, label, seed=seed or None)
    place_folder(out)
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.data import load_digits
    from viz_diffusion.lessons.facts import facts_by_name
    from viz_diffusion.lessons.noising import lesson as noising
    from viz_diffusion.lessons.noising.forward_process import measure_noising
    from viz_diffusion.study.narrative import captions_and_details, drawings, save_drawing
    from viz_diffusion.study.wording import wording

    digits = load_digits("test", dataset, data_dir, image_size)
    texts = texts.for_classes(digits.class_names)
    chosen = choose_class(digits.present, digits.class_names, digit, label, "the data hold")
    data = measure_noising(digits, noise_schedule, chosen, seed)
    shown = {"data": digits.sha256[:8], "schedule": schedule, "label": chosen, "seed": seed}
    others = ("forward.svg", "snr.png", "snr.svg")
    Output(out / "forward.png", "forward", force, lang, others, shares=True).claim(terminal, **shown)
    terminal.tell("Drawing", "forward", schedule=schedule, count=len(data.labels))
    facts = facts_by_name(noising.facts(data))
    drawn = drawings(noising.draw(data), wording(facts, texts), texts)
    for drawing in drawn:
        save_drawing(drawing, out)
    files = ", ".join(f"{one.name}.png" for one in drawn)
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    result = facts | captions_and_details(drawn)
    terminal.result({"out": str(out), "seconds": round(terminal.seconds, 1), **result})
