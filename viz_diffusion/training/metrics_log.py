"""Metrics log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from viz_diffusion.files import io_errors, sync_dir, to_json

METRICS = "metrics.jsonl"
_LOSSES = {"loss": "last loss (one batch)", "heldout_loss": "held-out loss, by quarter of t"}


class Metrics:
    """Appends JSON lines to a file, from a given length on.

    A file that is shorter, as after a loss of power, is kept as far as its lines are whole: it is never filled up.
    """

    def __init__(self, path: Path, length: int) -> None:
        with io_errors("write", path):
            new = not path.exists()
            self._handle = path.open("w+b" if new else "r+b")
            if new:
                sync_dir(path.parent)
            if self._handle.seek(0, os.SEEK_END) < length:
                self._handle.seek(0)
                length = self._handle.read().rfind(b"\n") + 1
            self._handle.truncate(length)
            self._handle.seek(length)
        self._path = path

    def has_evaluation(self, step: int) -> bool:
        """Return whether the network was looked at after this step, as far as the lines can be read."""
        with io_errors("read", self._path):
            self._handle.seek(0)
            lines = self._handle.read().splitlines()  # which leaves it at the end
        return any(_is_evaluation(line, step) for line in lines)

    def write(self, **values: Any) -> None:
        """Append one object."""
        with io_errors("write", self._path):
            self._handle.write((to_json(values) + "\n").encode())
            self._handle.flush()  # so that a run can be watched

    def flush(self) -> int:
        """Flush what was written to disk; return the file's length in bytes."""
        with io_errors("write", self._path):
            self._handle.flush()
            os.fsync(self._handle.fileno())
            return self._handle.tell()

    def close(self) -> None:
        """Close the file."""
        with io_errors("write", self._path):
            self._handle.close()


def _is_evaluation(line: bytes, step: int) -> bool:
    try:
        entry = json.loads(line)
        return "heldout_loss" in entry and entry["step"] == step
    except (ValueError, TypeError, KeyError):
        return False


def lost_metrics(path: Path, length: int) -> str | None:
    """Say how much of the metrics' first ``length`` bytes is not there; None where nothing is missing."""
    found = path.stat().st_size if path.is_file() else 0
    if found >= length:
        return None
    return f"{path} holds {found:,} of the {length:,} bytes that belong to the checkpoint: its last lines are lost"


def last_metrics(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the last step in the metrics, and the last losses in words; nothing where they cannot be read."""
    step = 0
    last: dict[str, Any] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            step = int(entry["step"])
            last |= {name: np.ravel(entry[name]).astype(float) for name in _LOSSES if name in entry}
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        pass  # a line that is being written, or no file yet: what was read so far stands
    return step, [(_LOSSES[name], ", ".join(f"{v:.4f}" for v in values)) for name, values in last.items()]
