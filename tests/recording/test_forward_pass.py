"""Shapes of states: points, images without channels, learned variances, joined conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import Net, S, full
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder


@pytest.mark.parametrize(
    ("shape", "recorded"), [((5, 2), (5, 1, 1, 2)), ((3, 8, 8), (3, 1, 8, 8)), ((2, 4, 8, 8), (2, 4, 8, 8))]
)
def test_points_and_images_without_channels(shape: tuple[int, ...], recorded: tuple[int, ...], tmp_path: Path) -> None:
    class Pointwise(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.1 * x + t.reshape(-1)[0] / 20

    net, x = Pointwise(), torch.randn(shape)
    with torch.no_grad(), Recorder(net, S, store=tmp_path / "a.zarr") as recorder:
        for t in (19, 10, 0):
            x = 0.9 * x - 0.1 * net(x, torch.full((len(x),), t))
        recorder.finish(x)
    found = recorder.trajectory()
    assert (found.x_t.shape[0], *found.x_t.shape[2:]) == recorded
    np.testing.assert_array_equal(found.x0.reshape(shape), x.numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [False, True])
def test_a_learned_variance_is_left_out(channels: int, stored: bool, tmp_path: Path) -> None:
    net, x = Net(channels, 2 * channels), torch.randn(2, channels, 8, 8)
    options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
    answers = []
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for t in (19, 10, 0):
            answers.append(net(x, full(t))[:, :channels])
            x = 0.9 * x - 0.1 * answers[-1]
        recorder.finish(x)
    np.testing.assert_array_equal(recorder.trajectory().eps_pred, torch.stack(answers, dim=1).numpy())


def test_channels_of_a_condition_are_told() -> None:
    net, x = Net(3, 1), torch.randn(2, 1, 8, 8)
    beside = torch.randn(2, 2, 8, 8)
    with (
        torch.no_grad(),
        pytest.raises(VizdiffUsageError, match=r"takes 3 channels and returns 1: .*state_channels=slice\(0, 1\)"),
        Recorder(net, S),
    ):
        net(torch.cat([beside, x], 1), full(19))
    with torch.no_grad(), Recorder(net, S, state_channels=slice(2, 3)) as recorder:
        net(torch.cat([beside, x], 1), full(19))
    found = recorder.trajectory()
    np.testing.assert_array_equal(found.x_t[:, 0], x.numpy())
    assert found.conventions["state_channels"] == "2 .. 2 of 3"


@pytest.mark.parametrize("out", [3, 5])
def test_other_channels_are_refused_at_the_first_pass(out: int) -> None:
    net, passes = Net(2, out), list[Tensor]()
    with torch.no_grad(), pytest.raises(VizdiffUsageError, match="as many channels"), Recorder(net, S):
        passes += [net(torch.randn(2, 2, 8, 8), full(t)) for t in (19, 10)]
    assert not passes
