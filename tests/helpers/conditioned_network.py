"""A network with conditions of several kinds, and a loop that records it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

S = NoiseSchedule.named("linear", 20)


def full(t: int, count: int = 2) -> Tensor:
    return torch.full((count,), t)


class Net(nn.Module):
    """A convolution whose answer a label, a nested condition or a switch of its own shifts."""

    def __init__(self, channels: int = 1, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out or channels, 3, padding=1)
        self.shift = 0.0

    def forward(self, x: Tensor, t: Tensor, y: Any = None, cond: Any = None) -> Tensor:  # noqa: ARG002
        shift = torch.full((len(x),), self.shift) if y is None else y.float()
        if cond is not None:
            shift = shift + cond["c_crossattn"][0].mean(dim=(1, 2))
        return self.conv(x) + 0.1 * shift.view(-1, 1, 1, 1)


def record(net: nn.Module, call: Callable[[Tensor, int], Tensor], channels: int = 1, **options: Any) -> Trajectory:
    x = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for t in range(19, -1, -1):
            x = 0.9 * x - 0.1 * call(x, t)
    return recorder.trajectory()
