"""Where runs of a pipeline begin and end: edited latents, rising timesteps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from pipeline_calls import MAKE, STEPS, run, steps
from small_unet import small_unet
from tiny_pipelines import stable_diffusion

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def unpacked(pipe: Any, latents: torch.Tensor) -> np.ndarray:
    if latents.ndim == 3:
        latents = pipe._unpack_latents(latents, 8, 16, pipe.vae_scale_factor)
    return latents.numpy()


# -- edited latents --------------------------------------------------------------------------------


@pytest.mark.parametrize("output_type", ["np", "latent"])
@pytest.mark.parametrize("where", [1, STEPS - 1], ids=["between", "after the last step"])
@pytest.mark.parametrize("name", MAKE)
def test_latents_that_a_callback_edits_are_the_next_state(name: str, where: int, output_type: str) -> None:
    pipe, call = MAKE[name]()
    edited: list[torch.Tensor] = []

    def edit(_: Any, step: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        if step != where:
            return {}
        edited.append(kwargs["latents"] * 0.5 + 0.1)
        return {"latents": edited[0]}

    with record_pipeline(pipe) as recording:
        images = run(pipe, call, callback_on_step_end=edit, output_type=output_type)
    found, wanted = recording.trajectory(decode_at=[0]), unpacked(pipe, edited[0])
    after = found.x0 if where == STEPS - 1 else found.x_t[:, where + 1]
    np.testing.assert_allclose(after, wanted, rtol=0, atol=1e-6)
    if output_type == "np":
        decoded = np.moveaxis(found.decoded[:, 0], 1, -1).clip(-1, 1) / 2 + 0.5
        np.testing.assert_allclose(decoded, images, atol=1e-5)
    else:
        np.testing.assert_array_equal(found.x0, unpacked(pipe, images))


@pytest.mark.parametrize("name", MAKE)
def test_control_without_an_edit_x0_is_the_last_steps_own(name: str) -> None:
    pipe, call = MAKE[name]()
    states: list[torch.Tensor] = []
    own = pipe.scheduler.step

    def step(*args: Any, **kwargs: Any) -> Any:
        output = own(*args, **kwargs)
        states.append(output[0].clone())
        return output

    pipe.scheduler.step = step
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    np.testing.assert_array_equal(recording.trajectory().x0, unpacked(pipe, states[-1]))


def test_latents_changed_in_place_are_seen_too() -> None:
    pipe, call = MAKE["Stable Diffusion"]()

    def edit(_: Any, step: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        if step == STEPS - 1:
            kwargs["latents"].mul_(0).add_(0.25)
        return {}

    with record_pipeline(pipe) as recording:
        run(pipe, call, callback_on_step_end=edit)
    np.testing.assert_allclose(recording.trajectory().x0, np.full((2, 4, 4, 4), 0.25), atol=1e-6)


def test_what_inpainting_puts_back_after_the_last_step_is_in_the_finished_image() -> None:
    pipe, call = MAKE["Stable Diffusion"]()
    other = StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    picture, mask = torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8).tril()
    with record_pipeline(other) as recording:
        images = run(other, call, image=picture, mask_image=mask)
    found = recording.trajectory(decode_at=[0])
    decoded = np.moveaxis(found.decoded[:, 0], 1, -1).clip(-1, 1) / 2 + 0.5
    np.testing.assert_allclose(decoded, images, atol=1e-5)


def test_the_edited_end_is_in_the_store(tmp_path: Path) -> None:
    pipe, call = MAKE["Stable Diffusion 3"]()

    def edit(_: Any, step: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"latents": kwargs["latents"].sign()} if step == STEPS - 1 else {}

    with record_pipeline(pipe, store=tmp_path / "a.zarr") as recording:
        run(pipe, call, callback_on_step_end=edit)
    np.testing.assert_allclose(np.abs(recording.trajectory().x0), 1, atol=1e-6)


def test_pictures_that_are_decoded_on_the_way_or_afterwards_are_no_end() -> None:
    pipe, call = MAKE["Stable Diffusion"]()

    def preview(pipeline: Any, _: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        pipeline.vae.decode(kwargs["latents"] * 3)
        return {}

    with record_pipeline(pipe) as recording:
        run(pipe, call, callback_on_step_end=preview)
        with torch.no_grad():
            pipe.vae.decode(torch.ones(2, 4, 4, 4))
    found = recording.trajectory()
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    np.testing.assert_array_equal(found.x0, recording.trajectory().x0)


@torch.no_grad()
def test_a_loop_of_ones_own_says_what_it_ended_with() -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    with record_pipeline(pipe) as recording:
        with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
            recording.finish(torch.zeros(1, 3, 8, 8))
        x = torch.randn(1, 3, 8, 8)
        pipe.scheduler.set_timesteps(3)
        for t in pipe.scheduler.timesteps:
            x = pipe.scheduler.step(pipe.unet(x, t).sample, t, x).prev_sample
        recording.finish(x.clamp(-0.1, 0.1))
    np.testing.assert_array_equal(recording.trajectory().x0, x.clamp(-0.1, 0.1).numpy())


# -- rising timesteps ------------------------------------------------------------------------------


def test_inversion_by_a_loop_is_named() -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(5)
    with pytest.raises(VizdiffUsageError, match="t rises from 0 to 200 within one sampling"), record_pipeline(pipe):
        steps(pipe, pipe.scheduler.timesteps.flip(0), torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("renoise", [True, False])
def test_resampling_is_named(renoise: bool) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(5)
    with pytest.raises(VizdiffUsageError, match="t rises from 400 to 600"), record_pipeline(pipe):
        steps(pipe, torch.tensor([800, 600, 400, 600, 400, 200, 0]), torch.randn(1, 3, 8, 8), renoise)


def test_runs_one_after_another_are_runs() -> None:
    """Also of one step each, from the middle, and without another set_timesteps."""
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(5)
    with record_pipeline(pipe) as recording:
        for times in ([800, 600, 400, 200, 0], [800, 600], [800], [800, 600, 400, 200, 0], [400, 200], [400], [800]):
            steps(pipe, torch.tensor(times), torch.randn(1, 3, 8, 8))
    assert [found.num_steps for found in recording.trajectories()] == [5, 2, 1, 5, 2, 1, 1]


def test_from_image_to_image() -> None:
    pipe, call = stable_diffusion(EulerDiscreteScheduler(steps_offset=1))
    other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    call = {name: value for name, value in call.items() if name not in ("height", "width")}
    with record_pipeline(other) as recording:
        for strength in (0.5, 0.75):
            run(other, call, image=torch.rand(2, 3, 8, 8), strength=strength)
    assert [found.num_steps for found in recording.trajectories()] == [2, 3]
