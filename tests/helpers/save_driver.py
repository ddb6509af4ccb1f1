"""Save a checkpoint, and be killed at each of its system calls: run by test_save_syscalls.py, on one thread.

    python tests/helpers/save_driver.py FOLDER

Forks a child for every kill, so that PyTorch is loaded once; strace attaches to the child, counts its calls and
kills it at the N-th. Prints one JSON object: the traced calls of a whole save, and every kill with what was found.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffError
from viz_diffusion.files import sha256_bytes
from viz_diffusion.training.checkpoint import to_bytes
from viz_diffusion.training.config import RunConfig, TrainConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import fit

TINY = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)
CALLS = {"write": "write", "fsync": "fsync", "rename": "/^rename", "remove": "/^(unlink|rmdir)"}
ATTACH_SECONDS = 10


def traced(path: Path, trace: Path, inject: str | None) -> bool:
    """Save step 3 over a run that holds steps 1 and 2, in a traced child; say whether it lived to the end."""
    run = Run.open(path)
    state = run.resume().state
    state.step = 3
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until strace watches
        run.save_checkpoint(state, 0, 2)
        os._exit(0)
    os.close(reading)
    watched = ",".join(CALLS.values())
    command = ["strace", "-f", "-y", "-o", str(trace), "-p", str(child), "-e", f"trace={watched}"]
    strace = subprocess.Popen(command + (["-e", f"inject={inject}"] if inject else []), stderr=subprocess.PIPE)
    try:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if b"attached" not in said:
            raise SystemExit(f"strace may not trace here: {said.decode().strip()}")
        os.write(writing, b".")
        return os.waitpid(child, 0)[1] == 0
    finally:
        os.close(writing)
        strace.wait(ATTACH_SECONDS)


def digest(run: Run) -> str:
    """Return the SHA-256 of what going on would begin with."""
    state, _, _ = run.resume()
    moments = {f"{i}.{k}": v for i, e in state.optimizer.state_dict()["state"].items() for k, v in e.items()}
    parts = (state.model.state_dict(), state.ema.state_dict(), moments)
    return sha256_bytes(b"".join(map(to_bytes, parts)) + bytes([state.step]))


def main(folder: Path) -> None:
    """Trace a whole save; then kill one at every call of every kind."""
    torch.set_num_threads(1)
    start = folder / "start"
    run = Run.create(start, RunConfig(TINY, TrainConfig(steps=9, batch_size=2, warmup_steps=2)))
    state = TrainState.create(run.config.training, TINY)
    digits = Digits(torch.zeros(9, 1, 28, 28), torch.zeros(9, dtype=torch.int64))
    steps = fit(run, state, digits, digits, checkpoint_every=1)
    next(steps)
    next(steps)
    steps.close()
    old = digest(Run.open(start))
    whole = Path(shutil.copytree(start, folder / "whole"))
    assert traced(whole, folder / "trace", None)
    new = digest(Run.open(whole))
    kills = []
    for name, call in CALLS.items():
        for number in range(1, 1000):
            path = Path(shutil.copytree(start, folder / "killed"))
            lived = traced(path, folder / "killed.trace", f"{call}:signal=KILL:when={number}")
            run = Run.open(path)
            try:
                found = {old: "old", new: "new"}.get(digest(run), "neither")
            except VizdiffError as error:
                found = str(error)
            run.sweep()
            left = [entry.name for entry in path.rglob("*") if entry.name.endswith((".tmp", ".old"))]
            shutil.rmtree(path)
            if lived:
                break
            kills.append({"call": name, "number": number, "found": found, "left": left})
    print(json.dumps({"trace": (folder / "trace").read_text().splitlines(), "kills": kills}))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main(Path(sys.argv[1]))
