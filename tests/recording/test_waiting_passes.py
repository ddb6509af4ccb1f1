"""Passes that are copied and read later: what is recorded, in which order, and when an error is raised."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

SCHEDULE = NoiseSchedule.named("linear")
FALLING = range(99, 19, -1)


class Net(nn.Module):
    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return x * t / 100


def listening(net: nn.Module, store: Path | None = None) -> Recorder:
    return Recorder(net, SCHEDULE, prediction_type="epsilon", store=store)


def test_what_waits_is_recorded_as_it_was() -> None:
    """The loop writes into x, t, labels and the answer after each pass."""
    net, x, t, labels = Net(), torch.randn(2, 1, 4, 4), torch.tensor(0), torch.tensor([3, 4])
    states, answers = [], []
    with listening(net) as recorder:
        for step in FALLING:
            t.fill_(step)
            answer = net(x, t, labels)
            states.append(x.clone())
            answers.append(answer.clone())
            x.sub_(0.1 * answer)
            t.fill_(0)
            answer.fill_(7)
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.timesteps.tolist() == list(FALLING)
    assert found.labels.tolist() == [3, 4]
    np.testing.assert_array_equal(found.x_t, torch.stack(states, dim=1).numpy())
    np.testing.assert_array_equal(found.eps_pred, torch.stack(answers, dim=1).numpy())
    np.testing.assert_array_equal(found.x0, x.numpy())


def test_passes_that_wait_and_others_keep_their_order() -> None:
    """Every third call is of another kind, in float64, and does not wait."""
    net, x = Net(), torch.randn(2, 1, 4, 4)
    with listening(net) as recorder:
        for step in FALLING:
            now = x * (1 + step / 100)
            net(now.double() if step % 3 == 0 else now, torch.tensor(step))
    found = recorder.trajectory()
    assert found.timesteps.tolist() == list(FALLING)
    wanted = [(x * (1 + step / 100)).numpy() for step in FALLING]
    np.testing.assert_array_equal(found.x_t, np.stack(wanted, axis=1))


def run(net: nn.Module, times: Iterable[int], recorder: Recorder, seen: list[int], fails: bool = False) -> None:
    """Call the network at each time, at states that differ, and keep in ``seen`` where it came to."""
    x = torch.randn(2, 1, 4, 4)
    with recorder:
        for step in times:
            net(x + len(seen), torch.tensor(step))
            seen.append(step)
        if fails:
            raise KeyError("the loop's own")


@pytest.mark.parametrize("to_disk", [False, True])
def test_an_error_of_a_pass_that_waits_is_raised_at_the_end_of_the_block_at_last(tmp_path: Path, to_disk: bool) -> None:
    net = Net()
    recorder = listening(net, tmp_path / "a.zarr" if to_disk else None)
    with pytest.raises(VizdiffUsageError, match="t = 5000"):
        run(net, (30, 20, 5000), recorder, [])
    assert not (tmp_path / "a.zarr").exists()


def test_an_error_of_a_pass_that_waits_is_raised_while_the_loop_runs() -> None:
    net, seen = Net(), []
    with pytest.raises(VizdiffUsageError, match="t = 5000"):
        run(net, (30, 20, 5000, *range(2000, 1000, -1)), listening(net), seen)
    assert len(seen) < 40


def test_an_error_of_the_loop_is_not_hidden_and_loses_no_pass(tmp_path: Path) -> None:
    net = Net()
    with pytest.raises(KeyError, match="the loop's own"):
        run(net, (30, 20, 10), listening(net, tmp_path / "a.zarr"), [], fails=True)
    left = Trajectory.open(tmp_path / "a.zarr", allow_partial=True)
    assert left.timesteps.tolist() == [30, 20, 10]


def test_inside_the_block_everything_so_far_is_there() -> None:
    net, x = Net(), torch.randn(2, 1, 4, 4)
    with listening(net) as recorder:
        for number, step in enumerate((30, 20, 10)):
            net(x + number, torch.tensor(step))
        assert recorder.trajectory().timesteps.tolist() == [30, 20, 10]
