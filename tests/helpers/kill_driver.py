"""Kill training at random moments and resume it: run by test_kills_and_signals.py in a process of its own, one thread.

    python tests/helpers/kill_driver.py FOLDER TRIALS SEED

Prints one JSON object: the fingerprint of the uninterrupted run and of each killed and resumed one.
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
from training_runs import begin, fingerprint, first_digits, small_config

from viz_diffusion.data import Digits
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.training.trainer import Trainer

STEPS, CHECKPOINT_EVERY = 33, 5
CONFIG = small_config(STEPS, warmup_steps=5)


def train(path: Path, digits: Digits, pipe: int | None = None) -> None:
    """Begin a run, or resume the one that is there; write a byte to ``pipe`` after each step."""
    metrics_bytes = 0
    if not (path / "config.json").is_file():
        run, state = begin(path, CONFIG)
    else:
        run, state = Run.open(path), TrainState.create(CONFIG.training, CONFIG.model)
        if run.checkpoints():
            state, metrics_bytes, _ = run.resume()
    trainer = Trainer(run, state, digits, digits, checkpoint_every=CHECKPOINT_EVERY, metrics_bytes=metrics_bytes)
    for _ in trainer.run():
        if pipe is not None:
            os.write(pipe, b".")


def kill(path: Path, digits: Digits, draw: random.Random) -> None:
    """Train in a child process and kill it within 50 ms after a random step."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        train(path, digits, writing)
        os._exit(0)
    os.close(writing)
    for _ in range(draw.randint(1, STEPS)):
        if not os.read(reading, 1):
            break
    time.sleep(draw.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)


def main(folder: Path, trials: int, seed: int) -> None:
    """Train once without interruption, then ``trials`` times with two kills each."""
    torch.set_num_threads(1)
    Thumbnails.STEPS = 1
    digits, draw = first_digits(9), random.Random(seed)
    train(folder / "uninterrupted", digits)
    killed = []
    for trial in range(trials):
        path = folder / f"killed-{trial}"
        for _ in range(2):
            if not (path / "manifest.json").exists():
                kill(path, digits, draw)
        if not (path / "manifest.json").exists():
            train(path, digits)
        killed.append(fingerprint(path))
    print(json.dumps({"uninterrupted": fingerprint(folder / "uninterrupted"), "killed": killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
