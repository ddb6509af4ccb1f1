"""``vizdiff trajectory``: record every step of a generation, and draw it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.class_choice import check_choice, choose_label
from viz_diffusion.cli.console import Terminal, clipping_text, show_path, show_size
from viz_diffusion.cli.diffusers_recording import (
    DiffusersOption,
    PipelineRequest,
    check_options,
    trajectory_of_pipeline,
)
from viz_diffusion.cli.intervention_options import (
    INTERVENTION,
    InterventionOptions,
    classify_finished,
    draw_comparison,
)
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.option_groups import OUTPUT, takes
from viz_diffusion.cli.options import (
    DEFAULT_SEED,
    PICTURE_SAMPLER,
    DeviceOption,
    DigitOption,
    JsonOption,
    LabelOption,
    LangOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_at_least,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.picture_options import FilmSizeOption, check_size, writes_pictures
from viz_diffusion.cli.record import (
    STORAGE,
    ActivationsOption,
    StorageOptions,
    draw_activations,
    draw_steps,
    find_modules,
    read_store,
    record,
)
from viz_diffusion.files import make_dir, write_json

if TYPE_CHECKING:
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.recording.trajectory import Float32, Trajectory
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Record one generation, step by step, and draw it.\n\n"
    "Writes the recording (trajectory.zarr), a figure of its steps, and a film. With --switch, --clock, --drop-label "
    "or --guide-within, a second generation from the same noise is recorded with changed inputs of the network "
    "(changed.zarr), and a figure and a film compare the two. With --activations, the feature maps of modules are "
    "drawn. With --diffusers, a saved pipeline of 🤗 diffusers is recorded.\n\n"
    "Example: vizdiff trajectory --digit 5"
)
MOST_COMPARED = 11
"""Most frames of a comparison."""


@writes_pictures
@takes(sampling=sampler_options(PICTURE_SAMPLER), intervention=INTERVENTION, storage=STORAGE)
def run_command(
    *,
    context: typer.Context,
    digit: DigitOption = None,
    label: LabelOption = None,
    run: RunOption = None,
    diffusers: DiffusersOption = None,
    count: Annotated[int, typer.Option(help="Images to record; the first one is drawn.")] = 1,
    sampling: SamplerOptions,
    seed: SeedOption = DEFAULT_SEED,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames to draw: how many, or a list of steps left, such as 1000,500,1.", rich_help_panel=OUTPUT
        ),
    ] = None,
    intervention: InterventionOptions,
    activations: ActivationsOption = None,
    storage: StorageOptions,
    size: FilmSizeOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: Annotated[Path, typer.Option(help="Folder to write.", rich_help_panel=OUTPUT)] = Path("reports/trajectory"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, draw, write."""
    terminal = Terminal(as_json, quiet)
    if diffusers is None:
        check_choice(digit, label)
    else:
        check_options(context)
    check_at_least("--count", count, 1)
    # a pipeline of diffusers may take an --eta, which only ddim has here
    config = sampling.config() if diffusers is None else sampling.config(sampler="ddim")
    check_seed(seed, count)
    check_size(size)
    intervention.check(config)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    globs = tuple(activations or ())
    if diffusers is None:
        _check_frames(config.steps, frames, bool(intervention), bool(globs))
    make_dir(out)
    if diffusers is None:
        loaded = load_run(run, device, terminal)
        texts = texts.for_classes(loaded.run.config.class_names)
        chosen = choose_label(loaded.run.config, digit, label)
        intervened = intervention.for_run(loaded.run.config)
        request = _Request(chosen, seed, count, config, frames, size, globs, intervened, storage)
        result = _record_and_draw(loaded, request, texts, out, terminal)
    else:
        pipeline_request = PipelineRequest(diffusers, digit, count, seed, config.steps, config.eta, frames, globs, size)
        facts = trajectory_of_pipeline(pipeline_request, storage, device, texts, out, terminal)
        result = {"out": str(out), "count": count, "seconds": round(terminal.seconds, 1), **facts}
    write_json(out / "trajectory.json", result)
    terminal.say("Done", f"{show_path(out)} (steps.png {show_size(out / 'steps.png')}, {terminal.seconds:.0f} s)")
    terminal.say("Next", f"vizdiff report --trajectory {show_path(out)} --open")
    terminal.result(result)


@dataclass(frozen=True)
class _Request:
    """The generations to record, and their drawings."""

    digit: int
    """The label."""
    seed: int
    """Of the first image; image k gets seed + k."""
    count: int
    """Images in all."""
    config: SamplerConfig
    frames: str | None
    """The frames to draw, as the command line gives them."""
    size: str | None
    """Size of the films; None for that of their enlarged frames."""
    activations: tuple[str, ...]
    """Globs of the modules whose feature maps are recorded and drawn."""
    intervention: InterventionOptions
    storage: StorageOptions


def _record_and_draw(
    loaded: LoadedRun, request: _Request, texts: Texts, out: Path, terminal: Terminal
) -> dict[str, Any]:
    """Record the generations and draw the first one; return the values for the JSON file."""
    frames, config, store = request.frames, request.config, out / "trajectory.zarr"
    modules, timesteps = find_modules(loaded.model, request.activations, config, frames)
    recorded = record(
        loaded,
        request.digit,
        request.seed,
        request.count,
        config,
        terminal,
        store=store,
        storage=request.storage,
        activations=modules,
        activations_at=timesteps,
    )
    share, finished = read_store(store, request.count)
    terminal.say("Guesses", clipping_text(share, config.clip))
    facts = draw_steps(recorded, frames, texts, out, terminal, size=request.size) | {"x0_beyond_scale": share}
    result = {
        "out": str(out),
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "objective": loaded.run.config.training.objective,
        "evaluations": config.num_evaluations(loaded.run.config.num_train_timesteps),
        "count": request.count,
        "seconds": round(terminal.seconds, 1),
        **facts,
    }
    if request.activations:
        result["activations"] = draw_activations(recorded, modules, texts, out, terminal)
    if request.intervention:
        result["compare"] = _intervene(loaded, request, recorded, finished, texts, out, terminal)
    return result


def _intervene(
    loaded: LoadedRun,
    request: _Request,
    plain: Trajectory,
    plain_finished: Float32,
    texts: Texts,
    out: Path,
    terminal: Terminal,
) -> dict[str, Any]:
    """Record the generations again with the intervention, and draw both; return the values for the JSON file."""
    intervention, store = request.intervention, out / "changed.zarr"
    network, _ = loaded.run.config.sampled(loaded.model, request.config.sampler)
    denoiser = intervention.wrap(network, loaded.run.config.num_train_timesteps)
    terminal.say("Telling", denoiser.interventions)
    changed = record(
        loaded,
        request.digit,
        request.seed,
        request.count,
        request.config,
        terminal,
        denoiser=denoiser,
        store=store,
        storage=request.storage,
    )
    facts = draw_comparison(plain, changed, denoiser, request.frames, texts, out, terminal, request.size)
    finished = {"plain": plain_finished, "changed": read_store(store, request.count)[1]}
    return facts | classify_finished(finished, request.digit, intervention, loaded.run, terminal)


def _check_frames(steps: int | None, frames: str | None, intervened: bool, activations: bool) -> None:
    """Refuse more frames than a figure has room for, before anything is sampled."""
    from viz_diffusion.views.frames import MOST_FRAMES, choose_frames

    choose_frames(steps or 1000, frames, most=MOST_COMPARED if intervened else MOST_FRAMES)
    if activations:
        from viz_diffusion.views.feature_maps import choose

        choose(steps or 1000, frames)
