"""Atomic writes, locks, checksums and strict JSON.

A file is either complete or absent. Knows nothing about what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffIOError, VizdiffLockedError

MANIFEST_VERSION = 1
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(tmp|old)|\.probe-[0-9a-f]{8}")
"""Temporary names: of :func:`atomic_write`, :func:`atomic_dir`, :func:`remove_dir` and :func:`make_dir`."""


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    return path


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


def sync_dir(path: Path) -> None:
    """Flush a folder's entry list to disk, where the system lets a folder be opened (not on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path, *, sync: bool = True, sync_folder: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary handle whose bytes become ``path`` all at once, or not at all.

    Writes to a temporary file in the same folder, flushes it to disk (``sync``), renames it over ``path`` and
    flushes the folder (``sync_folder``). Without a flush the file is safe from a kill, but not from a power cut.
    On any failure the temporary file is removed and ``path`` is as it was.

    Raises
    ------
    VizdiffIOError
        Where the system refuses (no space, no permission, read-only).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with io_errors("write", path):
        try:
            with temporary.open("xb") as handle:
                yield handle
                handle.flush()
                if sync:
                    os.fsync(handle.fileno())
            os.replace(temporary, path)
            if sync_folder:
                sync_dir(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error.

    A folder already at ``path`` is kept until the new one is complete, and then replaced.

    Raises
    ------
    VizdiffIOError
        Where the system refuses, or ``path`` is a file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    retired = temporary.with_suffix(".old")
    if path.exists() and not path.is_dir():
        raise VizdiffIOError(f"cannot write {path}: a file is in the place of the folder")
    with io_errors("write", path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                os.replace(path, retired)
            os.replace(temporary, path)
            sync_dir(path.parent)
        except BaseException:
            if retired.exists() and not path.exists():
                with suppress(OSError):
                    os.replace(retired, path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(retired, ignore_errors=True)


def remove_dir(path: Path) -> None:
    """Remove a folder: rename it, then delete it; what a kill in between leaves, :func:`sweep` removes.

    Raises
    ------
    VizdiffIOError
        Where the system refuses.
    """
    retired = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    with io_errors("remove", path):
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
    with io_errors("write", path):
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    with handle:
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
                f"{path.parent} is being written by another process{_holder(handle)}; wait for it, or choose "
                "another `out`"
            ) from error
        with suppress(OSError):  # the lock holds even where a full disk takes no process number
            handle.write(b" %d\n" % os.getpid())  # Windows locks the first byte, for reading too
            handle.truncate()
        yield


def _holder(handle: IO[bytes]) -> str:
    """Return the number of the process that holds a lock, such as " (123)"; empty where it is unknown."""
    with suppress(OSError, ValueError):
        handle.seek(1)
        return f" ({int(handle.read(20))})"
    return ""


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
            os.fsync(handle.fileno())


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinity raise ``ValueError``, Unicode is kept, lone surrogates are escaped."""
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_bytes(path, (to_json(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises
    ------
    VizdiffInputError
        Where the file is missing, is not JSON, or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VizdiffInputError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise VizdiffInputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise VizdiffInputError(f"{path} must hold a JSON object, found {type(value).__name__}")
    return value


def write_manifest(folder: Path, names: list[str]) -> dict[str, str]:
    """Write ``manifest.json``, the SHA-256 of each named file; written last, it marks a folder as complete."""
    digests = {name: sha256_file(folder / name) for name in names}
    write_json(folder / "manifest.json", {"format_version": MANIFEST_VERSION, "sha256": digests})
    return digests


def read_checked(folder: Path, name: str) -> tuple[bytes, str]:
    """Read a file of a folder with a manifest; return its bytes and SHA-256.

    Raises
    ------
    VizdiffInputError
        Where the file is missing or is not what was written.
    """
    path, manifest_path = folder / name, folder / "manifest.json"
    manifest = read_json(manifest_path)
    version = manifest.get("format_version")
    if version != MANIFEST_VERSION:
        raise VizdiffInputError(f"{manifest_path}: expected format_version {MANIFEST_VERSION}, found {version}")
    digests = manifest.get("sha256")
    expected = digests.get(name) if isinstance(digests, dict) else None
    if not isinstance(expected, str):
        raise VizdiffInputError(f"{manifest_path} holds no SHA-256 of {name}; choose another `run`")
    with io_errors("read", path):
        if not path.is_file():
            raise VizdiffInputError(f"{path} is missing: the run is half-written; train again or choose another `run`")
        data = path.read_bytes()
    digest = sha256_bytes(data)
    if digest != expected:
        raise VizdiffInputError(
            f"{path} is not what was written: SHA-256 {digest[:12]}…, expected {expected[:12]}…; "
            "restore it or choose another `run`"
        )
    return data, digest
