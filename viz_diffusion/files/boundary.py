"""The boundary: every file that comes from outside enters here.

Only regular files of a limited size are read, and every fault that a decoder finds becomes one error type that names
the file. Knows nothing about what the files mean.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffUsageError
from viz_diffusion.files.writing import io_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_TEXT = 2**26
"""Bytes of the largest JSON or text file that is read: 64 MiB."""
LARGEST_FILE = 2**33
"""Bytes of the largest file that is read whole: 8 GiB."""
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,  # zip: a compression that this Python lacks
    RecursionError,
    RuntimeError,  # zip: an encrypted member; the codecs of zarr
    SyntaxError,  # XML
    TypeError,
    ValueError,  # json, unicode and numpy
    zipfile.BadZipFile,
    zlib.error,
)
"""What decoders raise where a file is damaged."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a regular file; a pipe or a device is refused and not waited for.

    Raises
    ------
    VizdiffInputError
        Where the file is missing, is not a regular file, or has more than ``largest`` bytes.
    VizdiffIOError
        Where the system refuses to read it.
    """
    with io_errors("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            raise VizdiffInputError(f"{path} is missing") from None
        except ValueError as error:  # a NUL in the name
            raise VizdiffInputError(f"{str(path)!r} is no path: {error}") from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
                raise VizdiffInputError(f"{path} must be a file, found {kind}")
            if found.st_size > largest:
                raise VizdiffInputError(f"{path} has {found.st_size:,} bytes, and such a file at most {largest:,}")
            with os.fdopen(descriptor, "rb", closefd=False) as handle:
                return handle.read()
        finally:
            os.close(descriptor)


@contextmanager
def damage_named(path: Path | str, mend: str, what: str = "is damaged") -> Iterator[None]:
    """Turn what a decoder raises into one line: ``<path> is damaged (<why>); <mend>``.

    Errors of this package pass as they are.
    """
    try:
        yield
    except VizdiffError:
        raise
    except _FAULTS as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise VizdiffInputError(f"{path} {what} ({why}); {mend}") from error


def parse_json(data: bytes | str) -> Any:
    """Return the value of strict JSON: NaN, infinity and numbers beyond a double's range are refused.

    Raises
    ------
    ValueError, RecursionError
        Where it is not JSON, or nested too deep.
    """
    return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)


def memory_bytes() -> int | None:
    """Return the bytes of memory that this machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no such call
        return None


def require_memory(needed: int, what: str) -> None:
    """Refuse what takes more memory than this machine has.

    Parameters
    ----------
    needed
        Bytes that it takes at least.
    what
        What takes them, as the beginning of a sentence, with the parameter between backticks.

    Raises
    ------
    VizdiffUsageError
        Where the machine has less.
    """
    have = memory_bytes()
    if have is not None and needed > have:
        raise VizdiffUsageError(
            f"{what} takes at least {needed / 2**30:,.0f} GiB of memory, and this machine has {have / 2**30:,.0f} GiB"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond the range of numbers")
    return number


def read_arrays(path: Path, mend: str, largest: int = LARGEST_FILE) -> dict[str, NDArray[Any]]:
    """Return the arrays of a ``.npz`` file, none of which may hold Python objects.

    The size that each header names is compared with the bytes that are there before anything is allocated.

    Raises
    ------
    VizdiffInputError
        Where the file is missing, damaged, or holds more than ``largest`` bytes.
    """
    data = read_regular(path, largest)
    with damage_named(path, mend), zipfile.ZipFile(BytesIO(data)) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > largest:
            raise ValueError(f"its arrays would take {total:,} bytes")
        found = {}
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{member.filename} is no array")
            with archive.open(member) as handle:
                found[member.filename.removesuffix(".npy")] = _read_array(handle, member.file_size)
        return found


def _read_array(handle: Any, size: int) -> NDArray[Any]:
    """Return the array in ``size`` bytes of the .npy format."""
    import numpy as np

    version = np.lib.format.read_magic(handle)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"an array has the format {version}")
    shape, fortran, dtype = read_header[version](handle)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects")
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape}")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != size - handle.tell():
        raise ValueError(f"an array of {wanted:,} bytes is stored in {size - handle.tell():,}")
    values = np.frombuffer(handle.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C").copy()
