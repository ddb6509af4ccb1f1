"""Filling a store: a worker makes its own blocks that are missing, and completes the store where it is the last one.

It knows nothing about what a block holds. The time is estimated beforehand from short runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viz_diffusion.recording.many.workers import Worker
from viz_diffusion.recording.store.blocks import BlockStore

MakeBlock = Callable[[int, Path], dict[str, Any]]
"""Writes block k as a complete store to an empty folder; returns the facts that its mark keeps."""
_FEW, _MORE = 3, 12
"""Steps of the short runs."""
_LEAST_SECONDS = 0.3
"""How long the longer run takes at least; it is repeated until then."""


def fill(store: BlockStore, blocks: list[int], make: MakeBlock, on_block: Callable[[int], None]) -> None:
    """Make blocks one after another; ``on_block`` is called after each with how many are done."""
    for done, k in enumerate(blocks, 1):
        with store.place.block_folder() as folder:
            store.put(k, folder, make(k, folder))
        on_block(done)


def own_missing(store: BlockStore, worker: Worker, *, check: bool) -> list[int]:
    """Return a worker's own blocks that are missing, and with ``check`` those that are damaged."""
    return store.missing(worker.blocks(store.plan.num_blocks), check=check)


def estimate_seconds(run: Callable[[int], object], steps: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Return how many seconds ``run(steps)`` will take, from runs with a few steps.

    A run takes a fixed time and a time for each step; both follow from two short runs. The first one, which is
    slower, is not counted.
    """
    run(min(steps, _FEW))

    def mean_seconds(count: int) -> float:
        begun, runs = now(), 0
        while not runs or now() - begun < _LEAST_SECONDS:
            run(count)
            runs += 1
        return (now() - begun) / runs

    if steps <= _MORE:
        return mean_seconds(steps)
    few, more = mean_seconds(_FEW), mean_seconds(_MORE)
    return more + max(0.0, more - few) / (_MORE - _FEW) * (steps - _MORE)
