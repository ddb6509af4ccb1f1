"""The Recorder in others' loops: any call, any kind of answer, every way of guiding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from recorder_loops import LABELS, SEEDS, Wrapped, run_steps
from small_unet import small_unet
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory

# -- foreign loops ---------------------------------------------------------------------------------


@dataclass
class Output:
    sample: Tensor


class AnyKeywords(nn.Module):
    def __init__(self, unet: SimpleUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        x, t = args
        return self.unet(x, t, kwargs["y"])


def foreign_loop(ask: Callable[[Tensor, int, Tensor], Tensor], schedule: NoiseSchedule) -> Tensor:
    """Sample by DDIM from hand-written formulas, in which only ``ask`` knows the denoiser."""
    x = ImageNoise(SEEDS).draw()
    visited = spaced_timesteps(1000, 5).tolist()
    for t, before in zip(visited, [*visited[1:], None], strict=True):
        share = schedule.alphas_cumprod[t]
        share_before = 1.0 if before is None else schedule.alphas_cumprod[before]
        eps = ask(x, t, LABELS)
        x0 = ((x - (1 - share) ** 0.5 * eps) / share**0.5).clamp(-1, 1)
        direction = (x - share**0.5 * x0) / (1 - share) ** 0.5
        x = share_before**0.5 * x0 + (1 - share_before) ** 0.5 * direction
    return x


ANSWERS = {
    "tensor": (lambda eps: eps, lambda answer: answer),
    "dataclass": (Output, lambda answer: answer.sample),
    "tuple": (lambda eps: (eps, "more"), lambda answer: answer[0]),
    "list": (lambda eps: [eps], lambda answer: answer[0]),
    "dict": (lambda eps: {"other": 0 * eps, "sample": eps}, lambda answer: answer["sample"]),
}
CALLS = {
    "positions": lambda denoiser, x, t, y: denoiser(x, t, y),
    "keywords": lambda denoiser, x, t, y: denoiser(noisy=x, step=t, class_labels=y),
    "keywords in any order": lambda denoiser, x, t, y: denoiser(class_labels=y, return_dict=True, step=t, noisy=x),
    "mixed": lambda denoiser, x, t, y: denoiser(x, class_labels=y, step=t),
    "t for each image": lambda denoiser, x, t, y: denoiser(x, torch.full((3,), t), y),
    "t as a float tensor": lambda denoiser, x, t, y: denoiser(x, torch.tensor(float(t)), y),
}


@pytest.fixture(scope="module")
def reference(make_unet: Callable, linear: NoiseSchedule) -> Trajectory:
    return record_generation(make_unet(), linear, LABELS, SEEDS, SamplerConfig("ddim", 5, guidance_scale=1.0))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_other_peoples_loops(
    answer: str, call: str, unet: SimpleUNet, linear: NoiseSchedule, reference: Trajectory
) -> None:
    wrap, unwrap = ANSWERS[answer]
    denoiser = Wrapped(unet, wrap)
    with Recorder(denoiser, linear) as recorder:
        x0 = foreign_loop(lambda x, t, y: unwrap(CALLS[call](denoiser, x, t, y)), linear)
        recorder.finish(x0)
    found = recorder.trajectory(seeds=SEEDS)
    assert found.timesteps.tolist() == reference.timesteps.tolist()
    assert found.labels.tolist() == reference.labels.tolist()
    np.testing.assert_array_equal(found.x_t[:, 0], reference.x_t[:, 0])
    np.testing.assert_array_equal(found.eps_pred[:, 0], reference.eps_pred[:, 0])
    # later steps go through the loop's own rounding of the coefficients, with a gain of 157 at first
    np.testing.assert_allclose(found.x_t, reference.x_t, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.x0, x0.numpy(), rtol=0, atol=0)


def test_a_denoiser_of_args_and_kwargs(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    denoiser = AnyKeywords(unet)
    with Recorder(denoiser, linear) as recorder:
        foreign_loop(lambda x, t, y: denoiser(x, torch.full((3,), t), y=y), linear)
    assert recorder.trajectory().labels.tolist() == LABELS.tolist()


def test_a_denoiser_without_labels(linear: NoiseSchedule) -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.5 * x + t[0] / 1000

    denoiser = Plain()
    with Recorder(denoiser, linear) as recorder:
        for step in sampling_steps(denoiser, linear, ImageNoise(SEEDS), None, SamplerConfig(steps=4)):
            recorder.finish(step.x_prev)
    found = recorder.trajectory()
    assert found.labels.tolist() == [-1, -1, -1]
    assert found.seeds.tolist() == [-1, -1, -1]
    np.testing.assert_allclose(found.eps_pred[:, 0], 0.5 * found.x_t[:, 0] + 0.999, rtol=1e-6)


def test_a_diffusers_network(linear: NoiseSchedule) -> None:
    from diffusers import DDIMScheduler

    denoiser = small_unet()
    scheduler = DDIMScheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(5)
    x, states, guesses = torch.randn(2, 1, 8, 8), [], []
    with torch.no_grad(), Recorder(denoiser, linear, prediction_type="epsilon") as recorder:
        for t in scheduler.timesteps:
            states.append(x)
            answer = scheduler.step(denoiser(x, t).sample, t, x)
            x = answer.prev_sample
            guesses.append(answer.pred_original_sample)
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.timesteps.tolist() == [999, 799, 599, 399, 199]
    np.testing.assert_array_equal(found.x_t, torch.stack(states, dim=1).numpy())
    np.testing.assert_allclose(found.x0_pred, torch.stack(guesses, dim=1).numpy(), rtol=1e-3, atol=1e-3)


# -- guidance --------------------------------------------------------------------------------------


GUIDED_CALLS = {
    "doubled": lambda net, x, t, y, null: net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, null])).chunk(2),
    "doubled, null first": lambda net, x, t, y, null: net(
        torch.cat([x, x]), torch.cat([t, t]), torch.cat([null, y])
    ).chunk(2)[::-1],
    "two calls": lambda net, x, t, y, null: (net(x, t, y), net(x, t, null)),
    "two calls, null first": lambda net, x, t, y, null: (net(x, t, null), net(x, t, y))[::-1],
    "two calls, null by leaving the labels out": lambda net, x, t, y, _: (net(x, t, y), net(x, t)),
}


@pytest.mark.parametrize("way", GUIDED_CALLS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_every_way_of_guiding_gives_one_trajectory(
    way: str, scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    conds, unconds = [], []

    def ask(x: Tensor, t: int, labels: Tensor) -> Tensor:
        cond, uncond = GUIDED_CALLS[way](unet, x, torch.full((3,), t), labels, torch.full((3,), 10))
        conds.append(cond)
        unconds.append(uncond)
        return uncond + scale * (cond - uncond)

    with Recorder(unet, linear, guidance_scale=scale) as recorder:
        recorder.finish(foreign_loop(ask, linear))
    found = recorder.trajectory()
    assert found.x_t.shape == (3, 5, 1, 28, 28)
    assert found.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(found.eps_cond, torch.stack(conds, dim=1).numpy())
    np.testing.assert_array_equal(found.eps_uncond, torch.stack(unconds, dim=1).numpy())
    np.testing.assert_allclose(
        found.eps_pred, found.eps_uncond + scale * (found.eps_cond - found.eps_uncond), rtol=0, atol=1e-6
    )


def test_unknown_guidance_is_marked(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        recorder.finish([step.x_prev for step in run_steps(unet, linear, guidance_scale=2.0)][-1])
    found = recorder.trajectory()
    assert np.isnan(found.eps_pred).all()
    assert np.isnan(found.x0_pred).all()
    assert np.isnan(found.guidance_scale)
    assert np.isfinite(found.eps_cond).all()
    assert np.isfinite(found.eps_uncond).all()
    assert np.isfinite(found.x0).all()


def test_an_order_for_no_digit_is_no_label(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    """Trajectory.labels says -1 where there was no label, and the null label means there was none."""
    with Recorder(unet, linear) as recorder:
        for _ in sampling_steps(unet, linear, ImageNoise(SEEDS), torch.full((3,), 10), SamplerConfig(steps=3)):
            pass
    assert recorder.trajectory().labels.tolist() == [-1, -1, -1]


def test_an_unfinished_sampling_is_marked(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for _ in run_steps(unet, linear):
            pass
    found = recorder.trajectory()
    assert np.isnan(found.x0).all()
    assert np.isfinite(found.x0_pred).all()
