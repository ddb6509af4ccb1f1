"""Where runs of a pipeline begin and end: edited latents, exchanged schedulers, rising timesteps, copies."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    StableDiffusionImg2ImgPipeline,
)
from small_unet import small_unet
from tiny_pipelines import flux, stable_diffusion, stable_diffusion_3

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MAKE = {
    "Stable Diffusion": lambda: stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1)),
    "Stable Diffusion 3": lambda: stable_diffusion_3(FlowMatchEulerDiscreteScheduler(shift=3.0)),
    "FLUX": lambda: flux(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)),
}
STEPS = 4


def run(pipe: Any, call: dict[str, Any], **more: Any) -> Any:
    options = {"num_inference_steps": STEPS, "output_type": "np", "generator": torch.Generator().manual_seed(1)}
    return pipe(**(call | options | more)).images


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


# -- exchanged schedulers --------------------------------------------------------------------------


def quiet(scheduler: Any) -> Any:
    pipe = DDIMPipeline(small_unet(3), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def one(pipe: Any, steps: int = 3) -> np.ndarray:
    return pipe(num_inference_steps=steps, output_type="np", generator=torch.Generator().manual_seed(2)).images


def test_a_scheduler_exchanged_before_the_run_is_followed() -> None:
    pipe = quiet(DDIMScheduler())
    first = pipe.scheduler
    with record_pipeline(pipe) as recording:
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, beta_schedule="scaled_linear")
        images = one(pipe)
    found = recording.trajectory()
    assert found.schedule.name == "scaled_linear"
    np.testing.assert_allclose(np.moveaxis(found.x0, 1, -1).clip(-1, 1) / 2 + 0.5, images, atol=1e-6)
    for scheduler in (first, pipe.scheduler):
        assert not {"step", "set_timesteps"} & vars(scheduler).keys()


def test_two_schedulers_are_two_recordings(tmp_path: Path) -> None:
    pipe, call = stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1))
    with record_pipeline(pipe) as recording:
        run(pipe, call)
        pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
        run(pipe, call)
    ddim, heun = recording.trajectories()
    assert (ddim.sampler, heun.sampler) == ("DDIM", "HeunDiscrete")
    assert (ddim.num_steps, heun.num_steps) == (STEPS, STEPS)
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    np.testing.assert_array_equal(recording.trajectory().x_t, heun.x_t)

    def to_one_store() -> None:
        with record_pipeline(pipe, store=tmp_path / "a.zarr"):
            run(pipe, call)
            pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
            run(pipe, call)

    with pytest.raises(VizdiffUsageError, match="a store holds runs of one scheduler, and DDIMScheduler follows Heun"):
        to_one_store()
    assert not {"step", "set_timesteps"} & vars(pipe.scheduler).keys()


def test_an_equal_scheduler_goes_on_in_the_same_store(tmp_path: Path) -> None:
    pipe = quiet(DDIMScheduler())
    with record_pipeline(pipe, store=tmp_path / "a.zarr", seeds=range(32)) as recording:
        for _ in range(2):
            pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
            pipe(batch_size=16, num_inference_steps=2, output_type="np")
    assert recording.trajectory().seeds.tolist() == list(range(32))


def test_an_exchanged_scheduler_that_is_not_recorded_is_refused_at_its_first_step() -> None:
    pipe = quiet(DDIMScheduler())

    def exchange() -> None:
        with record_pipeline(pipe):
            pipe.scheduler = IPNDMScheduler()
            one(pipe)

    with pytest.raises(VizdiffUsageError, match="IPNDMScheduler has noise levels of its own"):
        exchange()
    assert not pipe.unet._forward_pre_hooks


def test_without_a_network_the_exchange_is_named() -> None:
    pipe = SimpleNamespace(scheduler=DDIMScheduler())
    with record_pipeline(pipe) as recording:
        pipe.scheduler = DDIMScheduler()
    with pytest.raises(VizdiffUsageError, match="the scheduler was exchanged inside the block"):
        recording.trajectory()


# -- rising timesteps ------------------------------------------------------------------------------


@torch.no_grad()
def steps(pipe: Any, timesteps: Any, x: torch.Tensor, renoise: bool = False) -> torch.Tensor:
    for t in timesteps:
        x = pipe.scheduler.step(pipe.unet(x, t).sample, t, x).prev_sample
        x = x + 0.1 if renoise else x
    return x


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


# -- copies ----------------------------------------------------------------------------------------


def test_copies_of_a_wrapped_scheduler_are_not_wrapped() -> None:
    pipe = quiet(DPMSolverMultistepScheduler())
    expected = one(pipe)
    with record_pipeline(pipe) as recording:
        one(pipe)
        for copied in (copy.deepcopy(pipe.scheduler), pickle.loads(pickle.dumps(pipe.scheduler))):
            assert copied.step.__self__ is copied
            np.testing.assert_array_equal(one(quiet(copied)), expected)
    assert len(recording.trajectories()) == 1


def test_attributes_of_a_scheduler_are_copied_and_put_back() -> None:
    """As pipelines do that sample several views with one scheduler."""
    pipe = quiet(DPMSolverMultistepScheduler())
    expected = one(pipe)
    with record_pipeline(pipe) as recording:
        pipe.scheduler.__dict__.update(copy.deepcopy(pipe.scheduler.__dict__))
        np.testing.assert_array_equal(one(pipe), expected)
    assert recording.trajectory().num_steps == 3
    assert not {"step", "set_timesteps"} & vars(pipe.scheduler).keys()


@pytest.mark.parametrize("done", [2, 5])
def test_an_error_before_the_last_timestep_leaves_no_finished_image(done: int) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(5)

    def fail() -> None:
        with record_pipeline(pipe) as recording:
            kept.append(recording)
            steps(pipe, pipe.scheduler.timesteps[:done], torch.randn(1, 3, 8, 8))
            raise ValueError("no")

    kept: list[Any] = []
    with pytest.raises(ValueError, match="no"):
        fail()
    found = kept[0].trajectory()
    assert (found.num_steps, found.stopped) == (done, "2 steps" if done == 2 else "")
    assert np.isnan(found.x0).all() == (done == 2)


@pytest.mark.parametrize("scales", [True, False])
def test_a_network_that_gets_the_unscaled_sample_is_named(scales: bool) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=EulerDiscreteScheduler())
    pipe.scheduler.set_timesteps(3)
    x = torch.randn(1, 3, 8, 8) * pipe.scheduler.init_noise_sigma
    with torch.no_grad(), record_pipeline(pipe) as recording:
        for t in pipe.scheduler.timesteps:
            scaled = pipe.scheduler.scale_model_input(x, t) if scales else x
            x = pipe.scheduler.step(pipe.unet(scaled, t).sample, t, x).prev_sample
    said = recording.trajectory().conventions
    assert ("network" in said) != scales
    if not scales:
        assert said["network"] == "got the sample without scale_model_input, which EulerDiscreteScheduler needs"


def test_copies_of_a_wrapped_vae_are_not_wrapped() -> None:
    pipe, _ = MAKE["Stable Diffusion"]()
    with record_pipeline(pipe):
        copied = copy.deepcopy(pipe.vae)
        assert copied.decode.__self__ is copied
    assert "decode" not in vars(pipe.vae)


def test_other_pipelines_of_the_class_are_left_alone() -> None:
    pipe, other = quiet(DDIMScheduler()), quiet(DDIMScheduler())
    before = DDIMPipeline.__call__
    with record_pipeline(pipe) as recording:
        one(other)
        with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
            recording.trajectory()
        one(pipe)
    assert DDIMPipeline.__call__ is before
    assert isinstance(recording.trajectory(), Trajectory)
