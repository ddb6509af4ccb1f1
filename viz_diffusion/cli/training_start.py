"""The start of a training: a new run of the options of ``vizdiff train``, or a run that is resumed."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.training_processes import check_same, load_training_data, tell_division
from viz_diffusion.cli.training_settings import of_training, set_in_network
from viz_diffusion.cli.training_space import latent_data, latent_network, shape_text
from viz_diffusion.cli.training_text import text_network, train_encoder
from viz_diffusion.errors import VizdiffInputError, VizdiffLockedError, VizdiffUsageError
from viz_diffusion.files import require_memory
from viz_diffusion.training.presets import Preset

if TYPE_CHECKING:
    import torch

    from viz_diffusion.data import Digits
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.processes import Processes
    from viz_diffusion.training.run import Run
    from viz_diffusion.training.train_config import TrainConfig


class NewRun(NamedTuple):
    """The options of a new run, without its preset; None where one is not given."""

    steps: int | None
    epochs: float | None
    minutes: float | None
    dataset: str | None
    data_dir: Path | None
    image_size: int | None
    batch_size: int | None
    target: dict[str, Any]
    """The objective and its settings: fields of TrainConfig; None where one is not given."""
    space: str | None
    """One of SPACES; None is pixel."""
    autoencoder_steps: int | None
    conditioning: str | None
    """label or text."""
    subset: int | None
    no_time: bool
    seed: int
    settings: dict[str, Any]
    """Fields of TrainConfig and ModelConfig that were set by name (``--set``)."""
    out: Path | None


_COPIES = 20
"""Float32 numbers that a training step holds at least, for each value of an image: image, noise, x_t, and features."""


def create_run(
    preset: Preset, options: NewRun, device: torch.device, processes: Processes, terminal: Terminal
) -> tuple[Run, TrainState, Digits, Digits, int]:
    """Make the folder and the network of a new run, and say what it will do. Process 0 makes the folder.

    Returns
    -------
    The run, its state, its training and held-out images, and the 0 bytes that its log has.
    """
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.train_config import TrainConfig

    name = "data-dir" if options.data_dir is not None else options.dataset or "mnist"
    recipe: dict[str, Any] = {"learning_rate": preset.learning_rate, "optimizer": preset.optimizer}
    training = TrainConfig(
        **{"batch_size": options.batch_size or preset.batch_size, "seed": options.seed}
        | recipe
        | {name: value for name, value in options.target.items() if value is not None}
        | of_training(options.settings)
    )
    data_dir = None if options.data_dir is None else str(options.data_dir.resolve())
    network, data_facts = _network(preset, options, training, terminal)
    kind = {"dataset": name, "data_dir": data_dir, "preset": preset.name, "subset": options.subset, **data_facts}
    config = RunConfig(network, training, overrides=tuple(sorted(options.settings)), **kind)
    largest = max(part.stop - part.start for part in processes.parts(training.batch_size))
    require_memory(
        _COPIES * math.prod(config.x_shape) * largest * 4,
        f"a training step with a `batch_size` of {training.batch_size:,}",
    )
    data, heldout = load_training_data(config, processes)
    if len(data.present) < network.num_labels:
        config = replace(config, labels=data.present)
    steps = options.steps
    if options.epochs is not None:
        steps = max(1, round(options.epochs * len(data) / training.batch_size))
    config = replace(config, training=replace(training, steps=steps or training.steps), minutes=options.minutes)
    run = _begin(options.out, name, config, processes)
    count = len(data)
    train_encoder(run, device, data, processes, terminal)  # it reads images, so before they are encoded
    data, heldout = latent_data(run, device, data, heldout, processes, terminal)
    state = TrainState.create(config.training, config.model, device)
    state.processes = processes
    check_same(state, config, data, heldout)
    facts = {"batch": training.batch_size, "device": device, "precision": training.precision}
    terminal.tell("Budget", "budget", budget=budget_text(config, terminal), **facts)
    tell_division(processes, training.batch_size, terminal)
    parameters = sum(weight.numel() for weight in state.model.parameters())
    about = terminal.text("comma").join(_about(config, parameters, terminal))
    terminal.tell("Model", "model", preset=preset.name, about=about, count=count, name=name)
    return run, state, data, heldout, 0


def _begin(out: Path | None, name: str, config: RunConfig, processes: Processes) -> Run:
    """Begin a run in a folder, which process 0 makes: by default one under ``runs/`` with the time of process 0.

    Of several runs that begin in one second, the later ones have a number after the time.
    """
    from viz_diffusion.training.run import RUNS_DIR, Run

    if out is not None:
        return Run.create(out, config) if processes.is_main else Run(out, config)
    begun = str(processes.number_of_main(int(time.strftime("%Y%m%d%H%M%S"))))
    folders = [f"{name}-{begun[:8]}-{begun[8:]}{'' if number == 1 else f'-{number}'}" for number in range(1, 1000)]
    made = 0
    if processes.is_main:
        while True:
            try:
                Run.create(RUNS_DIR / folders[made], config)
                break
            except (VizdiffInputError, VizdiffLockedError):
                if made + 1 == len(folders) or not (RUNS_DIR / folders[made]).exists():
                    raise
                made += 1
    return Run(RUNS_DIR / folders[processes.number_of_main(made)], config)


def _network(
    preset: Preset, options: NewRun, training: TrainConfig, terminal: Terminal
) -> tuple[ModelConfig, dict[str, Any]]:
    """Return the network of a new run, and what its data and its space add to the run's config."""
    from viz_diffusion.diffusion.unet import ModelConfig

    # the last line of the network: ε̂ and the velocity are made of x_t and the layers' output, v and x̂_0 are that output
    schedule = {"epsilon": "linear", "flow": "flow"}.get(training.objective)
    network = ModelConfig(channels=preset.channels, num_blocks=preset.num_blocks, schedule=schedule)
    facts: dict[str, Any] = {}
    if options.data_dir is not None:
        network, facts = _own_data(network, options, terminal)
    if options.no_time or options.settings.get("use_time") is False:
        network = replace(network, use_time=False, schedule=None)
    if options.space not in (None, "pixel"):
        network, facts["autoencoder"] = latent_network(network, options.space, training.seed, options.autoencoder_steps)
    if options.conditioning == "text":
        network = text_network(network)
    return set_in_network(network, options.settings), facts


def _about(config: RunConfig, parameters: int, terminal: Terminal) -> list[str]:
    """Return what is said of a network: its size, and what is unlike the usual one."""
    network, objective = config.model, config.training.objective
    notes = [terminal.text("parameters", millions=parameters / 1e6)]
    notes += [] if network.use_time else [terminal.text("no_time")]
    notes += [] if config.space == "pixel" else [terminal.text("in_latents", shape=shape_text(config.x_shape))]
    notes += [] if network.text is None else [terminal.text("told_prompts", count=len(network.text.vocabulary))]
    return notes + ([] if objective == "epsilon" else [terminal.text("objective", objective=objective)])


def budget_text(config: RunConfig, terminal: Terminal) -> str:
    """Return the number of training steps, or the wall time, in words."""
    if config.minutes is not None:
        return terminal.text("budget_minutes", minutes=config.minutes)
    return terminal.text("budget_steps", steps=config.training.steps)


def _own_data(network: ModelConfig, options: NewRun, terminal: Terminal) -> tuple[ModelConfig, dict[str, Any]]:
    """Read a folder and say what was decided; return the network for it, and its entries of the run's config."""
    from viz_diffusion.cli.data_text import data_summary
    from viz_diffusion.data import load_data_set

    assert options.data_dir is not None
    found = load_data_set(options.data_dir, options.image_size)
    terminal.say("Data", data_summary(found, terminal))
    for note in found.notes:
        terminal.say("", terminal.message(note))
    network = replace(
        network, image_size=found.image_size, in_channels=found.channels, num_labels=found.train.num_labels
    )
    return network, {"class_names": found.class_names or None, "data_sha256": found.sha256}


def resume_run(
    resume: Path,
    steps: int | None,
    device: torch.device,
    force: bool,
    data_dir: Path | None,
    processes: Processes,
    terminal: Terminal,
) -> tuple[Run, TrainState, Digits, Digits, int]:
    """Open the run that a folder holds, at its latest checkpoint, and say where it goes on.

    Returns
    -------
    The run, its state, its training and held-out images, and the bytes of its log that belong to the checkpoint.

    Raises
    ------
    VizdiffUsageError
        Where fewer steps are asked for than are done.
    """
    from viz_diffusion.training.moved_data import with_data_dir
    from viz_diffusion.training.run import Run

    run = Run.open(resume)
    if data_dir is not None:
        moved = with_data_dir(run, data_dir)
        run = run.update_config(moved.config) if processes.is_main and moved.config != run.config else moved
    processes.parts(run.config.training.batch_size)
    data, heldout = load_training_data(run.config, processes)
    train_encoder(run, device, data, processes, terminal)  # it reads images, so before they are encoded
    data, heldout = latent_data(run, device, data, heldout, processes, terminal)
    state, metrics_bytes, remarks = run.resume(device, force, (data, heldout), processes)
    for remark in remarks:
        terminal.note(remark)
    budget = budget_text(run.config, terminal)
    if steps is not None:
        if steps < state.step:
            raise VizdiffUsageError(f"--steps must be at least the {state.step} steps that are done, found {steps}")
        state.config, budget = replace(state.config, steps=steps), terminal.text("budget_steps", steps=steps)
    check_same(state, run.config, data, heldout)
    terminal.tell("Resuming", "resuming", path=resume, step=state.step, budget=budget)
    tell_division(processes, state.config.batch_size, terminal)
    return run, state, data, heldout, metrics_bytes
