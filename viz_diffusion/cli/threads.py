"""How many of PyTorch's threads a command lets compute: all for large batches, all but one for a few images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

FEW_IMAGES = 16
"""Up to so many images at once, a core is left free."""


@contextmanager
def spare_core(num_images: int = 1) -> Iterator[None]:
    """Within the block, leave one core to other programs where few images are generated.

    PyTorch's threads wait for one another many times an evaluation. Where another program holds one of their cores, all
    of them wait for it: on two busy cores a report took 259 seconds with two threads and 76 with one; with nothing else
    running, 35 and 39. A large batch gains more from its last thread, so it keeps them all, and a number that
    the user set (OMP_NUM_THREADS) is kept.
    """
    import torch

    before = torch.get_num_threads()
    if num_images > FEW_IMAGES or before == 1 or os.environ.get("OMP_NUM_THREADS"):
        yield
        return
    torch.set_num_threads(before - 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
