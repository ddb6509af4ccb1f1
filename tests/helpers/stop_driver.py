"""Send signals to commands at random moments: run by test_signals.py, which starts it on one thread.

    python tests/helpers/stop_driver.py FOLDER TRIALS SEED [COMMAND ...]

Each trial forks a process with everything loaded, which runs a command, and sends it one signal or two. Prints one JSON
object: for each trial the command, the signals, the exit code, seconds from the first signal to the end, what it
said, and the temporary files that are left.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import torch

from viz_diffusion import cli, stopping
from viz_diffusion.cli.outputs import Output  # noqa: F401 - loaded before the fork
from viz_diffusion.training.run import Run

QUICK = ["--run", "bundled", "--sampler", "ddim"]
COMMANDS: dict[str, list[str]] = {
    "trajectory": [*QUICK, "--steps", "60", "--out", "o"],
    "intervene": [*QUICK, "--steps", "40", "--switch", "8@500", "--frames", "3,1", "--out", "o"],
    "sample": [*QUICK, "--steps", "20", "--count", "20", "--out", "o/s.npz"],
    "evaluate": ["--run", "bundled", "--count", "20", "--steps", "20", "--sampler", "ddim", "--out", "o/e.json"],
    "report": [*QUICK, "--steps", "20", "--lessons", "noising", "--out", "o/r.html"],
    "worksheet": [*QUICK, "--steps", "20", "--out", "o"],
    "lesson": ["noising", "--run", "bundled", "--out", "o"],
    "train": ["--steps", "100000", "--batch-size", "2", "--device", "cpu", "--checkpoint-every", "20", "--out", "o"],
}
KINDS = ([signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT])
LONGEST = 2.0
"""Seconds until the first signal, at most."""
LEFTOVER = re.compile(r"\..+\.(tmp|old)|\.probe-.*|\..+\.zarr\.lock")


def trial(folder: Path, name: str, signals: list[signal.Signals], pause: float) -> dict[str, object]:
    """Run a command in a child, and signal it after ``pause`` seconds; return what became of it."""
    folder.mkdir()
    ready, is_ready = os.pipe()
    child = os.fork()
    if not child:

        def command() -> int:
            os.write(is_ready, b"1")  # signals are handled from here on
            return cli.main([name, *COMMANDS[name]])

        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT)
        for descriptor in (1, 2):
            os.dup2(said, descriptor)
        code = stopping.run_stoppable(command)
        sys.stderr.flush()
        os._exit(code)
    os.read(ready, 1)
    time.sleep(pause)
    begun = time.monotonic()
    for number in signals:
        os.kill(child, number)
        time.sleep(0.02)
    status = os.waitpid(child, 0)[1]
    os.close(ready)
    os.close(is_ready)
    left = [str(path.relative_to(folder)) for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]
    return {
        "command": name,
        "signals": [int(number) for number in signals],
        "code": os.waitstatus_to_exitcode(status),
        "seconds": round(time.monotonic() - begun, 2),
        "said": (folder / "said.txt").read_text("utf-8", "replace"),
        "left": left,
    }


def main(folder: Path, trials: int, seed: int, names: list[str]) -> None:
    """Run ``trials`` trials of each command."""
    torch.set_num_threads(1)
    Run.bundled().load_model()  # its modules are loaded once
    draw = random.Random(seed)
    found = []
    for number in range(trials):
        for place, name in enumerate(names):
            signals = KINDS[(number + place) % len(KINDS)]
            found.append(trial(folder / f"{name}-{number}", name, list(signals), draw.uniform(0, LONGEST)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or list(COMMANDS))
