"""Print what recording adds to a network evaluation, in microseconds of processor time, for networks of several sizes.

    python benchmarks/recording_cost.py [--repeats 5] [--versions NAME=FOLDER ...]

Networks sample 100 steps in memory: bare; with hooks that only copy x_t and the prediction; and recorded, with start
and end of the block. They take turns in one process, 8 rounds each; versions of the package, each from the checkout
FOLDER, take turns in processes of their own. Given is the least of all rounds, and the median.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).parents[1]
STEPS, ROUNDS = 100, 8
Loop = tuple[nn.Module, Callable[[], Tensor], dict[str, Any]]
"""A network, a loop that samples with it, and the parameters of its Recorder after the network."""


class Velocity(nn.Module):
    """A convolution, or several; with ``wide`` layers an evaluation takes milliseconds."""

    def __init__(self, wide: int = 0) -> None:
        super().__init__()
        widths = [1, wide, wide, 1] if wide else [1, 1]
        pairs = itertools.pairwise(widths)
        self.layers = nn.Sequential(*[nn.Conv2d(a, b, 3, padding=1) for a, b in pairs])
        self.labels = nn.Embedding(11, 1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return (B, 1, H, W) for x of that shape."""
        found: Tensor = self.layers(x)
        return found if y is None else found + self.labels(y)[:, :, None, None]


class Points(nn.Module):
    """Five layers for points in the plane that know the noise level σ."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        widths = [3, *[width] * 4, 2]
        pairs = itertools.pairwise(widths)
        self.layers = nn.Sequential(*[part for a, b in pairs for part in (nn.Linear(a, b), nn.GELU())][:-1])

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return (B, 2) for x of that shape."""
        found: Tensor = self.layers(torch.cat([x, sigma.log().expand(len(x), 1)], dim=1))
        return found


def loops() -> dict[str, Loop]:
    """Return the loops by name, the fastest network first."""
    from viz_diffusion import NoiseSchedule

    flow, linear = NoiseSchedule.named("flow"), NoiseSchedule.named("linear")
    levels = np.geomspace(10, 0.02, STEPS)
    sigmas = NoiseSchedule.from_sigmas(levels[::-1].copy())
    labels = torch.arange(4)

    def euler(network: nn.Module, size: int, times: list[Tensor], *more: Tensor) -> Callable[[], Tensor]:
        def run() -> Tensor:
            x = torch.randn(4, 1, size, size)
            for t in times:
                x = x + network(x, t, *more) / STEPS
            return x

        return run

    def points(network: nn.Module) -> Callable[[], Tensor]:
        def run() -> Tensor:
            x = torch.randn(64, 2) * 10
            for sigma in (torch.tensor(float(level)) for level in levels):
                x = x - 0.01 * sigma * network(x, sigma)
            return x

        return run

    shares = [torch.tensor(k / STEPS) for k in range(STEPS)]
    indices = [torch.full((4,), int(t)) for t in np.linspace(999, 0, STEPS).round()]
    small, labelled, wide, cloud = Velocity(), Velocity(), Velocity(32), Points()
    return {
        "one convolution, flow, 16x16": (small, euler(small, 16, shares), {"schedule": flow}),
        "one convolution, labels, 16x16": (
            labelled,
            euler(labelled, 16, indices, labels),
            {"schedule": linear, "prediction_type": "epsilon"},
        ),
        "five layers, points": (cloud, points(cloud), {"schedule": sigmas, "prediction_type": "epsilon"}),
        "three convolutions, flow, 32x32": (wide, euler(wide, 32, shares), {"schedule": flow}),
    }


@contextmanager
def copying(network: nn.Module) -> Iterator[None]:
    """Copy what a network gets and returns, by hooks, and do nothing else."""
    kept: list[Tensor] = []
    handles = [
        network.register_forward_pre_hook(lambda _, args, kwargs: kept.append(args[0].clone()), with_kwargs=True),  # noqa: ARG005
        network.register_forward_hook(lambda _, args, kwargs, out: kept.append(out.clone()), with_kwargs=True),  # noqa: ARG005
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measure() -> dict[str, dict[str, list[float]]]:
    """Return microseconds of processor time an evaluation, of each round, by loop and kind."""
    from viz_diffusion import Recorder

    torch.set_num_threads(1)
    found: dict[str, dict[str, list[float]]] = {}
    with torch.no_grad():
        for name, (network, run, options) in loops().items():

            def copied(network: nn.Module = network, run: Callable[[], Tensor] = run) -> None:
                with copying(network):
                    run()

            def recorded(
                network: nn.Module = network, run: Callable[[], Tensor] = run, options: dict[str, Any] = options
            ) -> None:
                with Recorder(network, **options):
                    run()

            kinds: dict[str, Callable[[], object]] = {"bare": run, "copied": copied, "recorded": recorded}
            for number in range(ROUNDS + 1):
                for kind, call in kinds.items():
                    begun = time.process_time()
                    call()
                    took = (time.process_time() - begun) / STEPS * 1e6
                    if number:  # the first round warms up
                        found.setdefault(name, {}).setdefault(kind, []).append(took)
    return found


def main() -> None:
    """Print the table, or as a worker the measured times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--versions", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure()))
        return
    versions = {"this": HERE} | {name: Path(path) for name, _, path in (one.partition("=") for one in options.versions)}
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for _ in range(options.repeats):
        for version, folder in versions.items():
            environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--worker"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            for name, kinds in json.loads(answer.stdout).items():
                for kind, values in kinds.items():
                    times.setdefault((name, version), {}).setdefault(kind, []).extend(values)
    print("| loop | version | bare | mere copies add | the Recorder adds | recorded / bare | 1.05 from |")
    print("|---|---|---|---|---|---|---|")
    for (name, version), kinds in sorted(times.items()):
        least, middle = ({kind: of(kinds[kind]) for kind in kinds} for of in (min, statistics.median))
        added = [f"{least[kind] - least['bare']:.0f} / {middle[kind] - middle['bare']:.0f}" for kind in kinds][1:]
        ratio, enough = least["recorded"] / least["bare"], 20 * (least["recorded"] - least["bare"]) / 1000
        bare = f"{least['bare']:.0f} / {middle['bare']:.0f}"
        print(f"| {name} | {version} | {bare} | {added[0]} | {added[1]} | {ratio:.2f} | {enough:.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
