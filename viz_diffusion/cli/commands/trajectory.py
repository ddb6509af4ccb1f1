"""``vizdiff trajectory``: one generation, every step of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, beyond, show_path, show_size
from viz_diffusion.cli.diffusers_pipeline import DiffusersOption, check_options, trajectory_of_pipeline
from viz_diffusion.cli.intervention_options import (
    INTERVENTION,
    Intervention,
    compare,
    read_finished,
)
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.option_groups import takes
from viz_diffusion.cli.options import (
    DEFAULT_DIGIT,
    DEFAULT_SEED,
    FOR_SHOW,
    DeviceOption,
    DigitOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    SamplerOptions,
    SeedOption,
    check_at_least,
    check_digit,
    check_seed,
    sampler_options,
)
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

HELP = (
    "Example: vizdiff trajectory --digit 5\n\n"
    "Record a generation, every step of it, and draw it: a zarr store, a strip and a film. With --switch, --clock, "
    "--drop-label or --guide-within, record it a second time from the same noise, with the network told that "
    "instead (changed.zarr), and draw both runs beside each other (compare). With --activations, draw what the "
    "network's modules gave at the frames (activations). With --diffusers, record a saved pipeline of 🤗 diffusers."
)
MOST_COMPARED = 11
"""Frames a comparison has room for."""


@takes(sampling=sampler_options(FOR_SHOW), intervention=INTERVENTION, storage=STORAGE)
def run_command(
    *,
    context: typer.Context,
    digit: DigitOption = DEFAULT_DIGIT,
    run: RunOption = None,
    diffusers: DiffusersOption = None,
    count: Annotated[int, typer.Option(help="Images in all; the first one is drawn.")] = 1,
    sampling: SamplerOptions,
    seed: SeedOption = DEFAULT_SEED,
    frames: Annotated[
        str | None, typer.Option(help="A number of frames, or a list of steps left such as 1000,500,1.")
    ] = None,
    intervention: Intervention,
    activations: ActivationsOption = None,
    storage: StorageOptions,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reports/trajectory"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Record, draw, write."""
    terminal = Terminal(as_json, quiet)
    if diffusers is None:
        check_digit(digit)
    else:
        check_options(context)
    check_at_least("--count", count, 1)
    # a pipeline of diffusers may take an --eta, which only ddim has here
    config = sampling.config() if diffusers is None else sampling.config(sampler="ddim")
    check_seed(seed, count)
    intervention.check(config)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    if diffusers is None:
        _check_frames(config.steps, frames, bool(intervention), bool(activations))
    make_dir(out)
    if diffusers is not None:
        source = context.get_parameter_source("digit")
        given = source is not None and source.name == "COMMANDLINE"
        found = trajectory_of_pipeline(
            diffusers,
            label=digit if given else None,
            count=count,
            seed=seed,
            steps=config.steps,
            eta=config.eta,
            device=device,
            frames=frames,
            activations=activations or (),
            storage=storage,
            texts=texts,
            out=out,
            terminal=terminal,
        )
        result = {"out": str(out), "count": count, "seconds": round(terminal.seconds, 1), **found}
        _finish(out, result, terminal)
        return
    loaded = load_run(run, device, terminal)
    request = (digit, seed, count, config, terminal)
    store = out / "trajectory.zarr"
    modules, at = find_modules(loaded.model, activations or (), config, frames)
    recorded = record(loaded, *request, store=store, storage=storage, activations=modules, activations_at=at)
    share, finished = read_store(store, count)
    terminal.say("Guesses", beyond(share, config.clip))
    facts = draw_steps(recorded, frames, texts, out, terminal) | {"x0_beyond_scale": share}
    result = {
        "out": str(out),
        "run": loaded.run.name_or_path,
        "weights_sha256": loaded.weights_sha256,
        "count": count,
        "seconds": round(terminal.seconds, 1),
        **facts,
    }
    if activations:
        result["activations"] = draw_activations(recorded, modules, texts, out, terminal)
    if intervention:
        other = intervention.around(loaded.model, loaded.run.config.num_train_timesteps)
        terminal.say("Telling", other.interventions)
        changed = record(loaded, *request, denoiser=other, store=out / "changed.zarr", storage=storage)
        found = compare(recorded, changed, other, frames, texts, out, terminal)
        both = {"plain": finished, "changed": read_store(out / "changed.zarr", count)[1]}
        result["compare"] = found | read_finished(both, digit, intervention, loaded.run, terminal)
    _finish(out, result, terminal)


def _finish(out: Path, result: dict[str, Any], terminal: Terminal) -> None:
    """Write the JSON file and say what there is."""
    write_json(out / "trajectory.json", result)
    terminal.say("Done", f"{show_path(out)} (steps.png {show_size(out / 'steps.png')}, {terminal.seconds:.0f} s)")
    terminal.say("Next", f"vizdiff report --trajectory {show_path(out)} --open")
    terminal.result(result)


def _check_frames(steps: int | None, frames: str | None, intervened: bool, activations: bool) -> None:
    """Refuse frames that one of the figures has no room for, before anything is sampled."""
    from viz_diffusion.views.frames import MOST_FRAMES, choose_frames

    choose_frames(steps or 1000, frames, most=MOST_COMPARED if intervened else MOST_FRAMES)
    if activations:
        from viz_diffusion.views.feature_maps import choose

        choose(steps or 1000, frames)
