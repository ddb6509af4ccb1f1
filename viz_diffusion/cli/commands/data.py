"""``vizdiff data``: say what was understood of a data set, and draw examples of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, show_path, table
from viz_diffusion.cli.data_text import data_summary
from viz_diffusion.cli.option_groups import OUTPUT
from viz_diffusion.cli.options import ForceOption, ImageSizeOption, JsonOption, LangOption, QuietOption
from viz_diffusion.cli.outputs import Output
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files.output_places import place_file

if TYPE_CHECKING:
    from viz_diffusion.data import DataSet


HELP = (
    "Check a folder of your own images before training.\n\n"
    "Reads IDX files under any usual name, or images by class. Shows counts, sizes and colour, and what may be wrong. "
    "Your files are not changed.\n\n"
    "Example: vizdiff data photos --out photos.png"
)
EXAMPLES = 12
"""Images of each class on the sheet."""


def run_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of IDX files, or of images by class.")],
    image_size: ImageSizeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG file to write: examples, a row for each class.", rich_help_panel=OUTPUT),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="New folder for the images as they were read, PNG by class.", rich_help_panel=OUTPUT),
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="With --save: swap rows and columns.", rich_help_panel=OUTPUT)
    ] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="With --save: swap black and white.", rich_help_panel=OUTPUT)
    ] = False,
    lang: LangOption = "en",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read, count, look, draw."""
    terminal = Terminal(as_json, quiet, lang)
    if out is not None and out.suffix.lower() != ".png":
        raise VizdiffUsageError(f"--out must end in .png, found {str(out)!r}")
    if save is None and (transpose or invert):
        raise VizdiffUsageError("--transpose and --invert go with --save, a new folder; your data are left as they are")
    if save is not None and save.exists():
        raise VizdiffInputError(f"--save {save} is there already; give a new folder")
    if out is not None:
        Output(place_file(out), "data", force).claim(terminal, folder=str(folder.resolve()))
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.data import load_data_set
    from viz_diffusion.data.inspection import count_by_class, suspicions

    data = load_data_set(folder, image_size)
    counts = [count_by_class(part) for part in (data.train, data.test)]
    found = suspicions(data, str(folder))
    terminal.say("Data", data_summary(data, terminal))
    for note in data.notes:
        terminal.say("", terminal.message(note))
    for one in found:
        terminal.tell("Check", f"suspicion_{one.kind}", text=terminal.message(one.text))
    if not as_json and not quiet:
        rows = [(name, str(number), str(counts[1][name])) for name, number in counts[0].items()]
        for line in table([terminal.text(f"column_{name}") for name in ("class", "training", "heldout")], rows):
            print(line)
    if out is not None:
        _draw(data, out)
        terminal.tell("Written", "written_examples", path=show_path(out))
    if save is not None:
        count = _save(data, save, transpose, invert)
        terminal.tell("Written", "written_images", path=show_path(save), count=count)
    terminal.result(_facts(data, folder, counts, out, save) | {"suspicions": {one.kind: one.text for one in found}})


def _facts(
    data: DataSet, folder: Path, counts: list[dict[str, int]], out: Path | None, save: Path | None
) -> dict[str, Any]:
    names = list(counts[0])
    return {
        "data_dir": str(folder),
        "kind": data.kind,
        "classes": names,
        "training": counts[0],
        "held_out": counts[1],
        "image_size": data.image_size,
        "channels": data.channels,
        "smallest": data.sides.min(axis=0).tolist(),
        "largest": data.sides.max(axis=0).tolist(),
        "notes": list(data.notes),
        "sha256": list(data.sha256),
        "out": None if out is None else str(out),
        "save": None if save is None else str(save),
    }


def _draw(data: DataSet, out: Path) -> None:
    """Write the sheet of examples."""
    from viz_diffusion.data.inspection import examples
    from viz_diffusion.plots.class_names import label_text, named
    from viz_diffusion.plots.class_sheet import MOST_ROWS, draw_class_sheet
    from viz_diffusion.plots.saving import save_figure

    labels = data.train.present[:MOST_ROWS]
    with named(data.class_names):
        names = [label_text(label) for label in labels]
    save_figure(draw_class_sheet(examples(data.train, EXAMPLES)[:MOST_ROWS], names), out)


def _save(data: DataSet, folder: Path, transpose: bool, invert: bool) -> int:
    """Write all images into a new folder, by split and class; return how many."""
    import numpy as np
    from PIL import Image

    from viz_diffusion.data import to_bytes
    from viz_diffusion.files import atomic_dir

    place_file(folder, option="save")
    count = 0
    with atomic_dir(folder) as temporary:
        for split, part in (("train", data.train), ("test", data.test)):
            pixels = to_bytes(part.images)
            pixels = pixels.swapaxes(1, 2) if transpose else pixels
            pixels = 255 - pixels if invert else pixels
            for index, (image, label) in enumerate(zip(pixels, part.labels.tolist(), strict=True)):
                place = temporary / split / part.name(label)
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(image)).save(place / f"{index:06d}.png")
                count += 1
    return count
