"""The metrics log: training loss, learning rate and held-out loss of a run, as JSON lines."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from viz_diffusion.files import LARGEST_TEXT, io_errors, parse_json, read_regular, sync_dir, sync_file, to_json

METRICS = "metrics.jsonl"
_LOSSES = {"loss": "last loss (one batch)", "heldout_loss": "held-out loss, by quarter of t"}


class MetricsLog:
    """Writes JSON lines to a file.

    Parameters
    ----------
    path
        The file; created if it is missing.
    length
        Bytes to keep; what follows is cut off. A shorter file, as after a power failure, keeps its complete lines.
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
        """Return whether the log holds the held-out loss after this step; lines that are not JSON are skipped."""
        return any(_is_evaluation(line, step) for line in self._lines())

    def last_number(self, name: str, default: int) -> int:
        """Return the last whole number that the log holds under a name; lines that are not JSON are skipped."""
        for line in reversed(self._lines()):
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                return int(parse_json(line)[name])
        return default

    def _lines(self) -> list[bytes]:
        """Return all lines; reading ends at the end of the file, where lines are appended."""
        with io_errors("read", self._path):
            self._handle.seek(0)
            return self._handle.read().splitlines()

    def write(self, **values: Any) -> None:
        """Append one JSON object."""
        with io_errors("write", self._path):
            self._handle.write((to_json(values) + "\n").encode())
            self._handle.flush()  # so that other programs can follow the run

    def flush(self) -> int:
        """Flush the file to disk; return its length in bytes."""
        with io_errors("write", self._path):
            self._handle.flush()
            sync_file(self._handle.fileno())
            return self._handle.tell()

    def close(self) -> None:
        """Close the file."""
        with io_errors("write", self._path):
            self._handle.close()


def _is_evaluation(line: bytes, step: int) -> bool:
    try:
        entry = parse_json(line)
        return "heldout_loss" in entry and entry["step"] == step
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def lost_metrics(path: Path, length: int) -> str | None:
    """Return a message that says how many of the first ``length`` bytes are missing; None if none are."""
    found = path.stat().st_size if path.is_file() else 0
    if found >= length:
        return None
    return f"{path} holds {found:,} of the {length:,} bytes that belong to the checkpoint: its last lines are lost"


def last_metrics(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the last step of a log, and the name and value of its last losses as text.

    A missing file gives step 0 and no losses. Reading ends at the first line that is not complete.
    """
    step = 0
    last: dict[str, Any] = {}
    try:
        for line in read_regular(path, LARGEST_TEXT).decode().splitlines():
            entry = parse_json(line)
            step = int(entry["step"])
            last |= {name: np.ravel(entry[name]).astype(float) for name in _LOSSES if name in entry}
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
        pass  # no file yet, or a line that is being written
    return step, [(_LOSSES[name], ", ".join(f"{v:.4f}" for v in values)) for name, values in last.items()]
