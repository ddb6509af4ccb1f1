"""Locks whose file is removed by whoever holds them: two processes are never in one together."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from viz_diffusion.errors import VizdiffLockedError
from viz_diffusion.files import lock

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="an open file is removed on POSIX only")


def test_a_lock_whose_file_was_removed_while_another_waited_keeps_everybody_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ends and unlinks while B has the file open; B must not lock the file that nobody can find any more."""
    path, opened = tmp_path / ".lock", []
    real = os.open

    def open_and_lose(name: Any, *given: Any) -> int:
        descriptor = real(name, *given)
        if Path(name) == path and not opened:
            opened.append(descriptor)
            path.unlink()  # A ends here, between B's open and B's lock
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    with lock(path):
        assert path.exists()
        with pytest.raises(VizdiffLockedError), lock(path):
            pass
    assert len(opened) == 1


def _hold(path: str, counter: str, rounds: int) -> None:
    """Take the lock again and again; within it, count up a file by reading and writing it."""
    done = 0
    while done < rounds:
        try:
            with lock(Path(path)):
                number = int(Path(counter).read_text())
                Path(counter).write_text(str(number + 1))
                Path(path).unlink()
            done += 1
        except VizdiffLockedError:
            continue


@POSIX
def test_two_processes_that_remove_the_lock_are_never_in_it_together(tmp_path: Path) -> None:
    path, counter = tmp_path / ".lock", tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hold, args=(str(path), str(counter), 150)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counter.read_text() == "300"
