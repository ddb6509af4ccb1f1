"""Save a checkpoint and be killed at each of its system calls: run by test_save_syscalls.py, on one thread.

    python tests/helpers/save_driver.py FOLDER

A child process is forked for every kill, so that PyTorch is loaded once; strace attaches to the child, counts its
calls and kills it at the N-th. Prints one JSON object: the traced calls of a complete save, and for every kill which
checkpoint resuming then reads.
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
from training_runs import begin, small_config, train_to

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffError
from viz_diffusion.files import sha256_bytes
from viz_diffusion.training.checkpoint import to_bytes
from viz_diffusion.training.run import Run

CALLS = {"write": "write", "fsync": "fsync", "rename": "/^rename", "remove": "/^(unlink|rmdir)"}
ATTACH_SECONDS = 10


def save_traced(path: Path, trace: Path, inject: str | None) -> bool:
    """Save step 3 in a run that holds steps 1 and 2, in a traced child; return whether the child ended normally."""
    run = Run.open(path)
    state = run.resume().state
    state.step = 3
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until strace is attached
        run.save_checkpoint(state, 0, 2)
        os._exit(0)
    os.close(reading)
    watched = ",".join(CALLS.values())
    command = ["strace", "-f", "-y", "-o", str(trace), "-p", str(child), "-e", f"trace={watched}"]
    strace = subprocess.Popen(command + (["-e", f"inject={inject}"] if inject else []), stderr=subprocess.PIPE)
    try:
        assert strace.stderr is not None
        message = strace.stderr.readline()
        if b"attached" not in message:
            raise SystemExit(f"strace may not trace here: {message.decode().strip()}")
        os.write(writing, b".")
        return os.waitpid(child, 0)[1] == 0
    finally:
        os.close(writing)
        strace.wait(ATTACH_SECONDS)


def digest(run: Run) -> str:
    """Return the SHA-256 of the state that resuming reads."""
    state, _, _ = run.resume()
    moments = {f"{i}.{k}": v for i, e in state.optimizer.state_dict()["state"].items() for k, v in e.items()}
    parts = (state.model.state_dict(), state.ema.state_dict(), moments)
    return sha256_bytes(b"".join(map(to_bytes, parts)) + bytes([state.step]))


def main(folder: Path) -> None:
    """Trace a complete save; then kill one at every call of every kind."""
    torch.set_num_threads(1)
    start = folder / "start"
    digits = Digits(torch.zeros(9, 1, 28, 28), torch.zeros(9, dtype=torch.int64))
    train_to(2, *begin(start, small_config(9)), digits, checkpoint_every=1)
    old = digest(Run.open(start))
    complete = Path(shutil.copytree(start, folder / "complete"))
    assert save_traced(complete, folder / "trace", None)
    new = digest(Run.open(complete))
    kills = []
    for name, call in CALLS.items():
        for number in range(1, 1000):
            path = Path(shutil.copytree(start, folder / "killed"))
            survived = save_traced(path, folder / "killed.trace", f"{call}:signal=KILL:when={number}")
            run = Run.open(path)
            try:
                result = {old: "old", new: "new"}.get(digest(run), "neither")
            except VizdiffError as error:
                result = str(error)
            run.sweep()
            leftovers = [entry.name for entry in path.rglob("*") if entry.name.endswith((".tmp", ".old"))]
            shutil.rmtree(path)
            if survived:
                break
            kills.append({"call": name, "number": number, "result": result, "leftovers": leftovers})
    print(json.dumps({"trace": (folder / "trace").read_text().splitlines(), "kills": kills}))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main(Path(sys.argv[1]))
