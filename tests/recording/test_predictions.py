"""What a denoiser predicts: said, it gives x̂_0 and ε̂ right; unsaid, a contradiction stops the recording."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gaussian_denoiser import SHAPE, Gaussian
from torch import Tensor, nn

from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, from_x0_and_eps
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps, ddpm_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording import field_assembler, prediction_check
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

SEEDS = list(range(20))


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


def rounding_of_x0(found: Trajectory) -> np.ndarray:
    """Return by how much two ways of computing x̂_0 from ε̂ may differ in float32, (B, S, C, H, W) float64.

    (x_t - b ε̂)/a and x_t/a - (b/a) ε̂ each round at most five times what they subtract, |x_t|/a and b|ε̂|/a, and six
    times their result, each time by 2^-24 of it. ᾱ as a product of t + 1 rounded factors is off by at most 1.5 (t + 1)
    2^-24 of itself, which changes x̂_0 by half of that times |x̂_0 - (a/b) ε̂|.
    """
    a, b, t = (values[None, :, None, None, None] for values in (found.signal_scale, found.noise_scale, found.timesteps))
    x, eps, x0 = (np.abs(values.astype(np.float64)) for values in (found.x_t, found.eps_pred, found.x0_pred))
    return 2.0**-24 * (5 * (x + b * eps) / a + 6 * x0 + 0.75 * (t + 1) * (x0 + a / b * eps))


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
    theirs = torch.stack(predicted, dim=1).numpy()
    bound = 1e-5 if kind != "epsilon" else rounding_of_x0(found)
    assert (np.abs(found.x0_pred - theirs) <= bound).all()
    if kind == "epsilon":  # the neighbouring timestep's ᾱ would be far outside
        wrong = predict_x0(found.x_t, found.eps_pred, schedule.alphas_cumprod[found.timesteps - 1][None])
        assert np.median(np.abs(wrong - theirs) / bound) > 20
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


class Recall(nn.Module):
    """The exact v of a data set of one image."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.a, self.b = (torch.from_numpy(v).float() for v in (schedule.signal_scale, schedule.noise_scale))
        self.x0 = torch.linspace(-0.8, 0.8, 64).reshape(SHAPE)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a, b = self.a[int(t[0])], self.b[int(t[0])]
        return a * (x - a * self.x0) / b - b * self.x0

    def ddim(self, x: Tensor, v: Tensor, t: int, after: int) -> Tensor:
        x0, eps = self.a[t] * x - self.b[t] * v, self.b[t] * x + self.a[t] * v
        return self.a[after] * x0 + self.b[after] * eps


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("steps", [6, 50, 54])
def test_evaluations_within_steps_show_an_unsaid_prediction(stored: bool, steps: int, tmp_path: Path) -> None:
    """The next states have noise that no update explains, so that only the midpoints show it."""
    schedule = NoiseSchedule.named("linear")
    net, noise = Recall(schedule), torch.Generator().manual_seed(0)
    options: dict[str, Any] = {"store": tmp_path / "a.zarr"} if stored else {}
    visited = np.linspace(300, 40, steps + 1).round().astype(int).tolist()
    x = torch.randn(2, *SHAPE, generator=noise)

    def sample(x: Tensor) -> None:
        with Recorder(net, schedule, evaluations_per_step=2, clip=False, **options) as recorder:
            for t, after in itertools.pairwise(visited):
                middle = (t + after) // 2
                x = net.ddim(x, net(x, torch.tensor([t])), t, middle)
                x = net.ddim(x, net(x, torch.tensor([middle])), middle, after)
                x = x + 0.03 * torch.randn(x.shape, generator=noise)
        recorder.trajectory()

    with pytest.raises(VizdiffUsageError, match="as v_prediction, not as epsilon"):
        sample(x)


@pytest.mark.parametrize("way", ["one", "midpoint", "heun"])
@pytest.mark.parametrize("counts", [(3,), (49,), (50,), (51,), (100, 100), (103,)])
def test_a_store_is_checked_like_a_recording_in_memory(
    way: str, counts: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step, evaluation within it and ending, however the steps lie in chunks of 50."""
    schedule, net = NoiseSchedule.named("linear"), nn.Module()
    net.forward = lambda x, t: 0.9 * x + 0 * t[0]  # type: ignore[method-assign]
    seen: set[tuple[int, float, float]] = set()

    def see(updates: Any, *_facts: Any) -> None:
        seen.update((step.sampling, step.cond.t, float(following.x[0, 0, 0, 0])) for step, following in updates)

    monkeypatch.setattr(field_assembler, "check_updates", see)
    monkeypatch.setattr(prediction_check, "check_updates", see)

    def checked(**options: Any) -> set[tuple[int, float, float]]:
        seen.clear()
        if way == "midpoint":
            options["evaluations_per_step"] = 2
        with Recorder(net, schedule, **options) as recorder:
            for count in counts:
                x = torch.randn(16, 1, 2, 2, generator=torch.Generator().manual_seed(count))
                for t in range(900, 900 - 8 * count, -8):
                    x = 0.9 * x + 0.1 * net(x, torch.tensor([t]))
                    if way == "midpoint":
                        net(x + 1, torch.tensor([t - 4]))
                    if way == "heun" and t > 900 - 8 * (count - 1):
                        net(x + 1, torch.tensor([t - 8]))
                recorder.finish(x)
        recorder.trajectories()
        return set(seen)

    in_memory = checked()
    evaluations = {"one": 1, "midpoint": 2, "heun": 2}[way]
    assert len(in_memory) == sum(count * evaluations for count in counts) - (len(counts) if way == "heun" else 0)
    assert checked(store=tmp_path / "a.zarr") == in_memory


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
