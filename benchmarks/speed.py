"""Time what a user waits for, cold, each in a process of its own, and print a table.

    python benchmarks/speed.py [--repeats 3]
    python benchmarks/speed.py --encoders reports/report.html

Nothing else should run meanwhile. Prints the median of the repeats beside the target; it is a benchmark that
prints figures, not a test that fails. With ``--encoders`` a report's own pictures are encoded again under several
settings, and what each costs in processor time and bytes is printed: that holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

FIGURE_WIDTH = 3200
_RECORDED = ["--run", "bundled", "--trajectory", "{out}/t"]
COMMANDS = (
    ("vizdiff --help", ["--help"], 0.3),
    ("vizdiff trajectory --digit 5", ["trajectory", "--digit", "5", "--run", "bundled", "--out", "{out}/t"], 15),
    ("vizdiff report", ["report", "--run", "bundled", "--out", "{out}/report.html"], 60),
    ("vizdiff report --trajectory, the first time", ["report", *_RECORDED, "--out", "{out}/first.html"], None),
    ("vizdiff report --trajectory, again", ["report", *_RECORDED, "--out", "{out}/again.html"], 10),
    ("vizdiff embeddings", ["embeddings", "--run", "bundled", "--out", "{out}/e"], None),
    ("vizdiff forward", ["forward", "--out", "{out}/f"], None),
)


def seconds(argv: list[str], folder: Path) -> float:
    """Return the wall time of one run."""
    filled = [word.format(out=folder) for word in argv]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "viz_diffusion", *filled], check=True, capture_output=True)
    return time.perf_counter() - begun


ENCODERS = ((4, 100), (4, 20), (1, 100), (1, 80), (1, 50), (1, 20), (0, 80), (0, 20))
"""Method and effort of lossless WebP."""


def compare_encoders(report: Path) -> None:
    """Encode a report's figures and sprite sheets under every setting and print bytes and processor time."""
    found = dict.fromkeys(re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", report.read_text(encoding="utf-8")))
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB") for text in found]
    figures = [picture for picture in pictures if picture.width == FIGURE_WIDTH]
    kinds = {"figures": figures, "sprites": [picture for picture in pictures if picture not in figures]}
    print("| pictures | method | effort | kB | processor seconds |\n|---|---|---|---|---|")
    for kind, chosen in kinds.items():
        for method, effort in ENCODERS:
            size, begun = 0, time.process_time()
            for picture in chosen:
                buffer = io.BytesIO()
                picture.save(buffer, "WEBP", lossless=True, method=method, quality=effort)
                size += len(buffer.getvalue())
            took = time.process_time() - begun
            print(f"| {len(chosen)} {kind} | {method} | {effort} | {size / 1e3:.0f} | {took:.2f} |", flush=True)


def main() -> None:
    """Time every command and print the table, or compare encoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoders", type=Path, metavar="REPORT.html")
    options = parser.parse_args()
    if options.encoders is not None:
        compare_encoders(options.encoders)
        return
    repeats = options.repeats
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, median of {repeats}\n")
    print("| command | seconds | target |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, argv, target in COMMANDS:
            once = "the first time" in name  # a recording is made with its companions once
            took = statistics.median(seconds(argv, Path(folder)) for _ in range(1 if once else repeats))
            print(f"| `{name}` | {took:.2f} | {'' if target is None else f'under {target:g}'} |", flush=True)


if __name__ == "__main__":
    main()
