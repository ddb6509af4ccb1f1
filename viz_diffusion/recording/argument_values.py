"""Values that a denoiser is called with, in the forms in which programs pass them: numbers, arrays, tensors, masks.

Knows nothing about names and roles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError


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
