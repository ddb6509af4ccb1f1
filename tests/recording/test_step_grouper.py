"""Samplers of order 2, images one by one, inversions: which evaluations make a step."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import Net, S, full, record
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory


def heun(net: nn.Module, x: Tensor, levels: list[int]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    own, inner = [], []
    for t, after in itertools.pairwise([*levels, -1]):
        own.append(x)
        slope = net(x, torch.tensor(t))
        guess = x - 0.1 * slope
        if after >= 0:
            inner.append(guess)
            slope = (slope + net(guess, torch.tensor(after))) / 2
        x = x - 0.1 * slope
    return x, own, inner


@pytest.mark.parametrize("stored", [False, True])
def test_heun_keeps_every_evaluation_and_marks_the_steps_own(stored: bool, tmp_path: Path) -> None:
    net = Net()
    options: dict[str, Any] = {"store": tmp_path / "heun.zarr"} if stored else {}
    with torch.no_grad(), Recorder(net, S, **options) as recorder:
        for number in range(2 if stored else 1):  # further samplings are joined
            start = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(number))
            x, own, inner = heun(net, start, [19, 12, 6, 1])
            recorder.finish(x)
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [19, 12, 6, 1]
    assert found.inner_x_t is not None
    assert found.inner_eps_pred is not None
    assert found.inner_steps is not None
    assert found.inner_steps.tolist() == [0, 1, 2]
    assert found.inner_timesteps is not None
    assert found.inner_timesteps.tolist() == [12, 6, 1]
    np.testing.assert_array_equal(found.x_t[-16:], torch.stack(own, dim=1).numpy())
    np.testing.assert_array_equal(found.inner_x_t[-16:], torch.stack(inner, dim=1).numpy())
    with torch.no_grad():
        expected = torch.stack([net.conv(one) for one in inner], dim=1).numpy()
    np.testing.assert_allclose(found.inner_eps_pred[-16:], expected, atol=1e-6)


def test_an_evaluation_between_two_steps_is_told(tmp_path: Path) -> None:
    """The midpoint method evaluates at a timestep of its own."""
    net, x = Net(), torch.randn(2, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S, evaluations_per_step=2) as recorder:
        for t in (18, 12, 6):
            middle = x - 0.05 * net(x, full(t))
            x = x - 0.1 * net(middle, full(t - 3))
        recorder.finish(x - 0.1 * net(x, full(0)))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [18, 12, 6, 0]
    assert found.inner_timesteps is not None
    assert found.inner_timesteps.tolist() == [15, 9, 3]
    found.save(tmp_path / "a.zip")
    again = Trajectory.open(tmp_path / "a.zip")
    np.testing.assert_array_equal(again.inner_x_t, found.inner_x_t)


def test_a_loop_that_takes_images_one_by_one() -> None:
    net = Net()
    start = torch.randn(3, 1, 8, 8)
    with torch.no_grad(), Recorder(net, S) as recorder:
        x = start
        for t in (19, 10, 0):
            x = torch.cat([one[None] - 0.1 * net(one[None], torch.tensor([t])) for one in x])
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.x_t.shape == (3, 3, 1, 8, 8)
    np.testing.assert_array_equal(found.x_t[:, 0], start.numpy())


def test_an_inversion_is_called_one() -> None:
    net = Net()
    with pytest.raises(VizdiffUsageError, match=r"t rises at every step \(2, then 3\): .* inversion"):
        record(net, lambda x, t: net(x, full(t)), timesteps=range(20))


@pytest.mark.parametrize("masks", [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_mask_drops_labels_in_any_kind_of_loop(masks: tuple[float, float], one_by_one: bool) -> None:
    class Masked(Net):
        def forward(self, x: Tensor, t: Tensor, y: Tensor, drop_mask: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            return self.conv(x)

    net, labels, drop = Masked(), torch.tensor([3, 4]), torch.tensor(masks)
    rows = [slice(0, 1), slice(1, 2)] if one_by_one else [slice(0, 2)]
    found = record(net, lambda x, t: torch.cat([net(x[r], full(t)[r], labels[r], drop[r]) for r in rows]))
    assert found.labels.tolist() == [-1 if dropped else label for label, dropped in zip((3, 4), masks, strict=True)]


@pytest.mark.parametrize("finishes", [False, True])
@pytest.mark.parametrize(
    ("per_step", "samplings"),
    [
        (2, [[19, 17, 15, 12, 10], [19, 17, 15, 12, 10]]),  # dpm_2, whose last step is one of Euler's
        (2, [[19, 17, 15, 12, 10], [16, 15, 14]]),
        (2, [[19, 17, 15, 12], [19, 17, 15, 12]]),
        (3, [[19, 18, 17, 15], [19, 18, 17, 15], [18, 11, 10, 8, 7]]),
        (3, [[19, 18, 17, 15, 14], [19, 18, 17, 15, 14]]),
        (2, [[19, 19, 12, 12], [19, 19, 12, 12]]),  # a corrector
    ],
)
def test_samplings_whose_last_step_is_shorter(per_step: int, samplings: list[list[int]], finishes: bool) -> None:
    net = Net()
    with torch.no_grad(), Recorder(net, S, prediction_type="epsilon", evaluations_per_step=per_step) as recorder:
        for times in samplings:
            x = torch.randn(2, 1, 8, 8)
            for t in times:
                x = 0.9 * x - 0.1 * net(x, full(t))
            if finishes:
                recorder.finish(x)
    found = recorder.trajectories()
    assert [one.timesteps.tolist() for one in found] == [times[::per_step] for times in samplings]
    inner = [one.inner_timesteps.tolist() for one in found if one.inner_timesteps is not None]
    assert inner == [[t for place, t in enumerate(times) if place % per_step] for times in samplings]


def test_samplings_of_one_shortened_step_end_where_they_are_finished() -> None:
    net = Net()
    with torch.no_grad(), Recorder(net, S, prediction_type="epsilon", evaluations_per_step=2) as recorder:
        for _ in range(3):
            recorder.finish(net(torch.randn(2, 1, 8, 8), full(19)))
    assert [one.timesteps.tolist() for one in recorder.trajectories()] == [[19]] * 3
