"""Where things lie in a store: its axes, its chunks, and the names of their files.

Knows nothing about what the arrays mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""1 had neither checksums nor float16, and was written in one go."""
CHUNK_SAMPLES, CHUNK_STEPS = 16, 50
"""The most samples and steps in one chunk, which is also what is written at a time while recording."""
SEPARATOR = "."
"""Between the numbers in a chunk's name; zarr's own default, ``/``, would make four folders a chunk."""
SUMS = "SHA256SUMS"
"""In each array's folder: the SHA-256 of each chunk file, as ``sha256sum --check`` reads it."""
OVERFLOW = "overflow"
"""The group of the values that float16 cannot hold."""
NARROW, WIDE = "float16", "float32"
DTYPES = (WIDE, NARROW)

Span = tuple[int, int]
"""First and one past the last index along an axis."""


def chunk_spans(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[Span, ...]]]:
    """Give each chunk's number along every axis, and the spans of the array it holds."""
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
    """Return a chunk's file within its array's folder, as zarr v3 names it: ``c.0.1.0.0.0``."""
    return separator.join(["c", *map(str, numbers)])


def describe(dimensions: tuple[str, ...], spans: tuple[Span, ...]) -> str:
    """Return which samples and steps a chunk holds, in words."""
    told = [
        f"{axis}s {first}..{end - 1}"
        for axis, (first, end) in zip(dimensions, spans, strict=True)
        if axis in ("sample", "step")
    ]
    return ", ".join(told) or "all of it"


def partial_path(path: Path) -> Path:
    """Return where a recording grows before it is complete: ``a.zarr`` in ``a.partial.zarr``, beside it."""
    path = Path(path)
    return path.with_name(f"{path.stem}.partial{path.suffix}")
