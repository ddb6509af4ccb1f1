"""Which of several workers this process is, and which blocks are its own.

A worker is named by ``--shard``, by torchrun's variables RANK and WORLD_SIZE, or by both. Workers never talk to each
other. Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from viz_diffusion.errors import VizdiffUsageError


@dataclass(frozen=True)
class Worker:
    """One of several workers."""

    index: int = 0
    """0 .. count - 1."""
    count: int = 1

    def blocks(self, num_blocks: int) -> range:
        """Return the numbers of its own blocks: every ``count``-th, so that workers get equally many."""
        return range(self.index, num_blocks, self.count)


def find_worker(shard: str | None, environ: Mapping[str, str]) -> Worker:
    """Return the worker that this process is.

    Parameters
    ----------
    shard
        ``i/n`` with i = 0 .. n-1, as in a Slurm array ``--array=0-7``; None where it is not given.
    environ
        The process's variables: under torchrun each of n shards has WORLD_SIZE workers.

    Raises
    ------
    VizdiffUsageError
        Where either has no possible value.
    """
    outer = Worker() if shard is None else _read_shard(shard)
    size, rank = environ.get("WORLD_SIZE", "1"), environ.get("RANK", "0")
    if not (size.isdecimal() and rank.isdecimal() and int(rank) < int(size)):
        raise VizdiffUsageError(f"RANK {rank!r} and WORLD_SIZE {size!r} name no worker; start the command by torchrun")
    return Worker(outer.index * int(size) + int(rank), outer.count * int(size))


def local_device(device: str, environ: Mapping[str, str]) -> str:
    """Return the device of a worker of torchrun: with ``auto``, workers of one machine take its GPUs in turn."""
    rank = environ.get("LOCAL_RANK", "")
    if device != "auto" or not rank.isdecimal():
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(rank) % count}" if count else device


def _read_shard(shard: str) -> Worker:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard.strip())
    if found is None or not int(found[1]) < int(found[2]):
        raise VizdiffUsageError(f"`shard` must be i/n with i = 0 .. n-1, such as 0/8 to 7/8, found {shard!r}")
    return Worker(int(found[1]), int(found[2]))
