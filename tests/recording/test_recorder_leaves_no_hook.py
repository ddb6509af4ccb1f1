"""No hook of a Recorder stays behind, and no network is kept alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import pytest
import torch
from recorder_loops import LABELS, SEEDS, run_steps
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Step
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory


def hooks(module: nn.Module) -> int:
    """Return how many hooks there are, and methods that were replaced."""
    return sum(
        len(part._forward_hooks)
        + len(part._forward_pre_hooks)
        + len(part._backward_hooks)
        + len({"_call_impl", "forward"} & set(vars(part)))
        for part in module.modules()
    )


def same(first: Trajectory, second: Trajectory, but: tuple[str, ...] = ()) -> None:
    for name in (field.name for field in fields(Trajectory) if field.name not in ("schedule", *but)):
        ours, theirs = getattr(first, name), getattr(second, name)
        assert (ours is None) == (theirs is None), name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


# -- nothing stays behind --------------------------------------------------------------------------


class Fails(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return x * (t[0] + labels[0]) / 1000


@contextmanager
def counting(module: nn.Module) -> Iterator[None]:
    before = hooks(module)
    yield
    assert hooks(module) == before == 0


def test_no_hook_is_left_after_success(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet):
        with Recorder(unet, linear):
            assert hooks(unet) == 2  # a call with all its hooks, and one past them
            list(run_steps(unet, linear))
        assert not {"_call_impl", "forward"} & set(vars(unet))
        record_generation(unet, linear, LABELS, SEEDS, SamplerConfig(steps=2, guidance_scale=1.5))


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_no_hook_is_left_after_an_error_in_the_loop(
    error: BaseException, unet: SimpleUNet, linear: NoiseSchedule
) -> None:
    def stop(step: Step) -> None:
        if step.t < 900:
            raise error

    def loop() -> None:
        with Recorder(unet, linear):
            for step in run_steps(unet, linear):
                stop(step)

    with counting(unet), pytest.raises(type(error)):
        loop()
    with counting(unet), pytest.raises(type(error)):
        record_generation(unet, linear, LABELS, SEEDS, SamplerConfig(steps=4, guidance_scale=1.5), on_step=stop)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_no_hook_is_left_after_an_error_in_the_network(error: BaseException, linear: NoiseSchedule) -> None:
    network = Fails(error)
    with counting(network), pytest.raises(type(error)):
        record_generation(network, linear, LABELS, SEEDS, SamplerConfig(steps=4, guidance_scale=1.0))
    assert network.calls == 3


def test_no_hook_is_left_after_an_error_in_the_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), pytest.raises(VizdiffUsageError, match="several timesteps"), Recorder(unet, linear):
        unet(torch.zeros(2, 1, 28, 28), torch.tensor([3, 4]), torch.tensor([0, 1]))


def test_an_abandoned_loop_leaves_no_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), Recorder(unet, linear) as recorder:
        steps = run_steps(unet, linear)
        next(steps)
        next(steps)
        del steps
    assert recorder.trajectory().num_steps == 2


def test_two_recorders_on_one_network(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with counting(unet), Recorder(unet, linear) as outer, Recorder(unet, linear) as inner:
        list(run_steps(unet, linear))
    same(outer.trajectory(), inner.trajectory())


def test_one_recorder_does_not_nest(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    recorder = Recorder(unet, linear)
    with counting(unet), recorder, pytest.raises(VizdiffUsageError, match="already listening"), recorder:
        pass


def test_a_recorder_starts_afresh(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    recorder = Recorder(unet, linear)
    with recorder:
        for step in run_steps(unet, linear, steps=2):
            recorder.finish(step.x_prev)
    with recorder:
        list(run_steps(unet, linear, steps=3))
    assert recorder.trajectory().num_steps == 3
    assert np.isnan(recorder.trajectory().x0).all()


@pytest.mark.parametrize("kept", ["trajectory", "recorder"])
def test_the_network_is_not_kept_alive(kept: str, make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    dies = weakref.ref(unet)
    with Recorder(unet, linear) as recorder:
        list(run_steps(unet, linear, steps=2))
    still_here = recorder.trajectory() if kept == "trajectory" else recorder
    del unet, recorder
    gc.collect()
    assert dies() is None
    assert still_here is not None
