"""Compare training in several processes with training in one: the losses, and the images per second.

    python benchmarks/processes.py             # both; nothing else should run meanwhile
    python benchmarks/processes.py --losses    # the losses of 1, 2 and 4 processes only: holds on a busy machine too
    python benchmarks/processes.py --speed     # two processes of one thread against one process of two threads

The losses are those of a small network in 200 steps with the same batch; the speed is that of the preset ``base``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Setting(NamedTuple):
    """What is trained."""

    preset: str | None
    """The network and batch of a preset; None: a small network and 32 images a step."""
    steps: int
    """Optimizer steps."""
    skipped: int
    """The first of them, which are not timed."""


LOSSES, SPEED = Setting(None, 200, 0), Setting("base", 60, 10)
COUNTS = (1, 2, 4)
REPEATS = 3


def work(setting: Setting, out: Path) -> None:
    """Train as one of the processes that torchrun started, or alone; process 0 writes what it measured."""
    import torch

    from viz_diffusion.data import Digits, load_digits
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.diffusion.unet import ModelConfig
    from viz_diffusion.launch import launched
    from viz_diffusion.training.loop import TrainState, heldout_loss, train
    from viz_diffusion.training.presets import find_preset
    from viz_diffusion.training.processes import joined
    from viz_diffusion.training.train_config import TrainConfig

    model, batch_size = ModelConfig(channels=(8, 16), embedding_dim=64, time_dim=32), 32
    if setting.preset is not None:
        preset = find_preset(setting.preset)
        model, batch_size = ModelConfig(channels=preset.channels, num_blocks=preset.num_blocks), preset.batch_size
    schedule, digits = NoiseSchedule.named("linear"), load_digits("test")
    data = Digits(digits.images[:5000], digits.labels[:5000])
    config = TrainConfig(steps=setting.steps, batch_size=batch_size, warmup_steps=setting.steps // 10)
    with joined(launched(), torch.device("cpu")) as processes:
        state = TrainState.create(config, model)
        state.processes = processes
        losses, begun = [], time.perf_counter()
        for step in train(state, data, schedule):
            losses.append(step.loss)
            if step.step == setting.skipped:
                begun = time.perf_counter()
        seconds = time.perf_counter() - begun
        if processes.is_main:
            heldout = heldout_loss(state.ema, schedule, Digits(digits.images[5000:], digits.labels[5000:]), 400)
            speed = batch_size * (setting.steps - setting.skipped) / seconds
            out.write_text(json.dumps({"losses": losses, "heldout": heldout, "images_per_second": speed}))


def measure(setting: Setting, count: int, threads: int) -> dict[str, Any]:
    """Train in ``count`` processes of some threads each; return what process 0 measured."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] * (count > 1)
        worker = [__file__, "--worker", str(out), "--setting", json.dumps(setting)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, *launcher, *worker], check=True, env=environment)
        return dict(json.loads(out.read_text()))


def compare_losses() -> None:
    """Print how far the losses of several processes are from those of one."""
    print(f"| processes | largest relative difference of {LOSSES.steps} losses | of the held-out loss after them |")
    print("|---|---|---|")
    one = measure(LOSSES, 1, 1)
    for count in COUNTS[1:]:
        several = measure(LOSSES, count, 1)
        apart = [np.max(np.abs(np.divide(several[name], one[name]) - 1)) for name in ("losses", "heldout")]
        print(f"| {count} | {apart[0]:.1e} | {apart[1]:.1e} |", flush=True)


def compare_speed() -> None:
    """Print the images per second of two processes of one thread, and of one process of two threads, in turn."""
    print("| one process, two threads | two processes, one thread each | ratio |\n|---|---|---|")
    ratios = []
    for _ in range(REPEATS):
        speeds = [measure(SPEED, count, threads)["images_per_second"] for count, threads in ((1, 2), (2, 1))]
        ratios.append(speeds[1] / speeds[0])
        print(f"| {speeds[0]:.0f} images/s | {speeds[1]:.0f} images/s | {ratios[-1]:.2f} |", flush=True)
    print(f"| | median | {statistics.median(ratios):.2f} |")


def main() -> None:
    """Compare what is asked for, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(Setting(*options.setting), options.worker)
        return
    if options.losses or not options.speed:
        compare_losses()
    if options.speed or not options.losses:
        compare_speed()


if __name__ == "__main__":
    main()
