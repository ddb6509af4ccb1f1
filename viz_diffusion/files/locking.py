"""Locks that keep other processes out of a folder."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from viz_diffusion.errors import VizdiffIOError, VizdiffLockedError
from viz_diffusion.files.writing import io_errors


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock on ``path``; the system releases it when the process ends, however it ends.

    Raises
    ------
    VizdiffLockedError
        Where another process, or this one, holds it already; the message names the process.
    VizdiffIOError
        Where the system refuses to create or to lock the file.
    """
    with _locked(path) as handle:
        with suppress(OSError):  # the lock holds even where a full disk takes no process number
            handle.write(b" %d\n" % os.getpid())  # Windows locks the first byte, for reading too
            handle.truncate()
        yield


def _locked(path: Path) -> IO[bytes]:
    """Return the lock's file, locked; see :func:`lock`.

    Whoever held the lock may have removed its file after it was opened here. Others then make and lock a new one, so
    a lock counts only where ``path`` still names the file that was locked.
    """
    while True:
        with io_errors("write", path):
            handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            _lock_file(handle, path)
            if sys.platform == "win32" or _is_still(handle, path):  # Windows removes no file that is open
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()


def _lock_file(handle: IO[bytes], path: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK):
            raise VizdiffIOError(f"cannot lock {path}: {error.strerror or error}; choose another `out`") from error
        raise VizdiffLockedError(
            f"{path.parent} is being written by another process{_holder(handle)}; wait for it, or choose another `out`"
        ) from error


def _is_still(handle: IO[bytes], path: Path) -> bool:
    """Return whether a path names the file that is open."""
    try:
        named = os.stat(path)
    except OSError:
        return False
    return os.path.samestat(named, os.fstat(handle.fileno()))


def _holder(handle: IO[bytes]) -> str:
    """Return the number of the process that holds a lock, such as " (123)"; empty where it is unknown."""
    with suppress(OSError, ValueError):
        handle.seek(1)
        return f" ({int(handle.read(20))})"
    return ""
