"""Full results that ship with the bundled weights: measured data as JSON, bound to the weights' SHA-256.

What ships is what ``measure`` returned, so that figures, tables and words are made of it as of anything measured.
Only dataclasses of arrays, numbers, texts, tuples and further such dataclasses can be written. Beside it lie the
figures drawn of it, since drawing them again takes a report a third of its time.
"""

from __future__ import annotations

import base64
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import make_dir, read_json, write_json
from viz_diffusion.lessons.base import Finding, Lesson

SHIPPED_DIR = Path(__file__).parents[1] / "assets" / "lessons"
FORMAT_VERSION = 2


def ship(finding: Finding, weights_sha256: str, facts: dict[str, Any], folder: Path = SHIPPED_DIR) -> Path:
    """Write a full finding to ``folder``/NAME.json, with ``facts`` on how it was made; return the file.

    Raises
    ------
    VizdiffUsageError
        Where it was not measured with the full sizes, or its data cannot be written.
    """
    lesson = finding.lesson
    if not finding.full or finding.shipped or can_ship(lesson) is None:
        raise VizdiffUsageError(f"lesson {lesson.name}: only full results, of a lesson that names its data, can ship")
    data = finding.data if lesson.part is None else _part_of(finding.data, lesson.part.kind)
    path = make_dir(folder) / f"{lesson.name}.json"
    values = {
        "format_version": FORMAT_VERSION,
        "lesson": lesson.name,
        "weights_sha256": weights_sha256,
        **facts,
        "facts": finding.to_dict(),
        "data": _encode(data),
        "pictures": {},
    }
    write_json(path, values)
    return path


def ship_pictures(lesson: Lesson, pictures: Mapping[str, bytes], drawn_by: str, folder: Path = SHIPPED_DIR) -> Path:
    """Put figures into the file of a lesson that was shipped, in place of those there; return the file.

    ``pictures`` are those of :func:`figures_of`, as the page shows them; ``drawn_by`` is the version that drew them.
    """
    path = folder / f"{lesson.name}.json"
    encoded = {name: base64.b64encode(webp).decode("ascii") for name, webp in pictures.items()}
    write_json(path, read_json(path) | {"drawn_by": drawn_by, "pictures": encoded})
    return path


def shipped_finding(lesson: Lesson, weights_sha256: str, folder: Path = SHIPPED_DIR) -> Finding | None:
    """Return the full finding of a whole lesson that ships for exactly these weights, or None where there is none.

    Raises
    ------
    VizdiffInputError
        Where the file is damaged.
    """
    if lesson.data is None:
        return None
    values = _read(lesson, weights_sha256, folder)
    return None if values is None else Finding.of(lesson, _data_of(values, lesson, folder), full=True, shipped=True)


def shipped_parts(lessons: Iterable[Lesson], weights_sha256: str, folder: Path = SHIPPED_DIR) -> dict[str, Any]:
    """Return, by the lesson's name, the slow parts that ship for exactly these weights; see ``LessonContext.known``.

    Raises
    ------
    VizdiffInputError
        Where a file is damaged.
    """
    files = ((one, _read(one, weights_sha256, folder)) for one in lessons if one.part is not None)
    return {one.name: _data_of(values, one, folder) for one, values in files if values is not None}


def shipped_pictures(lesson: Lesson, weights_sha256: str, folder: Path = SHIPPED_DIR) -> dict[str, bytes]:
    """Return the figures that ship for exactly these weights, as the page shows them (WebP), by name."""
    values = _read(lesson, weights_sha256, folder)
    return {} if values is None else {name: base64.b64decode(text) for name, text in values["pictures"].items()}


def figures_of(lesson: Lesson) -> tuple[str, ...]:
    """Return the names of the figures that are made of what ships alone."""
    return lesson.figures if lesson.part is None else lesson.part.figures


def can_ship(lesson: Lesson) -> type | None:
    """Return the dataclass that may ship for a lesson, or None."""
    return lesson.data if lesson.part is None else lesson.part.kind


def _part_of(data: Any, kind: type) -> Any:
    """Return the field of a lesson's data that is its slow part."""
    return next(value for value in (getattr(data, one.name) for one in fields(data)) if isinstance(value, kind))


def _read(lesson: Lesson, weights_sha256: str, folder: Path) -> dict[str, Any] | None:
    """Return what a lesson's file holds; None where there is no file, or it belongs to other weights."""
    path = folder / f"{lesson.name}.json"
    if can_ship(lesson) is None or not path.is_file():
        return None
    values = read_json(path)
    fits = values.get("weights_sha256") == weights_sha256 and values.get("format_version") == FORMAT_VERSION
    return values if fits else None


def _data_of(values: dict[str, Any], lesson: Lesson, folder: Path) -> Any:
    """Return the data in what a lesson's file holds."""
    try:
        return _decode(values["data"], can_ship(lesson))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        path = folder / f"{lesson.name}.json"
        raise VizdiffInputError(f"{path} does not fit this version ({error}); install the package again") from error


def _encode(value: Any) -> Any:
    """Return JSON values; arrays as their bytes, little-endian, in base64."""
    if is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        text = base64.b64encode(little.tobytes()).decode("ascii")
        return {"dtype": little.dtype.str, "shape": list(value.shape), "base64": text}
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise VizdiffUsageError(f"a {type(value).__name__} cannot ship; keep arrays, numbers and texts in a lesson's data")


def _decode(value: Any, kind: Any) -> Any:
    """Return what :func:`_encode` was given, by its type."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if value is None else _decode(value, next(one for one in inside if one is not type(None)))
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _decode(value[field.name], hints[field.name]) for field in fields(kind)})
    if isinstance(value, dict) and "base64" in value:
        flat = np.frombuffer(base64.b64decode(value["base64"]), np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).astype(flat.dtype.newbyteorder("="))
    if origin is tuple:
        types_ = [inside[0]] * len(value) if inside[-1] is Ellipsis else list(inside)
        return tuple(_decode(item, one) for item, one in zip(value, types_, strict=True))
    return value
