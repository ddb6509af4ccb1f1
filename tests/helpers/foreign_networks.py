"""Networks as other programs call them, and a loop that records one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

S = NoiseSchedule.named("linear", 20)
"""Short, so that x_t is never nearly all noise, and any network can be recorded without saying what it predicts."""


class Net(nn.Module):
    """A convolution; subclasses have other arguments."""

    def __init__(self, channels: int = 1, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out or channels, 3, padding=1)

    def forward(self, x: Tensor, t: Any) -> Tensor:  # noqa: ARG002
        return self.conv(x)


def make(names: str) -> nn.Module:
    """Return a network whose ``forward`` has arguments of these names."""
    space: dict[str, Any] = {"Net": Net}
    first = names.split(",")[0].strip(" *")
    body = f"{first}[0]" if names.startswith("*") else first
    exec(f"class Made(Net):\n    def forward(self, {names}):\n        return self.conv({body})\n", space)
    made: nn.Module = space["Made"]()
    return made


def record(
    net: nn.Module,
    call: Callable[[Tensor, int], Tensor],
    *,
    batch: int = 2,
    schedule: NoiseSchedule = S,
    timesteps: Any = range(19, -1, -1),
    **options: Any,
) -> Trajectory:
    x = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule, **options) as recorder:
        for t in timesteps:
            x = 0.9 * x - 0.1 * call(x, t)
        recorder.finish(x)
    return recorder.trajectory()


Y = torch.tensor([3, 4])


def full(t: int) -> Tensor:
    return torch.full((2,), t)
