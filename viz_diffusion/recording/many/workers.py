"""Which of several workers this process is, and which blocks are its own.

A worker is named by ``--shard``, by how it was started (:mod:`viz_diffusion.launch`), or by both. Workers never talk to
each other. Imports nothing heavy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.launch import Launch


@dataclass(frozen=True)
class Worker:
    """One of several workers."""

    index: int = 0
    """0 .. count - 1."""
    count: int = 1

    def blocks(self, num_blocks: int) -> range:
        """Return the numbers of its own blocks: every ``count``-th, so that workers get equally many."""
        return range(self.index, num_blocks, self.count)


def find_worker(shard: str | None, launch: Launch) -> Worker:
    """Return the worker that this process is.

    Parameters
    ----------
    shard
        ``i/n`` with i = 0 .. n-1, as in a Slurm array ``--array=0-7``; None where it is not given.
    launch
        The place of this process among those that were started together: each of them is a worker of the shard.

    Raises
    ------
    VizdiffUsageError
        Where the shard has no possible value.
    """
    outer = Worker() if shard is None else _read_shard(shard)
    return Worker(outer.index * launch.world_size + launch.rank, outer.count * launch.world_size)


def local_device(device: str, launch: Launch) -> str:
    """Return the device of a worker: with ``auto``, workers of one machine take its GPUs in turn."""
    if device != "auto" or launch.world_size == 1:
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{launch.local_rank % count}" if count else device


def _read_shard(shard: str) -> Worker:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard.strip())
    if found is None or not int(found[1]) < int(found[2]):
        raise VizdiffUsageError(f"`shard` must be i/n with i = 0 .. n-1, such as 0/8 to 7/8, found {shard!r}")
    return Worker(int(found[1]), int(found[2]))
