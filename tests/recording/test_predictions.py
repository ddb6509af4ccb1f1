"""What a denoiser predicts: said, it gives x̂_0 and ε̂ right; unsaid, a contradiction stops the recording."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, from_x0_and_eps
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

SHAPE = (1, 8, 8)
SEEDS = list(range(20))


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


def scheduler_loop(net: nn.Module, kind: str, schedule: NoiseSchedule, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Sample with diffusers' DDIM, and return the images and its own x̂_0."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        trained_betas=schedule.betas, prediction_type=kind, clip_sample=False, timestep_spacing="trailing", **options
    )
    scheduler.set_timesteps(20)
    x, predicted = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), []
    with torch.no_grad():
        for t in scheduler.timesteps:
            step = scheduler.step(net(x, t.expand(2)), t, x)
            predicted.append(step.pred_original_sample)
            x = step.prev_sample
    return x, predicted


@pytest.mark.parametrize("name", ["linear", "cosine", "zero-snr"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_gives_the_x0_of_diffusers(kind: str, name: str) -> None:
    schedule = NoiseSchedule.named(name)
    net = Gaussian(schedule, kind)
    if (kind, name) == ("epsilon", "zero-snr"):
        with pytest.raises(VizdiffUsageError, match="leaves no signal"):
            Recorder(net, schedule, prediction_type=kind)
        return
    bare, predicted = scheduler_loop(net, kind, schedule)
    with Recorder(net, schedule, prediction_type=kind, clip=False) as recorder:
        images, _ = scheduler_loop(net, kind, schedule)
        recorder.finish(images)
    found = recorder.trajectory()
    assert torch.equal(bare, images)
    assert found.prediction_type == kind
    # at the cosine schedule's end diffusers itself divides by √ᾱ = 5e-5 in float32
    tolerance = 1e-5 if name == "linear" or kind != "epsilon" else 1e-2
    np.testing.assert_allclose(found.x0_pred, torch.stack(predicted, dim=1).numpy(), atol=tolerance)
    a, b = (values[None, :, None, None, None] for values in (found.signal_scale, found.noise_scale))
    np.testing.assert_allclose(found.x_t, a * found.x0_pred + b * found.eps_pred, atol=2e-5)


def test_guidance_mixes_any_prediction_alike() -> None:
    """ε̂ is a weighted sum of x_t and of each prediction, so that both mixes agree."""
    schedule = NoiseSchedule.named("linear")
    found = {}
    for kind in ("epsilon", "v_prediction", "sample"):
        net = Labelled(schedule, kind)
        x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3))
        with torch.no_grad(), Recorder(net, schedule, prediction_type=kind, guidance_scale=3.0) as recorder:
            for t in (800, 500, 200):
                net(torch.cat([x, x]), torch.full((4,), t), torch.tensor([3, 4, 10, 10]))
        found[kind] = recorder.trajectory()
    for kind in ("v_prediction", "sample"):
        for field in ("eps_pred", "x0_pred", "eps_cond", "eps_uncond"):
            ours, theirs = getattr(found[kind], field), getattr(found["epsilon"], field)
            np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=field)


class Labelled(Gaussian):
    """A Gaussian whose mean is shifted by the label."""

    null_label = 10

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        shift = 0.02 * labels.float().view(-1, 1, 1, 1)
        a, b = (float(values[int(t[0])]) for values in (self.schedule.signal_scale, self.schedule.noise_scale))
        x0, eps = self.exact(x, a, b)
        return from_x0_and_eps(x0 + shift, eps - a / b * shift, self.kind, a, b)


# -- nothing said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_an_unsaid_prediction_is_refused_at_the_first_noisy_pass(kind: str) -> None:
    schedule = NoiseSchedule.named("linear")
    net = Gaussian(schedule, kind)
    with (
        pytest.raises(VizdiffUsageError, match=r"is not that noise .* epsilon, v_prediction, sample, flow"),
        Recorder(net, schedule),
    ):
        net(torch.randn(2, *SHAPE), torch.full((2,), 999))


def noisy_loop(net: nn.Module, schedule: NoiseSchedule, kind: str, how: str) -> Tensor:
    """Sample from t = 500 of 1000, where noise does not drown the image, so that only the updates show the type."""
    visited = np.arange(500, -1, -20)
    as_noise = net if kind == "epsilon" else AsNoise(net, schedule, kind)
    steps = ddim_steps if how.startswith("ddim") else ddpm_steps
    more: dict[str, Any] = {"clip": how.endswith("clip")}
    if how.startswith("ddpm"):
        more["variance"] = "beta_tilde" if "tilde" in how else "beta"
    *_, last = steps(as_noise, schedule, ImageNoise(SEEDS, SHAPE), None, timesteps=visited, **more)
    return last.x_prev


class AsNoise:
    """Turns a network's predictions into noise, as a sampler of that type does inside; no module, and so not hooked."""

    def __init__(self, net: nn.Module, schedule: NoiseSchedule, kind: str) -> None:
        self.net, self.schedule, self.kind = net, schedule, kind

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        from viz_diffusion.diffusion.parameterizations import to_x0_and_eps

        a, b = (float(values[int(t[0])]) for values in (self.schedule.signal_scale, self.schedule.noise_scale))
        return to_x0_and_eps(self.net(x, t), x, self.kind, a, b)[1]


UPDATES = ["ddim", "ddim clip", "ddpm beta", "ddpm beta clip", "ddpm tilde"]


@pytest.mark.parametrize("how", UPDATES)
@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_the_next_states_show_an_unsaid_prediction(kind: str, how: str) -> None:
    schedule = NoiseSchedule.named("linear")
    net = Gaussian(schedule, kind)
    with Recorder(net, schedule) as recorder:
        recorder.finish(noisy_loop(net, schedule, kind, how))
    with pytest.raises(VizdiffUsageError, match=f"as {kind}, not as epsilon"):
        recorder.trajectory()


@pytest.mark.parametrize("how", UPDATES)
def test_control_noise_that_nobody_spoke_of_is_recorded(how: str) -> None:
    schedule = NoiseSchedule.named("linear")
    net = Gaussian(schedule)
    with Recorder(net, schedule) as recorder:
        recorder.finish(noisy_loop(net, schedule, "epsilon", how))
    assert recorder.trajectory().prediction_type == "epsilon"


def test_control_a_loop_of_no_known_kind_is_recorded() -> None:
    """Nothing can be concluded from updates that no sampler makes."""
    schedule = NoiseSchedule.named("linear", 20)
    conv, x = nn.Conv2d(1, 1, 3, padding=1), torch.randn(2, *SHAPE)

    class Net(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return conv(x) * (t[0] >= 0)

    loop = Net()
    with torch.no_grad(), Recorder(loop, schedule) as recorder:
        for t in range(19, -1, -1):
            x = 0.9 * x - 0.1 * loop(x, torch.full((2,), t))
    assert recorder.trajectory().num_steps == 20


def test_an_untrained_network_is_recorded_as_it_was_said(make_unet: Callable, tiny_config: ModelConfig) -> None:
    unet, schedule = make_unet(0, replace(tiny_config, schedule=None)), NoiseSchedule.named("linear")
    x, t, labels = torch.randn(2, 1, 28, 28), torch.full((2,), 999), torch.tensor([1, 2])
    with torch.no_grad(), pytest.raises(VizdiffUsageError, match="untrained"), Recorder(unet, schedule):
        unet(x, t, labels)
    with torch.no_grad(), Recorder(unet, schedule, prediction_type="epsilon") as recorder:
        prediction = unet(x, t, labels)
    np.testing.assert_array_equal(recorder.trajectory().eps_pred[:, 0], prediction.numpy())


@pytest.mark.parametrize("said", ["noise", "v"])
def test_an_unknown_type_is_refused_with_the_choices(said: str) -> None:
    schedule = NoiseSchedule.named("linear")
    with pytest.raises(VizdiffUsageError, match=f"{', '.join(PREDICTION_TYPES)}, found '{said}'"):
        Recorder(Gaussian(schedule), schedule, prediction_type=said)


def test_a_flow_needs_a_flows_schedule() -> None:
    schedule = NoiseSchedule.named("linear")
    with pytest.raises(VizdiffUsageError, match=r'NoiseSchedule\.named\("flow"\)'):
        Recorder(Gaussian(schedule), schedule, prediction_type="flow")


# -- flow matching and noise levels ----------------------------------------------------------------


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


@pytest.mark.parametrize("kind", ["sample", "epsilon"])
def test_another_network_than_a_flows_is_refused_by_its_updates(kind: str) -> None:
    schedule = NoiseSchedule.named("flow")

    class Net(Gaussian):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            x0, eps = self.exact(x, 1 - float(t), float(t))
            return x0 if kind == "sample" else eps

    net, x = Net(schedule), torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Recorder(net, schedule) as recorder:
        for sigma, after in itertools.pairwise(np.linspace(0.95, 0, 20)):
            answer = net(x, torch.tensor(sigma))
            velocity = (x - answer) / sigma if kind == "sample" else (answer - x) / (1 - sigma)
            x = x + float(after - sigma) * velocity
        recorder.finish(x)
    with pytest.raises(VizdiffUsageError, match=f"as {kind}, not as flow"):
        recorder.trajectory()


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
