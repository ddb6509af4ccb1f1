"""The exact denoiser of Gaussian images in any parameterization, and loops that sample it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.parameterizations import from_x0_and_eps
from viz_diffusion.diffusion.schedule import NoiseSchedule

SHAPE = (1, 8, 8)


class Gaussian(nn.Module):
    """The exact denoiser of images that are N(m, 0.3²) in each pixel, which answers in any parameterization."""

    def __init__(self, schedule: NoiseSchedule, kind: str = "epsilon") -> None:
        super().__init__()
        self.schedule, self.kind = schedule, kind
        self.register_buffer("mean", torch.linspace(-0.8, 0.8, 64).reshape(SHAPE))

    def exact(self, x: Tensor, a: float, b: float) -> tuple[Tensor, Tensor]:
        x0 = self.mean + 0.09 * a / (0.09 * a**2 + b**2) * (x - a * self.mean)
        return x0, (x - a * x0) / b

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a, b = (float(values[int(t[0])]) for values in (self.schedule.signal_scale, self.schedule.noise_scale))
        return from_x0_and_eps(*self.exact(x, a, b), self.kind, a, b)
