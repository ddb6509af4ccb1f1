"""Where the files of a store lie: a folder, or any URL that fsspec knows (``s3://…``, ``memory://…``).

Knows keys and bytes, and nothing about arrays.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffError, VizdiffIOError, VizdiffLockedError, VizdiffUsageError
from viz_diffusion.files import atomic_write, create_file, follow, io_errors, lock, read_regular, remove_dir
from viz_diffusion.stopping import temporary

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
_TEMPORARY = ".block-"
_OLD_SECONDS = 3600
"""Age of a temporary file that no running process is writing."""


def is_url(where: str | Path) -> bool:
    """Return whether a place is a URL, and not a path."""
    return _URL.match(str(where)) is not None


class StorePlace:
    """The files of one store, by key, such as ``images/c.0.0.0.0``; a file is there whole or not at all.

    Parameters
    ----------
    where
        A folder, which need not exist, or an fsspec URL.

    Raises
    ------
    VizdiffUsageError
        Where no installed package knows the URL.
    """

    def __init__(self, where: str | Path) -> None:
        self.name = str(where)
        self._fs: Any = None
        self._root = self.name
        if self.name.startswith("file://"):
            self._root = self.name.removeprefix("file://")
        elif is_url(where):
            from fsspec.core import url_to_fs

            try:
                self._fs, self._root = url_to_fs(self.name)
            except (ImportError, ValueError) as error:  # the package of the protocol is missing, or there is none
                raise VizdiffUsageError(f"{self.name} cannot be opened: {_line(error)}") from error

    @property
    def folder(self) -> Path | None:
        """The store's folder; None of a URL."""
        return Path(self._root) if self._fs is None else None

    def read(self, key: str) -> bytes | None:
        """Return a file's bytes; None where it is missing."""
        if self._fs is None:
            path = Path(self._root) / key
            return read_regular(path) if path.is_file() else None
        with self._errors("read", key):
            try:
                return bytes(self._fs.cat_file(self._path(key)))
            except FileNotFoundError:
                return None

    def write(self, key: str, data: bytes, *, sync: bool = False) -> None:
        """Write a file, in place of the one that is there."""
        if self._fs is None:
            path = Path(self._root) / key
            with io_errors("write", path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, sync=sync, sync_folder=sync) as handle:
                handle.write(data)
            return
        url = self._path(key)
        with self._errors("write", key):
            try:
                self._fs.pipe_file(url, data)
            except FileNotFoundError:  # a file system with folders
                self._fs.makedirs(url.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(url, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write a file where there is none; return whether it was written. Of several processes, one writes it.

        At a URL this holds as far as the package of the protocol can refuse a name that is taken.
        """
        if self._fs is None:
            path = Path(self._root) / key
            with io_errors("write", path):
                path.parent.mkdir(parents=True, exist_ok=True)
            return create_file(path, data)
        try:
            self._fs.pipe_file(self._path(key), data, mode="create")
        except FileExistsError:
            return False
        except Exception:  # no folder yet, or a service that cannot refuse a name that is taken
            if self.read(key) is not None:
                return False
            self.write(key, data)
        return True

    def take(self, file: Path, key: str) -> None:
        """Move a file of :meth:`block_folder` to its place, in one step, instead of the one that is there."""
        if self._fs is not None:
            self.write(key, file.read_bytes())
            return
        path = Path(self._root) / key
        with io_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, path)

    def names(self, folder: str) -> set[str]:
        """Return the names of what lies in a folder; none where it is missing."""
        if self._fs is None:
            path = Path(self._root) / folder
            with io_errors("read", path):
                return set(os.listdir(path)) if path.is_dir() else set()
        with self._errors("read", folder):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return set()
            return {str(one).rstrip("/").rpartition("/")[2] for one in found}

    def remove(self) -> None:
        """Remove everything of the store."""
        if self._fs is None:
            folder = follow(Path(self._root))
            try:
                remove_dir(folder)
            except VizdiffIOError:  # a mount point cannot be renamed
                with io_errors("remove", folder):
                    for name in os.listdir(folder):
                        path = folder / name
                        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            return
        with self._errors("remove", ""):
            self._fs.rm(self._root, recursive=True)

    @contextmanager
    def block_folder(self) -> Iterator[Path]:
        """Give an empty folder for a block that is being made; it is removed at the end, also by a signal.

        For a store on disk it lies inside the store, so that its files can be moved in one step. Those that killed
        processes left are removed: a process holds a lock on its own.
        """
        if self._fs is not None:
            with tempfile.TemporaryDirectory(prefix="vizdiff-block-") as folder, temporary(folder):
                yield Path(folder)
            return
        with ExitStack() as stack:
            yield self._locked_folder(stack)

    def sweep(self) -> None:
        """Remove what killed processes left: folders of blocks that no process locks, and old temporary files."""
        if self._fs is not None:
            return
        for file in Path(self._root).glob("**/.*.tmp"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > _OLD_SECONDS:
                    file.unlink()
        for folder in Path(self._root).glob(f"{_TEMPORARY}*"):
            with suppress(VizdiffLockedError, VizdiffIOError), lock(folder / ".lock"):
                shutil.rmtree(folder, ignore_errors=True)

    def _locked_folder(self, stack: ExitStack) -> Path:
        """Return a new folder in the store, locked; another process may take it for a dead one's until it is."""
        for attempt in range(9):
            with io_errors("write", Path(self._root)):
                Path(self._root).mkdir(parents=True, exist_ok=True)
                folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._root))
            stack.enter_context(temporary(folder))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                stack.enter_context(lock(folder / ".lock"))
                inner = folder / "store"
                with io_errors("write", inner):
                    inner.mkdir()
            except (VizdiffLockedError, VizdiffIOError):
                if attempt == 8:
                    raise
            else:
                break
        return inner

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        """Turn whatever a file system of fsspec raises into one line."""
        try:
            yield
        except (VizdiffError, KeyboardInterrupt):
            raise
        except Exception as error:  # each cloud package has errors of its own
            raise VizdiffIOError(f"cannot {action} {self.name.rstrip('/')}/{key}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
