"""Hooks under autocast and on compiled networks; and that they go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hooked_sampling import LABELS, hooks, sample
from torch import Tensor

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder

# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(
    dtype: torch.dtype, make_unet: Callable, tiny_config: ModelConfig, linear: NoiseSchedule
) -> None:
    """The bare network, since the last line of the other gives float32 back."""
    unet = make_unet(0, replace(tiny_config, schedule=None))
    seen = []

    def loop() -> Tensor:
        x = ImageNoise([1, 2]).draw()
        with torch.autocast("cpu", dtype=dtype):
            for t in (999, 500, 3):
                eps = unet(x, torch.full((2,), t), torch.tensor([1, 2]))
                seen.append(eps)
                x = 0.9 * x - 0.1 * eps.float()
        return x

    plain = loop()
    seen.clear()
    with Recorder(unet, linear, prediction_type="epsilon", activations=["mid1"]) as recorder:
        assert torch.equal(loop(), plain)
    found = recorder.trajectory()
    assert seen[0].dtype == dtype
    assert found.eps_pred.dtype == found.activations["mid1"].dtype == np.float32
    np.testing.assert_array_equal(found.eps_pred, torch.stack(seen, dim=1).float().numpy())


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
class TestCompiled:
    """Either equal to eager within tolerance, or refused in one sentence; never silently empty."""

    def test_the_compiled_network_is_recorded(self, unet: SimpleUNet, linear: NoiseSchedule) -> None:
        eager = record_generation(unet, linear, LABELS, [1, 2, 3], SamplerConfig(steps=3, guidance_scale=1.5))
        compiled = torch.compile(unet, backend="aot_eager")
        for _ in range(2):  # compiling, and compiled
            found = record_generation(compiled, linear, LABELS, [1, 2, 3], SamplerConfig(steps=3, guidance_scale=1.5))
            assert found.labels.tolist() == LABELS.tolist()
            np.testing.assert_allclose(found.x_t, eager.x_t, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.eps_pred, eager.eps_pred, rtol=1e-4, atol=1e-4)
        assert hooks(compiled) == 0

    @pytest.mark.parametrize("warm", [False, True])
    def test_the_original_is_not_recorded_through_its_copy(
        self, warm: bool, unet: SimpleUNet, linear: NoiseSchedule
    ) -> None:
        compiled = torch.compile(unet, backend="aot_eager")
        if warm:
            sample(compiled, linear)
        with Recorder(unet, linear) as recorder:
            sample(compiled, linear)
        with pytest.raises(VizdiffUsageError, match="nothing was recorded"):
            recorder.trajectory()
        assert hooks(unet) == 0
        sample(compiled, linear)  # nothing of the hook was compiled in
        with Recorder(unet, linear) as recorder:
            sample(unet, linear)
        assert recorder.trajectory().num_steps == 5

    def test_what_hooks_do_not_reach_is_refused(self, unet: SimpleUNet, linear: NoiseSchedule) -> None:
        with pytest.raises(VizdiffUsageError, match="hooks do not reach into a compiled network"):
            Recorder(torch.compile(unet, backend="aot_eager"), linear, activations=["mid1"])
        unet.compile(backend="aot_eager")
        with pytest.raises(VizdiffUsageError, match="compiled in place") as caught, Recorder(unet, linear):
            pass
        assert "\n" not in str(caught.value)
        assert hooks(unet) == 0


# -- nothing stays behind --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_hooks_on_modules_go_after_an_error(error: BaseException, unet: SimpleUNet, linear: NoiseSchedule) -> None:
    def loop() -> None:
        with Recorder(unet, linear, activations=["*"]), Recorder(unet, linear, activations=["mid1"]):
            for step in sampling_steps(unet, linear, ImageNoise([1]), torch.tensor([1]), SamplerConfig(steps=5)):
                if step.t < 500:
                    raise error

    with pytest.raises(type(error)):
        loop()
    assert hooks(unet) == 0


def test_an_abandoned_generator_leaves_no_hook(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    def steps() -> Iterator[object]:
        with Recorder(unet, linear, activations=["*"]):
            yield from sampling_steps(unet, linear, ImageNoise([1]), torch.tensor([1]), SamplerConfig(steps=5))

    running = steps()
    next(running)
    assert hooks(unet) > 0
    del running
    gc.collect()
    assert hooks(unet) == 0


def test_a_recorder_with_activations_keeps_no_network_alive(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    dies = weakref.ref(unet)
    with Recorder(unet, linear, activations=["*"]) as recorder:
        sample(unet, linear, steps=2)
    del unet
    gc.collect()
    assert dies() is None
    assert recorder.trajectory().num_steps == 2
