"""The folders in which studies are kept, in the cache folder, and how they are kept small.

Knows nothing about what the files in them mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from viz_diffusion.errors import VizdiffIOError, VizdiffLockedError
from viz_diffusion.files import cache_dir, lock, remove_dir, sweep

MOST_BYTES = 1_000_000_000
"""Studies take at most this much of the disk, apart from the last one: about 30 studies of MNIST digits."""
_LOCK = ".lock"


def studies_dir() -> Path:
    """Return the folder of all kept studies.

    It is in the cache folder, and not beside the run: the bundled run lies where packages are installed, which may be
    read-only, and a run's folder holds what its manifest lists. A cache may be deleted at any time.
    """
    return cache_dir() / "studies"


def make_private(folder: Path) -> None:
    """Create a study's folder; no other user can read what is in it, since it may show images of one's own."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def mark_used(folder: Path) -> None:
    """Note that a study was used now: it is removed after those that were not used for longer."""
    with suppress(OSError):
        os.utime(folder)


def trim(newest: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove the studies that were not used for the longest, until the rest takes at most ``most_bytes``.

    Where another process is removing studies, or the system refuses, nothing is removed.

    Parameters
    ----------
    newest
        The folder of the study that is used now; it stays, whatever its size.
    """
    root = newest.parent
    with suppress(VizdiffLockedError, VizdiffIOError, OSError), lock(root / _LOCK):
        sweep(root)
        folders = sorted(_folders(root), key=lambda folder: folder.stat().st_mtime, reverse=True)
        left = most_bytes - size_of(newest)
        for folder in (one for one in folders if one != newest):
            left -= size_of(folder)
            if left < 0:
                remove_dir(folder)


def size_of(folder: Path) -> int:
    """Return how many bytes the files in a folder have."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # another process has just removed it
            total += path.stat().st_size if path.is_file() else 0
    return total


def kept_studies() -> tuple[int, int]:
    """Return how many studies are kept, and how many bytes they have."""
    folders = list(_folders(studies_dir()))
    return len(folders), sum(map(size_of, folders))


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
