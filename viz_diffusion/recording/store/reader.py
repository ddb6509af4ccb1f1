"""Reader of a store, a folder or a zip file, that checks every chunk and names what is missing or damaged.

It executes nothing and follows no links: it reads only zarr v3 arrays of plain numbers with known codecs.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import parse_json, sha256_bytes
from viz_diffusion.recording.store.layout import (
    OVERFLOW,
    READABLE_VERSIONS,
    SUMS,
    chunk_key,
    chunk_spans,
    describe,
    from_attributes,
)
from viz_diffusion.recording.store.metadata_sums import check_metadata, checked_sums
from viz_diffusion.recording.store.places import StorePlace, is_url

_CODECS = {"bytes", "zstd", "blosc", "gzip", "crc32c"}
_DTYPES = {"float16", "float32", "float64", "int64", "uint8"}
_LONGEST, _MOST_AXES = 2**40, 32
"""The longest axis that is read, and the most axes."""
_MOST_DENSE = 2**16
"""Most decoded bytes of one stored byte: more than zstd and blosc reach on constant values."""


@dataclass(frozen=True, eq=False)
class Extent:
    """How many samples and steps of a recording can be read."""

    samples: int
    """Number of samples that can be read."""
    steps: int
    """Number of steps of each sample that can be read."""
    complete: bool
    """Whether the recording was finished."""
    words: str
    """What was recorded, in words, such as ``150 of 1000 steps of samples 0..15``."""


def _sizes(name: str, found: Any) -> tuple[int, ...]:
    """Return a shape that is a list of whole numbers."""
    if not isinstance(found, list) or not all(type(size) is int and 0 <= size <= _LONGEST for size in found):
        raise VizdiffInputError(f"{name} has the sizes {str(found)[:80]}")
    return tuple(found)


class StoreReader:
    """Reads a store's attributes, and its arrays once their chunks have been checked.

    Parameters
    ----------
    path
        A folder, a ``.zip`` of one, or a URL that fsspec knows.

    Raises
    ------
    VizdiffInputError
        Where ``path`` is no store, or one of an unknown version.
    """

    def __init__(self, path: Path | str) -> None:
        self._place = StorePlace(path) if is_url(path) else None
        self._path = Path(path)
        self._zip = zipfile.ZipFile(path) if self._place is None and self._path.is_file() else None
        self._known_sums: dict[str, dict[str, str]] = {}
        root = self._json("zarr.json")
        if root.get("node_type") != "group" or not isinstance(root.get("attributes"), dict):
            raise VizdiffInputError("its zarr.json describes no recording")
        self.attrs = from_attributes(root["attributes"])
        version = self.attrs.get("schema_version")
        if version not in READABLE_VERSIONS:
            raise VizdiffInputError(f"it has schema version {version}; this program reads {READABLE_VERSIONS}")
        self._has_sums = version > 1
        self._metadata_sums = checked_sums(root)
        for name in self._metadata_sums:
            if self._bytes(f"{name}/zarr.json") is None:
                raise VizdiffInputError(f"{name}/zarr.json is missing")

    def close(self) -> None:
        """Close the zip file, if there is one."""
        if self._zip is not None:
            self._zip.close()

    @property
    def extent(self) -> Extent:
        """How many samples and steps can be read: those of finished batches, else those of the first batch so far."""
        complete = self.attrs.get("status") == "complete"
        if not self._has_sums:
            samples, steps = self._meta("x_t")["shape"][:2]
            return Extent(samples, steps, complete, "")
        recorded = self.attrs["recorded"]
        numbers = tuple(recorded[key] for key in ("samples", "steps", "begun_samples", "begun_steps"))
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise VizdiffInputError(f"it does not say how far it got, but {numbers}")
        samples, steps, begun, begun_steps = numbers
        aim = [f" of {n}" if n else "" for n in (recorded.get("aim_samples"), recorded.get("aim_steps"))]
        if complete or not begun:
            return Extent(samples, steps, complete, f"{samples}{aim[0]} samples, {steps}{aim[1]} steps each")
        words = f"{begun_steps}{aim[1]} steps of samples {samples}..{samples + begun - 1}{aim[0]}"
        return Extent(samples, steps, False, words) if samples else Extent(begun, begun_steps, False, words)

    def names(self, group: str = "") -> tuple[str, ...]:
        """Return the names of the arrays and groups directly in ``group``, sorted."""
        prefix = f"{group}/" if group else ""
        if self._place is not None:
            found = self._place.names(group)
            return tuple(sorted(name for name in found if self._place.read(f"{prefix}{name}/zarr.json") is not None))
        if self._zip is not None:
            listed = {n.removeprefix(prefix).split("/")[0] for n in self._zip.namelist() if n.startswith(prefix)}
            return tuple(sorted(name for name in listed if f"{prefix}{name}/zarr.json" in self._zip.namelist()))
        folder = self._path / group
        entries = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(name for name in entries if (folder / name / "zarr.json").is_file()))

    def attributes(self, name: str) -> dict[str, Any]:
        """Return an array's attributes."""
        return dict(self._meta(name).get("attributes", {}))

    def read(self, name: str, spans: Mapping[str, slice] | None = None) -> NDArray[Any]:
        """Return an array, or the part of it in ``spans`` (a slice by axis name), after checking its chunks.

        Raises
        ------
        VizdiffInputError
            Where ``spans`` exceed the array, or a chunk is missing, damaged or a link.
        """
        meta = self._meta(name)
        shape = tuple(meta["shape"])
        dimensions = tuple(meta.get("dimension_names") or [""] * len(shape))
        wanted = [(spans or {}).get(axis, slice(None)) for axis in dimensions]
        for axis, size, part in zip(dimensions, shape, wanted, strict=True):
            if part.stop is not None and part.stop > size:
                raise VizdiffInputError(f"{name} holds {size} {axis}s, and {part.stop} were recorded")
        ranges = [range(*part.indices(size)) for part, size in zip(wanted, shape, strict=True)]
        chunks = tuple(meta["chunk_grid"]["configuration"]["chunk_shape"])
        sums, separator = self._sums(name), str(meta["chunk_key_encoding"]["configuration"]["separator"])
        for numbers, held in chunk_spans(shape, chunks, ranges):
            key = chunk_key(numbers, separator)
            self._check(name, key, sums, describe(dimensions, held))
            self._refuse_bombs(name, meta, key)
        values = np.asarray(self._open(name)[tuple(wanted)])
        return self._patched(name, values, ranges) if values.dtype == np.float16 else values

    def _patched(self, name: str, values: NDArray[Any], ranges: list[range]) -> NDArray[np.float32]:
        """Return a float16 field as float32, with the values that float16 cannot represent put back."""
        wide = values.astype(np.float32)
        group = f"{OVERFLOW}/{name}"
        kept = [self.read(f"{group}/{label}") for label in self.names(group)]
        if sum(map(len, kept)) < self.attrs["overflowed"].get(name, 0):
            raise VizdiffInputError(f"{name}: some of the values beyond float16 are missing")
        for rows in kept:
            index = rows[:, :-1].astype(np.int64) - np.array([r.start for r in ranges])
            inside = np.all((index >= 0) & (index < np.array(wide.shape)), axis=1)
            wide[tuple(index[inside].T)] = rows[inside, -1]
        return wide

    def _sums(self, name: str) -> dict[str, str] | None:
        """Return the SHA-256 of each chunk of an array, by file name; None for stores of version 1."""
        if not self._has_sums:
            return None
        if name in self._known_sums:
            return self._known_sums[name]
        key = f"{name}/{SUMS}"
        data = self._bytes(key)
        if data is None:
            raise VizdiffInputError(f"{key} is missing")
        if self.attrs.get("status") == "complete" and sha256_bytes(data) != self.attrs["sha256"].get(name):
            raise VizdiffInputError(f"{key} is not what was written")
        lines = (line.split("  ", 1) for line in data.decode("utf-8", "replace").splitlines())
        self._known_sums[name] = {line[1]: line[0] for line in lines if len(line) == 2}
        return self._known_sums[name]

    def _check(self, name: str, key: str, sums: dict[str, str] | None, words: str) -> None:
        """Refuse a chunk that is missing, a link, or has another SHA-256 than the one that was written."""
        file = f"{name}, {words} ({self._path.name}/{name}/{key})"
        data = self._bytes(f"{name}/{key}")
        if data is None:
            raise VizdiffInputError(f"{file} is missing")
        if sums is None:
            return
        found, expected = sha256_bytes(data), sums.get(key)
        if found != expected:
            owners = [other for other, digest in sums.items() if digest == found]
            swapped = f"holds what belongs in {name}/{owners[0]}" if owners else "is not what was written"
            raise VizdiffInputError(f"{file} {swapped}: SHA-256 {found[:12]}…, expected {str(expected)[:12]}…")

    def _bytes(self, key: str) -> bytes | None:
        if self._place is not None:
            return self._place.read(key)
        if self._zip is not None:
            return self._zip.read(key) if key in self._zip.namelist() else None
        file = self._path / key
        if file.is_symlink():
            raise VizdiffInputError(f"{file} is a link, which a recording never holds")
        return file.read_bytes() if file.is_file() else None

    def _json(self, key: str) -> dict[str, Any]:
        data = self._bytes(key)
        if data is None:
            raise VizdiffInputError(f"{key} is missing")
        value = parse_json(data)
        if not isinstance(value, dict):
            raise VizdiffInputError(f"{key} holds no JSON object")
        return value

    def _meta(self, name: str) -> dict[str, Any]:
        """Return an array's metadata; refuse dtypes and codecs that are not read, and sizes that cannot be."""
        meta = self._json(f"{name}/zarr.json")
        if meta.get("zarr_format") != 3 or meta.get("node_type") != "array":
            raise VizdiffInputError(f"{name} is no zarr v3 array")
        codecs = [codec["name"] for codec in meta["codecs"]]
        unknown = [str(codec) for codec in codecs if codec not in _CODECS]
        if unknown or meta["data_type"] not in _DTYPES or not codecs:
            raise VizdiffInputError(f"{name} is stored as {meta['data_type']} by {sorted(unknown)}, which is not read")
        grid, keys = meta["chunk_grid"], meta["chunk_key_encoding"]
        if (grid["name"], keys["name"]) != ("regular", "default"):
            raise VizdiffInputError(f"{name} has chunks {grid['name']}, {keys['name']}, which are not read")
        lengths, chunks = (_sizes(name, found) for found in (meta["shape"], grid["configuration"]["chunk_shape"]))
        dimensions = meta.get("dimension_names") or [""] * len(lengths)
        if not len(lengths) == len(chunks) == len(dimensions) <= _MOST_AXES or 0 in chunks:
            raise VizdiffInputError(f"{name} has the shape {lengths}, chunks {chunks} and the axes {dimensions}")
        check_metadata(name, meta, self._metadata_sums)
        return meta

    def _refuse_bombs(self, name: str, meta: Mapping[str, Any], key: str) -> None:
        """Refuse a chunk whose decoded size cannot come from the bytes that are there."""
        wanted = math.prod(meta["chunk_grid"]["configuration"]["chunk_shape"]) * np.dtype(meta["data_type"]).itemsize
        held = len(self._bytes(f"{name}/{key}") or b"")
        plain = all(codec["name"] in ("bytes", "crc32c") for codec in meta["codecs"])
        if wanted > held if plain else wanted > _MOST_DENSE * held:
            raise VizdiffInputError(f"{name}/{key} has {held:,} bytes, and its metadata name {wanted:,}")

    def _open(self, name: str) -> Any:
        import zarr
        from zarr.storage import FsspecStore, LocalStore, ZipStore

        if self._place is not None:
            remote = FsspecStore.from_url(self._place.name, read_only=True)
            return zarr.open_array(remote, path=name, mode="r", zarr_format=3)
        store: Any = LocalStore(self._path, read_only=True) if self._zip is None else ZipStore(self._path, mode="r")
        return zarr.open_array(store, path=name, mode="r", zarr_format=3)


def pack(folder: Path, path: Path) -> None:
    """Write a store's folder as one uncompressed ``.zip`` file, which can be read as it is; atomic.

    Raises
    ------
    VizdiffIOError
        Where the file cannot be written.
    """
    from viz_diffusion.files import atomic_write

    with atomic_write(path) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        for entry in sorted(folder.rglob("*")):
            if entry.is_file():
                archive.write(entry, entry.relative_to(folder).as_posix())
