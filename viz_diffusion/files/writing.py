"""Writing of files and folders: complete or absent, also through links, to mount points and on odd file systems."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from viz_diffusion.errors import VizdiffError, VizdiffIOError
from viz_diffusion.stopping import MOVING, temporary

_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What fsync answers where a file system knows no flushing."""
_CANNOT_RENAME = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""What rename answers for a mount point, or for a folder whose parent is read-only."""
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(tmp|old)|\.probe-[0-9a-f]{8}")
"""Temporary names: of :func:`atomic_write`, :func:`atomic_dir`, :func:`remove_dir` and :func:`make_dir`."""
_MADE: ContextVar[list[Path] | None] = ContextVar("made", default=None)
"""The folders made within :func:`empty_dirs_removed`, parents first."""


@contextmanager
def io_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into one line: ``cannot <action> <path>: <the system's reason>``."""
    try:
        yield
    except VizdiffError:
        raise
    except OSError as error:
        raise VizdiffIOError(f"cannot {action} {path}: {error.strerror or error}") from error


def make_dir(path: Path) -> Path:
    """Create a folder and its parents where they are missing; return it.

    Raises
    ------
    VizdiffIOError
        Where the folder cannot be made or cannot be written to.
    """
    with io_errors("write to folder", path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        made = _MADE.get()
        if made is not None:
            made.extend(reversed(missing))
        probe = path / f".probe-{secrets.token_hex(4)}"
        with temporary(probe):
            probe.touch()
            probe.unlink()
    return path


@contextmanager
def empty_dirs_removed() -> Iterator[None]:
    """Remove the folders that :func:`make_dir` makes within the block and that are empty, where the block fails."""
    made: list[Path] = []
    token = _MADE.set(made)
    try:
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise
    finally:
        _MADE.reset(token)


def make_parent(path: Path) -> None:
    """Create the folder that a file is to be written to, where it is missing.

    Raises
    ------
    VizdiffIOError
        Where it cannot be made or written to, or there is a folder with the file's name.
    """
    make_dir(path.parent)
    if path.is_dir():
        raise VizdiffIOError(f"cannot write {path}: a folder is in the place of the file")


def sync_file(descriptor: int) -> None:
    """Flush a file to disk, where its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def sync_dir(path: Path) -> None:
    """Flush a folder's list of entries to disk, where the system and its file system can.

    A folder cannot be flushed on Windows, on some network and FUSE file systems, or where it may not be listed. Its
    files are whole all the same; only after a loss of power their names may be missing.
    """
    if os.name == "nt":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (*_CANNOT_FLUSH, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR):
            raise


@contextmanager
def atomic_write(path: Path, *, sync: bool = True, sync_folder: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary handle whose bytes become ``path`` all at once, or not at all.

    Writes to a temporary file in the same folder, flushes it to disk (``sync``), renames it over ``path`` and
    flushes the folder (``sync_folder``). Without a flush the file is safe from a kill, but not from a power cut.
    On any failure the temporary file is removed and ``path`` is as it was. Where ``path`` is a link, the file that it
    points to is written; where it is a mount point, its content is replaced, once the whole file is on the disk.

    Raises
    ------
    VizdiffIOError
        Where the system refuses (no space, no permission, read-only).
    """
    path = follow(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with io_errors("write", path), temporary(new):
        try:
            with new.open("xb") as handle:
                yield handle
                handle.flush()
                if sync:
                    sync_file(handle.fileno())
            try:
                os.replace(new, path)
            except OSError as error:
                if error.errno not in _CANNOT_RENAME or not path.is_file():
                    raise
                shutil.copyfile(new, path)
            if sync_folder:
                sync_dir(path.parent)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error.

    A folder already at ``path`` is kept until the new one is complete, and then replaced (:func:`replace_dir`). Where
    ``path`` is a link, the folder that it points to is replaced.

    Raises
    ------
    VizdiffIOError
        Where the system refuses, or ``path`` is a file.
    """
    path = follow(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    if path.exists() and not path.is_dir():
        raise VizdiffIOError(f"cannot write {path}: a file is in the place of the folder")
    with io_errors("write", path), temporary(new), temporary(path / new.name):
        try:
            new.mkdir(parents=True)
        except OSError:
            if not path.is_dir():
                raise
            new = path / new.name  # a mount point in a folder that is read-only
            new.mkdir()
        try:
            yield new
            replace_dir(new, path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def follow(path: Path) -> Path:
    """Return the place that a link points to, whether there is anything or not; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def replace_dir(new: Path, path: Path) -> None:
    """Rename the folder ``new`` to ``path``; a folder already there is removed once the new one has its place.

    A mount point, and a folder of a container's image, cannot be renamed: their content is exchanged instead. On any
    failure what was at ``path`` is there again.
    """
    retired = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    with MOVING:
        try:
            try:
                if new.parent == path:
                    raise OSError(errno.EBUSY, "inside the folder that it is to replace")
                if path.exists():
                    os.replace(path, retired)
            except OSError as error:
                if error.errno not in _CANNOT_RENAME:
                    raise
                _replace_content(new, path)
                return
            os.replace(new, path)
        except BaseException:
            if retired.exists() and not path.exists():
                with suppress(OSError):
                    os.replace(retired, path)
            raise
    with temporary(retired):
        sync_dir(path.parent)
        shutil.rmtree(retired, ignore_errors=True)


def _replace_content(new: Path, path: Path) -> None:
    """Exchange what is in the folder ``path`` for what is in ``new``, entry by entry."""
    arriving, retired = path / new.name, path / f".{path.name}.{secrets.token_hex(4)}.old"
    if new != arriving:
        shutil.move(new, arriving)  # copies where it is another disk, before anything is replaced
    moves: list[tuple[Path, Path]] = []
    try:
        retired.mkdir()
        leaving = [entry for entry in path.iterdir() if entry not in (arriving, retired)]
        moves_wanted = [(entry, retired / entry.name) for entry in leaving]
        moves_wanted += [(entry, path / entry.name) for entry in arriving.iterdir()]
        for source, target in moves_wanted:
            os.replace(source, target)
            moves.append((source, target))
    except BaseException:
        for source, target in reversed(moves):
            with suppress(OSError):
                os.replace(target, source)
        shutil.rmtree(arriving, ignore_errors=True)
        with suppress(OSError):
            retired.rmdir()
        raise
    sync_dir(path)
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.rmtree(retired, ignore_errors=True)


def remove_dir(path: Path) -> None:
    """Remove a folder: rename it, then delete it; what a kill in between leaves, :func:`sweep` removes.

    Raises
    ------
    VizdiffIOError
        Where the system refuses.
    """
    retired = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    with io_errors("remove", path), temporary(retired):
        os.replace(path, retired)
        shutil.rmtree(retired)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed writers left in ``folder``, under a :func:`lock`."""
    for path in folder.glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            with io_errors("remove", path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_write(path) as handle:
        handle.write(data)


def append_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Append ``data`` to a file, created where it is missing, and flush it to disk (``sync``)."""
    with io_errors("write", path), path.open("ab") as handle:
        handle.write(data)
        handle.flush()
        if sync:
            sync_file(handle.fileno())
