"""Creating a file where there is none: of several processes that try at the same time, one succeeds."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from viz_diffusion.files.writing import io_errors
from viz_diffusion.stopping import temporary

_CANNOT_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What link answers where a file system knows no hard links."""


def create_file(path: Path, data: bytes) -> bool:
    """Write a file where there is none, all at once; return False, and write nothing, where there is one.

    Of several processes that create one file at the same time, exactly one gets True, and all others find a whole file.

    Raises
    ------
    VizdiffIOError
        Where the system refuses.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with io_errors("write", path), temporary(new):
        try:
            new.write_bytes(data)
            (os.rename if os.name == "nt" else os.link)(new, path)  # both refuse a name that is taken
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            try:
                with path.open("xb") as handle:
                    handle.write(data)
            except FileExistsError:
                return False
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
    return True
