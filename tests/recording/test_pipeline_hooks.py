"""What a pipeline is hooked by: exchanged schedulers are followed, copies and other pipelines left alone."""

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
    HeunDiscreteScheduler,
    IPNDMScheduler,
)
from pipeline_calls import MAKE, STEPS, run, steps
from small_unet import small_unet
from tiny_pipelines import stable_diffusion

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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
