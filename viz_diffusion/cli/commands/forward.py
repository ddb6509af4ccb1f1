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
    ImageSizeOption,
    JsonOption,
    LabelOption,
    LangOption,
    QuietOption,
    SeedOption,
    check_seed,
    default_out,
)
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_dir

HELP = (
    "Add noise to real digits, step by step, and draw them.\n\n"
    "Draws five digits at rising timesteps, and the noise schedule that sets how fast the noise grows.\n\n"
    "Example: vizdiff forward --digit 5"
)


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
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write.",
            show_default="reports/forward; digit and language are added if not 5 and en",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Add noise, draw, write."""
    terminal = Terminal(as_json, quiet)
    check_choice(digit, label)
    check_seed(seed)
    if schedule not in ("linear", "cosine"):
        raise VizdiffUsageError(f"--schedule must be linear or cosine, found {schedule!r}")
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.text.catalogue import load_texts

    noise_schedule, texts = NoiseSchedule.named(schedule), load_texts(lang)
    out = default_out("forward", "", digit, lang, label) if out is None else out
    make_dir(out)
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
    terminal.replacing(out / "forward.png")
    others = "and the next four" if len(data.labels) == 5 else f"and {len(data.labels) - 1} more"
    name = digits.name(chosen) if digits.class_names else f"digit {chosen}"
    terminal.say("Drawing", f"{schedule} schedule, {name} {others}")
    facts = facts_by_name(noising.facts(data))
    drawn = drawings(noising.draw(data), wording(facts, texts), texts)
    for drawing in drawn:
        save_drawing(drawing, out)
    terminal.say("Done", f"{show_path(out)} (forward and snr, .png and .svg, {terminal.seconds:.0f} s)")
    result = facts | captions_and_details(drawn)
    terminal.result({"out": str(out), "seconds": round(terminal.seconds, 1), **result})
