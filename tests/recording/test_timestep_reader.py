"""Timesteps of other programs' loops: however they are counted, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from foreign_networks import Net, S, full, make, record
from torch import Tensor

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.timestep_reader import TimestepReader

COUNTS = {
    "0 .. T-1": lambda t: full(t),
    "1 .. T": lambda t: full(t + 1),
    "(t+1)/T": lambda t: torch.full((2,), (t + 1) / 20),
    "t/T": lambda t: torch.full((2,), t / 20),
    "t/(T-1)": lambda t: torch.full((2, 1, 1, 1), t / 19),
    "float64": lambda t: torch.tensor(float(t), dtype=torch.float64),
    "bfloat16 below 256": lambda t: full(t).bfloat16(),
}


@pytest.mark.parametrize("name", COUNTS)
def test_timesteps_are_counted_in_any_usual_way(name: str) -> None:
    net = Net()
    found = record(net, lambda x, t: net(x, COUNTS[name](t)))
    assert found.timesteps.tolist() == list(range(19, -1, -1))
    assert found.step_alphas_cumprod is None


def test_a_count_that_is_said_needs_no_guess() -> None:
    """Three steps of 1 .. T that begin below T look like 0 .. T-1."""
    net = Net()
    found = record(net, lambda x, t: net(x, full(t)), timesteps=(15, 8, 1))
    assert found.timesteps.tolist() == [15, 8, 1]
    with torch.no_grad(), Recorder(net, S, timesteps="count") as recorder:
        for t in (15, 8, 1):
            net(torch.randn(2, 1, 8, 8), full(t))
    assert recorder.trajectory().timesteps.tolist() == [14, 7, 0]


@pytest.mark.parametrize("num_timesteps", [20, 1000])
@pytest.mark.parametrize("start", [0.3, 0.5, 0.8])
def test_shares_of_the_last_timestep_that_begin_below_1(start: float, num_timesteps: int) -> None:
    """t/(T-1) gives whole timesteps, t/T does not; said to be shares of T they lie between them."""
    last, schedule = num_timesteps - 1, NoiseSchedule.named("linear", num_timesteps)
    visited = np.unique(np.linspace(1, start * last, 6).round())[::-1]
    times = [torch.tensor(t / last, dtype=torch.float32) for t in visited]
    reader = TimestepReader(schedule)
    assert [reader.read(time).t for time in times] == visited.tolist()
    reader = TimestepReader(schedule, "fraction")
    np.testing.assert_allclose([reader.read(time).t for time in times], visited * num_timesteps / last, atol=1e-3)


@pytest.mark.parametrize("start", [0.3, 0.5, 0.8])
def test_shares_of_all_timesteps_that_begin_below_1(start: float) -> None:
    """t/T, whole or between the timesteps."""
    for step in (1.0, 1.37):
        visited = np.arange(round(1000 * start), 2, -40 * step)
        reader = TimestepReader(NoiseSchedule.named("linear"))
        found = [reader.read(torch.tensor(t / 1000)).t for t in visited]
        np.testing.assert_allclose(found, visited, atol=1e-3)


def test_a_flow_that_is_counted_to_another_number_has_its_schedule() -> None:
    for count in (999, 1000):
        reader = TimestepReader(NoiseSchedule.named("flow", count))
        places = [reader.read(torch.tensor(count * sigma, dtype=torch.float64)) for sigma in (1.0, 0.6, 0.3)]
        np.testing.assert_allclose([one.t for one in places], count * np.array([1.0, 0.6, 0.3]) - 1)


def test_the_log_snr_may_be_the_time() -> None:
    net = Net()
    with torch.no_grad(), Recorder(net, S, timesteps="log_snr") as recorder:
        for t in (19, 7, 0):
            net(torch.randn(2, 1, 8, 8), torch.tensor(S.log_snr[t], dtype=torch.float32))
    assert recorder.trajectory().timesteps.tolist() == [19, 7, 0]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([torch.full((2,), 999).bfloat16()], "bfloat16, which cannot tell t = 1000 from its neighbours"),
        ([torch.tensor([0.95, 0.95]).half()], "float16, which cannot tell"),
        ([full(20), full(0)], r"t = 0, .* counted as 1 \.\. 20"),
        ([full(25)], "t = 25, which does not lie on the schedule's 0..19"),
        ([torch.tensor([3, 4])], r"several timesteps \(3..4\)"),
        ([torch.tensor(float("nan"))], "t = nan"),
    ],
)
def test_a_time_that_cannot_be_read_is_refused(values: list[Tensor], match: str) -> None:
    net, schedule = Net(), NoiseSchedule.named("linear", 1000 if values[0].dtype == torch.bfloat16 else 20)
    with torch.no_grad(), pytest.raises(VizdiffUsageError, match=match), Recorder(net, schedule):
        [net(torch.randn(2, 1, 8, 8), value) for value in values]


def test_noise_levels_beyond_the_schedule_are_refused() -> None:
    net, schedule = make("x, sigma"), NoiseSchedule.from_sigmas(np.geomspace(0.1, 10, 20))
    with pytest.raises(VizdiffUsageError, match=r"σ = 80, beyond the schedule's"), Recorder(net, schedule):
        net(torch.randn(2, 1, 8, 8), torch.tensor(80.0))
