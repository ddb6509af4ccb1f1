"""Networks of flow matching and of noise levels: recorded from either end, or refused by their updates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gaussian_denoiser import SHAPE, Gaussian
from torch import Tensor, nn

from viz_diffusion.diffusion.parameterizations import from_x0_and_eps, to_x0_and_eps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory


class Flow(Gaussian):
    """The exact velocity of a flow; its time is 1 at the noise, or at the data, and may be counted in thousandths."""

    def __init__(self, noise_at: int, scale: float) -> None:
        super().__init__(NoiseSchedule.named("flow"))
        self.noise_at, self.scale = noise_at, scale

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        share = float(t.flatten()[0]) / self.scale
        sigma = share if self.noise_at else 1 - share
        x0, eps = self.exact(x, 1 - sigma, sigma) if sigma < 1 else (self.mean.expand_as(x), x)
        return eps - x0 if self.noise_at else x0 - eps


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("noise_at", [0, 1])
def test_a_flow_is_recorded_from_either_end(noise_at: int, scale: float) -> None:
    net, x = Flow(noise_at, scale), torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    sigmas = np.linspace(1, 0, 26)
    with torch.no_grad(), Recorder(net, net.schedule) as recorder:
        for sigma, after in itertools.pairwise(sigmas):
            time = sigma if noise_at else 1 - sigma
            velocity = net(x, torch.full((2, 1, 1, 1), time * scale, dtype=torch.float64))
            x = x + float(after - sigma) * (velocity if noise_at else -velocity)
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.prediction_type == "flow"
    assert found.conventions["timesteps"].startswith("0 is noise" if not noise_at else f"{scale:.0f} is noise")
    np.testing.assert_allclose(found.timesteps, 1000 * sigmas[:-1] - 1, atol=1e-6)
    np.testing.assert_allclose(found.noise_scale, sigmas[:-1], atol=1e-9)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.log_snr, 2 * np.log((1 - sigmas[:-1]) / sigmas[:-1]), atol=1e-6)
    states = torch.from_numpy(found.x_t)
    for step, sigma in enumerate(sigmas[:-1]):
        time = sigma if noise_at else 1 - sigma
        velocity = net(states[:, step], torch.tensor([time * scale])) * (1 if noise_at else -1)
        np.testing.assert_allclose(found.x0_pred[:, step], (states[:, step] - sigma * velocity).numpy(), atol=1e-5)
        np.testing.assert_allclose(found.eps_pred[:, step], (states[:, step] + (1 - sigma) * velocity), atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "sample"])
def test_noise_levels_are_places_on_the_schedule(kind: str) -> None:
    """x_t = x_0 + σ ε, Euler steps from σ = 10, levels on the schedule and between them (Karras et al. 2022)."""
    schedule = NoiseSchedule.from_sigmas(np.geomspace(0.01, 10, 200))

    class Net(Gaussian):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:  # type: ignore[override]
            x0, eps = self.exact(x, 1.0, float(sigma))
            return eps if kind == "epsilon" else x0

    net = Net(schedule)
    sigmas = np.append(np.geomspace(10, 0.02, 15), 0)
    x = 10 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule, prediction_type=kind) as recorder:
        for sigma, after in itertools.pairwise(sigmas):
            answer = net(x, torch.tensor(sigma))
            eps = answer if kind == "epsilon" else (x - answer) / sigma
            x = x + float(after - sigma) * eps
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.conventions == {"x": "x", "t": "sigma", "timesteps": "noise levels σ"}
    np.testing.assert_allclose(found.noise_scale, sigmas[:-1], rtol=1e-6)
    np.testing.assert_allclose(found.x_t[:, -1] - sigmas[-2] * found.eps_pred[:, -1], found.x0_pred[:, -1], atol=1e-5)
    np.testing.assert_allclose(found.x0, found.x0_pred[:, -1], atol=1e-5)


def test_v_of_noise_levels_is_recorded_as_its_loop_uses_it() -> None:
    """A data set of one image; v and its use as in k-diffusion's VDenoiser (c_skip, c_out)."""
    image = torch.linspace(-0.8, 0.8, 64).reshape(SHAPE)

    class Net(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return (x / (sigma**2 + 1) - image) * (sigma**2 + 1) ** 0.5 / sigma

    net, x = Net(), 80 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    schedule = NoiseSchedule.from_sigmas(np.geomspace(0.02, 80, 100))
    with torch.no_grad(), Recorder(net, schedule, prediction_type="v_prediction") as recorder:
        for sigma, after in itertools.pairwise((80.0, 20.0, 5.0, 1.0, 0.2, 0.0)):
            v = net(x, torch.tensor(sigma, dtype=torch.float64)).float()
            denoised = x / (sigma**2 + 1) - sigma / (sigma**2 + 1) ** 0.5 * v
            x = denoised + (x - denoised) * after / sigma
        recorder.finish(x)
    found = recorder.trajectory()
    np.testing.assert_allclose(found.x0_pred, image.expand(2, 5, *SHAPE), atol=1e-4)
    np.testing.assert_allclose(found.x0, image.expand(2, *SHAPE), atol=1e-5)


def test_it_is_saved_and_opened_again(tmp_path: Any) -> None:
    net, x = Flow(0, 1.0), torch.randn(2, *SHAPE)
    with torch.no_grad(), Recorder(net, net.schedule, store=tmp_path / "flow.zarr") as recorder:
        for time in (0.0, 0.25, 0.5, 0.999):
            x = x + 0.1 * net(x, torch.tensor([time]))
        recorder.finish(x)
    found = recorder.trajectory()
    found.save(tmp_path / "again.zip")
    for one in (found, Trajectory.open(tmp_path / "again.zip")):
        assert (one.prediction_type, one.schedule.scaling) == ("flow", "flow")
        assert one.conventions["t"] == "t"
        np.testing.assert_allclose(one.noise_scale, [1, 0.75, 0.5, 0.001], atol=1e-7)


def test_euler_steps_of_a_flow_under_another_schedule_are_refused() -> None:
    net, x = Flow(1, 1.0), torch.randn(2, *SHAPE)
    with torch.no_grad(), Recorder(net, NoiseSchedule.named("linear")) as recorder:
        for number in range(20, 0, -1):
            x = x - 0.05 * net(x, torch.tensor([number / 20]))
    with pytest.raises(VizdiffUsageError, match="as flow, not as epsilon"):
        recorder.trajectory()


def velocities(x: Tensor, times: Sequence[float], sign: int = 1, **options: Any) -> Recorder:
    """Record a constant velocity of a flow at these times, in one block or in one after another."""
    recorder = options.pop("recorder", None)
    if recorder is None:
        net = nn.Module()
        net.forward = lambda x, t: torch.full_like(x, net.sign) + 0 * t[0]  # type: ignore[method-assign]
        recorder = Recorder(net, NoiseSchedule.named("flow"), prediction_type="flow", **options)
        recorder.net = net
    recorder.net.sign = float(sign)
    with torch.no_grad(), recorder:
        for time, after in itertools.pairwise(times):
            velocity = recorder.net(x, torch.tensor([time]))
            x = x + abs(after - time) / max(times) * (velocity if sign < 0 else -velocity)
    return recorder


@pytest.mark.parametrize("times", [range(31), range(1, 31)])
def test_whole_times_from_the_noise_say_that_they_are_counted(times: range) -> None:
    """0 and 1 alone may be the two ends: nothing shows that they are steps of a thousand."""
    x = torch.randn(2, *SHAPE)
    with pytest.raises(VizdiffUsageError, match=r't = 2, outside of 0\.\.1.* 0 \.\. 1000.*timesteps="count"'):
        velocities(x, times, -1)
    found = velocities(x, times, -1, timesteps="count").trajectory()
    np.testing.assert_allclose(found.noise_scale, 1 - np.array(times[:-1]) / 1000, atol=1e-9)
    assert found.conventions["timesteps"] == "0 is noise, 1000 is data"
    with pytest.raises(VizdiffUsageError, match=r"t = 1200, outside of 0\.\.1000$"):
        velocities(x, (900, 1200, 1300), 1)


@pytest.mark.parametrize("order", [(1, -1), (-1, 1)])
def test_each_block_of_a_recorder_shows_its_own_direction(order: tuple[int, int]) -> None:
    x = torch.randn(2, *SHAPE)
    times = {1: (1.0, 0.75, 0.5, 0.25), -1: (0.0, 0.25, 0.5, 0.75)}
    recorder = velocities(x, times[order[0]], order[0])
    first = recorder.trajectory()
    second = velocities(x, times[order[1]], order[1], recorder=recorder).trajectory()
    for found, sign in ((first, order[0]), (second, order[1])):
        assert found.conventions["timesteps"] == ("1 is noise, 0 is data" if sign > 0 else "0 is noise, 1 is data")
        np.testing.assert_allclose(found.noise_scale, (1, 0.75, 0.5), atol=1e-9)
        np.testing.assert_allclose(found.x0_pred, found.x_t - found.noise_scale[:, None, None, None], atol=1e-6)


@pytest.mark.parametrize("said", ["sigma", "one_minus_sigma"])
def test_a_flow_that_begins_between_its_ends_says_which_end_is_noise(said: str) -> None:
    net, x = Flow(int(said == "sigma"), 1.0), torch.randn(2, *SHAPE)
    sigmas = (0.4, 0.3, 0.1)

    def sample(**options: Any) -> Trajectory:
        with torch.no_grad(), Recorder(net, net.schedule, **options) as recorder:
            for sigma in sigmas:
                net(x, torch.tensor(sigma if said == "sigma" else 1 - sigma, dtype=torch.float64))
        return recorder.trajectory()

    with pytest.raises(VizdiffUsageError, match=r'say which end is noise.*timesteps="sigma".*"one_minus_sigma"'):
        sample()
    np.testing.assert_allclose(sample(timesteps=said).noise_scale, sigmas, atol=1e-9)


class Answering(Gaussian):
    """An exact network on the states of a flow that predicts no velocity, and the Euler steps that use it."""

    def __init__(self, kind: str, noise_at: int) -> None:
        super().__init__(NoiseSchedule.from_sigmas(np.arange(1, 1000) / 1000, "flow"), kind)  # ε is never alone
        self.noise_at = noise_at

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        sigma = float(t.flatten()[0]) if self.noise_at else 1 - float(t.flatten()[0])
        return from_x0_and_eps(*self.exact(x, 1 - sigma, sigma), self.kind, 1 - sigma, sigma)

    def sample(self, **options: Any) -> tuple[Recorder, Tensor]:
        """Return the Recorder of a sampling, and the network's own answers to the recorded states, (B, S, C, H, W)."""
        x, answers = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), []
        with torch.no_grad(), Recorder(self, self.schedule, **options) as recorder:
            for sigma, after in itertools.pairwise(np.linspace(0.95, 0, 20)):
                answers.append(self(x, torch.tensor(sigma if self.noise_at else 1 - sigma)))
                x0, eps = to_x0_and_eps(answers[-1], x, self.kind, 1 - sigma, sigma)
                x = x + float(after - sigma) * (eps - x0)
            recorder.finish(x)
        return recorder, torch.stack(answers, dim=1)


@pytest.mark.parametrize("noise_at", [0, 1])
@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
def test_another_network_than_a_flows_is_refused_by_its_updates(kind: str, noise_at: int) -> None:
    with pytest.raises(VizdiffUsageError, match=f"as {kind}, not as flow"):
        Answering(kind, noise_at).sample()[0].trajectory()


@pytest.mark.parametrize("convention", [True, False])
@pytest.mark.parametrize("noise_at", [0, 1])
@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
def test_what_is_no_velocity_has_no_direction(kind: str, noise_at: int, convention: bool) -> None:
    """Only a velocity changes its sign with the direction of time."""
    said = {"timesteps": "sigma" if noise_at else "one_minus_sigma"} if convention else {}
    net = Answering(kind, noise_at)
    recorder, answers = net.sample(prediction_type=kind, **said)
    found = recorder.trajectory()
    assert found.conventions["timesteps"].startswith(f"{noise_at} is noise")
    if kind != "v_prediction":
        field = {"sample": found.x0_pred, "epsilon": found.eps_pred}[kind]
        np.testing.assert_array_equal(field, answers.numpy())
    for step, (a, b) in enumerate(zip(found.signal_scale, found.noise_scale, strict=True)):
        x0, eps = net.exact(torch.from_numpy(found.x_t[:, step]), a, b)
        np.testing.assert_allclose(found.x0_pred[:, step], x0, atol=1e-4)
        np.testing.assert_allclose(found.eps_pred[:, step], eps, atol=1e-4)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("stored", [False, True])
def test_samplers_of_order_2_show_it_at_their_first_or_last_step(
    name: str, kind: str, stored: bool, tmp_path: Any
) -> None:
    """From t = 500 of 1000, where noise does not drown the image, as a loop that changes an image does."""
    import diffusers

    schedule = NoiseSchedule.named("linear")
    net, scheduler = (
        Gaussian(schedule, kind),
        getattr(diffusers, name)(trained_betas=schedule.betas, prediction_type=kind),
    )
    scheduler.set_timesteps(20)
    times = [t for t in scheduler.timesteps if t < 520]
    times = times[(len(scheduler.timesteps) - len(times)) % 2 :]  # Heun's steps are pairs
    scheduler.set_begin_index(len(scheduler.timesteps) - len(times))
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    if name.startswith("Heun"):
        x = x / float(schedule.alphas_cumprod[int(times[0])]) ** 0.5

    def sample(x: Tensor) -> Trajectory:
        options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
        with torch.no_grad(), Recorder(net, schedule, **options) as recorder:
            for t in times:
                answer = net(scheduler.scale_model_input(x, t), t.float().expand(4))
                x = scheduler.step(answer, t, x).prev_sample
            recorder.finish(x)
        return recorder.trajectory()

    if kind == "epsilon":
        assert sample(x).prediction_type == kind
    else:
        with pytest.raises(VizdiffUsageError, match=f"as {kind}, not as epsilon"):
            sample(x)


def test_predictions_that_are_no_numbers_decide_nothing() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002
            return x * torch.nan

    net, x = Net(), torch.randn(2, *SHAPE)
    with torch.no_grad(), Recorder(net, NoiseSchedule.named("linear", 20)) as recorder:
        for t in range(19, -1, -1):
            x = 0.9 * x - 0.1 * net(x, torch.tensor(t))
    assert np.isnan(recorder.trajectory().eps_pred).all()
