"""PyTorch's defaults as this package needs them: float32 on the CPU, with gradients, whatever the user set.

For functions that run only this package's own networks: another program's network may need the defaults that its user
set, so code that calls one names dtype and device instead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def own_defaults() -> Iterator[None]:
    """Set the defaults within the block, or within the function that this decorates; the user's are restored."""
    before = torch.get_default_dtype()
    with ExitStack() as stack:
        if before != torch.float32:
            stack.callback(torch.set_default_dtype, before)
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        yield


def tensor_of(value: Any) -> Tensor:
    """Return a tensor as it is, and numbers as a tensor on the CPU: Python's float as float32, all else in its dtype.

    ``torch.as_tensor`` would move a tensor to the user's default device, and round a float to the default dtype.
    """
    if isinstance(value, Tensor):
        return value
    numbers = np.asarray(value)
    is_python = not isinstance(value, np.ndarray | np.generic)
    return torch.from_numpy(numbers.astype(np.float32) if is_python and numbers.dtype == np.float64 else numbers)


def own_defaults_each_step(generate: Callable[P, Iterator[T]]) -> Callable[P, Generator[T, None, None]]:
    """Decorate a generator function: the defaults hold while it runs, and not while its caller does."""

    @wraps(generate)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        steps = generate(*args, **kwargs)
        try:
            while True:
                with own_defaults():
                    try:
                        step = next(steps)
                    except StopIteration:
                        return
                yield step
        finally:
            with own_defaults():
                if isinstance(steps, Generator):
                    steps.close()

    return wrapped
