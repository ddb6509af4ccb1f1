"""``vizdiff record``: record and draw the sampling of a saved pipeline of 🤗 diffusers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.diffusers_recording import PipelineRequest, trajectory_of_pipeline
from viz_diffusion.cli.option_groups import OUTPUT, SAMPLING, takes
from viz_diffusion.cli.options import (
    DEFAULT_SEED,
    DeviceOption,
    ForceOption,
    FramesOption,
    JsonOption,
    LangOption,
    QuietOption,
    RecordedCountOption,
    SeedOption,
    check_at_least,
    check_seed,
)
from viz_diffusion.cli.outputs import RECORDING, Output, default_out, images_mark
from viz_diffusion.cli.picture_options import FilmSizeOption, check_size, writes_pictures
from viz_diffusion.cli.record import STORAGE, ActivationsOption, StorageOptions
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder
from viz_diffusion.text.class_names import file_name

HELP = (
    "Record another model: a pipeline of 🤗 diffusers.\n\n"
    "Samples with a pipeline that was saved with save_pretrained, by its own scheduler; writes the recording "
    "(trajectory.zarr), a figure of its steps, and a film. Nothing is downloaded. Any other program can be recorded "
    "in Python, with viz_diffusion.Recorder. Of a pipeline with a prompt, such as Stable Diffusion, the decoded images "
    "and the attention to each word are drawn too.\n\n"
    "Example: vizdiff record ddpm-cifar10-32"
)
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/record_DIR, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
@takes(storage=STORAGE)
def run_command(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the saved pipeline.")],
    label: Annotated[
        int | None,
        typer.Option("--label", metavar="NUMBER", help="Class, for a pipeline with classes.", show_default="0"),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="Prompt, for a pipeline that takes one.", show_default="none"),
    ] = None,
    count: RecordedCountOption = 1,
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising steps.", show_default="the pipeline's own number", rich_help_panel=SAMPLING),
    ] = None,
    eta: Annotated[
        float, typer.Option(help="Noise that a pipeline with DDIM adds, 0 to 1.", rich_help_panel=SAMPLING)
    ] = 0.0,
    seed: SeedOption = DEFAULT_SEED,
    frames: FramesOption = None,
    activations: ActivationsOption = None,
    storage: StorageOptions,
    size: FilmSizeOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Load, record, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    check_at_least("--count", count, 1)
    check_seed(seed, count)
    check_size(size)
    SamplerConfig("ddim", steps, eta=eta)  # refuses impossible numbers
    texts = terminal.texts
    if out is None:
        marks = [f"{steps}steps"] * (steps is not None) + [f"eta{eta:g}"] * (eta != 0)
        asked = [] if prompt is None else [file_name(prompt)]
        name = "_".join(["record", file_name(folder.resolve().name), *asked, *marks, *images_mark(count)])
        out = default_out(name, "", label or None, lang, seed=seed)
    place_folder(out)
    shown = {"pipeline": str(folder.resolve()), "label": label or 0, "seed": seed, "count": count, "steps": steps}
    shown |= {"prompt": prompt} if prompt is not None else {}
    shown |= {"eta": eta, "activations": " ".join(activations or ())}
    Output(out / "trajectory.json", "record", force, lang, RECORDING, shares=True).claim(terminal, **shown)
    request = PipelineRequest(folder, label, count, seed, steps, eta, frames, tuple(activations or ()), prompt, size)
    facts = trajectory_of_pipeline(request, storage, device, texts, out, terminal)
    result = {"out": str(out), "count": count, "seconds": round(terminal.seconds, 1), **facts}
    write_json(out / "trajectory.json", result)
    files = f"steps.png {show_size(out / 'steps.png')}"
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    terminal.say("Next", shlex.join(["vizdiff", "report", "--trajectory", show_path(out), "--open"]))
    terminal.result(result)
