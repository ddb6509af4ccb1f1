"""Time what a user waits for, cold, each in a process of its own, and print a table.

    python benchmarks/speed.py [--repeats 3]

Nothing else should run meanwhile. Prints the median of the repeats beside the target; it is a benchmark that
prints figures, not a test that fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (
    ("vizdiff --help", ["--help"], 0.3),
    ("vizdiff trajectory --digit 5", ["trajectory", "--digit", "5", "--run", "bundled", "--out", "{out}/t"], 15),
    ("vizdiff report", ["report", "--run", "bundled", "--out", "{out}/report.html"], 60),
    ("vizdiff embeddings", ["embeddings", "--run", "bundled", "--out", "{out}/e"], None),
    ("vizdiff forward", ["forward", "--out", "{out}/f"], None),
)


def seconds(argv: list[str], folder: Path) -> float:
    """Return the wall time of one run."""
    filled = [word.format(out=folder) for word in argv]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "viz_diffusion", *filled], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Time every command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, median of {repeats}\n")
    print("| command | seconds | target |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, argv, target in COMMANDS:
            took = statistics.median(seconds(argv, Path(folder)) for _ in range(repeats))
            print(f"| `{name}` | {took:.2f} | {'' if target is None else f'under {target:g}'} |", flush=True)


if __name__ == "__main__":
    main()
