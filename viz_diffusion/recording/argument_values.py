"""Values that a denoiser is called with, in the forms in which programs pass them: numbers, arrays, tensors, masks.

Knows nothing about names and roles.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError

_EXACT = {torch.bfloat16: 256, torch.float16: 2048}
"""The largest number up to which each format holds every whole number."""
_QUICK = (torch.int64, torch.float32, torch.int32, torch.float64)
"""Formats that tell all timesteps apart."""
_FEW = 256
"""Up to about as many numbers are compared faster as Python's than as an array."""


def as_tensor(value: Any) -> Any:
    """Return NumPy's numbers and arrays, and lists of numbers, as tensors, and a nested tensor as those it holds."""
    if isinstance(value, Tensor) and value.is_nested:
        return value.unbind()
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, (int, float, np.number)) for one in value):
        value = np.asarray(value)
    if isinstance(value, (np.number, np.bool_, np.ndarray)) and np.asarray(value).dtype.kind in "biuf":
        return torch.from_numpy(np.array(value))
    return value


def timesteps(value: Any, name: str, x: Tensor) -> Tensor:
    """Return timesteps as () or (m,), one or n of them.

    Raises
    ------
    VizdiffUsageError
        Where the argument ``name`` holds something else.
    """
    if is_bool(value) or not is_number_each(value, len(x)):
        raise VizdiffUsageError(
            f"the argument {name} was taken for the timesteps and is {describe(value)}; say which one is t: "
            'Recorder(…, arguments={"t": …})'
        )
    return timestep_row(value)


def timestep_row(value: Any) -> Tensor:
    """Return timesteps as () or (m,)."""
    found = value if isinstance(value, Tensor) else tensor_of(as_tensor(value))
    return found if found.ndim < 2 else found.reshape(-1)


def mask_row(value: Any, x: Tensor) -> NDArray[np.bool_] | None:
    """Return a mask or a probability of 0 or 1 as (n,) bool; None for anything else."""
    if not isinstance(value, (bool, int, float)) and not is_number_each(value, len(x)):
        return None
    numbers = tensor_of(value).detach().cpu().reshape(-1).to(torch.float32)
    if not ((numbers == 0) | (numbers == 1)).all():
        return None
    return np.broadcast_to(numbers.numpy() == 1, len(x)).copy()


def is_number_each(value: Any, count: int) -> bool:
    """Return whether a value is one number, or one for each image: (), (1,), (n,), (n, 1, 1, 1)."""
    if isinstance(value, (int, float)):
        return True
    return isinstance(value, (Tensor, np.ndarray)) and (
        _size(value) == 1 or (len(value) == count and _size(value) == count)
    )


def _size(value: Any) -> int:
    return int(value.numel() if isinstance(value, Tensor) else value.size)


def is_bool(value: Any) -> bool:
    """Return whether a value is a truth value or a tensor of them."""
    return isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool)


def describe(value: Any) -> str:
    """Return a value's kind and shape in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    return f"a {type(value).__name__}"


def check_format(values: Tensor) -> None:
    """Refuse a number format in which neighbouring timesteps are the same number."""
    most = _EXACT.get(values.dtype)
    if most is None:
        return
    numbers = values.to(torch.float32)
    if bool((numbers > most).any()) or bool((numbers != numbers.round()).any()):
        name = str(values.dtype).removeprefix("torch.")
        raise VizdiffUsageError(
            f"timesteps are given in {name}, which cannot tell t = {numbers.max():g} from its neighbours; give the "
            "network its timesteps in int64 or float32"
        )


def quick_value(values: Any) -> float | None:
    """Return the number that timesteps share, where it is found fast and each of them is exact; else None."""
    if type(values) is Tensor:
        if values.dtype not in _QUICK or values.numel() > _FEW or not values.is_cpu:
            return None
        found = values.tolist()
        if isinstance(found, list):
            if values.ndim != 1 or not found or found.count(found[0]) != len(found):
                return None
            found = found[0]
    elif type(values) in (float, int):
        found = values
    else:
        return None
    return float(found) if isfinite(found) else None


def common_value(values: Tensor) -> float:
    """Return the finite number that all of () or (m,) are; refuse any other."""
    if values.numel() <= _FEW:
        found = values.tolist()
        numbers = found if isinstance(found, list) else [found]
        if numbers and isfinite(numbers[0]) and numbers.count(numbers[0]) == len(numbers):
            return float(numbers[0])
    row = values.detach().reshape(-1).to("cpu", torch.float64).numpy()
    if not np.isfinite(row).all():
        raise VizdiffUsageError(f"a forward pass was given t = {row[~np.isfinite(row)][0]:g}; it must be finite")
    if not row.size or (row != row[0]).any():
        raise VizdiffUsageError(
            f"one forward pass was given several timesteps ({row.min():g}..{row.max():g}); "
            "the Recorder follows a sampling loop, in which all images share one"
        )
    return float(row[0])
