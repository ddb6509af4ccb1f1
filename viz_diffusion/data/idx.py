"""IDX files, the format of MNIST: found under their usual names and folders, and read with every check.

Knows nothing about tensors or downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import string
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data.fitting import UInt8, choose_size, fit, fitting_note
from viz_diffusion.data.image_folder import RawData, split_note
from viz_diffusion.data.images import IMAGE_SIZES, NUM_LABELS
from viz_diffusion.data.splits import content_hashes, held_out
from viz_diffusion.errors import VizdiffInputError

IMAGES, LABELS = 0x0803, 0x0801
"""IDX magic numbers: unsigned bytes, in three dimensions or one."""
MOST_ENTRIES, LARGEST_SIDE = 10_000_000, 4096
_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|t10k|test)[-._](?P<kind>images|labels)([-._]idx[13]([-._]ubyte)?|[-._]ubyte)(\.gz)?",
    re.IGNORECASE,
)
_DEPTH = 3
"""How many folders deep files are searched for: DIR/EMNIST/raw is two."""
_UPPER, _DIGITS = string.ascii_uppercase, string.digits
_EMNIST = {
    "byclass": _DIGITS + _UPPER + string.ascii_lowercase,
    "bymerge": _DIGITS + _UPPER + "abdefghnqrt",
    "balanced": _DIGITS + _UPPER + "abdefghnqrt",
}
"""The characters of EMNIST's labels 0, 1, 2 … (Cohen et al. 2017, table II and the data set's mapping files)."""


@dataclass
class IdxFiles:
    """The IDX files of one data set."""

    folder: Path
    """Where they lie."""
    prefix: str
    """What stands before ``train`` and ``test`` in their names, such as ``emnist-letters-``."""
    paths: dict[tuple[str, str], Path] = field(default_factory=dict)
    """By split, ``train`` or ``test``, and kind, ``images`` or ``labels``."""

    @property
    def name(self) -> str:
        """The folder with the prefix: what ``data_dir`` takes to choose this data set."""
        return str(self.folder / self.prefix.rstrip("-._")) if self.prefix else str(self.folder)

    @property
    def splits(self) -> list[str]:
        """The splits that are there, ``train`` first."""
        return [split for split in ("train", "test") if any(found == split for found, _ in self.paths)]

    @property
    def files(self) -> list[Path]:
        """The files."""
        return list(self.paths.values())

    def path(self, split: str, kind: str) -> Path:
        """Return one of the files.

        Raises
        ------
        VizdiffInputError
            Where it is missing; the message names what is there.
        """
        if (split, kind) not in self.paths:
            part = split if self.prefix or split == "train" else "t10k"
            name = f"{self.prefix}{part}-{kind}-idx{1 if kind == 'labels' else 3}-ubyte"
            there = ", ".join(sorted(path.name for path in self.files))
            raise VizdiffInputError(
                f"`data_dir` {self.folder}: there is no {name} or {name}.gz in it; there are {there}"
            )
        return self.paths[split, kind]


def find_idx(data_dir: Path) -> IdxFiles | None:
    """Find the IDX files of one data set in a folder and up to three folders within it; None where there are none.

    ``data_dir`` may end in the beginning of the files' names, such as ``DIR/EMNIST/raw/emnist-letters``. The files
    nearest to ``data_dir`` count.

    Raises
    ------
    VizdiffInputError
        Where there is more than one data set at the same depth.
    """
    folder, prefix = (data_dir, "") if data_dir.is_dir() else (data_dir.parent, data_dir.name.lower())
    sets: dict[tuple[int, Path, str], IdxFiles] = {}
    for depth, path in sorted(_walk(folder, _DEPTH if folder is data_dir else 0)):
        match = _NAME.fullmatch(path.name)
        if match is None or not match["prefix"].lower().startswith(prefix):
            continue
        # an archive may hold each file in a folder of the file's own name
        home = path.parent.parent if _NAME.fullmatch(path.parent.name) else path.parent
        found = sets.setdefault(
            (depth - (home != path.parent), home, match["prefix"].lower()), IdxFiles(home, match["prefix"])
        )
        key = ("train" if match["split"].lower() == "train" else "test", match["kind"].lower())
        if key not in found.paths or found.paths[key].suffix == ".gz":
            found.paths[key] = path
    if not sets:
        return None
    nearest = min(depth for depth, _, _ in sets)
    candidates = [found for (depth, _, _), found in sets.items() if depth == nearest]
    if len(candidates) > 1:
        names = ", ".join(one.name for one in candidates)
        raise VizdiffInputError(f"`data_dir` {data_dir} holds {len(candidates)} data sets; give one of them: {names}")
    return candidates[0]


def _walk(folder: Path, depth: int, level: int = 0) -> Iterator[tuple[int, Path]]:
    """Yield the files of a folder and of the folders within it, with their depth."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield level, path
        elif level < depth and path.is_dir():
            yield from _walk(path, depth, level + 1)


def read_idx_files(found: IdxFiles, image_size: int | None = None, channels: int = 1) -> RawData:
    """Read the images and labels of a data set, its one part split by hash where it has no other.

    Parameters
    ----------
    image_size
        Height and width; by default that of the files, where it is one of :data:`IMAGE_SIZES`.
    channels
        1, or 3 for grey images in RGB.

    Raises
    ------
    VizdiffInputError
        Where a file is missing or damaged; the message names the file, what was expected and what was found.
    """
    parts = [read_part(found, split) for split in found.splits]
    for images, _ in parts:
        if image_size is None and images.shape[1:] not in [(size, size) for size in IMAGE_SIZES]:
            known = ", ".join(f"{size}x{size}" for size in IMAGE_SIZES)
            raise VizdiffInputError(
                f"{found.path(found.splits[0], 'images')}: expected images of {known}, found "
                f"{images.shape[1]}x{images.shape[2]}; `image_size` resizes them"
            )
    if len({images.shape[1:] for images, _ in parts}) > 1 and image_size is None:
        raise VizdiffInputError(f"{found.folder}: training and test images differ in size; `image_size` resizes them")
    class_names, labels = name_labels(np.concatenate([labels for _, labels in parts]), found.prefix)
    sides = np.concatenate([np.tile(np.array(images.shape[1:], np.int64), (len(images), 1)) for images, _ in parts])
    size = image_size or choose_size(sides, IMAGE_SIZES)
    pixels = np.concatenate([_fit_all(images, size, channels) for images, _ in parts])
    notes = [note] if (note := fitting_note(sides, size)) else []
    if len(parts) == 1:
        is_test = held_out(content_hashes([image.tobytes() for image in parts[0][0]]), labels)
        notes.append(split_note(is_test, "image"))
    else:
        is_test = np.arange(len(labels)) >= len(parts[0][0])
    return RawData(pixels, labels, is_test, class_names, tuple(notes), sides)


def read_part(found: IdxFiles, split: str, digests: dict[str, str] | None = None) -> tuple[UInt8, NDArray[np.int64]]:
    """Read the (N, H, W) images and (N,) labels of one split.

    Parameters
    ----------
    digests
        SHA-256 of the files' content, by name, where it must be a known one.
    """
    images_path, labels_path = found.path(split, "images"), found.path(split, "labels")
    images, labels = read_idx(images_path, IMAGES, digests), read_idx(labels_path, LABELS, digests)
    if len(images) != len(labels):
        raise VizdiffInputError(
            f"{found.folder}: {images_path.name} holds {len(images)} images but {labels_path.name} {len(labels)} "
            "labels; they must be as many"
        )
    return images, labels.astype(np.int64)


def _fit_all(images: UInt8, size: int, channels: int) -> UInt8:
    if images.shape[1:] == (size, size) and channels == 1:
        return images
    return np.stack([fit(image, size, channels) for image in images])


def name_labels(labels: NDArray[np.int64], prefix: str = "") -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the class names of IDX labels, and the labels as indices into them.

    Digits 0 .. 9 stay what they are and need no names. The labels 1 .. 26 of EMNIST's letters become A .. Z, those of
    its other parts their characters; any others keep their numbers as names.
    """
    kind = prefix.lower().rstrip("-._").rpartition("emnist-")[2]
    largest = int(labels.max())
    if kind == "letters" and labels.min() >= 1 and largest <= 26:
        return tuple(_UPPER), labels - 1
    if largest < len(_EMNIST.get(kind, "")):
        return tuple(_EMNIST[kind]), labels
    if largest < NUM_LABELS:
        return (), labels
    values, indices = np.unique(labels, return_inverse=True)
    return tuple(map(str, values.tolist())), indices.astype(np.int64)


def read_idx(path: Path, magic: int, digests: dict[str, str] | None = None) -> UInt8:
    """Read one IDX file: (N, H, W) images or (N,) labels."""
    num_dimensions = magic & 0xFF
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
            header = _read_exactly(handle, 4 * (1 + num_dimensions), path, "its header")
            found_magic, *shape = (int(n) for n in np.frombuffer(header, ">u4"))
            _check_header(path, magic, found_magic, shape)
            payload = _read_exactly(handle, int(np.prod(shape, dtype=object)), path, "its data")
            if handle.read(1):
                raise VizdiffInputError(f"{path}: more bytes follow than its header announces ({len(payload)})")
    except (OSError, EOFError, zlib.error) as error:
        raise VizdiffInputError(f"{path}: cannot be read: {error}") from error
    if digests is not None:
        digest = hashlib.sha256(header + payload).hexdigest()
        if digest != digests[path.name.removesuffix(".gz")]:
            raise VizdiffInputError(f"{path}: SHA-256 is {digest[:12]}…, not MNIST's; install the package again")
    return np.frombuffer(payload, np.uint8).reshape(shape)


def _check_header(path: Path, expected: int, magic: int, shape: list[int]) -> None:
    kind = "labels" if expected == LABELS else "images"
    if magic != expected:
        raise VizdiffInputError(f"{path}: expected IDX magic {expected:#06x} ({kind}), found {magic:#06x}")
    if shape[0] == 0:
        raise VizdiffInputError(f"{path}: expected at least one entry, found none")
    if shape[0] > MOST_ENTRIES:
        raise VizdiffInputError(f"{path}: expected at most {MOST_ENTRIES:,} entries, found {shape[0]:,}")
    if not all(1 <= side <= LARGEST_SIDE for side in shape[1:]):
        size, known = "x".join(map(str, shape[1:])), ", ".join(f"{size}x{size}" for size in IMAGE_SIZES)
        raise VizdiffInputError(f"{path}: expected images of {known}, found {size}")


def _read_exactly(handle: IO[bytes] | gzip.GzipFile, count: int, path: Path, what: str) -> bytes:
    """Read ``count`` bytes, a block at a time, so that a false header cannot allocate all memory."""
    blocks, missing = [], count
    while missing:
        block = handle.read(min(missing, 1 << 20))
        if not block:
            raise VizdiffInputError(f"{path}: expected {count} bytes for {what}, found {count - missing}")
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)
