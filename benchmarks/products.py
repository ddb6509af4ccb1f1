"""Time the first and the second product of a study, and other versions of the program in turns with this one.

    python benchmarks/products.py [--repeats 3] [--versions NAME=FOLDER ...]

Each command runs cold, in a process of its own, with a cache folder of its own for each repeat and version; nothing
else should run meanwhile. A FOLDER is a checkout of another version, such as ``git worktree add`` makes. Prints wall
and processor seconds; the targets are for the second product.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
_STUDY = ["--digit", "5", "--seed", "1", "--run", "bundled"]
PRODUCTS = (
    ("report, the first product", ["report", *_STUDY, "--out", "first.html"], None),
    ("report, again", ["report", *_STUDY, "--out", "again.html"], 8.0),
    ("deck, second product", ["deck", *_STUDY, "--out", "deck.pptx"], 6.0),
    ("worksheet, second product", ["worksheet", *_STUDY, "--out", "worksheet"], 6.0),
    ("export of a kept figure", ["export", "--figure", "ledger", *_STUDY, "--out", "ledger.png"], 6.0),
    ("export of a figure that ships", ["export", "--figure", "guidance", *_STUDY, "--out", "guidance.png"], 6.0),
)


def seconds(argv: list[str], folder: Path, version: Path) -> tuple[float, float]:
    """Return wall and processor seconds of one run of one version."""
    environment = os.environ | {"PYTHONPATH": str(version), "XDG_CACHE_HOME": str(folder / "cache")}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "viz_diffusion", *argv]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time every product of every version and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--versions", nargs="*", default=[], metavar="NAME=FOLDER")
    options = parser.parse_args()
    versions = {"this": HERE} | {
        name: Path(folder) for name, _, folder in (one.partition("=") for one in options.versions)
    }
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            folders = {name: Path(folder) / name for name in versions}
            for made in folders.values():
                made.mkdir()
            for product, argv, _ in PRODUCTS:
                for name, version in versions.items():  # in turns: the machine's own speed drifts
                    found.setdefault((product, name), []).append(seconds(argv, folders[name], version))
    print(f"{os.cpu_count()} cores, median of {options.repeats}\n")
    print("| product | version | wall | processor | target |\n|---|---|---|---|---|")
    for product, _, target in PRODUCTS:
        for name in versions:
            wall, processor = (statistics.median(column) for column in zip(*found[product, name], strict=True))
            shown = "" if target is None else f"at most {target:g}"
            print(f"| {product} | {name} | {wall:.1f} | {processor:.1f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
