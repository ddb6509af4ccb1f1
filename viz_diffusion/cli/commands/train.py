"""``vizdiff train``: train a model, or resume a training."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.loading import pick_device
from viz_diffusion.cli.options import (
    DataDirOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    QuietOption,
    check_at_least,
    check_seed,
)
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.training.presets import DEFAULT_PRESET, PRESETS, Preset, find_preset

if TYPE_CHECKING:
    from viz_diffusion.data import Digits
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.run import Run


HELP = (
    "Example: vizdiff train --minutes 10\n\n"
    "Train a model on MNIST (bundled, no network needed). Ctrl-C saves after the step in hand; --resume goes on. "
    "vizdiff info shows the presets with the quality they reached."
)
_PRESETS_SAID = "; ".join(f"{preset.name}: {preset.purpose}, {preset.budget}" for preset in PRESETS)
PRESET_HELP = f"{_PRESETS_SAID}. By default {DEFAULT_PRESET}."


def run_command(
    preset: Annotated[str | None, typer.Option(metavar="small|base", help=PRESET_HELP)] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time to spend, instead of the preset's budget.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data, instead of the preset's budget.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps in all, instead of the preset's budget.")] = None,
    dataset: Annotated[str | None, typer.Option(help="mnist (the default), fashion-mnist or kmnist.")] = None,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step, instead of the preset's.")] = None,
    subset: Annotated[
        int | None, typer.Option(metavar="N", help="Train on the first N images only, the labels taking turns.")
    ] = None,
    no_time: Annotated[
        bool, typer.Option("--no-time", help="Train a network that is never told how much noise there is.")
    ] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 1000,
    seed: Annotated[int | None, typer.Option(help="Decides weights, order and noise; 0 by default.")] = None,
    device: DeviceOption = "auto",
    resume: Annotated[Path | None, typer.Option(help="Run folder to go on with.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --resume: go on in a changed environment, not bit-exact.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="New run folder; by default under runs/.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model and write a run folder."""
    terminal = Terminal(as_json, quiet)
    _check_numbers(minutes, epochs, steps, batch_size, subset, checkpoint_every)
    check_seed(seed or 0)
    fresh = (preset, minutes, epochs, dataset, image_size, batch_size, subset, no_time or None, seed, out)
    if resume is not None and any(given is not None for given in fresh):
        raise VizdiffUsageError(
            "--resume goes on with the run's own folder, data and recipe; add nothing but --steps, and --data-dir "
            "where the data have moved"
        )
    if resume is None and force:
        raise VizdiffUsageError("--force goes with --resume")
    chosen_preset = find_preset(preset or DEFAULT_PRESET)
    terminal.say("Loading", "PyTorch")
    if resume is None:
        if epochs is None and steps is None:
            minutes, steps = (minutes, None) if minutes is not None else (chosen_preset.minutes, chosen_preset.steps)
        data = (dataset, data_dir, image_size)
        options = _NewRun(steps, epochs, minutes, *data, batch_size, subset, no_time, seed or 0, out)
        started = _create_run(chosen_preset, options, device, terminal)
    else:
        started = _resume_run(resume, steps, device, force, data_dir, terminal)
    run, state, training, heldout, metrics_bytes = started
    _train(run, state, training, heldout, checkpoint_every, metrics_bytes, terminal)


def _check_numbers(
    minutes: float | None,
    epochs: float | None,
    steps: int | None,
    batch_size: int | None,
    subset: int | None,
    checkpoint_every: int,
) -> None:
    """Refuse impossible numbers; the message names the option."""
    if sum(budget is not None for budget in (minutes, epochs, steps)) > 1:
        raise VizdiffUsageError("--minutes, --epochs and --steps exclude each other; give one")
    for option, value in (("--minutes", minutes), ("--epochs", epochs)):
        if value is not None and not 0 < value < 1e6:
            raise VizdiffUsageError(f"{option} must be a number above 0, found {value:g}")
    for option, whole in (
        ("--steps", steps),
        ("--batch-size", batch_size),
        ("--subset", subset),
        ("--checkpoint-every", checkpoint_every),
    ):
        if whole is not None:
            check_at_least(option, whole, 1)


class _NewRun(NamedTuple):
    """The options of a new run, without its preset; None where one is not given."""

    steps: int | None
    epochs: float | None
    minutes: float | None
    dataset: str | None
    data_dir: Path | None
    image_size: int | None
    batch_size: int | None
    subset: int | None
    no_time: bool
    seed: int
    out: Path | None


def _create_run(
    preset: Preset, options: _NewRun, device: str, terminal: Terminal
) -> tuple[Run, TrainState, Digits, Digits, int]:
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.config import RunConfig, TrainConfig
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.run import RUNS_DIR, Run

    torch_device = pick_device(device)
    name = "data-dir" if options.data_dir is not None else options.dataset or "mnist"
    training = TrainConfig(
        batch_size=options.batch_size or preset.batch_size,
        learning_rate=preset.learning_rate,
        seed=options.seed,
    )
    folder = None if options.data_dir is None else str(options.data_dir.resolve())
    network = ModelConfig(channels=preset.channels, num_blocks=preset.num_blocks)
    data_facts: dict[str, Any] = {}
    if options.data_dir is not None:
        network, data_facts = _own_data(network, options, terminal)
    if options.no_time:
        network = replace(network, use_time=False, schedule=None)
    config = RunConfig(
        network, training, dataset=name, data_dir=folder, preset=preset.name, subset=options.subset, **data_facts
    )
    data, heldout = config.load_digits("train"), config.load_digits("test")
    if len(data.present) < network.num_labels:
        config = replace(config, labels=data.present)
    steps = options.steps
    if options.epochs is not None:
        steps = max(1, round(options.epochs * len(data) / training.batch_size))
    config = replace(config, training=replace(training, steps=steps or training.steps), minutes=options.minutes)
    run = Run.create(options.out or RUNS_DIR / time.strftime(f"{name}-%Y%m%d-%H%M%S"), config)
    state = TrainState.create(config.training, config.model, torch_device)
    parameters = sum(weight.numel() for weight in state.model.parameters())
    where = f"{training.batch_size} images a step on {torch_device}, {training.precision}"
    terminal.say("Budget", f"{config.budget}, {where}; Ctrl-C keeps your work")
    time_note = ", told no time" if options.no_time else ""
    terminal.say(
        "Model", f"{preset.name}: {parameters / 1e6:.1f} million parameters{time_note}, {len(data):,} images of {name}"
    )
    return run, state, data, heldout, 0


def _own_data(network: ModelConfig, options: _NewRun, terminal: Terminal) -> tuple[ModelConfig, dict[str, Any]]:
    """Read a folder and say what was decided; return the network for it, and its entries of the run's config."""
    from viz_diffusion.cli.data_text import data_summary
    from viz_diffusion.data import load_data_set

    assert options.data_dir is not None
    found = load_data_set(options.data_dir, options.image_size)
    terminal.say("Data", data_summary(found))
    for note in found.notes:
        terminal.say("", note)
    network = replace(
        network, image_size=found.image_size, in_channels=found.channels, num_labels=found.train.num_labels
    )
    return network, {"class_names": found.class_names or None, "data_sha256": found.sha256}


def _resume_run(
    resume: Path, steps: int | None, device: str, force: bool, data_dir: Path | None, terminal: Terminal
) -> tuple[Run, TrainState, Digits, Digits, int]:
    from viz_diffusion.training.moved_data import with_data_dir
    from viz_diffusion.training.run import Run

    run = Run.open(resume)
    if data_dir is not None:
        moved = with_data_dir(run, data_dir)
        run = moved if moved.config == run.config else run.update_config(moved.config)
    data, heldout = run.config.load_digits("train"), run.config.load_digits("test")
    state, metrics_bytes, remarks = run.resume(pick_device(device), force, (data, heldout))
    for remark in remarks:
        terminal.note(remark)
    budget = run.config.budget
    if steps is not None:
        if steps < state.step:
            raise VizdiffUsageError(f"--steps must be at least the {state.step} steps that are done, found {steps}")
        state.config, budget = replace(state.config, steps=steps), f"{steps:,} steps"
    terminal.say("Resuming", f"{resume} at step {state.step:,}, budget {budget}")
    return run, state, data, heldout, metrics_bytes


def _train(
    run: Run,
    state: TrainState,
    data: Digits,
    heldout: Digits,
    checkpoint_every: int,
    metrics_bytes: int,
    terminal: Terminal,
) -> None:
    from viz_diffusion.cli.training_display import watch
    from viz_diffusion.training.trainer import Trainer

    loss, speed, started = None, 0.0, time.perf_counter()
    with _stop_signal() as stopped, watch(terminal) as show_progress:
        progress = Trainer(
            run,
            state,
            data,
            heldout,
            checkpoint_every=checkpoint_every,
            metrics_bytes=metrics_bytes,
            should_stop=lambda: bool(stopped),
        ).run()
        for now in progress:
            loss, speed = show_progress(now), now.images_per_second
            if stopped:
                progress.close()
                break
        else:
            stopped.clear()  # a signal after the last step stops nothing
    if stopped:
        terminal.say("Stopped", f"at step {state.step:,}; go on with: vizdiff train --resume {show_path(run.path)}")
        raise typer.Exit(128 + stopped[0])
    digest = run.open(run.path).load_model()[1]
    seconds = time.perf_counter() - started
    smoothed = "" if loss is None else f", loss {loss:.4f}"
    terminal.say(
        "Done",
        f"{show_path(run.path)} ({state.step:,} steps, {speed:.0f} images/s, {seconds:.0f} s{smoothed})",
    )
    names = run.config.class_names
    terminal.say("Next", shlex.join(["vizdiff", "trajectory", *(["--label", names[0]] if names else ["--digit", "5"])]))
    terminal.result(
        {
            "run": str(run.path),
            "steps": state.step,
            "images_per_second": round(speed, 1),
            "seconds": round(seconds, 1),
            "loss": loss,
            "weights_sha256": digest,
        }
    )


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the current step is completed; a second signal acts at once."""
    received: list[int] = []
    handlers: dict[int, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        handlers[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)
