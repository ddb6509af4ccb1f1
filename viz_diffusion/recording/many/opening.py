"""Opening a store that is read chunk by chunk, with errors in one line that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import damage_named, io_errors
from viz_diffusion.recording.store.places import is_url
from viz_diffusion.recording.store.reader import StoreReader


def open_store(where: str | Path, what: str, mend: str) -> StoreReader:
    """Open a store at a path or a URL.

    Parameters
    ----------
    what
        What it should hold, such as ``samples``.
    mend
        How such a store is made.

    Raises
    ------
    VizdiffInputError
        Where there is no store, or it is damaged.
    VizdiffIOError
        Where the system refuses to read it.
    """
    if not is_url(where) and not Path(where).exists():
        raise VizdiffInputError(f"{where} does not exist; {mend}")
    with io_errors("read", Path(where)), damage_named(where, mend, f"holds no {what}"):
        try:
            return StoreReader(where)
        except VizdiffInputError as error:
            raise VizdiffInputError(f"{where} holds no {what} ({error.marked}); {mend}") from error


@contextmanager
def named_store(name: str) -> Iterator[None]:
    """Name the store in what is raised while its chunks are read."""
    with io_errors("read", Path(name)), damage_named(name, "`resume` makes damaged blocks again"):
        try:
            yield
        except VizdiffInputError as error:
            raise VizdiffInputError(
                f"{name} is damaged ({error.marked}); `resume` makes damaged blocks again"
            ) from error
