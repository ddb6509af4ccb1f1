"""Loading of a data set by its name or from a folder, as tensors, with its class names and what was decided."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from viz_diffusion.data.idx import IdxFiles, find_idx, read_idx_files, read_part
from viz_diffusion.data.image_folder import ImageFolder, list_images, read_images
from viz_diffusion.data.images import IMAGE_SIZES, Digits, to_unit_range
from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import cache_dir

DATASETS = ("mnist", "fashion-mnist", "kmnist")
SPLITS = ("train", "test")
_BUNDLED_DIR = Path(__file__).parents[1] / "assets" / "mnist"
_BUNDLED_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set as it was read: both splits, and what was decided on the way."""

    train: Digits
    """The training images."""
    test: Digits
    """The held-out images."""
    notes: tuple[str, ...] = ()
    """What was decided, in sentences without a full stop."""
    kind: str = "IDX files"
    """``IDX files`` or ``image folder``."""
    sides: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """(N, 2) int64: height and width of each image as it was found."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """(K,) the names of the classes; empty where the labels are the digits 0 .. 9."""
        return self.train.class_names

    @property
    def channels(self) -> int:
        """C: 1 for grey, 3 for RGB."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """H = W, pixels."""
        return int(self.train.images.shape[-1])

    @property
    def sha256(self) -> tuple[str, str]:
        """SHA-256 of the training and of the held-out images with their labels."""
        return self.train.sha256, self.test.sha256

    def split(self, name: str) -> Digits:
        """Return ``train`` or ``test``."""
        return self.train if name == "train" else self.test


def load_digits(
    split: str = "train",
    dataset: str = "mnist",
    data_dir: Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
) -> Digits:
    """Load one split of a data set.

    Parameters
    ----------
    split
        ``train`` or ``test``.
    dataset
        ``mnist`` (bundled, no network), ``fashion-mnist`` or ``kmnist`` (downloaded once by
        torchvision into the user's cache folder).
    data_dir, image_size, channels
        A folder of one's own, which takes the place of ``dataset``: see :func:`load_data_set`.

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
    if split not in SPLITS:
        raise VizdiffUsageError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    if data_dir is not None:
        return load_data_set(data_dir, image_size, channels).split(split)
    return _bundled(split) if dataset == "mnist" else _read_split(_download(dataset), split)


def _bundled(split: str) -> Digits:
    """Read one split of the digits that come with the package."""
    return _read_split(_BUNDLED_DIR, split, _BUNDLED_SHA256)


def _read_split(folder: Path, split: str, known: dict[str, str] | None = None) -> Digits:
    found = find_idx(folder)
    if found is None:
        raise VizdiffInputError(f"{folder}: there are no IDX files in it; install the package again")
    pixels, labels = read_part(found, split, known)
    return Digits(to_unit_range(pixels), torch.from_numpy(labels))


def load_data_set(data_dir: Path, image_size: int | None = None, channels: int | None = None) -> DataSet:
    """Load a data set of one's own: IDX files, or a folder of images by class.

    Parameters
    ----------
    data_dir
        A folder that holds IDX files (:func:`viz_diffusion.data.idx.find_idx`) or images
        (:func:`viz_diffusion.data.image_folder.list_images`).
    image_size
        28, 32 or 64: the height and width that all images are fitted into; by default the images decide.
    channels
        1 for grey or 3 for RGB; by default the images decide.

    Raises
    ------
    VizdiffInputError
        Where there is no data set, or a file is missing or damaged; the message names the file.
    """
    if image_size is not None and image_size not in IMAGE_SIZES:
        raise VizdiffUsageError(f"`image_size` must be one of {', '.join(map(str, IMAGE_SIZES))}, found {image_size}")
    data_dir = Path(data_dir)
    try:
        found = _find(data_dir)
        states = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in found.files)
        return _read(_Source(found, states, image_size, channels))
    except VizdiffError:
        raise
    except OSError as error:
        where = error.filename or data_dir
        raise VizdiffInputError(f"`data_dir` {data_dir}: {where} cannot be read ({error.strerror or error})") from error


@dataclass(frozen=True)
class _Source:
    """Files with their sizes and times, and how they are read: equal where the data are."""

    found: IdxFiles | ImageFolder = field(compare=False)
    states: tuple[tuple[Path, int, int], ...]
    image_size: int | None
    channels: int | None


@lru_cache(maxsize=1)  # both splits are asked for, one after the other
def _read(source: _Source) -> DataSet:
    found = source.found
    if isinstance(found, IdxFiles):
        raw, kind = read_idx_files(found, source.image_size, source.channels or 1), "IDX files"
    else:
        raw, kind = read_images(found, source.image_size, source.channels), "image folder"
    parts = [~raw.is_test, raw.is_test if raw.is_test.any() else ~raw.is_test]
    train, test = (
        Digits(to_unit_range(raw.pixels[part]), torch.from_numpy(raw.labels[part]), raw.class_names) for part in parts
    )
    return DataSet(train, test, raw.notes, kind, raw.sides)


def _find(data_dir: Path) -> IdxFiles | ImageFolder:
    """Return the data set in a folder.

    Raises
    ------
    VizdiffInputError
        Where there is none; the message says what is there.
    """
    if data_dir.is_file():
        raise VizdiffInputError(f"`data_dir` {data_dir} is a file; unpack it, and give the folder")
    if not data_dir.parent.is_dir():
        raise VizdiffInputError(f"`data_dir` {data_dir}: there is no such folder")
    found = find_idx(data_dir)
    if found is not None:
        return found
    if not data_dir.is_dir():
        raise VizdiffInputError(f"`data_dir` {data_dir}: there is no such folder")
    folder = list_images(data_dir)
    if folder is not None:
        return folder
    names = sorted(path.name + "/" * path.is_dir() for path in data_dir.iterdir())
    there = f"it holds {', '.join(names[:5])}{', …' * (len(names) > 5)}" if names else "it is empty"
    raise VizdiffInputError(
        f"`data_dir` {data_dir}: there are neither IDX files, such as train-images-idx3-ubyte, nor folders of images "
        f"in it; {there}"
    )


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
    printed = io.StringIO()  # torchvision prints the reason of a failure, and raises an error without it
    try:
        with redirect_stdout(printed):
            for train in (True, False):
                kind(str(root), train=train, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise VizdiffIOError(
            f"cannot download {dataset} into {root} ({_reason(error, printed.getvalue())}); without network, copy its "
            "IDX files and give their folder as `data_dir`"
        ) from error
    return root / kind.__name__ / "raw"


def _reason(error: BaseException, printed: str) -> str:
    """Return why a download failed: the lowest error of the chain, or else what torchvision printed last."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = " ".join(str(error).split())
    lines = [line.strip() for line in printed.splitlines() if "Failed" in line or "rror" in line]
    if isinstance(error, RuntimeError) and lines:
        text = f"{text}: {lines[-1]}"
    return (text or type(error).__name__)[:300]
