"""Layout of a store: format versions, chunk sizes, file names.

It knows nothing about what the arrays mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
"""Version 1 had neither checksums nor float16, and stores were written all at once; in version 2 attributes were
JSON objects, true, false or null (:func:`to_attributes`)."""
CHUNK_SAMPLES, CHUNK_STEPS = 16, 50
"""The largest number of samples and steps in one chunk; a recording is written one chunk at a time."""
SEPARATOR = "."
"""Between the numbers in a chunk's file name; zarr's default, ``/``, would make four folders a chunk."""
SUMS = "SHA256SUMS"
"""File in each array's folder: the SHA-256 of each chunk file, in the format of ``sha256sum --check``."""
OVERFLOW = "overflow"
"""The group of arrays with the values that float16 cannot represent."""
NESTED = ("conventions", "overflowed", "plan", "recorded", "sha256")
"""Attributes that hold values by name."""
NARROW, WIDE = "float16", "float32"
DTYPES = (WIDE, NARROW)

Span = tuple[int, int]
"""The first index along an axis, and one past the last."""


def chunk_spans(
    shape: tuple[int, ...], chunks: tuple[int, ...], wanted: Sequence[range] | None = None
) -> Iterator[tuple[tuple[int, ...], tuple[Span, ...]]]:
    """Yield each chunk's number along every axis, and the spans of the array that it holds.

    With ``wanted``, the indices along each axis, only the chunks that hold any of them.
    """
    ranges = [range(have) for have in shape] if wanted is None else wanted
    axes = [
        range(part.start // size, -(-part.stop // size)) if size and len(part) else range(0)
        for part, size in zip(ranges, chunks, strict=True)
    ]
    for numbers in _numbers(axes):
        yield (
            numbers,
            tuple(
                (number * size, min((number + 1) * size, have))
                for number, size, have in zip(numbers, chunks, shape, strict=True)
            ),
        )


def _numbers(axes: Sequence[range]) -> Iterator[tuple[int, ...]]:
    """Yield the same as ``itertools.product``, which would first make a list of every axis."""
    if not axes:
        yield ()
        return
    for first in axes[0]:
        for rest in _numbers(axes[1:]):
            yield (first, *rest)


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


def steps_chunk(num_steps: int) -> int:
    """Return the number of steps in one chunk of a recording of ``num_steps`` steps (0: not known)."""
    return min(CHUNK_STEPS, num_steps) if num_steps else CHUNK_STEPS


def to_attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of numbers and text only, which netCDF holds too: ``xarray.open_zarr(path).to_netcdf(…)``.

    Values by name become JSON text, true and false 1 and 0; what is not known (None) is left out.
    """
    plain: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            plain[name] = json.dumps(dict(value), allow_nan=False)
        elif value is not None:
            plain[name] = int(value) if isinstance(value, bool) else value
    return plain


def from_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in the attributes of a store of any version."""
    texts = {name for name in NESTED if isinstance(attributes.get(name), str)}
    facts = {name: json.loads(value) if name in texts else value for name, value in attributes.items()}
    return {"guidance_scale": None, **facts} | ({"clip": bool(facts["clip"])} if "clip" in facts else {})


def partial_path(path: Path) -> Path:
    """Return the folder of a recording that is not complete yet: ``a.partial.zarr`` for ``a.zarr``."""
    path = Path(path)
    return path.with_name(f"{path.stem}.partial{path.suffix}")
