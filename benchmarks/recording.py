"""Time sampling bare and recorded in turn, everything to disk, and print the ratio.

    python benchmarks/recording.py [--rounds 5] [--batch 16] [--steps 1000] [--guidance 1]

Nothing is counted but the loops: the network is loaded and warmed before. Each round runs both, one after the
other, in an order that alternates; ratios are of wall time within a round, so that a slow minute slows both.
Recorded means Recorder(store=...): every x_t, ε̂ and x̂_0 (and both halves under guidance), checksums,
fsync and the final rename included. It is a benchmark that prints figures, not a test that fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.training.run import Run


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU time of one call."""
    begun = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def machine() -> str:
    """Return what the times hold for."""
    return f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, {platform.machine()}"


def main() -> None:
    """Run the rounds and print a line for each, then the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    run = Run.bundled()
    model, _ = run.load_model()
    schedule, seeds = run.config.noise_schedule, range(options.batch)
    labels = torch.arange(options.batch) % 10

    def bare(steps: int = options.steps) -> torch.Tensor:
        noise = ImageNoise(seeds)
        for step in sampling_steps(
            model, schedule, noise, labels, SamplerConfig(steps=steps, guidance_scale=options.guidance)
        ):
            x0 = step.x_prev
        return x0

    with tempfile.TemporaryDirectory() as folder:

        def recorded(steps: int = options.steps) -> None:
            recorder = Recorder(
                model,
                schedule,
                guidance_scale=options.guidance,
                seeds=seeds,
                sampler="ddpm",
                store=Path(folder) / "a.zarr",
                dtype=options.dtype,
                aim=(options.batch, steps),
            )
            with recorder:
                recorder.finish(bare(steps))

        bare(20)
        recorded(20)
        print(
            f"{options.steps} steps, batch {options.batch}, guidance {options.guidance:g}, {options.dtype}; "
            f"{machine()}\n"
        )
        print("| round | bare s | recorded s | wall ratio | CPU ratio |\n|---|---|---|---|---|")
        ratios = []
        for index in range(options.rounds):
            order = (bare, recorded) if index % 2 == 0 else (recorded, bare)
            took = {one: seconds(one) for one in order}
            (plain, plain_cpu), (full, full_cpu) = took[bare], took[recorded]
            ratios.append((full / plain, full_cpu / plain_cpu))
            print(f"| {index + 1} | {plain:.2f} | {full:.2f} | {ratios[-1][0]:.3f} | {ratios[-1][1]:.3f} |", flush=True)
        size = sum(entry.stat().st_size for entry in (Path(folder) / "a.zarr").rglob("*") if entry.is_file())
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"\nmedian: wall {wall:.3f} (reach: at most 1.05), CPU {cpu:.3f}; {size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()
