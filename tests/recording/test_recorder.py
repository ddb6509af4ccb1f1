"""The Recorder observes and never alters; what it records is what was sampled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from recorder_loops import LABELS, SEEDS, Wrapped, run_steps
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder

# -- observing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize(("sampler", "scale"), [("ddpm", 1.5), ("ddim", 1.0)])
def test_the_recorder_changes_nothing(
    training: bool, mode: Callable, sampler: str, scale: float, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    unet.train(training)
    options = {"sampler": sampler, "guidance_scale": scale}
    torch.manual_seed(3)
    with mode():
        plain = [step.x_prev for step in run_steps(unet, linear, **options)]
    state = torch.get_rng_state()
    torch.manual_seed(3)
    with mode(), Recorder(unet, linear, guidance_scale=scale) as recorder:
        watched = [step.x_prev for step in run_steps(unet, linear, **options)]
        recorder.finish(watched[-1])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, watched, strict=True))
    assert len(recorder.trajectory().timesteps) == 6
    assert unet.training is training
    assert not any(weight.requires_grad for weight in unet.parameters())


def test_the_global_generator_is_left_alone_in_a_loop_that_uses_it(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    """A foreign loop that draws from the global generator gets the very same numbers under a Recorder."""

    def loop() -> Tensor:
        torch.manual_seed(0)
        x = torch.randn(2, 1, 28, 28)
        for t in (999, 500, 3):
            x = 0.9 * x - 0.1 * unet(x, torch.full((2,), t), torch.tensor([1, 2])) + 0.1 * torch.randn(x.shape)
        return x

    plain = loop()
    with Recorder(unet, linear):
        assert torch.equal(loop(), plain)


def test_what_is_recorded_does_not_change_when_the_loop_works_in_place(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    x, seen = torch.randn(2, 1, 28, 28), []
    with Recorder(unet, linear) as recorder:
        for t in (999, 500, 3):
            seen.append(x.clone())
            eps = unet(x, torch.full((2,), t), torch.tensor([1, 2]))
            x.sub_(eps, alpha=0.1)
            eps.zero_()
        recorder.finish(x)
        final = x.clone()
        x.zero_()
    found = recorder.trajectory()
    np.testing.assert_array_equal(found.x_t, torch.stack(seen, dim=1).numpy())
    np.testing.assert_array_equal(found.x0, final.numpy())
    assert found.eps_pred.any()


# -- what is recorded is what was ------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("clip", [True, False])
def test_recorded_equals_sampled(
    sampler: str, scale: float, clip: bool, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    steps: list[Step] = []
    found = record_generation(
        unet,
        linear,
        LABELS,
        SEEDS,
        SamplerConfig(sampler, 6, guidance_scale=scale, clip=clip),
        on_step=steps.append,
        weights_sha256="ab",
    )
    assert found.timesteps.tolist() == [step.t for step in steps] == spaced_timesteps(1000, 6).tolist()
    gain = 1 / np.sqrt(linear.alphas_cumprod[found.timesteps])
    for s, step in enumerate(steps):
        np.testing.assert_array_equal(found.x_t[:, s], step.x_t.numpy())
        np.testing.assert_allclose(found.eps_pred[:, s], step.eps_pred.numpy(), rtol=0, atol=1e-6)
        # errors of ε̂ of 1e-6 enter x̂_0 multiplied by √(1-ᾱ)/√ᾱ
        np.testing.assert_allclose(found.x0_pred[:, s], step.x0_pred.numpy(), rtol=1e-6, atol=2e-6 * gain[s])
        if scale == 1:
            assert found.eps_cond is None
            assert found.eps_uncond is None
        else:
            np.testing.assert_array_equal(found.eps_cond[:, s], step.eps_cond.numpy())
            np.testing.assert_array_equal(found.eps_uncond[:, s], step.eps_uncond.numpy())
            mixed = step.eps_uncond + scale * (step.eps_cond - step.eps_uncond)
            np.testing.assert_allclose(found.eps_pred[:, s], mixed.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.x0, steps[-1].x_prev.numpy())
    assert found.labels.tolist() == LABELS.tolist()
    assert found.seeds.tolist() == SEEDS
    assert (found.sampler, found.guidance_scale, found.clip) == (sampler, scale, clip)
    assert (found.variance, found.weights_sha256) == ("beta" if sampler == "ddpm" else "", "ab")
    assert (np.abs(found.x0_pred).max() == 1) == clip


class Elementwise(nn.Module):
    """A cheap denoiser whose answer depends on everything."""

    null_label = 10

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return 0.9 * x + torch.sin(7 * x + t[0] / 100) * (1 + labels[:, None, None, None]) / 20


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_the_next_state_recomputes_from_the_record(scale: float, linear: NoiseSchedule) -> None:
    """x_{t-1} = μ̃(x̂_0, x_t) + √β_t z, where z is drawn anew from the seeds; all 1000 steps."""
    found = record_generation(
        Elementwise(), linear, LABELS, SEEDS, SamplerConfig(guidance_scale=scale), image_shape=(1, 4, 4)
    )
    assert found.timesteps.tolist() == list(range(999, -1, -1))
    noise = ImageNoise(found.seeds.tolist(), (1, 4, 4))
    np.testing.assert_array_equal(found.x_t[:, 0], noise.draw().numpy())
    for s, t in enumerate(found.timesteps.tolist()):
        mean = linear.posterior_mean(found.x0_pred[:, s], found.x_t[:, s], t)
        z = noise.draw().numpy() if t else 0
        following = found.x_t[:, s + 1] if t else found.x0
        # ε̂ is known to 1e-6, x̂_0 to √(1-ᾱ)/√ᾱ times that, and the mean to √ᾱ_{t-1} β/(1-ᾱ) times that:
        # 3e-6 at t = 999 and less below, plus the rounding of states of size 4
        np.testing.assert_allclose(mean + np.sqrt(linear.betas[t]) * z, following, rtol=0, atol=5e-6)


# -- one clear error -------------------------------------------------------------------------------


def test_nothing_recorded_is_said(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        pass
    with pytest.raises(VizdiffUsageError, match="nothing was recorded") as caught:
        recorder.trajectory()
    assert "\n" not in str(caught.value)
    with Recorder(unet, linear) as recorder:
        copy.deepcopy(unet)(torch.zeros(1, 1, 28, 28), torch.tensor([3]))
    with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
        recorder.trajectory()


@pytest.mark.parametrize("steps", [(3, 3), (1, 1), (3, 1)])
def test_two_samplings_in_one_block_are_refused(
    steps: tuple[int, int], unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    with Recorder(unet, linear) as recorder:
        for count in steps:
            list(run_steps(unet, linear, steps=count))
    with pytest.raises(VizdiffUsageError, match=r"one Recorder for each|visited 2 times"):
        recorder.trajectory()


def test_a_batch_that_changes_is_refused(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear) as recorder:
        for t, count in ((9, 2), (8, 3)):
            unet(torch.zeros(count, 1, 28, 28), torch.full((count,), t), torch.zeros(count, dtype=torch.long))
    with pytest.raises(VizdiffUsageError, match="batch changed"):
        recorder.trajectory()


def test_an_answer_without_a_tensor_is_refused(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    denoiser = Wrapped(unet, lambda _: "nothing")
    with pytest.raises(VizdiffUsageError, match="found str"), Recorder(denoiser, linear):
        denoiser(torch.zeros(1, 1, 28, 28), 3)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.tensor([5]), r"labels must be 2 whole numbers in a tensor, one for each seed, found shape \(1,\)"),
        (torch.tensor([5.0, 6.0]), "found shape"),
        (5, "found 5"),
        (torch.tensor([5, 12]), r"labels must lie in 0\.\.10, 10 being none, found 5, 12"),
    ],
    ids=["one", "floats", "bare", "unknown"],
)
def test_labels_that_do_not_fit_are_refused_in_words(
    labels: Any, said: str, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        record_generation(unet, linear, labels, [0, 1], SamplerConfig(steps=2, guidance_scale=1.5))


def test_only_modules_can_be_listened_to(linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffUsageError, match=r"nn\.Module, found a function"):
        Recorder(lambda *_: None, linear)


def test_a_config_and_a_part_of_it_are_refused_together(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    for given in ({"guidance_scale": 2.0}, {"clip": False}, {"sampler": "mine"}):
        with pytest.raises(VizdiffUsageError, match="either config, or guidance_scale, clip and sampler"):
            Recorder(unet, linear, SamplerConfig(), **given)


def test_a_config_gives_the_recording_its_facts(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    config = SamplerConfig("ddim", 3, 2.0, eta=0.5, clip=False)
    with Recorder(unet, linear, config) as recorder:
        steps = list(sampling_steps(unet, linear, ImageNoise(SEEDS), LABELS, config))
        recorder.finish(steps[-1].x_prev)
    assert recorder.trajectory().sampler_config == config


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_evaluations_of_a_step_are_counted_from_one(count: object, linear: NoiseSchedule) -> None:
    with pytest.raises(VizdiffUsageError, match=rf"`?evaluations_per_step`? must be a whole number from 1, .*{count}"):
        Recorder(nn.Identity(), linear, evaluations_per_step=count)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [[7], [7, 8, 9]])
def test_seeds_of_another_number_are_named_and_can_be_given_again(seeds: list[int], linear: NoiseSchedule) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002
            return x

    net = Net()
    with Recorder(net, linear, prediction_type="epsilon", seeds=seeds) as recorder:
        net(torch.randn(2, 1, 8, 8), torch.tensor([9, 9]))
    with pytest.raises(VizdiffUsageError, match=rf"`?seeds`? must hold one for each image: 2 .* found {len(seeds)}"):
        recorder.trajectory()
    assert recorder.trajectory(seeds=[7, 8]).seeds.tolist() == [7, 8]
