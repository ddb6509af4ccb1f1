"""Comparison of what lessons measured, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from viz_diffusion.lessons.encoding import Arrays, encode


def encoded(data: Any) -> tuple[Any, Arrays]:
    """Return a lesson's data as values and arrays; the recording in them is compared by itself."""
    arrays: Arrays = {}
    held = getattr(data, "trajectory", None)
    return encode(data, "", arrays, {} if held is None else {"recording": held}), arrays


def same(one: Any, other: Any) -> bool:
    """Return whether two lessons' data are equal, to the last bit."""
    (values, arrays), (other_values, other_arrays) = encoded(one), encoded(other)
    return (
        type(one) is type(other)
        and values == other_values
        and arrays.keys() == other_arrays.keys()
        and all(np.array_equal(arrays[name], other_arrays[name], equal_nan=True) for name in arrays)
        and all(arrays[name].dtype == other_arrays[name].dtype for name in arrays)
    )
