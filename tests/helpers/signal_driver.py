"""Stop training with signals at random moments and go on: run by test_resume.py in a process of its own, on one thread.

    python tests/helpers/signal_driver.py FOLDER TRIALS SEED

Prints one JSON object: the fingerprint of the uninterrupted run, and of each trial its signals, exit code, seconds
from the first signal to the end, and fingerprint after going on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import typer
from kill_driver import EVERY, STEPS, TINY, fingerprint, train

from viz_diffusion.cli.commands import train as command
from viz_diffusion.cli.console import Terminal
from viz_diffusion.data import Digits, load_digits
from viz_diffusion.training import trainer as fitting
from viz_diffusion.training.config import RunConfig, TrainConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run


def train_as_the_command_does(path: Path, digits: Digits) -> int:
    """Begin the run under the command's own handling of signals; return its exit code."""
    run = Run.create(path, RunConfig(TINY, TrainConfig(steps=STEPS, batch_size=2, warmup_steps=5)))
    state = TrainState.create(run.config.training, TINY)
    try:
        command._train(run, state, digits, digits, EVERY, 0, Terminal(as_json=False, quiet=True))
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def stop(path: Path, digits: Digits, signals: list[int], wait_steps: int, pause: float) -> tuple[int, float]:
    """Send signals to a child in training; return its exit code and how long it took to end."""
    child = os.fork()
    if not child:
        os._exit(train_as_the_command_does(path, digits))
    metrics = path / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= wait_steps):
        time.sleep(0.002)
    time.sleep(pause)
    begun = time.monotonic()
    for number in signals:
        os.kill(child, number)
        time.sleep(0.003)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, time.monotonic() - begun


def main(folder: Path, trials: int, seed: int) -> None:
    """Train once in peace, then ``trials`` times with signals."""
    torch.set_num_threads(1)
    fitting.Thumbnails.STEPS = 1
    test, draw = load_digits("test"), random.Random(seed)
    digits = Digits(test.images[:9], test.labels[:9])
    train(folder / "whole", digits)
    kinds = ([signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT])
    found = []
    for trial in range(trials):
        path, signals = folder / f"stopped-{trial}", [int(number) for number in kinds[trial % 3]]
        code, seconds = stop(path, digits, signals, draw.randint(1, 4), draw.uniform(0, 0.15))
        finished = (path / "manifest.json").exists()
        if not finished:
            train(path, digits)
        found.append(
            {
                "signals": signals,
                "code": code,
                "seconds": seconds,
                "finished": finished,
                "fingerprint": fingerprint(path),
            }
        )
    print(json.dumps({"whole": fingerprint(folder / "whole"), "stopped": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
