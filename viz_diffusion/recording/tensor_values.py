"""Tensors of a forward pass: the one in an output, copies of them, arrays of them.

Knows nothing about roles and timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from viz_diffusion.errors import VizdiffUsageError

is_transformed: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
"""Returns whether torch.vmap or another transform of torch.func stands between a hook and the values."""


def output_tensor(output: Any) -> Tensor:
    """Return the tensor in a module's output: the output itself, a tuple's first entry, ``.sample`` or ``["sample"]``.

    Raises
    ------
    VizdiffUsageError
        Where none of these is a tensor.
    """
    if type(output) is Tensor:
        return output
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    elif isinstance(output, Mapping):
        output = output.get("sample", output)
    else:
        output = getattr(output, "sample", output)
    if not isinstance(output, Tensor):
        raise VizdiffUsageError(
            f"the Recorder needs a denoiser that returns a tensor, a tuple or .sample, found {type(output).__name__}"
        )
    return output


def to_numpy(tensor: Tensor, *, copy: bool = True) -> Any:
    """Return a tensor as a CPU array, float32 if it is floating-point, int64 otherwise; a copy where ``copy``."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    if tensor.dtype == dtype and tensor.is_cpu:  # the usual case, in fewer operations
        values = tensor.detach() if tensor.requires_grad else tensor
        return (values.clone() if copy else values).numpy()
    return tensor.detach().to("cpu", dtype, copy=copy).numpy()


def copied(value: Any) -> Any:
    """Return a copy of a tensor; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone() if value.requires_grad else value.clone()


def is_plain(value: Any) -> bool:
    """Return whether a value is a tensor whose copy can be recorded without a conversion: float32, on the CPU."""
    return type(value) is Tensor and value.dtype is torch.float32 and value.is_cpu
