"""Precomputed results of lessons: files that ship with the bundled weights, and belong to exactly these.

Of each lesson there is NAME.json (how it was measured, the weights' SHA-256, numbers and texts), NAME.npz (arrays) and
NAME.FIGURE.LANGUAGE.svgz (figures as the page shows them, since drawing them takes a third of a report's time). What is
kept is what the lesson measured, so that figures, tables and texts are made from it as from anything measured.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import io_errors, make_dir, read_json, sha256_bytes, write_bytes, write_json
from viz_diffusion.lessons.base import AnyLesson, Finding
from viz_diffusion.lessons.encoding import Arrays, decode, encode

PRECOMPUTED_DIR = Path(__file__).parents[1] / "assets" / "lessons"
FORMAT_VERSION = 3


def save_results(
    finding: Finding, weights_sha256: str, made: Mapping[str, Any], folder: Path = PRECOMPUTED_DIR
) -> Path:
    """Write the full results of a lesson to ``folder``/NAME.json and NAME.npz; return the first.

    Parameters
    ----------
    finding
        Measured with the full sizes, nothing in it precomputed.
    weights_sha256
        Of the weights that were measured: the results are used with these only.
    made
        How they were made, as JSON values.

    Raises
    ------
    VizdiffUsageError
        Where the finding is another, or its data cannot be written.
    """
    lesson = finding.lesson
    if not finding.full or finding.precomputed or lesson.precomputed is None:
        raise VizdiffUsageError(
            f"lesson {lesson.name}: only full results, of a lesson that can be precomputed, can ship"
        )
    arrays: Arrays = {}
    data = encode(_results_in(finding.data, lesson.precomputed.result), "", arrays)
    path = make_dir(folder) / f"{lesson.name}.json"
    values = {
        "format_version": FORMAT_VERSION,
        "lesson": lesson.name,
        "weights_sha256": weights_sha256,
        **_also_of(finding),
        **made,
        "facts": finding.to_dict(),
        "data": data,
        "sha256": {},
    }
    _write(path, values, {"npz": _to_npz(arrays)})
    return path


def refresh_facts(finding: Finding, folder: Path = PRECOMPUTED_DIR) -> None:
    """Write the facts and claims that this version makes of the results that ship, in place of those in NAME.json.

    Only of a lesson that is precomputed as a whole: others have facts of the recording they were measured with.
    """
    if finding.lesson.measure is None:
        path = folder / f"{finding.lesson.name}.json"
        write_json(path, read_json(path) | _also_of(finding) | {"facts": finding.to_dict() | {"shipped": False}})


def _also_of(finding: Finding) -> dict[str, list[str]]:
    """Return the SHA-256 of the other weights that results belong to, as an entry of NAME.json; empty for none."""
    precomputed = finding.lesson.precomputed
    if precomputed is None or not precomputed.also_of:
        return {}
    results = _results_in(finding.data, precomputed.result)
    hashes = [getattr(results, name) for name in precomputed.also_of]
    return {"also_weights_sha256": [sha256 for sha256 in hashes if sha256 is not None]}


def save_pictures(
    lesson: AnyLesson, pictures: Mapping[str, Mapping[str, bytes]], drawn_by: str, folder: Path = PRECOMPUTED_DIR
) -> Path:
    """Write the precomputed figures of a lesson whose results are there, in place of those that are; return NAME.json.

    ``pictures`` are SVGs as the page shows them, by language and name; ``drawn_by`` names the version that drew them.
    """
    path = folder / f"{lesson.name}.json"
    for old in folder.glob(f"{lesson.name}.*.svgz"):
        old.unlink()
    values = read_json(path) | {"drawn_by": drawn_by}
    values["sha256"] = {"npz": values["sha256"]["npz"]}
    files = {
        f"{name}.{lang}.svgz": gzip.compress(data, mtime=0)
        for lang, one in pictures.items()
        for name, data in one.items()
    }
    _write(path, values, files)
    return path


def load_results(lessons: Iterable[AnyLesson], weights_sha256: str, folder: Path = PRECOMPUTED_DIR) -> dict[type, Any]:
    """Return, by their dataclass, the results that ship for exactly these weights; see ``LessonContext.precomputed``.

    Where other networks were measured too, results that are of others than come with the package are left out.

    Raises
    ------
    VizdiffInputError
        Where a file is damaged or does not fit this version.
    """
    found: dict[type, Any] = {}
    for lesson in lessons:
        values = _read(lesson, weights_sha256, folder)
        if values is not None and lesson.precomputed is not None:
            results = _results(lesson.precomputed.result, values, lesson.name, folder)
            if lesson.precomputed.fits(results):
                found[lesson.precomputed.result] = results
    return found


def load_pictures(
    lesson: AnyLesson, weights_sha256: str, lang: str, folder: Path = PRECOMPUTED_DIR
) -> dict[str, bytes]:
    """Return the figures that ship for exactly these weights in a language, as the page shows them (SVG), by name.

    Raises
    ------
    VizdiffInputError
        Where a file is damaged.
    """
    values, suffix = _read(lesson, weights_sha256, folder), f".{lang}.svgz"
    if values is None:
        return {}
    endings = [ending for ending in values["sha256"] if ending.endswith(suffix)]
    return {
        ending.removesuffix(suffix): gzip.decompress(_read_file(values, lesson.name, ending, folder))
        for ending in endings
    }


def _results_in(data: Any, result: type) -> Any:
    """Return a lesson's data, or the field of it that can be precomputed."""
    if isinstance(data, result):
        return data
    return next(value for value in (getattr(data, one.name) for one in fields(data)) if isinstance(value, result))


def _write(path: Path, values: dict[str, Any], files: Mapping[str, bytes]) -> None:
    """Write NAME.ENDING for each of ``files``, and then NAME.json, which holds their SHA-256."""
    for ending, data in files.items():
        write_bytes(path.with_suffix(f".{ending}"), data)
        values["sha256"][ending] = sha256_bytes(data)
    write_json(path, values)


def _read(lesson: AnyLesson, weights_sha256: str, folder: Path) -> dict[str, Any] | None:
    """Return what NAME.json holds; None where there is no such file, or it belongs to other weights."""
    path = folder / f"{lesson.name}.json"
    if lesson.precomputed is None or not path.is_file():
        return None
    values = read_json(path)
    also_of = values.get("also_weights_sha256", [])
    is_of = values.get("weights_sha256") == weights_sha256 or (isinstance(also_of, list) and weights_sha256 in also_of)
    fits = is_of and values.get("format_version") == FORMAT_VERSION
    if fits and not isinstance(values.get("sha256"), dict):
        raise VizdiffInputError(f"{path} does not fit this version ('sha256'); install the package again")
    return values if fits else None


def _read_file(values: dict[str, Any], name: str, ending: str, folder: Path) -> bytes:
    """Return the bytes of NAME.ENDING, which are those that NAME.json was written with."""
    path = folder / f"{name}.{ending}"
    if not path.is_file():
        raise VizdiffInputError(f"{path} is missing; install the package again")
    with io_errors("read", path):
        data = path.read_bytes()
    if sha256_bytes(data) != values["sha256"].get(ending):
        raise VizdiffInputError(f"{path} is damaged: its SHA-256 is not that of {name}.json; install the package again")
    return data


def _results(result: type, values: dict[str, Any], name: str, folder: Path) -> Any:
    """Return the results in the files of a lesson."""
    data = _read_file(values, name, "npz", folder)
    try:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            return decode(values["data"], result, arrays)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        path = folder / f"{name}.json"
        raise VizdiffInputError(f"{path} does not fit this version ({error}); install the package again") from error


def _to_npz(arrays: Arrays) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes the names for its own options
    return buffer.getvalue()
