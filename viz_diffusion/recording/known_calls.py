"""Calls of a denoiser that were read before: what a loop passes unchanged at every step is read once.

A call is the same as an earlier one where x and t have the same dtype and shape, and all other arguments are equal.
Values are compared, not identities or version counters: a write through ``.data`` or through a NumPy view of a tensor
changes neither. Comparing costs less than reading. Knows nothing about roles.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

ReadT = TypeVar("ReadT")
"""What was read of a call."""

_NUM_KNOWN = 4
"""How many different calls are known at a time: guidance alternates between two, rarely three."""
_PLAIN = (bool, int, float, str, type(None), np.float64, np.float32, np.int64, np.int32)
"""Types, apart from tensors, whose values can be compared with a copy of earlier ones."""


@dataclass(frozen=True, eq=False)
class _Known(Generic[ReadT]):
    """A call that was read."""

    kinds: list[Any]
    """The kind of each argument; see :func:`_kind`."""
    names: list[str]
    """The names of the last of them, those passed by name."""
    values: list[tuple[int, Any]]
    """Place and value of each argument that has to be equal, tensors as copies."""
    read: ReadT


class KnownCalls(Generic[ReadT]):
    """The latest different calls of a denoiser, and what was read of each."""

    def __init__(self) -> None:
        self._known: list[_Known[ReadT]] = []

    def find(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ReadT | None:
        """Return what was read of an equal call; None where there was none."""
        if not self._known:
            return None
        values = (*args, *kwargs.values())
        kinds, names = [_kind(value) for value in values], list(kwargs)
        for one in self._known:
            if kinds == one.kinds and names == one.names and _are_equal(one.values, values):
                if one is not self._known[0]:
                    self._known = [one, *(other for other in self._known if other is not one)]
                return one.read
        return None

    def clear(self) -> None:
        """Forget all calls, and with them the copies of their tensors."""
        self._known.clear()

    def add(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], free: Collection[int], read: ReadT) -> None:
        """Remember what was read of a call, where its arguments can be compared with later ones.

        Parameters
        ----------
        args, kwargs
            The call.
        free
            Places, first of ``args``, then of ``kwargs``, of the arguments whose values do not matter.
        read
            What was read.
        """
        values = (*args, *kwargs.values())
        if not all(_is_comparable(value) for value in values):
            return
        kept = [
            (place, value.detach().clone() if isinstance(value, Tensor) else value)
            for place, value in enumerate(values)
            if place not in free
        ]
        self._known = [
            _Known([_kind(value) for value in values], list(kwargs), kept, read),
            *self._known[: _NUM_KNOWN - 1],
        ]


def _is_comparable(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout == torch.strided and not value.is_nested
    return type(value) in _PLAIN


def _kind(value: Any) -> Any:
    """Return dtype, device and shape of a tensor, and the type of anything else; a nested tensor has no shape."""
    if not isinstance(value, Tensor) or value.is_nested:
        return type(value)
    return (value.dtype, value.device, value.shape, type(value))


def _are_equal(known: list[tuple[int, Any]], values: tuple[Any, ...]) -> bool:
    for place, before in known:
        value = values[place]
        if not isinstance(value, Tensor):
            if before != value:
                return False
        elif value.layout != before.layout or not torch.equal(before, value):
            return False
    return True
