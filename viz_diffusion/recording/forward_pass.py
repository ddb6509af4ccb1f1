"""One forward pass of a denoiser, read from the arguments and the output of a call.

It knows nothing about hooks, steps or files: tensors come in, arrays go out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Float32

_LABEL_NAMES = ("labels", "label", "y", "class_labels")


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One call of the denoiser with n images, copied to the CPU."""

    t: int
    """The timestep that all n images share, 0 .. T-1."""
    x: Float32
    """(n, C, H, W) float32: the states x_t that the denoiser was called with."""
    eps: Float32
    """(n, C, H, W) float32: the predicted noise that it returned."""
    labels: NDArray[np.int64]
    """(n,) int64; -1 for each image where the call had no labels."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """(n, ...) float32: the output of each recorded module, by dotted name."""


@dataclass(frozen=True, eq=False)
class FinishedImages:
    """The images that a sampling ended with, passed on by the sampling loop because no forward pass shows them."""

    x0: Float32
    """(B, C, H, W) float32."""


def read_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, int, NDArray[np.int64]]:
    """Find x, t and the labels among a forward pass's arguments, by the signature of ``forward``.

    Returns
    -------
    x as it was passed, (n, C, H, W); t; and the labels, (n,) int64, -1 where the call has none.

    Raises
    ------
    VizdiffUsageError
        Where x or t is missing, or t is fractional or differs between the images of the pass.
    """
    bound = signature.bind(*args, **kwargs).arguments
    given: dict[str, Any] = {}
    for name, value in bound.items():
        if name == "kwargs" and isinstance(value, dict):
            given.update(value)
        elif name == "args" and isinstance(value, tuple):
            given.update({f"args[{i}]": item for i, item in enumerate(value)})
        else:
            given[name] = value
    if len(given) < 2 or not isinstance(next(iter(given.values())), Tensor):
        raise VizdiffUsageError("the Recorder needs a denoiser that is called with (x, t) or (x, t, labels)")
    x, t, *rest = given.values()
    named = [given[name] for name in _LABEL_NAMES if name in given]
    labels = named[0] if named else rest[0] if rest else None
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim > 1:
        row = np.full(len(x), -1)
    else:
        row = np.broadcast_to(to_numpy(labels), len(x))
    return x, _common_timestep(to_numpy(torch.as_tensor(t)).reshape(-1)), row


def _common_timestep(timesteps: NDArray[Any]) -> int:
    """Return the whole timestep that all images of a pass share."""
    if not timesteps.size or (timesteps != timesteps[0]).any():
        raise VizdiffUsageError(
            f"one forward pass was given several timesteps ({timesteps.min()}..{timesteps.max()}); "
            "the Recorder follows a sampling loop, in which all images share one"
        )
    if timesteps[0] != int(timesteps[0]):
        raise VizdiffUsageError(
            f"a forward pass was given t = {timesteps[0]:g}, between the schedule's timesteps; "
            "record a diffusers pipeline with record_pipeline()"
        )
    return int(timesteps[0])


def output_tensor(output: Any) -> Tensor:
    """Return the tensor in a module's output: the output itself, a tuple's first entry, ``.sample`` or ``["sample"]``.

    Raises
    ------
    VizdiffUsageError
        Where none of these is a tensor.
    """
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


def forward_signature(module: nn.Module) -> inspect.Signature:
    """Return the signature of a module's ``forward``; for a module of ``torch.compile``, that of the original."""
    return inspect.signature(getattr(module, "_orig_mod", module).forward)


def to_numpy(tensor: Tensor) -> Any:
    """Copy a tensor to a CPU array: float32 if it is floating-point, int64 otherwise."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", dtype, copy=True).numpy()
