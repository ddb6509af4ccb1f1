"""Stop training with signals at random moments and resume it: run by test_kills_and_signals.py, on one thread.

    python tests/helpers/signal_driver.py FOLDER TRIALS SEED

Prints one JSON object: the fingerprint of the uninterrupted run, and for each trial its signals, exit code, seconds
from the first signal to the end of the process, and fingerprint after resuming.
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
from kill_driver import CHECKPOINT_EVERY, CONFIG, train
from training_runs import begin, fingerprint, first_digits

from viz_diffusion.cli.commands import train as command
from viz_diffusion.cli.console import Terminal
from viz_diffusion.data import Digits
from viz_diffusion.training.thumbnails import Thumbnails


def train_as_the_command_does(path: Path, digits: Digits) -> int:
    """Begin the run with the command's own handling of signals; return its exit code."""
    run, state = begin(path, CONFIG)
    try:
        command._train(run, state, digits, digits, CHECKPOINT_EVERY, 0, Terminal(as_json=False, quiet=True))
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def stop(path: Path, digits: Digits, signals: list[int], num_lines: int, pause: float) -> tuple[int, float]:
    """Send signals to a child process that trains; return its exit code and the seconds until it ended.

    The first signal is sent ``pause`` seconds after the metrics log has ``num_lines`` lines.
    """
    child = os.fork()
    if not child:
        os._exit(train_as_the_command_does(path, digits))
    metrics = path / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= num_lines):
        time.sleep(0.002)
    time.sleep(pause)
    start = time.monotonic()
    for number in signals:
        os.kill(child, number)
        time.sleep(0.003)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, time.monotonic() - start


def main(folder: Path, trials: int, seed: int) -> None:
    """Train once without interruption, then ``trials`` times with signals."""
    torch.set_num_threads(1)
    Thumbnails.STEPS = 1
    digits, draw = first_digits(9), random.Random(seed)
    train(folder / "uninterrupted", digits)
    kinds = ([signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP, signal.SIGHUP], [signal.SIGINT, signal.SIGINT])
    stopped = []
    for trial in range(trials):
        path, signals = folder / f"stopped-{trial}", [int(number) for number in kinds[trial % 4]]
        code, seconds = stop(path, digits, signals, draw.randint(1, 4), draw.uniform(0, 0.15))
        finished = (path / "manifest.json").exists()
        if not finished:
            train(path, digits)
        stopped.append(
            {
                "signals": signals,
                "code": code,
                "seconds": seconds,
                "finished": finished,
                "fingerprint": fingerprint(path),
            }
        )
    print(json.dumps({"uninterrupted": fingerprint(folder / "uninterrupted"), "stopped": stopped}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
