"""Where an output may be written: never over, into or through something that its writer would not have made there.

A file takes a free place, or that of a file of its own format. No output goes into a folder whose files belong
together: a run, a recording, a classifier, the pictures of a deck, a saved pipeline, the package or its cache. Links
are followed before anything is compared.
"""

from __future__ import annotations

import fnmatch
import os
import stat
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import cache_dir
from viz_diffusion.files.boundary import read_regular
from viz_diffusion.files.checked import read_json
from viz_diffusion.files.writing import io_errors, make_dir, make_parent

PACKAGE_DIR = Path(__file__).resolve().parents[1]
_RUN_FILES = ("model.safetensors", "metrics.jsonl", "training", ".lock")
_RESULT_KEYS = {"weights_sha256", "data_sha256", "seconds", "recording"}
"""One of them is in every JSON file that a command writes."""
_MARKS = {".png": b"\x89PNG", ".gif": b"GIF8", ".pdf": b"%PDF", ".webp": b"RIFF", ".mp4": b"ftyp"}
"""How the files of a format begin."""
_MEMBERS = {
    ".npz": {"images.npy", "arr_0.npy"},
    ".pptx": {"ppt/presentation.xml"},
    ".zip": {"dataset.json", "zarr.json"},
}
"""Members of which archives of a format hold one."""
FILE_SUFFIXES = {*_MARKS, *_MEMBERS, ".html", ".json", ".svg", ".csv", ".txt"}
"""Endings that a folder is not given."""
_SKIPPED = {".mp4": 4}
"""Bytes before the mark."""


def place_file(path: Path, *endings: str, option: str = "out") -> Path:
    """Check the place of a file that is to be written, and make its folder; return the path.

    Parameters
    ----------
    endings
        Those that the file's name may have, such as ``.html``; any where none are given.
    option
        The parameter that names the file.

    Raises
    ------
    VizdiffUsageError
        Where the name has another ending.
    VizdiffInputError
        Where the place is inside something else.
    VizdiffIOError
        Where the folder cannot be made or written to.
    """
    if endings and path.suffix.lower() not in endings:
        raise VizdiffUsageError(f"`{option}` must end in {' or '.join(endings)}, found {str(path)!r}")
    require_outside(path, option)
    make_parent(path)
    return path


def place_folder(path: Path, option: str = "out") -> Path:
    """Check the place of a folder that files are to be written to, and make it; return the path.

    Raises
    ------
    VizdiffUsageError
        Where no folder has this name yet and it ends like that of a file.
    VizdiffInputError
        Where it is inside something else, or is something else itself.
    VizdiffIOError
        Where it cannot be made or written to.
    """
    _require_folder_name(path, option)
    require_outside(path / "file", option)
    return make_dir(path)


def require_outside(path: Path, option: str = "out") -> None:
    """Refuse a path inside a folder whose files belong together, also through links.

    Raises
    ------
    VizdiffInputError
        Where it is inside one.
    """
    for folder in Path(os.path.realpath(path)).parents:
        kind = _whole(folder)
        if kind is not None:
            raise VizdiffInputError(f"{path} would be written into {kind}, {folder}; choose another `{option}`")


def require_own_folder(path: Path, own: Callable[[str], bool], option: str = "out", *, replaced: bool = False) -> None:
    """Refuse a folder that is to belong to one writer and holds anything else.

    Parameters
    ----------
    own
        Whether an entry's name is the writer's.
    replaced
        Whether the folder itself is exchanged for a new one; then it may not hold the current folder.

    Raises
    ------
    VizdiffUsageError
        Where no folder has this name yet and it ends like that of a file.
    VizdiffInputError
        Where it holds other entries, lies inside something else, or holds the current folder.
    VizdiffIOError
        Where there is a file of its name.
    """
    _require_folder_name(path, option)
    require_outside(path, option)
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_dir():
        raise VizdiffIOError(f"cannot write {path}: a file is in the place of the folder")
    with io_errors("read", path):
        others = sorted(name for name in os.listdir(place) if not own(name)) if place.is_dir() else []
    if others:
        raise VizdiffInputError(f"`{option}` {path} holds other things ({others[0]}); name a new folder")
    if replaced and place in (Path.cwd(), *Path.cwd().parents):
        raise VizdiffInputError(f"`{option}` {path} is the current folder, or holds it; name a new folder")


def _require_folder_name(path: Path, option: str) -> None:
    """Refuse the name of a file for a folder that is not there yet."""
    if path.suffix.lower() in FILE_SUFFIXES and not os.path.lexists(path):
        raise VizdiffUsageError(
            f"`{option}` must be a folder, found {path}, which ends like a file; choose {path.with_suffix('')}"
        )


def require_own_kind(path: Path, option: str = "out") -> None:
    """Refuse to replace what is no file of the format that the name's ending says, or no recording (``.zarr``).

    Raises
    ------
    VizdiffInputError
        Where something else is there.
    """
    if not os.path.exists(path):
        return
    ending, place = path.suffix.lower(), Path(os.path.realpath(path))
    try:
        fits = _is_recording(place) if ending == ".zarr" else _fits(place, ending)
    except (VizdiffError, OSError, ValueError):
        fits = False
    if not fits:
        kind = "recording" if ending == ".zarr" else f"{ending} file as this program writes them"
        raise VizdiffInputError(
            f"{path} exists and is no {kind}; `force` does not replace it, choose another `{option}`"
        )


def other_files(folder: Path, own: Iterable[str], ours: Callable[[Path], bool]) -> list[str]:
    """Return the names of a folder's files, hidden ones left out, that neither match ``own`` nor are ``ours``."""
    patterns = tuple(own)
    with io_errors("read", folder):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        entry.name
        for entry in entries
        if not entry.name.startswith(".")
        and not entry.is_dir()
        and not any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in patterns)
        and not ours(entry)
    ]


def _whole(folder: Path) -> str | None:
    """Return what a folder is whose files belong together; None for any other."""

    def has(name: str) -> bool:
        return os.path.lexists(folder / name)

    if has("zarr.json"):
        return "a recording"
    if has("config.json") and any(map(has, _RUN_FILES)):
        return "a run"
    if has("provenance.json") and has("model.safetensors"):
        return "a classifier"
    if has("model_index.json"):
        return "a saved pipeline"
    if has("captions.md") and has("facts.json"):
        return "the pictures of a deck"
    if folder == PACKAGE_DIR:
        return "the installed package"
    return "the cache folder" if folder == Path(os.path.realpath(cache_dir())) else None


def _is_recording(place: Path) -> bool:
    return place.is_dir() and ((place / "zarr.json").is_file() or not any(place.iterdir()))


def _fits(place: Path, ending: str) -> bool:
    """Return whether a file has the format of an ending, as far as commands write it; an empty file has any."""
    if not stat.S_ISREG(place.stat().st_mode):
        return False
    if place.stat().st_size == 0:
        return True
    with place.open("rb") as handle:
        head = handle.read(4096)
    if ending in (".html", ".htm"):
        return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if ending == ".json":
        return bool(_RESULT_KEYS & read_json(place).keys())
    if ending in _MEMBERS:
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(place) as archive:
            return not _MEMBERS[ending].isdisjoint(archive.namelist())
        return False
    if ending in (".txt", ".md"):
        return "\0" not in read_regular(place).decode()
    if ending == ".safetensors":
        return (place.parent / "provenance.json").is_file()
    if ending == ".svg":
        return b"<svg" in head
    return head[_SKIPPED.get(ending, 0) :].startswith(_MARKS.get(ending, b""))
