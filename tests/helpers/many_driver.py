"""Fill one store by two processes at once, and another one through random kills; run in a process of its own.

    python tests/helpers/many_driver.py FOLDER KILLS SEED

Prints one JSON object: the root hashes of one worker's store, of two workers' and of the killed and resumed one, and
how many blocks were there after each kill.
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
from many_stores import sample_maker, store_of, work

from viz_diffusion.recording.many.workers import Worker

COUNT, PAUSE = 130, 0.01


def started(path: Path, worker: Worker, pipe: int | None = None) -> int:
    """Return the number of a child process that does a worker's part; it writes a byte to ``pipe`` after each block."""

    def tell(_: int) -> None:
        time.sleep(PAUSE)
        if pipe is not None:
            os.write(pipe, b".")

    child = os.fork()
    if not child:
        work(path, sample_maker(COUNT), worker, check=True, on_block=tell)
        os._exit(0)
    return child


def kill_one(path: Path, draw: random.Random) -> int:
    """Kill a process that fills the store, some ms after a random block; return how many blocks are there then."""
    reading, writing = os.pipe()
    child = started(path, Worker(), writing)
    os.close(writing)
    for _ in range(draw.randint(0, 3)):
        os.read(reading, 1)
    time.sleep(draw.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    return store_of(path, sample_maker(COUNT)).num_marked


def main(folder: Path, kills: int, seed: int) -> None:
    """Fill the stores."""
    torch.set_num_threads(1)
    draw = random.Random(seed)
    one = work(folder / "one.zarr", sample_maker(COUNT))
    for child in [started(folder / "two.zarr", Worker(index, 2)) for index in range(2)]:
        assert os.waitpid(child, 0)[1] == 0
    blocks = [kill_one(folder / "killed.zarr", draw) for _ in range(kills)]
    killed = work(folder / "killed.zarr", sample_maker(COUNT), check=True)
    left = sorted(path.name for path in (folder / "killed.zarr").glob(".*"))
    two = work(folder / "two.zarr", sample_maker(COUNT))
    print(json.dumps({"one": one, "two": two, "killed": killed, "blocks": blocks, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
