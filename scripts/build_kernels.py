"""Compile ``viz_diffusion/live/kernels.c`` to ``kernels.wasm``, and write the SHA-256 of both beside it.

Example: python -m pip install ziglang==0.15.2 && python scripts/build_kernels.py

Another version of zig makes other bytes. With ``--check`` nothing is written: it fails where the bytes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

LIVE = Path(__file__).parents[1] / "viz_diffusion" / "live"
ZIG = "0.15.2"
FLAGS = (
    "--target=wasm32-freestanding",
    "-mcpu=generic+simd128",
    "-O3",
    "-nostdlib",
    "-fno-builtin",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,--no-entry",
    "-Wl,--export=__heap_base",
    "-Wl,--strip-all",
)


def compile_kernels(source: bytes) -> bytes:
    """Return the WebAssembly module of a source."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernels.c").write_bytes(source)
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", "kernels.wasm", "kernels.c"]
        subprocess.run(command, cwd=folder, check=True)
        return (Path(folder) / "kernels.wasm").read_bytes()


def main() -> None:
    """Compile and write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="Compare the bytes; write nothing.")
    check = parser.parse_args().check
    if version("ziglang") != ZIG:
        sys.exit(f"build_kernels needs ziglang {ZIG}, found {version('ziglang')}")
    source = (LIVE / "kernels.c").read_bytes()
    binary = compile_kernels(source)
    if check:
        if binary != (LIVE / "kernels.wasm").read_bytes():
            sys.exit("kernels.wasm is not what kernels.c compiles to")
        return
    (LIVE / "kernels.wasm").write_bytes(binary)
    facts = {
        "command": "python scripts/build_kernels.py",
        "compiler": f"ziglang {ZIG}, zig cc {' '.join(FLAGS)}",
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "sha256": hashlib.sha256(binary).hexdigest(),
        "bytes": len(binary),
    }
    (LIVE / "kernels.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
