"""What tests of samplers start from: small states, and a denoiser that gives unpredictable answers."""

from __future__ import annotations

import torch
from torch import Tensor

EXACT = 1e-10
"""Relative error between two ways to compute one state in float64."""
SHAPE = (2, 1, 4, 4)


def half_random(x: Tensor, timesteps: Tensor) -> Tensor:
    """Give an ε̂ that depends on x and, unpredictably, on t."""
    generator = torch.Generator().manual_seed(int(timesteps[0]))
    return 0.5 * x + torch.randn(x.shape, generator=generator, dtype=x.dtype)


def start(dtype: torch.dtype) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def relative(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()
