"""``vizdiff trajectory``: one generation, every step of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, beyond, show_path, show_size
from viz_diffusion.cli.diffusers_pipeline import DiffusersOption, check_options, trajectory_of_pipeline
from viz_diffusion.cli.intervention_options import (
    ClockOption,
    DropLabelOption,
    GuideWithinOption,
    SwitchOption,
    compare,
    parse,
    read_finished,
)
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.options import (
    DEFAULT_DIGIT,
    DEFAULT_GUIDANCE,
    DEFAULT_SEED,
    ClipOption,
    DeviceOption,
    DigitOption,
    EtaOption,
    GuidanceOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    SamplerOption,
    Sampling,
    SeedOption,
    StepsOption,
    TimestepSpacingOption,
    VarianceOption,
    check_at_least,
    check_digit,
    check_seed,
)
from viz_diffusion.cli.record import (
    ActivationsOption,
    CompressOption,
    DtypeOption,
    StorageOptions,
    draw_activations,
    draw_steps,
    find_modules,
    look_through,
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


def run_command(
    context: typer.Context,
    digit: DigitOption = DEFAULT_DIGIT,
    run: RunOption = None,
    diffusers: DiffusersOption = None,
    count: Annotated[int, typer.Option(help="Images in all; the first one is drawn.")] = 1,
    sampler: SamplerOption = "ddpm",
    steps: StepsOption = None,
    guidance: GuidanceOption = DEFAULT_GUIDANCE,
    variance: VarianceOption = "beta",
    eta: EtaOption = 0.0,
    timestep_spacing: TimestepSpacingOption = "trailing",
    clip: ClipOption = True,
    seed: SeedOption = DEFAULT_SEED,
    frames: Annotated[
        str | None, typer.Option(help="A number of frames, or a list of steps left such as 1000,500,1.")
    ] = None,
    switch: SwitchOption = None,
    clock: ClockOption = None,
    drop_label: DropLabelOption = False,
    guide_within: GuideWithinOption = None,
    activations: ActivationsOption = None,
    dtype: DtypeOption = "float32",
    compress: CompressOption = False,
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
    named = sampler if diffusers is None else "ddim"  # whose --eta a pipeline may take
    asked = Sampling(named, steps, guidance, variance, eta, timestep_spacing, clip)
    check_seed(seed, count)
    storing = StorageOptions(dtype, compress)
    told = parse(switch, clock, drop_label, guide_within, guidance)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    if diffusers is None:
        _check_frames(steps, frames, bool(told), bool(activations))
    make_dir(out)
    if diffusers is not None:
        source = context.get_parameter_source("digit")
        given = source is not None and source.name == "COMMANDLINE"
        found = trajectory_of_pipeline(
            diffusers,
            label=digit if given else None,
            count=count,
            seed=seed,
            steps=steps,
            eta=eta,
            device=device,
            frames=frames,
            activations=activations or (),
            storing=storing,
            texts=texts,
            out=out,
            terminal=terminal,
        )
        result = {"out": str(out), "count": count, "seconds": round(terminal.seconds, 1), **found}
        _finish(out, result, terminal)
        return
    chosen, model, digest = load_run(run, device, terminal)
    order = (chosen, model, digest, digit, seed, count, asked, terminal)
    store = out / "trajectory.zarr"
    modules, at = find_modules(model, activations or (), asked, frames)
    recorded = record(*order, store=store, storing=storing, activations=modules, activations_at=at)
    share, finished = look_through(store, count)
    terminal.say("Guesses", beyond(share, clip))
    facts = draw_steps(recorded, frames, texts, out, terminal) | {"x0_beyond_scale": share}
    result = {
        "out": str(out),
        "run": "bundled" if chosen.is_bundled else str(chosen.path),
        "weights_sha256": digest,
        "count": count,
        "seconds": round(terminal.seconds, 1),
        **facts,
    }
    if activations:
        result["activations"] = draw_activations(recorded, modules, texts, out, terminal)
    if told:
        other = told.around(model, chosen.config.num_train_timesteps)
        terminal.say("NetworkInputs", other.interventions)
        changed = record(chosen, other, *order[2:], store=out / "changed.zarr", storing=storing)
        found = compare(recorded, changed, other, frames, texts, out, terminal)
        both = {"plain": finished, "changed": look_through(out / "changed.zarr", count)[1]}
        result["compare"] = found | read_finished(both, digit, told, chosen, terminal)
    _finish(out, result, terminal)


def _finish(out: Path, result: dict[str, Any], terminal: Terminal) -> None:
    """Write the JSON file and say what there is."""
    write_json(out / "trajectory.json", result)
    terminal.say("Done", f"{show_path(out)} (steps.png {show_size(out / 'steps.png')}, {terminal.seconds:.0f} s)")
    terminal.say("Next", f"vizdiff report --trajectory {show_path(out)} --open")
    terminal.result(result)


def _check_frames(steps: int | None, frames: str | None, told: bool, activations: bool) -> None:
    """Refuse frames that one of the figures has no room for, before anything is sampled."""
    from viz_diffusion.views.frames import MOST_FRAMES, choose_frames

    choose_frames(steps or 1000, frames, most=MOST_COMPARED if told else MOST_FRAMES)
    if activations:
        from viz_diffusion.views.feature_maps import choose

        choose(steps or 1000, frames)
