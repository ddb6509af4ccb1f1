"""``vizdiff train``: train a model, or resume a training."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from viz_diffusion.cli.class_choice import choose_class
from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.options import (
    DataDirOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    LangOption,
    QuietOption,
    check_at_least,
    check_seed,
)
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.cli.training_options import (
    AccumulateOption,
    AutoencoderStepsOption,
    BatchSizeOption,
    CheckpointEveryOption,
    ConditioningOption,
    DatasetOption,
    EpochsOption,
    ForceOption,
    LogOption,
    MinutesOption,
    NoTimeOption,
    ObjectiveOption,
    OutOption,
    PresetOption,
    ResumeOption,
    SeedOption,
    SetOption,
    SpaceOption,
    StepsOption,
    SubsetOption,
    TimestepDensityOption,
    check_density,
    check_space,
)
from viz_diffusion.cli.training_processes import process_device, train_together
from viz_diffusion.cli.training_settings import read_settings
from viz_diffusion.cli.training_start import NewRun, create_run, resume_run
from viz_diffusion.cli.training_text import check_conditioning
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.launch import launched
from viz_diffusion.training.presets import DEFAULT_PRESET, find_preset

if TYPE_CHECKING:
    from viz_diffusion.data import Digits
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.run import Run
    from viz_diffusion.training.trackers import Tracker


HELP = (
    "Train a model on MNIST or on your own data.\n\n"
    "MNIST is included; no network is needed. Ctrl-C saves a checkpoint after the current step, and --resume goes on "
    "from there. vizdiff info shows the quality that each preset reached. Several processes that torchrun or srun "
    "starts train one network together: docs/scaling.md.\n\n"
    "Example: vizdiff train --minutes 10"
)


def run_command(
    preset: PresetOption = None,
    minutes: MinutesOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = None,
    accumulate: AccumulateOption = 1,
    space: SpaceOption = None,
    autoencoder_steps: AutoencoderStepsOption = None,
    conditioning: ConditioningOption = None,
    objective: ObjectiveOption = None,
    timestep_density: TimestepDensityOption = None,
    subset: SubsetOption = None,
    no_time: NoTimeOption = False,
    settings: SetOption = None,
    checkpoint_every: CheckpointEveryOption = 1000,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = None,
    force: ForceOption = False,
    out: OutOption = None,
    log: LogOption = None,
    lang: LangOption = "en",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model and write a run folder."""
    launch = launched()
    terminal = Terminal(as_json and launch.is_main, quiet or not launch.is_main, lang)
    with said_once(launch):
        given: dict[str, Any] = {"objective": objective, "timestep_density": timestep_density}
        own = given | {"steps": steps, "batch_size": batch_size, "seed": seed, "use_time": no_time}
        values = read_settings(settings, own)
        steps = values.get("steps", steps)
        _check_numbers(minutes, epochs, steps, batch_size, subset, checkpoint_every, accumulate)
        check_seed(seed or 0)
        check_density(timestep_density)
        check_space(space, autoencoder_steps)
        check_conditioning(conditioning, (dataset, data_dir), space)
        named = (preset, minutes, epochs, dataset, image_size, batch_size, *given.values(), settings or None)
        others = (space, conditioning, subset, no_time or None, seed, out)
        _check_resume(resume, force, (*named, *others))
        chosen = find_preset(preset or DEFAULT_PRESET)
    if resume is None and epochs is None and steps is None and minutes is None:
        minutes, steps = chosen.minutes, chosen.steps
    kind = (dataset, data_dir, image_size, batch_size, given, space, autoencoder_steps, conditioning, subset, no_time)
    options = NewRun(steps, epochs, minutes, *kind, seed or 0, values, out)
    terminal.say("Loading", "PyTorch")
    torch_device = process_device(device, launch)
    with said_once(launch):
        tracker = _tracker(log)
    with train_together(launch, torch_device, accumulate) as processes:
        if resume is None:
            started = create_run(chosen, options, torch_device, processes, terminal)
        else:
            started = resume_run(resume, steps, torch_device, force, data_dir, processes, terminal)
        _train(*started, checkpoint_every, terminal, tracker if launch.is_main else None)


def _tracker(name: str | None) -> Tracker | None:
    """Return the tracker of ``--log``."""
    from viz_diffusion.training.trackers import load_tracker

    return None if name is None else load_tracker(name)


def _check_numbers(
    minutes: float | None,
    epochs: float | None,
    steps: int | None,
    batch_size: int | None,
    subset: int | None,
    checkpoint_every: int,
    accumulate: int,
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
        ("--accumulate", accumulate),
    ):
        if whole is not None:
            check_at_least(option, whole, 1)


def _check_resume(resume: Path | None, force: bool, fresh: tuple[object, ...]) -> None:
    """Refuse the options of a new run (``fresh``, None where one is not given) for an old one, and the reverse."""
    if resume is not None and any(given is not None for given in fresh):
        raise VizdiffUsageError(
            "--resume goes on with the run's own folder, data and recipe; add nothing but --steps, and --data-dir "
            "where the data have moved"
        )
    if resume is None and force:
        raise VizdiffUsageError("--force goes with --resume")


def _train(
    run: Run,
    state: TrainState,
    data: Digits,
    heldout: Digits,
    metrics_bytes: int,
    checkpoint_every: int,
    terminal: Terminal,
    tracker: Tracker | None = None,
) -> None:
    from viz_diffusion.cli.training_display import watch
    from viz_diffusion.training.follower import Follower
    from viz_diffusion.training.trainer import Trainer

    loss, speed, started, number, processes = None, 0.0, time.perf_counter(), 0, state.processes
    with _stop_signal() as stopped, watch(terminal) as show_progress:
        processes.received = stopped
        progress = (Trainer if processes.is_main else Follower)(
            run,
            state,
            data,
            heldout,
            checkpoint_every=checkpoint_every,
            metrics_bytes=metrics_bytes,
            should_stop=lambda: bool(processes.signal),
            tracker=tracker,
        ).run()
        for now in progress:
            loss, speed = show_progress(now), now.images_per_second
            if number := processes.signal:  # one after the last step stops nothing
                progress.close()
                break
    if number:
        terminal.tell("Stopped", "stopped_at", step=state.step, path=shlex.quote(show_path(run.path)))
        raise typer.Exit(128 + number)
    if processes.is_main:
        _tell_result(run, state, loss, speed, time.perf_counter() - started, terminal)


def _tell_result(
    run: Run, state: TrainState, loss: float | None, speed: float, seconds: float, terminal: Terminal
) -> None:
    digest = run.open(run.path).load_model()[1]
    rates = {"steps": state.step, "speed": speed, "seconds": seconds}
    about = [terminal.text("trained", **rates), *([] if loss is None else [terminal.text("loss", loss=loss)])]
    terminal.tell("Done", "done_training", path=show_path(run.path), about=terminal.text("comma").join(about))
    label = choose_class(run.config.present_labels, run.config.class_names or (), None, None, "")
    asked = ["--label", run.config.class_names[label]] if run.config.class_names else ["--digit", str(label)]
    terminal.say("Next", shlex.join(["vizdiff", "trajectory", *asked, "--run", show_path(run.path)]))
    terminal.result(
        {
            "run": str(run.path),
            "steps": state.step,
            "images_per_second": round(speed, 1),
            "seconds": round(seconds, 1),
            "loss": loss,
            "weights_sha256": digest,
            **({} if state.processes.count == 1 else {"processes": state.processes.count}),
        }
    )


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP, so that the current step is completed and saved.

    A second SIGINT or SIGTERM acts at once. A second SIGHUP does not: shell and system send one each when a terminal is
    closed. SIGHUP stays ignored where it was (``nohup``).
    """
    received: list[int] = []
    handlers: dict[int, Any] = {}
    hangup = getattr(signal, "SIGHUP", None)

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, signal.SIG_IGN if signal_number == hangup else handler)

    for number in (signal.SIGINT, signal.SIGTERM, hangup):
        if number is not None and not (number == hangup and signal.getsignal(number) is signal.SIG_IGN):
            handlers[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)
