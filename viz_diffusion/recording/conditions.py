"""Conditions of a forward pass, as one number for each image.

They tell apart the two halves of guidance whose conditions are masks or embeddings. Knows nothing about roles or hooks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def condition_numbers(others: Mapping[str, Any], count: int) -> dict[str, NDArray[Any]]:
    """Return (n,) for each argument that may be a condition: a number an image, the same for equal values.

    They tell apart the two halves of guidance whose conditions are masks or embeddings.
    """
    numbers: dict[str, NDArray[Any]] = {}
    for name, value in _leaves(others):
        if isinstance(value, Tensor) and value.layout != torch.strided:
            value = value.to_dense()
        if isinstance(value, Tensor) and value.ndim and len(value) == count and not value.is_complex():
            rows = value.detach().cpu().reshape(count, -1).to(torch.float64).numpy() + 0.0
            numbers[name] = np.array([hash(row.tobytes()) for row in rows], dtype=np.int64)
        elif isinstance(value, Tensor) and not value.is_complex():  # one condition that all images share
            shared = value.detach().cpu().to(torch.float64).numpy() + 0.0
            numbers[name] = np.full(count, hash((shared.shape, shared.tobytes())), dtype=np.int64)
        elif isinstance(value, (bool, int, float, str)):
            numbers[name] = np.full(count, hash(value), dtype=np.int64)
    return numbers


def _leaves(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values in nested mappings, lists and tuples, with names such as ``cond.c_crossattn.0``."""
    for name, value in values.items():
        if isinstance(value, Tensor) and value.is_nested:
            value = value.unbind()
        inner = dict(enumerate(value)) if isinstance(value, (list, tuple)) else value
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
