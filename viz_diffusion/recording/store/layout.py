"""Layout of a store: format versions, chunk sizes, file names.

It knows nothing about what the arrays mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1 had neither checksums nor float16, and stores were written all at once."""
CHUNK_SAMPLES, CHUNK_STEPS = 16, 50
"""The largest number of samples and steps in one chunk; a recording is written one chunk at a time."""
SEPARATOR = "."
"""Between the numbers in a chunk's file name; zarr's default, ``/``, would make four folders a chunk."""
SUMS = "SHA256SUMS"
"""File in each array's folder: the SHA-256 of each chunk file, in the format of ``sha256sum --check``."""
OVERFLOW = "overflow"
"""The group of arrays with the values that float16 cannot represent."""
NARROW, WIDE = "float16", "float32"
DTYPES = (WIDE, NARROW)

Span = tuple[int, int]
"""The first index along an axis, and one past the last."""


def chunk_spans(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[Span, ...]]]:
    """Yield each chunk's number along every axis, and the spans of the array that it holds."""
    counts = [-(-have // size) if size else 0 for have, size in zip(shape, chunks, strict=True)]
    for numbers in itertools.product(*(range(count) for count in counts)):
        yield (
            numbers,
            tuple(
                (number * size, min((number + 1) * size, have))
                for number, size, have in zip(numbers, chunks, shape, strict=True)
            ),
        )


def chunk_key(numbers: tuple[int, ...], separator: str = SEPARATOR) -> str:
    """Return the name of a chunk's file in its array's folder, as zarr v3 defines it: ``c.0.1.0.0.0``."""
    return separator.join(["c", *map(str, numbers)])


def describe(dimensions: tuple[str, ...], spans: tuple[Span, ...]) -> str:
    """Return in words which samples and steps a chunk holds."""
    words = [
        f"{axis}s {first}..{end - 1}"
        for axis, (first, end) in zip(dimensions, spans, strict=True)
        if axis in ("sample", "step")
    ]
    return ", ".join(words) or "all of it"


def partial_path(path: Path) -> Path:
    """Return the folder of a recording that is not complete yet: ``a.partial.zarr`` for ``a.zarr``."""
    path = Path(path)
    return path.with_name(f"{path.stem}.partial{path.suffix}")
