"""Timesteps for the time embedding alone, different from those that the last line of the network uses.

Knows nothing about sampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from viz_diffusion.diffusion.unet import SimpleUNet


def has_time_embedding(denoiser: Any) -> bool:
    """Return whether a denoiser is a :class:`SimpleUNet` that was trained with timesteps."""
    return isinstance(denoiser, SimpleUNet) and denoiser.config.use_time


@contextmanager
def embedded_timesteps(network: SimpleUNet, timesteps: Tensor) -> Iterator[None]:
    """Give the time embedding (B,) int64 ``timesteps`` within the block, whatever timesteps a call names.

    A timestep reaches the prediction in two ways: its embedding conditions every residual block, and its ᾱ stands in
    the last line, √(1-ᾱ) x_t + √ᾱ F. Within the block, a call's own timesteps reach the last line only.
    """

    def replace(_module: Any, _inputs: Any) -> tuple[Tensor]:
        return (network.network_timesteps(timesteps),)

    hook = network.time_mlp.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        hook.remove()
