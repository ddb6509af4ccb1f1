"""Kill a training run at random moments and go on: run by test_resume.py in a process of its own, on one thread.

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

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.files import sha256_file
from viz_diffusion.training import trainer as fitting
from viz_diffusion.training.config import RunConfig, TrainConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run

STEPS, EVERY = 60, 5
TINY = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)


def fingerprint(path: Path) -> dict[str, str]:
    """Give the SHA-256 of everything that training leaves behind."""
    last = Run.open(path).checkpoints()[-1]
    names = ["config.json", "metrics.jsonl", "model.safetensors", "samples.safetensors"]
    files = [path / name for name in names] + sorted(last.iterdir())
    return {str(file.relative_to(path)): sha256_file(file) for file in files}


def train(path: Path, digits: Digits, narrate: int | None = None) -> None:
    """Begin a run, or go on with the one that is there; write a byte to ``narrate`` after each step."""
    if (path / "config.json").is_file():
        run = Run.open(path)
        state, kept = (run.resume()[:2]) if run.checkpoints() else (TrainState.create(run.config.training, TINY), 0)
    else:
        run = Run.create(path, RunConfig(TINY, TrainConfig(steps=STEPS, batch_size=2, warmup_steps=5)))
        state, kept = TrainState.create(run.config.training, TINY), 0
    for _ in fitting.fit(run, state, digits, digits, checkpoint_every=EVERY, metrics_bytes=kept):
        if narrate is not None:
            os.write(narrate, b".")


def kill(path: Path, digits: Digits, draw: random.Random) -> None:
    """Train in a child and kill it within 50 ms after a random step."""
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
    """Train once in peace, then ``trials`` times with two kills each."""
    torch.set_num_threads(1)
    fitting.Thumbnails.STEPS = 1
    test, draw = load_digits("test"), random.Random(seed)
    digits = Digits(test.images[:9], test.labels[:9])
    train(folder / "whole", digits)
    found = []
    for trial in range(trials):
        path = folder / f"killed-{trial}"
        for _ in range(2):
            if not (path / "manifest.json").exists():
                kill(path, digits, draw)
        if not (path / "manifest.json").exists():
            train(path, digits)
        found.append(fingerprint(path))
    print(json.dumps({"whole": fingerprint(folder / "whole"), "killed": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
