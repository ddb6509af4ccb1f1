"""Pipelines of diffusers, small and randomly initialised: recorded as they were, and left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from small_unet import small_unet

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.pipeline import record_pipeline
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS = {
    "ddpm": lambda **o: DDPMScheduler(**o),
    "ddim": lambda **o: DDIMScheduler(**o),
    "dpm": lambda **o: DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", **o),
    "dpm karras": lambda **o: DPMSolverMultistepScheduler(use_karras_sigmas=True, **o),
    "euler": lambda **o: EulerDiscreteScheduler(**o),
    "euler linspace": lambda **o: EulerDiscreteScheduler(timestep_spacing="linspace", **o),
    "euler ancestral": lambda **o: EulerAncestralDiscreteScheduler(**o),
}


def loop(pipe: Any, steps: int = 7, generator: torch.Generator | None = None, **call: Any) -> Iterator[tuple]:
    """Sample as diffusers' documentation does; give the state, its scaling, the answer and the output of each step."""
    generator = generator or torch.Generator().manual_seed(1)
    pipe.scheduler.set_timesteps(steps)
    channels, side = pipe.unet.config.in_channels, pipe.unet.config.sample_size
    x = torch.randn(2, channels, side, side, generator=generator) * pipe.scheduler.init_noise_sigma
    with torch.no_grad():
        for t in pipe.scheduler.timesteps:
            scaled = pipe.scheduler.scale_model_input(x, t)
            answer = pipe.unet(scaled, t, **call).sample
            output = pipe.scheduler.step(answer, t, x)
            yield x, scaled, answer, output, t
            x = output.prev_sample


# diffusers' Euler knows no prediction of the sample
KINDS = [
    (name, kind)
    for kind in ("epsilon", "v_prediction", "sample")
    for name in SCHEDULERS
    if not (kind == "sample" and name.startswith("euler"))
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_what_is_recorded_is_what_was(name: str, kind: str) -> None:
    """x_t = √ᾱ x̂_0 + √(1-ᾱ) ε̂ holds at every step, in every scheduler's own scaling and timesteps."""
    options = {"prediction_type": kind} | ({"clip_sample": False} if name in ("ddpm", "ddim") else {})
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=SCHEDULERS[name](**options))
    with record_pipeline(pipe, seeds=[1, 1]) as recording:
        seen = list(loop(pipe))
    found = recording.trajectory()
    assert found.x_t.shape == (2, 7, 3, 8, 8)
    np.testing.assert_allclose(found.timesteps, [float(t) for *_, t in seen], rtol=1e-6)
    assert (found.timesteps.dtype == np.float64) == any(float(t) % 1 for *_, t in seen)
    for s, (_, scaled, answer, output, _) in enumerate(seen):
        np.testing.assert_array_equal(found.x_t[:, s], scaled.numpy())
        given = getattr(output, "pred_original_sample", None)
        if given is not None:
            np.testing.assert_array_equal(found.x0_pred[:, s], given.numpy())
        if kind == "epsilon":
            np.testing.assert_array_equal(found.eps_pred[:, s], answer.numpy())
        signal, spread = np.sqrt(found.alphas_cumprod[s]), np.sqrt(1 - found.alphas_cumprod[s])
        rebuilt = signal * found.x0_pred[:, s] + spread * found.eps_pred[:, s]
        # both x̂_0 and ε̂ went through float32: what is lost is a share of the larger one
        size = max(np.abs(found.x0_pred[:, s]).max(), 1)
        np.testing.assert_allclose(rebuilt, found.x_t[:, s], rtol=0, atol=2e-5 * size)
    np.testing.assert_array_equal(found.x0, seen[-1][3].prev_sample.numpy())
    assert found.seeds.tolist() == [1, 1]


def test_the_pipeline_is_not_changed() -> None:
    pipe = DDPMPipeline(small_unet(3), DDPMScheduler())
    pipe.set_progress_bar_config(disable=True)

    def run() -> tuple[np.ndarray, torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        torch.manual_seed(5)
        images = pipe(batch_size=2, generator=generator, num_inference_steps=9, output_type="np").images
        return images, torch.cat([torch.rand(2), torch.rand(2, generator=generator)])

    plain, state = run()
    with record_pipeline(pipe) as recording:
        watched, state_watched = run()
    np.testing.assert_array_equal(plain, watched)
    assert torch.equal(state, state_watched)
    found = recording.trajectory()
    np.testing.assert_allclose(watched, np.moveaxis(found.x0, 1, -1).clip(-1, 1) / 2 + 0.5, atol=1e-6)
    assert (found.sampler, found.variance, found.clip) == ("DDPM", "beta_tilde", True)
    assert np.abs(found.x0_pred).max() <= 1


def test_return_dict_false_and_ddims_arguments() -> None:
    """Pipelines inspect the signature of step, to see whether it takes eta and a generator."""
    pipe = DDIMPipeline(small_unet(3), DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    with record_pipeline(pipe) as recording:
        pipe(batch_size=1, eta=0.5, num_inference_steps=5, generator=torch.Generator().manual_seed(0))
        pipe(batch_size=1, num_inference_steps=3, generator=torch.Generator().manual_seed(0))
    assert [found.num_steps for found in recording.trajectories()] == [5, 3]
    with pytest.raises(VizdiffUsageError, match="ran 2 times"):
        recording.trajectory()
    flat = SimpleNamespace(scheduler=DDIMScheduler())
    flat.scheduler.set_timesteps(4)
    x = torch.randn(1, 1, 4, 4)
    with record_pipeline(flat) as recording:
        for t in flat.scheduler.timesteps:
            x = flat.scheduler.step(model_output=x, timestep=t, sample=x, return_dict=False)[0]
    assert recording.trajectory().num_steps == 4


class Foreign(torch.nn.Module):
    """A network with other names of arguments than diffusers has."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return x * 0.5 + 0.001 * t + (0 if y is None else y.reshape(-1, 1, 1, 1))


@pytest.mark.parametrize("activations", [(), ("inner",)])
def test_a_network_of_another_maker_is_understood(activations: tuple[str, ...]) -> None:
    own = Foreign()
    own.inner = torch.nn.Identity()
    own.register_forward_hook(lambda module, _, output: module.inner(output))
    pipe = SimpleNamespace(unet=own, scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(4)
    x = torch.randn(2, 1, 4, 4)
    with record_pipeline(pipe, activations=activations) as recording:
        for t in pipe.scheduler.timesteps:
            x = pipe.scheduler.step(own(x, t, torch.tensor([3, 7])), t, x).prev_sample
    found = recording.trajectory()
    assert found.labels.tolist() == [3, 7]
    if activations:
        np.testing.assert_array_equal(found.activations["inner"], found.eps_pred)


def test_class_labels_are_recorded() -> None:
    pipe = SimpleNamespace(unet=small_unet(3, num_class_embeds=11), scheduler=DDIMScheduler())
    with record_pipeline(pipe) as recording:
        list(loop(pipe, class_labels=torch.tensor([3, 7])))
    assert recording.trajectory().labels.tolist() == [3, 7]
    with record_pipeline(pipe, labels=[1, 2]) as recording:
        list(loop(pipe, class_labels=torch.tensor([3, 7])))
    assert recording.trajectory().labels.tolist() == [1, 2]


def test_latents_are_decoded_at_chosen_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.2,
    ).eval()
    pipe = SimpleNamespace(unet=small_unet(3, in_channels=4, out_channels=4), scheduler=DDIMScheduler(), vae=vae)
    with record_pipeline(pipe) as recording:
        list(loop(pipe))
    found = recording.trajectory(decode_at=[7, 2, 0])
    assert found.decoded.shape == (2, 3, 3, 16, 16)
    assert found.decoded_steps.tolist() == [0, 5, 7]
    with torch.no_grad():
        decoded = vae.decode(torch.from_numpy(found.x0_pred[:, 5]) / 0.2).sample
        last = vae.decode(torch.from_numpy(found.x0) / 0.2).sample
    np.testing.assert_array_equal(found.decoded[:, 1], decoded.numpy())
    np.testing.assert_array_equal(found.decoded[:, 2], last.numpy())
    found.save(tmp_path / "a.zarr")
    np.testing.assert_array_equal(Trajectory.open(tmp_path / "a.zarr").decoded, found.decoded)
    with pytest.raises(VizdiffUsageError, match=r"0\.\.7, found 8"):
        recording.trajectory(decode_at=[8])


def test_fractional_timesteps_survive_the_disk(tmp_path: Path) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=EulerDiscreteScheduler(timestep_spacing="linspace"))
    with record_pipeline(pipe) as recording:
        list(loop(pipe))
    kept = recording.trajectory()
    assert np.any(kept.timesteps % 1)
    kept.save(tmp_path / "a.zarr")
    found = Trajectory.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.timesteps, kept.timesteps)
    np.testing.assert_array_equal(found.alphas_cumprod, kept.alphas_cumprod)


# -- restored --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_step_is_restored(error: BaseException | None) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())

    def run() -> None:
        with record_pipeline(pipe), record_pipeline(pipe) as inner:
            for index, _ in enumerate(loop(pipe)):
                if index == 3 and error is not None:
                    raise error
        assert inner.trajectory().num_steps == 7

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert "step" not in pipe.scheduler.__dict__
    assert not pipe.unet._forward_pre_hooks


def test_step_is_restored_after_an_abandoned_generator() -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())

    def steps() -> Iterator[object]:
        with record_pipeline(pipe):
            yield from loop(pipe)

    running = steps()
    next(running)
    assert "step" in pipe.scheduler.__dict__
    running.close()
    assert "step" not in pipe.scheduler.__dict__


def test_a_step_wrapped_by_someone_else_stays_wrapped() -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    own = pipe.scheduler.step
    pipe.scheduler.step = lambda *args, **kwargs: own(*args, **kwargs)
    theirs = pipe.scheduler.step
    with record_pipeline(pipe):
        list(loop(pipe))
    assert pipe.scheduler.step is theirs


# -- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipe", "words"),
    [
        (SimpleNamespace(), "no scheduler"),
        (SimpleNamespace(scheduler=DDIMScheduler(rescale_betas_zero_snr=True)), "leaves no signal"),
    ],
    ids=["no scheduler", "pure noise"],
)
def test_what_cannot_be_recorded_is_said(pipe: Any, words: str) -> None:
    with pytest.raises(VizdiffUsageError, match=words) as caught, record_pipeline(pipe):
        pass
    assert "\n" not in str(caught.value)


def test_nothing_recorded_is_said() -> None:
    with record_pipeline(SimpleNamespace(scheduler=DDIMScheduler())) as recording:
        pass
    with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
        recording.trajectory()
