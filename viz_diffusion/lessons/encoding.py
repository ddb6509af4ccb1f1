"""Encode a lesson's data as JSON values and arrays, and decode it.

Handles any dataclass of arrays, numbers, texts, tuples and further such dataclasses. Knows nothing about files.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError

Arrays = dict[str, NDArray[Any]]
NOTHING_SHARED: Mapping[str, Any] = {}
_ELSEWHERE = "kept elsewhere"
"""Stands for what is kept elsewhere; no field of a dataclass has such a name."""


def encode(value: Any, name: str, arrays: Arrays, shared: Mapping[str, Any] = NOTHING_SHARED) -> Any:
    """Return JSON values; arrays, little-endian, are put into ``arrays`` by their place, ``name``, such as a.b.0.

    Parameters
    ----------
    value
        A frozen dataclass, or one of its values.
    name
        The place of ``value`` in the whole; empty for the whole itself.
    arrays
        Gets the arrays.
    shared
        Dataclasses that are kept elsewhere, by name: where one of them occurs, its name takes its place.

    Raises
    ------
    VizdiffUsageError
        Where a value is of another type.
    """
    inside = f"{name}." if name else ""
    if is_dataclass(value):
        known = next((key for key, one in shared.items() if one is value), None)
        if known is not None:
            return {_ELSEWHERE: known}
        return {one.name: encode(getattr(value, one.name), inside + one.name, arrays, shared) for one in fields(value)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays[name] = np.asarray(value, value.dtype.newbyteorder("<"), order="C")
        return {"array": name}
    if isinstance(value, (tuple, list)):
        return [encode(item, f"{inside}{index}", arrays, shared) for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise VizdiffUsageError(f"a {type(value).__name__} cannot ship; keep arrays, numbers and texts in a lesson's data")


def decode(
    value: Any, kind: Any, arrays: Mapping[str, NDArray[Any]], shared: Mapping[str, Any] = NOTHING_SHARED
) -> Any:
    """Return what :func:`encode` was given, by its type ``kind``, from its arrays and what was kept elsewhere.

    Raises
    ------
    KeyError, ValueError, TypeError, AttributeError
        Where ``value`` does not fit the type, or something shared is missing.
    """
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # X | None
        wanted = next(one for one in inside if one is not type(None))
        return None if value is None else decode(value, wanted, arrays, shared)
    if isinstance(value, dict) and _ELSEWHERE in value:
        return shared[value[_ELSEWHERE]]
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{one.name: decode(value[one.name], hints[one.name], arrays, shared) for one in fields(kind)})
    if isinstance(value, dict) and "array" in value:
        array = arrays[value["array"]]
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if origin is tuple:
        types_ = [inside[0]] * len(value) if inside[-1] is Ellipsis else list(inside)
        return tuple(decode(item, one, arrays, shared) for item, one in zip(value, types_, strict=True))
    return value
