"""Small training runs: begin, stop, finish and fingerprint them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.files import sha256_file
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Progress, Trainer

HELPERS = Path(__file__).parent
ROOT = HELPERS.parents[1]
TINY = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)


def first_digits(count: int) -> Digits:
    """Return MNIST's first test images."""
    test = load_digits("test")
    return Digits(test.images[:count], test.labels[:count])


def small_config(steps: int, warmup_steps: int = 2) -> RunConfig:
    return RunConfig(TINY, TrainConfig(steps=steps, batch_size=2, warmup_steps=warmup_steps))


def begin(path: Path, config: RunConfig) -> tuple[Run, TrainState]:
    return Run.create(path, config), TrainState.create(config.training, config.model)


def train_to(step: int, run: Run, state: TrainState, digits: Digits, **options: object) -> None:
    """Train until a step is done, then stop, which saves a checkpoint."""
    steps = Trainer(run, state, digits, digits, **options).run()
    while state.step < step:
        next(steps)
    steps.close()


def resumed(
    path: Path,
    digits: Digits,
    change: Callable[[TrainState], object] = lambda _: None,
    **options: object,
) -> Iterator[Progress]:
    """Resume a run, change its state, and return the generator that trains it to its end."""
    run = Run.open(path)
    state, metrics_bytes, _ = run.resume()
    change(state)
    return Trainer(run, state, digits, digits, metrics_bytes=metrics_bytes, **options).run()


def finish(path: Path, digits: Digits, between: Callable[[], object] = lambda: None) -> dict[str, str]:
    """Train a stopped run to its end; call ``between`` after each step; return the fingerprint."""
    for _ in resumed(path, digits):
        between()
    return fingerprint(path)


def fingerprint(path: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that training leaves behind, except in older checkpoints."""
    newest = Run.open(path).checkpoints()[-1]
    names = ["config.json", "metrics.jsonl", "model.safetensors", "samples.safetensors"]
    files = [path / name for name in names] + sorted(newest.iterdir())
    return {file.relative_to(path).as_posix(): sha256_file(file) for file in files}


def flip(path: Path, place: int | None = None) -> None:
    """Flip one bit of a file, by default in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def hashes(path: Path) -> dict[Path, str]:
    """Return the SHA-256 of every file of a folder."""
    return {file: sha256_file(file) for file in path.rglob("*") if file.is_file()}


def run_driver(name: str, folder: Path, *arguments: str) -> dict:
    """Run a script of tests/helpers on one thread; return the JSON object it prints."""
    command = [sys.executable, str(HELPERS / name), str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
