"""Pipelines with prompts and with classes, tiny and of random weights: the images asked for are the images recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
)
from small_unet import small_unet
from tiny_pipelines import dit, flux, stable_diffusion, stable_diffusion_3

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS = 5
Make = Callable[[Any], tuple[Any, dict[str, Any]]]


def shifted() -> Any:
    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)


KINDS: dict[str, tuple[Make, Callable[[], Any]]] = {
    "Stable Diffusion, PNDM": (stable_diffusion, lambda: PNDMScheduler(skip_prk_steps=True, steps_offset=1)),
    "Stable Diffusion, DDIM": (stable_diffusion, lambda: DDIMScheduler(clip_sample=False, steps_offset=1)),
    "Stable Diffusion 3, Euler": (stable_diffusion_3, lambda: FlowMatchEulerDiscreteScheduler(shift=3.0)),
    "Stable Diffusion 3, Heun": (stable_diffusion_3, lambda: FlowMatchHeunDiscreteScheduler(shift=3.0)),
    "FLUX": (flux, shifted),
    "DiT, DDIM": (dit, lambda: DDIMScheduler(clip_sample=False)),
    "DiT, DDPM": (dit, lambda: DDPMScheduler(clip_sample=False)),
    "DiT, DPM-Solver++": (dit, DPMSolverMultistepScheduler),
}


def run(pipe: Any, call: dict[str, Any], **more: Any) -> Any:
    torch.manual_seed(5)  # DiT's pipeline gives its scheduler no generator
    options = {"num_inference_steps": STEPS, "output_type": "np", "generator": torch.Generator().manual_seed(1)}
    return pipe(**(call | options | more)).images


def spied(scheduler: Any) -> list[dict[str, Any]]:
    """Keep what each step of a scheduler gets and gives, by a wrapper of the test's own."""
    own, seen = scheduler.step, []

    def step(out: torch.Tensor, t: Any, sample: torch.Tensor, **options: Any) -> Any:
        first = getattr(scheduler, "state_in_first_order", getattr(scheduler, "counter", 0) != 1)
        output = own(out, t, sample, **options)
        sigma = scheduler.sigmas[scheduler.step_index - 1].clone() if hasattr(scheduler, "sigmas") else None
        if first:
            seen.append({"out": out.clone(), "t": t, "x": sample.clone(), "sigma": sigma})
        return output

    scheduler.step = step
    return seen


def own_x0(pipe: Any, scheduler: Any, seen: dict[str, Any]) -> np.ndarray:
    """Return x̂_0 by the program's own formula, of the images that it was asked for."""
    out, x = seen["out"], seen["x"]
    if "FlowMatch" in type(scheduler).__name__:
        x0 = x - seen["sigma"] * out
    else:
        alpha = scheduler.alphas_cumprod[int(seen["t"])]
        x0 = (x - (1 - alpha).sqrt() * out) / alpha.sqrt()
    if isinstance(pipe, diffusers.FluxPipeline):
        x0 = pipe._unpack_latents(x0, 8, 16, pipe.vae_scale_factor)
    return x0[:2].numpy()


@pytest.mark.parametrize("name", KINDS)
def test_x0_is_the_programs_own_and_nothing_is_changed(name: str) -> None:
    make, scheduler = KINDS[name]
    pipe, call = make(scheduler())
    plain, state = run(pipe, call), torch.rand(3)
    seen = spied(pipe.scheduler)
    with record_pipeline(pipe, seeds=[4, 5]) as recording:
        watched, state_watched = run(pipe, call), torch.rand(3)
    np.testing.assert_array_equal(plain, watched)
    assert torch.equal(state, state_watched)
    found = recording.trajectory(decode_at=[STEPS, 0])
    assert (found.num_images, found.num_steps) == (2, STEPS)
    assert found.seeds.tolist() == [4, 5]
    assert found.prediction_type == ("flow" if "FlowMatch" in type(pipe.scheduler).__name__ else "epsilon")
    for s, step in enumerate(seen):
        expected = own_x0(pipe, pipe.scheduler, step)
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(found.x0_pred[:, s], expected, rtol=0, atol=1e-5 * scale)
    decoded = np.moveaxis(found.decoded[:, -1], 1, -1)
    np.testing.assert_allclose(decoded.clip(-1, 1) / 2 + 0.5, watched, atol=1e-6)
    assert "step" not in [name for name, value in vars(pipe.scheduler).items() if hasattr(value, "_owner")]
    assert "decode" not in vars(pipe.vae)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(shift=3.0), shifted()], ids=["shift", "dynamic"])
def test_flow_matching_has_its_own_noise_levels(scheduler: Any) -> None:
    make = flux if scheduler.config.use_dynamic_shifting else stable_diffusion_3
    pipe, call = make(scheduler)
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    found, sigmas = recording.trajectory(), pipe.scheduler.sigmas[:-1].double().numpy()
    np.testing.assert_allclose(found.noise_scale, sigmas, rtol=1e-9)
    np.testing.assert_allclose(found.signal_scale, 1 - sigmas, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.timesteps, 1000 * sigmas - 1, rtol=1e-6, atol=1e-6)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.log_snr, 2 * np.log((1 - sigmas) / sigmas), rtol=1e-6)
    assert found.log_snr[0] == -np.inf
    for s, sigma in enumerate(sigmas):
        rebuilt = (1 - sigma) * found.x0_pred[:, s] + sigma * found.eps_pred[:, s]
        np.testing.assert_allclose(rebuilt, found.x_t[:, s], atol=1e-5)
    assert (found.conventions["noise end"], found.conventions["data end"]) == ("σ = 1, t = T - 1", "σ = 0, t = -1")


@pytest.mark.parametrize("name", ["Stable Diffusion 3, Euler", "FLUX", "DiT, DDPM"])
def test_the_store_is_what_save_writes(name: str, tmp_path: Path) -> None:
    make, scheduler = KINDS[name]
    pipe, call = make(scheduler())
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    kept = recording.trajectory()
    kept.save(tmp_path / "saved.zarr")
    with record_pipeline(pipe, store=tmp_path / "streamed.zarr") as recording:
        run(pipe, call)
    for found in (recording.trajectory(), Trajectory.open(tmp_path / "saved.zarr")):
        for field in ("x_t", "eps_pred", "x0_pred", "x0", "timesteps", "alphas_cumprod", "labels"):
            np.testing.assert_array_equal(getattr(found, field), getattr(kept, field), err_msg=field)
        assert (found.conventions, found.prediction_type) == (kept.conventions, kept.prediction_type)
        assert found.schedule.scaling == kept.schedule.scaling


# -- classes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[207, 360], [7], [7, 7], [3, 999, 0]])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_doubled_batch_is_not_recorded_twice(labels: list[int], guidance: float) -> None:
    pipe, _ = dit(DDPMScheduler(clip_sample=False))
    with record_pipeline(pipe) as recording:
        run(pipe, {"class_labels": labels, "guidance_scale": guidance})
    found = recording.trajectory()
    assert found.labels.tolist() == labels
    assert found.num_images == len(labels)


@torch.no_grad()
def test_activations_of_a_doubled_batch_are_those_under_the_class() -> None:
    pipe, call = dit(DDIMScheduler(clip_sample=False))
    with record_pipeline(pipe, activations=["transformer_blocks.1"], activation_steps=[0, 2]) as recording:
        run(pipe, call)
    found = recording.trajectory()
    assert found.activation_steps.tolist() == [0, 2]
    outputs: list[torch.Tensor] = []
    handle = pipe.transformer.transformer_blocks[1].register_forward_hook(lambda _, __, out: outputs.append(out))
    for labels in ([207, 360], [1000, 1000]):
        x, t = torch.from_numpy(found.x_t[:, 2]), torch.full((2,), int(found.timesteps[2]))
        pipe.transformer(x, timestep=t, class_labels=torch.tensor(labels))
    handle.remove()
    kept = found.activations["transformer_blocks.1"][:, 1]
    np.testing.assert_allclose(kept, outputs[0].numpy(), atol=1e-5)
    assert not np.allclose(kept, outputs[1].numpy(), atol=1e-3), "control: the null class gives others"


@torch.no_grad()
def test_two_images_of_the_same_noise_are_two_images() -> None:
    """Without guidance, equal halves are images that were asked for, as the labels tell."""
    pipe, _ = dit(DDIMScheduler(clip_sample=False))
    pipe.scheduler.set_timesteps(3)
    x = torch.randn(1, 4, 4, 4).repeat(2, 1, 1, 1)
    with record_pipeline(pipe) as recording:
        for t in pipe.scheduler.timesteps:
            out = pipe.transformer(x, timestep=t.expand(2), class_labels=torch.tensor([3, 7])).sample
            x = pipe.scheduler.step(out[:, :4], t, x).prev_sample
    assert recording.trajectory().labels.tolist() == [3, 7]


@torch.no_grad()
@pytest.mark.parametrize(("rows", "asked"), [([0, 0, 2, 3], [2, 3]), ([1, 2, 4, 4], [1, 2]), ([2, 2, 4, 4], [2, 2])])
def test_labels_of_a_batch_that_only_the_network_sees_doubled(rows: list[int], asked: list[int]) -> None:
    pipe = SimpleNamespace(unet=small_unet(3, num_class_embeds=5), scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(3)
    x = torch.randn(2, 3, 8, 8)
    with record_pipeline(pipe) as recording:
        for t in pipe.scheduler.timesteps:
            one, two = pipe.unet(torch.cat([x, x]), t, class_labels=torch.tensor(rows)).sample.chunk(2)
            x = pipe.scheduler.step(one + 2 * (two - one), t, x).prev_sample
    assert recording.trajectory().labels.tolist() == asked


def test_a_compiled_network_is_recorded_as_it_was() -> None:
    pipe, call = stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1))
    with record_pipeline(pipe) as recording:
        plain = run(pipe, call)
    expected = recording.trajectory()
    pipe.unet = torch.compile(pipe.unet, backend="eager")
    with record_pipeline(pipe) as recording:
        np.testing.assert_allclose(run(pipe, call), plain, atol=1e-5)
    np.testing.assert_allclose(recording.trajectory().x0_pred, expected.x0_pred, atol=1e-3)


def test_videos_are_refused() -> None:
    pipe = SimpleNamespace(scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(3)
    x = torch.randn(1, 4, 2, 4, 4)
    with (
        pytest.raises(VizdiffUsageError, match=r"scheduler steps \(1, 4, 2, 4, 4\) \(a video\?\)"),
        record_pipeline(pipe),
    ):
        pipe.scheduler.step(x, 10, x)
