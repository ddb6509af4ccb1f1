"""Several processes of one ``vizdiff train``: what each of them runs on, joins and says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import pick_device
from viz_diffusion.cli.several_processes import said_once
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.launch import Launch

if TYPE_CHECKING:
    import torch

    from viz_diffusion.data import Digits
    from viz_diffusion.training.config import RunConfig
    from viz_diffusion.training.loop import TrainState
    from viz_diffusion.training.processes import Processes


def process_device(choice: str, launch: Launch) -> torch.device:
    """Return the device of ``--device`` for this process; of several on a machine, each takes a GPU of its own."""
    if launch.world_size == 1:
        return pick_device(choice)
    import torch

    with said_once(launch):
        if choice not in ("auto", "cpu", "cuda"):
            raise VizdiffUsageError(
                f"--device must be auto, cpu or cuda where {launch.world_size} processes train together, found "
                f"{choice!r}; each process takes the GPU of its own number"
            )
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count, number = torch.cuda.device_count(), launch.local_rank
    if count == 1 and "SLURM_STEP_NUM_TASKS" in os.environ:  # Slurm shows each task only its own GPU
        number = 0
    with said_once(launch, number == count):  # of those that find none, the first on each machine
        if number >= count:
            raise VizdiffUsageError(
                f"process {launch.rank} is number {number} on its machine, which has {count} GPUs; start at most as "
                "many processes as GPUs, or give --device cpu"
            )
    torch.cuda.set_device(number)
    return pick_device(f"cuda:{number}")


@contextmanager
def train_together(launch: Launch, device: torch.device, accumulate: int) -> Iterator[Processes]:
    """Join the other processes; where one of them shows its error, end with the same exit code."""
    from viz_diffusion.training.processes import FailedElsewhereError, joined

    try:
        with joined(launch, device, accumulate) as processes:
            yield processes
    except FailedElsewhereError as error:
        raise typer.Exit(error.exit_code) from None


def load_training_data(config: RunConfig, processes: Processes) -> tuple[Digits, Digits]:
    """Load training and held-out images; process 0 first, since it may have to download them."""
    if not processes.is_main:
        processes.wait_for_main()
    data = config.load_digits("train"), config.load_digits("test")
    if processes.is_main:
        processes.worked()
    return data


def check_same(state: TrainState, config: RunConfig, data: Digits, heldout: Digits) -> None:
    """Refuse to train where the processes begin with different things."""
    import torch

    from viz_diffusion.files import sha256_bytes, to_json
    from viz_diffusion.training.checkpoint import to_bytes

    if state.processes.count == 1:
        return
    texts = {"version of PyTorch": torch.__version__, "config": to_json(config.to_dict()), "step": str(state.step)}
    facts = {name: sha256_bytes(text.encode()) for name, text in texts.items()}
    facts |= {"training image": data.sha256, "held-out image": heldout.sha256}
    state.processes.require_same((facts | {"weight": sha256_bytes(to_bytes(state.model.state_dict()))}).items())


def tell_division(processes: Processes, batch_size: int, terminal: Terminal) -> None:
    """Say how each batch is divided, where it is."""
    total = processes.count * processes.accumulate
    if total > 1:
        facts = {"count": processes.count, "parts": processes.accumulate, "total": total}
        terminal.tell("Batch", "divided", batch=batch_size, **facts)
