"""``vizdiff trajectory``: record every step of a generation, and draw it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_label, only_prompt
from viz_diffusion.cli.console import Terminal, show_path, show_size
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.many import several_workers
from viz_diffusion.cli.many_options import MANY_TRAJECTORIES, ManyOptions
from viz_diffusion.cli.many_trajectories import ManyTrajectories, record_many
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    DEFAULT_SEED,
    PICTURE_SAMPLER,
    DeviceOption,
    DigitOption,
    ForceOption,
    FramesOption,
    JsonOption,
    LabelOption,
    LangOption,
    PromptOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    sampler_options,
)
from viz_diffusion.cli.outputs import RECORDING, Output, default_out, images_mark, sampling_marks
from viz_diffusion.cli.picture_options import FilmSizeOption, check_size, writes_pictures
from viz_diffusion.cli.record import STORAGE, ActivationsOption, StorageOptions
from viz_diffusion.cli.run_recording import RecordingRequest, record_and_draw
from viz_diffusion.cli.saved_branch import FromOption, check_options, record_branch
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder
from viz_diffusion.launch import launched
from viz_diffusion.recording.store.layout import CHUNK_SAMPLES
from viz_diffusion.recording.store.places import is_url

HELP = (
    "Record one generation, step by step, and draw it.\n\n"
    "Writes the recording (trajectory.zarr), a figure of its steps, and a film. With --activations, the feature maps "
    "of modules are drawn. vizdiff intervene records a second generation with changed inputs of the network; vizdiff "
    "record records a pipeline of 🤗 diffusers. --prompt says in words what to draw, and the network's attention to "
    "each word is drawn too. More than 16 images are recorded in blocks, so that memory does not grow with their "
    "number and several workers can fill one recording.\n\n"
    "Example: vizdiff trajectory --digit 5"
)
_SEVERAL = "vizdiff report plays several from the same noise side by side, and vizdiff sample draws a grid of them"
OutOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|URL",
        help="Folder to write.",
        show_default="reports/trajectory, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]
CountOption = Annotated[int | None, typer.Option(help="Images to record; the first one is drawn.", show_default="1")]


@writes_pictures
@takes(sampling=sampler_options(PICTURE_SAMPLER), storage=STORAGE, many=MANY_TRAJECTORIES)
def run_command(
    *,
    context: typer.Context,
    digit: DigitOption = None,
    label: LabelOption = None,
    prompt: PromptOption = None,
    run: RunOption = None,
    saved: FromOption = None,
    count: CountOption = None,
    sampling: SamplerOptions,
    many: ManyOptions,
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
    """Record, draw, write."""
    terminal = Terminal(as_json, quiet, lang)
    if saved is not None:
        check_options(context)
        place = None if out is None else Path(out)
        return record_branch(saved, run, frames, storage, place, force, terminal)
    globs = tuple(activations or ())
    in_blocks = bool(many.given) or several_workers() or is_url(out or "")
    with said_once(launched()):
        check_choice(digit, label, prompt)
        seeds = many.chosen_seeds(seed, DEFAULT_SEED, count, 1)
        config = sampling.config()
        check_size(size)
        _check_frames(config.steps, frames, bool(globs))
        shown = only_prompt(prompt, "trajectory", _SEVERAL) or label
        if globs and in_blocks:
            raise VizdiffUsageError("`activations` are recorded by one command at a time; leave them out")
    name = "_".join(["trajectory", *images_mark(len(seeds))])
    first = int(seeds[0])
    out = str(default_out(name, "", digit, lang, shown, seed=first, sampling=config, run=run)) if out is None else out
    if in_blocks or (len(seeds) > CHUNK_SAMPLES and not globs):
        recordings = ManyTrajectories(out, digit, label, prompt, seeds, config, frames, storage, size, many, force)
        return record_many(recordings, run, device, terminal)
    request = RecordingRequest(0, first, len(seeds), config, frames, storage, globs, size)
    _record(Path(out), run, digit, label, prompt, request, device, lang, force, terminal)


def _record(
    out: Path,
    run: str | None,
    digit: int | None,
    label: str | None,
    prompt: list[str] | None,
    request: RecordingRequest,
    device: str,
    lang: str,
    force: bool,
    terminal: Terminal,
) -> None:
    """Record a few generations, draw the first one, write."""
    place_folder(out)
    loaded = load_run(run, device, terminal, prompts=prompt)
    kind = loaded.run.config
    texts = terminal.texts.for_classes(kind.class_names).for_space(kind.space).for_prompts(kind.prompts)
    chosen = choose_label(loaded.run.config, digit, label)
    Output(out / "trajectory.json", "trajectory", force, lang, RECORDING, shares=True).claim(
        terminal,
        label=chosen if not prompt else loaded.run.config.prompts[0],
        seed=request.seed,
        count=request.count,
        sampling="_".join(sampling_marks(request.config)),
        activations=" ".join(request.activations),
        weights=loaded.weights_sha256[:8],
    )
    result = record_and_draw(loaded, replace(request, digit=chosen), texts, out, terminal).facts
    write_json(out / "trajectory.json", result)
    files = f"steps.png {show_size(out / 'steps.png')}"
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    own = [] if loaded.run.is_bundled else ["--run", loaded.run.name_or_path]
    terminal.say("Next", shlex.join(["vizdiff", "report", "--trajectory", show_path(out), *own, "--open"]))
    terminal.result(result)


def _check_frames(steps: int | None, frames: str | None, activations: bool) -> None:
    """Refuse more frames than a figure has room for, before anything is sampled."""
    from viz_diffusion.views.frames import choose_frames

    choose_frames(steps or 1000, frames)
    if activations:
        from viz_diffusion.views.feature_maps import choose

        choose(steps or 1000, frames)
