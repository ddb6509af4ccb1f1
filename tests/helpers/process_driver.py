"""Train in several real processes, and make one of them fail: run by test_processes.py, on one thread a process.

    python tests/helpers/process_driver.py FOLDER SCENARIO ...

First one process trains, to the folder ``one``. All others are forked from it, when everything is loaded, and get the
variables that torchrun sets. Prints one JSON object: for each scenario the exit code and the output of each process,
and the seconds that it took.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed
from training_runs import first_digits

from viz_diffusion.cli import main as command_line
from viz_diffusion.cli.commands import train
from viz_diffusion.errors import VizdiffIOError
from viz_diffusion.stopping import run_stoppable
from viz_diffusion.training import processes, trainer
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.objective import Examples, Objective
from viz_diffusion.training.presets import DEFAULT_PRESET, find_preset
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails

Act = Callable[[int, Examples], Examples]
"""What a process does in a step: gets the number of the step in this process and the examples, and returns them."""
OPTIONS = ("--steps", "12", "--batch-size", "5", "--checkpoint-every", "5", "--device", "cpu")


def small_and_fast() -> None:
    """Let the command train a tiny network on few digits, and evaluate it on few."""
    torch.set_num_threads(1)
    digits = first_digits(40)
    tiny = dataclasses.replace(find_preset(DEFAULT_PRESET), channels=(8, 8))
    train.find_preset = lambda _: tiny
    RunConfig.load_digits = lambda *_: digits
    trainer.heldout_loss = functools.partial(trainer.heldout_loss, count=20, batch_size=10)
    Thumbnails.STEPS = 1


def acting(act: Act) -> None:
    """Let a process act in each of its steps."""
    examples, step = Objective.examples, 0

    def changed(*arguments: object) -> Examples:
        nonlocal step
        step += 1
        return act(step, examples(*arguments))

    Objective.examples = changed


def run_child(rank: int, count: int, port: int, argv: list[str], said: Path, acts: dict[int, Act]) -> None:
    """Be one of several processes, to the end."""
    if {hanging, slow_disk} & {*acts.values()}:
        processes.STEP_SECONDS = 2.0
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT), stream)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in names.items()})
    if rank in acts:
        acting(acts[rank])
    code = run_stoppable(lambda: command_line(["train", *argv]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(count: int, folder: Path, argv: list[str], acts: dict[int, Act] | None = None) -> dict:
    """Train in ``count`` processes, and wait until all have ended; one that hangs is killed once it is alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    begun, children = time.monotonic(), {}
    for rank in range(count):
        child = os.fork()
        if not child:
            run_child(rank, count, port, argv, folder, acts or {})
        children[child] = rank
    codes: dict[int, int] = {}
    while len(codes) < count:
        child, status = os.waitpid(-1, 0)
        codes[children.pop(child)] = os.waitstatus_to_exitcode(status)
        if hanging in (acts or {}).values():
            for other in children:
                os.kill(other, signal.SIGKILL)
    texts = {name: [(folder / f"{rank}.{name}").read_text() for rank in range(count)] for name in ("out", "err")}
    seconds = time.monotonic() - begun
    return {"codes": [codes[rank] for rank in range(count)], "seconds": seconds, **texts}


def nan_at(last: int) -> Act:
    def act(step: int, examples: Examples) -> Examples:
        return examples._replace(target=examples.target * float("nan")) if step == last else examples

    return act


def killed(step: int, examples: Examples) -> Examples:
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return examples


def hanging(step: int, examples: Examples) -> Examples:
    if step == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    return examples


def terminated(step: int, examples: Examples) -> Examples:
    if step == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    return examples


def failing(step: int, examples: Examples) -> Examples:
    if step == 3:
        raise VizdiffIOError("the disk of process 1 is gone")
    return examples


def full_disk(_: int, examples: Examples) -> Examples:
    """Let process 0 fail where it alone writes."""

    def save(*_: object) -> None:
        raise VizdiffIOError("no space is left")

    Run.save_checkpoint = save
    return examples


def slow_disk(step: int, examples: Examples) -> Examples:
    """Let process 0 save for longer than the others wait in a step."""
    if step == 1:
        save = Run.save_checkpoint

        def slowly(*arguments: object) -> None:
            Run.save_checkpoint = save
            time.sleep(3)
            save(*arguments)

        Run.save_checkpoint = slowly
    return examples


def scenarios(folder: Path) -> dict[str, Callable[[], dict]]:
    """Return what can be tried, by name; each makes folders of its own."""

    def out(name: str) -> list[str]:
        return [*OPTIONS, "--out", str(folder / name / "run")]

    def resume(name: str, *more: str) -> list[str]:
        return ["--resume", str(folder / name / "run"), "--device", "cpu", *more]

    return {
        "parts": lambda: start(1, folder / "parts", [*out("parts"), "--accumulate", "2"]),
        "two": lambda: start(2, folder / "two", [*out("two"), "--json"]),
        "nan": lambda: start(2, folder / "nan", out("nan"), {1: nan_at(7)}),
        "killed": lambda: start(3, folder / "killed", out("killed"), {1: killed}),
        "hanging": lambda: start(2, folder / "hanging", out("hanging"), {1: hanging}),
        "terminated": lambda: start(2, folder / "terminated", out("terminated"), {1: terminated}),
        "same_again": lambda: start(2, folder / "terminated", resume("terminated")),
        "fewer": lambda: start(1, folder / "killed", resume("killed")),
        "failing": lambda: start(2, folder / "failing", out("failing"), {1: failing}),
        "full_disk": lambda: start(2, folder / "full_disk", out("full_disk"), {0: full_disk}),
        "slow_disk": lambda: start(2, folder / "slow_disk", out("slow_disk"), {0: slow_disk, 1: slow_disk}),
        "small_batch": lambda: start(2, folder / "small_batch", [*out("small_batch"), "--accumulate", "3"]),
    }


def main(folder: Path, names: list[str]) -> None:
    """Train in this process, which loads what is needed, then try the scenarios; print what came of them."""
    small_and_fast()
    assert command_line(["train", *OPTIONS, "--quiet", "--out", str(folder / "one" / "run")]) == 0
    tried = scenarios(folder)
    print(json.dumps({name: tried[name]() for name in names}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
