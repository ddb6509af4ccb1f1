"""Standard output and standard error that never cost a command its work.

Knows nothing about commands.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from viz_diffusion.errors import VizdiffIOError

_NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)
"""Of a pipe or a terminal that was closed at the other end."""


class StandardStream:
    """A text stream in front of stdout or stderr.

    A character that the stream's encoding lacks becomes a question mark. Where nobody reads any more (a closed pipe, a
    closed terminal), the text is dropped and the work goes on.

    Parameters
    ----------
    stream
        The stream.
    is_result
        Whether the text is the command's result: then a full disk is an error.
    """

    def __init__(self, stream: TextIO, *, is_result: bool) -> None:
        self._stream = stream
        self._is_result = is_result
        self._dropped = False
        self._failure: VizdiffIOError | None = None

    def write(self, text: str) -> int:
        """Write text, unless nobody reads it; return its length."""
        with self._dropping_where_nobody_reads():
            if not self._dropped:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError as error:
                    self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        """Hand everything written to the system."""
        with self._dropping_where_nobody_reads():
            if not self._dropped:
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether a terminal shows the text."""
        with suppress(OSError, ValueError):
            return not self._dropped and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _dropping_where_nobody_reads(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._drop()
            if self._is_result and isinstance(error, OSError) and error.errno not in _NOBODY_READS:
                self._failure = VizdiffIOError(f"cannot write the result to stdout: {error.strerror or error}")
        if self._failure is not None:  # each time: a caller that only probes the stream ignores the first one
            raise self._failure

    def _drop(self) -> None:
        """Drop what is not handed to the system yet, and everything from now on."""
        self._dropped = True
        with suppress(OSError, ValueError):
            descriptor = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)  # else the interpreter tries again when it ends, and fails
            os.close(nowhere)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Put a :class:`StandardStream` in front of stdout and stderr within the block.

    Where the process was started without one of them, its text is dropped. The block flushes stdout itself: that is
    where a full disk is noticed.
    """
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        out = StandardStream(before[0] or nowhere, is_result=True)
        err = StandardStream(before[1] or nowhere, is_result=False)
        sys.stdout, sys.stderr = out, err
        try:
            yield
        finally:
            err.flush()
            sys.stdout, sys.stderr = before


def is_unicode(stream: Any) -> bool:
    """Return whether a stream can hold every character: in UTF-8 or its like, or without an encoding at all."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def _open_missing_descriptors() -> None:
    """Open the null device where stdin, stdout or stderr is closed.

    Otherwise the next file that the process opens gets the descriptor, and what a library writes to stderr lands in it.
    """
    if os.name == "nt":
        return
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one
