"""Ctrl-C, SIGTERM and SIGHUP end a command: its exit code, nothing left half-written, and no traceback.

The first signal raises ``KeyboardInterrupt``, so that everything that is open is closed. It is heeded between two steps
of the interpreter. A second one ends the process at once, also within one long step of a library: a thread reads the
signals, and removes the temporary files first. Imports nothing but the standard library, since signals may come while
the other modules are loaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

MOVING = threading.RLock()
"""Held while a folder takes the place of another: the process does not end in between."""
_temporaries: set[str] = set()
_ending = threading.Event()
_leaving = threading.Event()
_HANGUP = getattr(signal, "SIGHUP", None)
_NUMBERS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None)
_received: list[int] = []
"""The first signal that ended the command."""


def run_stoppable(command: Callable[[], int]) -> int:
    """Run a command so that signals end it; return its exit code, 128 and the signal's number where one came.

    Signals that come after its end change nothing. SIGHUP stays ignored where it was (``nohup``).
    """
    code = 1
    try:
        try:
            _handle_signals()
            code = command()
        finally:
            _ignore_signals()
    except KeyboardInterrupt:
        _ignore_signals()
        code = stopped_code()
    remove_temporaries()
    if _leaving.is_set():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def leave_at_once() -> None:
    """Let the process end after the command without the clean-up of libraries, which may wait or abort."""
    _leaving.set()


def was_stopped() -> bool:
    """Return whether a signal has ended the command."""
    return bool(_received)


def stopped_code() -> int:
    """Return the exit code of a command that a signal ended; that of Ctrl-C where none is known."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def temporary(path: str | os.PathLike[str]) -> Iterator[None]:
    """Remove a file or folder where the process ends within the block; the block itself removes it otherwise."""
    if _ending.is_set():
        time.sleep(60)  # the process ends meanwhile
    _temporaries.add(os.fspath(path))
    try:
        yield
    finally:
        if not os.path.lexists(path):  # a signal may have kept the block from removing it
            _temporaries.discard(os.fspath(path))


def remove_temporaries() -> None:
    """Remove the temporary files and folders that are there."""
    for path in list(_temporaries):
        for _ in range(3):  # another thread may write to a folder meanwhile
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            os.unlink(path)


def _handle_signals() -> None:
    if os.name != "nt":
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        threading.Thread(target=_watch, args=(reads,), name="vizdiff signals", daemon=True).start()
        signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    sys.unraisablehook = _end_where_lost
    for number in _NUMBERS:
        if not (number == _HANGUP and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, _raise)


def _raise(number: int, _: FrameType | None) -> None:
    """Raise at the first signal; where there is no thread that reads them, end the process at the second."""
    if not _received:
        _received.append(number)
        raise KeyboardInterrupt
    if os.name == "nt":
        _end_at_once(number)


def _watch(reads: int) -> None:
    """End the process at the second signal; a hangup is none, since shell and system send one each."""
    first = True
    while data := os.read(reads, 1):
        if first:
            first = False
        elif data[0] != _HANGUP:
            _end_at_once(data[0])


def _end_where_lost(lost: Any) -> None:
    """End the process where ``KeyboardInterrupt`` was raised in a place that lets no error through."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _end_at_once(stopped_code() - 128)
    sys.__unraisablehook__(lost)


def _end_at_once(number: int) -> None:
    _ending.set()
    MOVING.acquire(timeout=2)
    remove_temporaries()
    os._exit(128 + (_received[0] if _received else number))


def _ignore_signals() -> None:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
