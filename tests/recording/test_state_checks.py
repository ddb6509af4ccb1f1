"""States that a Recorder must not take for images of one sampling: conditions, correctors, other scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conditioned_network import Net, S, full, record
from foreign_networks import make
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory


def test_channels_that_stay_the_same_are_a_condition() -> None:
    """A condition joined to x, and a learned variance, have as many channels as the answer."""
    net, beside = Net(6, 6), torch.randn(2, 3, 8, 8)

    def call(x: Tensor, t: int) -> Tensor:
        return net(torch.cat([x, beside], dim=1), full(t))[:, :3]

    with pytest.raises(VizdiffUsageError, match=r"channels 3, 4, 5 of x are the same .*state_channels=slice"):
        record(net, call, channels=3)
    assert record(net, call, channels=3, state_channels=slice(0, 3)).x_t.shape == (2, 20, 3, 8, 8)


@pytest.mark.parametrize("count", [2, 20])
def test_correctors_are_no_images_of_a_batch(count: int) -> None:
    net = Net()

    def sample(**options: Any) -> Trajectory:
        x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), Recorder(net, S, **options) as recorder:
            for t in (19, 12, 6, 0):
                for _ in range(count):
                    x = x - 0.02 * net(x, full(t)) + 0.1 * torch.randn_like(x)
            recorder.finish(x)
        return recorder.trajectory()

    with pytest.raises(VizdiffUsageError, match=rf"follow from each other .*evaluations_per_step={count}"):
        sample()
    found = sample(evaluations_per_step=count)
    assert found.timesteps.tolist() == [19, 12, 6, 0]
    assert found.inner_steps is not None
    assert len(found.inner_steps) == 4 * (count - 1)


def test_a_network_that_changes_x_in_place() -> None:
    class InPlace(Net):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
            x += 1
            return self.conv(x)

    net, states = InPlace(), []

    def call(x: Tensor, t: int) -> Tensor:
        states.append(x.clone())
        return net(x, full(t))

    np.testing.assert_array_equal(record(net, call).x_t, torch.stack(states, dim=1).numpy())


def test_noise_levels_and_scaled_states_need_their_schedule_and_module() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:  # noqa: ARG002
            return 0.3 * x

    net, x = Scaled(), torch.randn(2, 1, 8, 8)
    with pytest.raises(VizdiffUsageError, match=r"sigma is 14\.6, no timestep .*from_sigmas"):
        record_one(net, NoiseSchedule.named("linear"), 14.6 * x, 14.6)
    levels = NoiseSchedule.from_sigmas(np.geomspace(0.01, 80, 100))
    with pytest.raises(VizdiffUsageError, match=r"at σ = 80 .* root mean square of .* scaled before"):
        record_one(net, levels, x, 80.0)
    with pytest.raises(VizdiffUsageError, match=r"t = -0\.2, and noise levels σ are above 0"):
        record_one(net, levels, x, -0.2)
    record_one(net, levels, 80 * x, 80.0)


@pytest.mark.parametrize(("name", "largest"), [("c_noise", 80), ("noise_labels", 80), ("log_sigma", 1000)])
def test_a_function_of_the_noise_level_is_not_taken_for_it(name: str, largest: float) -> None:
    """A network inside a preconditioner gets ln σ / 4 or ln σ; σ itself by such a name is far above at the start."""
    net, x = make(f"x, {name}"), torch.randn(2, 1, 8, 8)
    levels = NoiseSchedule.from_sigmas(np.geomspace(0.01, largest, 100))
    function = np.log(largest) / (1 if name == "log_sigma" else 4)
    with pytest.raises(VizdiffUsageError, match=rf"{name} is .*function of σ.*timesteps=\"sigma\""):
        record_one(net, levels, x if name != "log_sigma" else largest * x, function)
    record_one(net, levels, largest * x, largest)
    with Recorder(net, levels, prediction_type="sample", timesteps="sigma"):
        net(x, torch.tensor(function if name != "log_sigma" else 1.0))


def record_one(net: nn.Module, schedule: NoiseSchedule, x: Tensor, t: float) -> None:
    with torch.no_grad(), Recorder(net, schedule, prediction_type="sample"):
        net(x, torch.tensor(t))


@pytest.mark.parametrize("spread", [1.0, 8.0, 20.0])
def test_noise_in_data_of_any_power_is_recorded_unsaid(spread: float) -> None:
    """Points and latents need not be normalised: the exact network of points that are N(0, spread²)."""
    schedule = NoiseSchedule.named("linear")

    class Points(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            a, b = (float(values[int(t)]) for values in (schedule.signal_scale, schedule.noise_scale))
            return b / (a**2 * spread**2 + b**2) * x

    net, x = Points(), torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule) as recorder:
        for t in range(999, -1, -20):
            eps = net(x, torch.tensor(t))
            share, after = schedule.alphas_cumprod[t], schedule.alphas_cumprod[t - 20] if t > 20 else 1.0
            x = after**0.5 * (x - (1 - share) ** 0.5 * eps) / share**0.5 + (1 - after) ** 0.5 * eps
    assert recorder.trajectory().prediction_type == "epsilon"


@pytest.mark.parametrize("answer", [torch.zeros_like, torch.clone])
def test_a_state_that_a_step_leaves_as_it_is_is_recorded(answer: Any) -> None:
    """A flow's velocity of 0, or a denoiser that returns its x, beside an argument that changes with t."""

    class Still(nn.Module):
        def forward(self, x: Tensor, t: Tensor, strength: float) -> Tensor:  # noqa: ARG002
            return answer(x)  # type: ignore[no-any-return]

    net, x = Still(), torch.randn(2, 1, 8, 8)
    kind = "flow" if answer is torch.zeros_like else "sample"
    with torch.no_grad(), Recorder(net, NoiseSchedule.named("flow"), prediction_type=kind) as recorder:
        for t in (1.0, 0.75, 0.5, 0.25):
            net(x, torch.full((2,), t), strength=t)
    np.testing.assert_array_equal(recorder.trajectory().x_t[:, 3], x.numpy())
