"""Folders of images by class: one folder a class, alone or within ``train/`` and ``test/`` (torchvision's ImageFolder).

Hidden files and folders are passed over, links are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.data.fitting import UInt8, choose_size, fit, fitting_note, is_coloured, read_image
from viz_diffusion.data.images import IMAGE_SIZES
from viz_diffusion.data.splits import HELD_OUT, content_hashes, held_out
from viz_diffusion.errors import VizdiffInputError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_NOT_DATA = ("thumbs.db", "desktop.ini")

MOST_NAMED = 5
"""Files that cannot be read which a message names."""

Listing = dict[str, list[Path]]
"""The image files of each class, by the name of its folder."""


@dataclass(frozen=True, eq=False)
class RawData:
    """A data set as bytes: what image folders and IDX files are read into."""

    pixels: UInt8
    """(N, H, W) or (N, H, W, 3)."""
    labels: NDArray[np.int64]
    """(N,) in 0 .. K-1."""
    is_test: NDArray[np.bool_]
    """(N,) which images are held out."""
    class_names: tuple[str, ...]
    """(K,); empty where the labels are the digits 0 .. 9."""
    notes: tuple[str, ...]
    """What was decided on reading, in sentences without a full stop."""
    sides: NDArray[np.int64]
    """(N, 2) height and width of each image as it was found."""


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The image files of a folder, not yet read."""

    train: Listing
    """Training images, or all images where there is one part only."""
    test: Listing
    """Held-out images; empty where they are chosen by hash."""
    notes: tuple[str, ...]
    """What was decided on listing."""

    @property
    def files(self) -> list[Path]:
        """All image files."""
        return [path for part in (self.train, self.test) for paths in part.values() for path in paths]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of both parts, sorted."""
        return tuple(sorted({*self.train, *self.test}))


def list_images(folder: Path) -> ImageFolder | None:
    """List the images of a folder by class; None where it holds no image."""
    inside = _folders(folder)
    names = {path.name.lower(): path for path in inside}
    train = next((names[name] for name in _TRAIN if name in names), None)
    test = next((names[name] for name in _TEST if name in names), None)
    others = [path for path in inside if path.name.lower() not in (*_TRAIN, *_TEST)]
    only_parts = not any(_images(path) for path in others)
    if only_parts and (train is not None or test is not None):
        parts = [Listing() if part is None else _classes(part, folder.name) for part in (train, test)]
        skipped = [path for path in names.values() if path not in (train, test, *others)]
        notes = [f"{path.name}/ is not used, because there is a {test.name}/" for path in skipped if test is not None]
        if not parts[0]:
            parts = [parts[1], {}]
    else:
        parts, notes = [_classes(folder, folder.name), {}], []
    if not any(parts):
        return None
    notes += _notes(folder, inside if not only_parts else [part for part in (train, test) if part])
    return ImageFolder(parts[0], parts[1], tuple(notes))


def read_images(folder: ImageFolder, image_size: int | None = None, channels: int | None = None) -> RawData:
    """Read every image of a folder, all in one size.

    Parameters
    ----------
    image_size
        Height and width; by default the smallest of :data:`IMAGE_SIZES` that holds every image.
    channels
        1 for grey or 3 for RGB; by default 3 where any image has colour.

    Raises
    ------
    VizdiffInputError
        Where files cannot be read; the message names up to :data:`MOST_NAMED` of them.
    """
    names = folder.class_names
    rows = [
        (path, names.index(name), is_test)
        for is_test, part in enumerate((folder.train, folder.test))
        for name, paths in part.items()
        for path in paths
    ]
    notes = list(folder.notes)
    labels = np.array([label for _, label, _ in rows], np.int64)
    images = _read_all([path for path, _, _ in rows], image_size, channels)
    sides = np.array([image.sides for image in images], np.int64)
    size = image_size or choose_size(sides, IMAGE_SIZES)
    if channels is None:
        coloured = sum(image.is_coloured for image in images)
        channels = 3 if coloured else 1
        some = f"{coloured:,} of {len(images):,} images have colour" if coloured < len(images) else "the images"
        notes.append(f"{some}: read as RGB" if coloured else "no image has colour: read as grey")
    notes += [note] if (note := fitting_note(sides, size)) else []
    is_test = np.array([bool(part) for _, _, part in rows])
    if not folder.test:
        is_test = held_out(content_hashes(path.read_bytes() for path, _, _ in rows), labels)
        notes.append(split_note(is_test, "file"))
    pixels = np.stack([image.fitted(size, channels) for image in images])
    return RawData(pixels, labels, is_test, names, tuple(notes), sides)


@dataclass(frozen=True, eq=False)
class _SmallImage:
    """An image as it was found, or fitted already where it is larger than any data set's images may be."""

    sides: tuple[int, ...]
    is_coloured: bool
    whole: UInt8 | None
    by_channels: dict[int, UInt8]

    def fitted(self, size: int, channels: int) -> UInt8:
        return self.by_channels[channels] if self.whole is None else fit(self.whole, size, channels)


def _read_all(paths: Sequence[Path], image_size: int | None, channels: int | None) -> list[_SmallImage]:
    """Read all images; where some cannot be read, raise one error that names several of them."""
    images, errors = [], list[tuple[Path, VizdiffInputError]]()
    for path in paths:
        try:
            image = _read_small(path, image_size, channels)
        except VizdiffInputError as error:
            errors.append((path, error))
            if len(errors) > MOST_NAMED:
                break
        else:
            images += [] if errors else [image]
    if not errors:
        return images
    others = [str(path) for path, _ in errors[1:]]
    more = f"; also: {', '.join(others[: MOST_NAMED - 1])}{', …' * (len(errors) > MOST_NAMED)}" if others else ""
    raise VizdiffInputError(f"{errors[0][1].marked}{more}") from errors[0][1]


def _read_small(path: Path, image_size: int | None, channels: int | None) -> _SmallImage:
    """Read one image; a photograph is not kept at its full size, of which a folder of them may fill the memory."""
    image = read_image(path)
    sides, coloured = image.shape[:2], is_coloured(image)
    if image_size is None and max(sides) <= IMAGE_SIZES[-1]:
        return _SmallImage(sides, coloured, image, {})
    size = image_size or IMAGE_SIZES[-1]
    return _SmallImage(
        sides, coloured, None, {n: fit(image, size, n) for n in ((1, 3) if channels is None else (channels,))}
    )


def split_note(is_test: NDArray[np.bool_], what: str) -> str:
    """Return how data of one part were split; ``what`` is hashed."""
    if not is_test.any():
        return "too few different images to hold any out: the same images are trained on and tested on"
    return (
        f"one part only: {int(is_test.sum()):,} of {len(is_test):,} images are held out, about {HELD_OUT:.0%}, chosen "
        f"by a hash of each {what}, always the same ones"
    )


def _notes(folder: Path, class_folders: list[Path]) -> list[str]:
    """Return what was passed over, in words."""
    notes = []
    parts = [path for one in class_folders for path in (one, *_folders(one))]
    empty = [path.relative_to(folder).as_posix() for path in parts if not _images(path)]
    if empty:
        shown = ", ".join(empty[:3]) + ", …" * (len(empty) > 3)
        notes.append(f"passed over, for they hold no image: {shown}")
    loose = _direct(folder) if any(_images(path) for path in class_folders) else []
    if loose:
        shown = ", ".join(path.name for path in loose[:3]) + ", …" * (len(loose) > 3)
        notes.append(f"passed over, for they lie in no class's folder: {shown} ({len(loose)} in all)")
    others = [
        path.name
        for path in _walk(folder, set())
        if path.suffix.lower() not in ENDINGS and path.name.lower() not in _NOT_DATA
    ]
    if others:
        shown = ", ".join(sorted(others)[:3]) + ", …" * (len(others) > 3)
        notes.append(f"passed over, for they are no images: {shown} ({len(others)} in all)")
    return notes


def _classes(folder: Path, name: str) -> Listing:
    """Return the images of each class of one part; images without a class folder are one class called ``name``."""
    found = {path.name: images for path in _folders(folder) if (images := _images(path))}
    return found or ({name: images} if (images := _direct(folder)) else {})


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_hidden(path.name) and path.is_dir())


def _direct(folder: Path) -> list[Path]:
    """Return the image files in a folder itself, sorted."""
    return sorted(path for path in folder.iterdir() if _is_image(path) and not path.is_dir())


def _images(folder: Path) -> list[Path]:
    """Return the image files in a folder and all folders within it, sorted."""
    return sorted(path for path in _walk(folder, set()) if _is_image(path))


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Yield all files that are not hidden; a folder that is linked to from within itself is entered once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in folder.iterdir():
        if _is_hidden(path.name):
            continue
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path


def _is_image(path: Path) -> bool:
    return not _is_hidden(path.name) and path.suffix.lower() in ENDINGS


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
