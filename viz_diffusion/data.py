"""Data sets of digits: MNIST and its siblings as tensors in [-1, 1], from IDX files that are checked.

Knows nothing about models or noise.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import cache_dir

IMAGE_SIZE = 28
NUM_LABELS = 10
DATASETS = ("mnist", "fashion-mnist", "kmnist")

_IMAGES, _LABELS = 0x0803, 0x0801  # IDX magic: unsigned bytes, three dimensions or one
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_BUNDLED_DIR = Path(__file__).parent / "assets" / "mnist"
_BUNDLED_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, eq=False)
class Digits:
    """Images with their labels."""

    images: Tensor
    """(N, 1, 28, 28) float32 in [-1, 1]: -1 is black, 1 is white."""
    labels: Tensor
    """(N,) int64 in 0 .. 9."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the images and labels, as 64 hexadecimal digits."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def first_of_each(self, count: int) -> Digits:
        """Return ``count`` digits, the first ones of each label in turn: 0, 1, .. 9, 0, 1, ..

        Each label occurs equally often, up to one, until a label has no more images.

        Raises
        ------
        VizdiffUsageError
            Where there are fewer digits, or ``count`` is below 1.
        """
        if not 1 <= count <= len(self):
            raise VizdiffUsageError(f"a subset holds 1 to {len(self):,} digits, found {count:,}")
        turn = torch.empty_like(self.labels)
        for label in torch.unique(self.labels):
            rows = torch.nonzero(self.labels == label)[:, 0]
            turn[rows] = torch.arange(len(rows))
        rows = torch.argsort(turn * NUM_LABELS + self.labels)[:count]
        return Digits(self.images[rows], self.labels[rows])

    def typical_of(self, digit: int) -> Tensor:
        """Return the (1, 28, 28) image with the label ``digit`` that is nearest to the mean of all with that label.

        Raises
        ------
        VizdiffInputError
            Where no image has that label.
        """
        images = self.images[self.labels == digit]
        if not len(images):
            raise VizdiffInputError(f"the data hold no image with the label {digit}")
        distances = (images - images.mean(dim=0)).square().sum(dim=(1, 2, 3))
        return images[int(distances.argmin())]


def to_unit_range(pixels: NDArray[np.uint8]) -> Tensor:
    """Return (N, 1, H, W) float32 in [-1, 1] from (N, H, W) bytes: 0 becomes -1 and 255 becomes 1."""
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)[:, None]


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return (N, H, W) bytes from (N, 1, H, W) in [-1, 1]; values outside are clipped.

    The inverse of :func:`to_unit_range`.
    """
    scaled = (images[:, 0].clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).cpu().numpy()


def load_digits(split: str = "train", dataset: str = "mnist", data_dir: Path | None = None) -> Digits:
    """Load one split of a data set.

    Parameters
    ----------
    split
        ``train`` or ``test``.
    dataset
        ``mnist`` (bundled, no network), ``fashion-mnist`` or ``kmnist`` (downloaded once by
        torchvision into the user's cache folder).
    data_dir
        A folder of IDX files in torchvision's layout, plain or ``.gz``; takes the place of ``dataset``.

    Raises
    ------
    VizdiffInputError
        Where a file is missing or damaged; the message names the file, what was expected and what was
        found.
    VizdiffIOError
        Where a download failed.
    """
    if dataset not in DATASETS:
        raise VizdiffUsageError(f"dataset {dataset!r} is unknown; choose from {', '.join(DATASETS)}")
    if split not in _FILES:
        raise VizdiffUsageError(f"split {split!r} is unknown; choose from {', '.join(_FILES)}")
    bundled = data_dir is None and dataset == "mnist"
    if data_dir is None:
        data_dir = _BUNDLED_DIR if bundled else _download(dataset)
    images_name, labels_name = _FILES[split]
    images = _read_idx(_find(data_dir, images_name), _IMAGES, bundled)
    labels = _read_idx(_find(data_dir, labels_name), _LABELS, bundled)
    if len(images) != len(labels):
        raise VizdiffInputError(
            f"{data_dir}: {images_name} holds {len(images)} images but {labels_name} {len(labels)} labels; "
            "they must be as many"
        )
    return Digits(to_unit_range(images), torch.from_numpy(labels.astype(np.int64)))


def _find(folder: Path, name: str) -> Path:
    """Return the file called ``name`` or ``name.gz``, in ``folder`` or in its subfolder ``raw``."""
    candidates = [folder / name, folder / f"{name}.gz", folder / "raw" / name, folder / "raw" / f"{name}.gz"]
    for path in candidates:
        if path.is_file():
            return path
    what = f"there is no {name} or {name}.gz in it" if folder.is_dir() else "there is no such folder"
    raise VizdiffInputError(f"`data_dir` {folder}: {what}")


def _read_idx(path: Path, magic: int, bundled: bool) -> NDArray[np.uint8]:
    """Read one IDX file: (N, 28, 28) images or (N,) labels."""
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
    if bundled:
        digest = hashlib.sha256(header + payload).hexdigest()
        if digest != _BUNDLED_SHA256[path.name.removesuffix(".gz")]:
            raise VizdiffInputError(f"{path}: SHA-256 is {digest[:12]}…, not MNIST's; install the package again")
    values = np.frombuffer(payload, np.uint8).reshape(shape)
    if magic == _LABELS and values.max() >= NUM_LABELS:
        raise VizdiffInputError(f"{path}: labels must lie in 0..{NUM_LABELS - 1}, found {values.max()}")
    return values


def _check_header(path: Path, expected: int, magic: int, shape: list[int]) -> None:
    kind = "labels" if expected == _LABELS else "images"
    if magic != expected:
        raise VizdiffInputError(f"{path}: expected IDX magic {expected:#06x} ({kind}), found {magic:#06x}")
    if shape[0] == 0:
        raise VizdiffInputError(f"{path}: expected at least one entry, found none")
    if shape[0] > 10_000_000:
        raise VizdiffInputError(f"{path}: expected at most 10,000,000 entries, found {shape[0]:,}")
    if shape[1:] not in ([], [IMAGE_SIZE, IMAGE_SIZE]):
        size = "x".join(map(str, shape[1:]))
        raise VizdiffInputError(f"{path}: expected images of {IMAGE_SIZE}x{IMAGE_SIZE}, found {size}")


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


def _download(dataset: str) -> Path:
    """Download a data set with torchvision; return the folder of its IDX files."""
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise VizdiffIOError(
            f"torchvision does not fit the installed torch ({error}); install both together in a fresh environment"
        ) from error
    kind = {"fashion-mnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}[dataset]
    root = cache_dir()
    try:
        for train in (True, False):
            kind(str(root), train=train, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise VizdiffIOError(
            f"cannot download {dataset} into {root} ({reason}); without network, copy its IDX files and "
            "give their folder as `data_dir`"
        ) from error
    return root / kind.__name__ / "raw"
