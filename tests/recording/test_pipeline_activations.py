"""What a pipeline's network gives inside, against hooks of the test's own; and the figure that shows it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, EulerDiscreteScheduler, UNet2DModel
from PIL import Image
from refusals import refused
from small_unet import small_unet

from viz_diffusion import draw_feature_maps, record_pipeline
from viz_diffusion.cli import main
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.text.catalogue import languages

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = ("down_blocks.0", "mid_block")


@torch.no_grad()
def module_outputs(unet: UNet2DModel, x: np.ndarray, t: float, **call: Any) -> dict[str, np.ndarray]:
    """Return what modules give for one input, by hooks of the test's own."""
    outputs: dict[str, np.ndarray] = {}
    handles = [
        unet.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: outputs.update({name: (out[0] if isinstance(out, tuple) else out).numpy()})
        )
        for name in NAMES
    ]
    unet(torch.from_numpy(x), torch.tensor(t), **call)  # a float would lose what is behind its point
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize("scheduler", [DDPMScheduler, EulerDiscreteScheduler])
def test_activations_are_the_modules_own(scheduler: Any) -> None:
    unet = small_unet(3)
    pipe = DDPMPipeline(unet, scheduler())
    pipe.unet.register_forward_pre_hook(
        lambda _, args: (pipe.scheduler.scale_model_input(args[0], args[1]), *args[1:])
    )  # which an unconditional pipeline does not do, and Euler wants
    pipe.set_progress_bar_config(disable=True)
    with record_pipeline(pipe, activations=["down_blocks.*", "mid_block"], activation_steps=[0, 3]) as recording:
        for _ in range(2):
            pipe(batch_size=2, num_inference_steps=5, output_type="np")
    assert not unet.mid_block._forward_hooks
    unet._forward_pre_hooks.clear()
    first, second = recording.trajectories()
    for found in (first, second):
        assert found.activation_steps.tolist() == [0, 3]
        for place, step in enumerate([0, 3]):
            expected = module_outputs(unet, found.x_t[:, step], float(found.timesteps[step]))
            for name in NAMES:
                assert found.activations[name].shape == (2, 2, 8, 8, 8)
                np.testing.assert_allclose(found.activations[name][:, place], expected[name], atol=1e-5)
    assert not np.allclose(first.activations["mid_block"], second.activations["mid_block"])


def test_of_a_doubled_batch_the_half_under_the_prompt_is_kept() -> None:
    """As diffusers' own pipelines do: the unconditional half first."""
    unet = small_unet(3, num_class_embeds=4)
    pipe = SimpleNamespace(unet=unet, scheduler=DDIMScheduler())
    pipe.scheduler.set_timesteps(4)
    x, y = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 0, 2, 3])
    with torch.no_grad(), record_pipeline(pipe, activations=["mid_block"]) as recording:
        for t in pipe.scheduler.timesteps:
            uncond, cond = unet(torch.cat([x, x]), t, class_labels=y).sample.chunk(2)
            x = pipe.scheduler.step(uncond + 3 * (cond - uncond), t, x).prev_sample
    found = recording.trajectory()
    expected = module_outputs(unet, found.x_t[:, 2], int(found.timesteps[2]), class_labels=y[2:])
    np.testing.assert_allclose(found.activations["mid_block"][:, 2], expected["mid_block"], atol=1e-5)
    other = module_outputs(unet, found.x_t[:, 2], int(found.timesteps[2]), class_labels=y[:2])
    assert not np.allclose(found.activations["mid_block"][:, 2], other["mid_block"], atol=1e-3)


def test_two_calls_a_step_and_a_pipeline_without_network_are_refused() -> None:
    unet = small_unet(3)
    pipe = SimpleNamespace(unet=unet, scheduler=DDIMScheduler())
    x = torch.randn(1, 3, 8, 8)

    def call_twice() -> None:
        with torch.no_grad(), record_pipeline(pipe, activations=["mid_block"]):
            unet(x, 10)
            unet(x, 10)

    with pytest.raises(VizdiffUsageError, match="asked twice"):
        call_twice()
    assert not unet.mid_block._forward_hooks
    assert not unet._forward_pre_hooks
    with (
        pytest.raises(VizdiffUsageError, match="no unet or transformer"),
        record_pipeline(SimpleNamespace(scheduler=DDIMScheduler()), activations=["*"]),
    ):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pipe")
    DDIMPipeline(small_unet(3, num_class_embeds=5), DDIMScheduler()).save_pretrained(place)
    return place


@pytest.mark.parametrize("lang", languages())
def test_the_command_draws_them_at_the_frames(lang: str, folder: Path, tmp_path: Path) -> None:
    argv = ["record", str(folder), "--label", "3", "--steps", "20", "--frames", "20,9,1", "--quiet"]
    globs = ["--activations", "down.blocks.*", "--activations", "time_embedding"]
    assert main([*argv, *globs, "--lang", lang, "--out", str(tmp_path)]) == 0
    found = Trajectory.open(tmp_path / "trajectory.zarr")
    assert found.steps_left[found.activation_steps].tolist() == [20, 9, 1]
    assert found.activations["time_embedding"].shape[:2] == (1, 3)
    said = json.loads((tmp_path / "trajectory.json").read_text())["activations"]
    assert said["modules"] == ["down_blocks.0"]
    assert said["left_out"] == ["time_embedding (no feature maps)"]
    kept = found.activations["down_blocks.0"][0].astype(np.float64)
    np.testing.assert_allclose(said["rms"][0], np.sqrt(np.square(kept).mean(axis=(1, 2, 3))), rtol=1e-6)
    for words in ("nan", "digit", "数字"):
        assert words not in said["caption"].replace("大号", "")
    assert "3" in said["caption"].partition("20")[2]
    with Image.open(tmp_path / "activations.png") as picture:
        assert picture.text["Description"] == said["caption"]
    assert draw_feature_maps(found) is not None


def test_a_glob_that_finds_nothing_is_refused_before_sampling(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["record", str(folder), "--out", str(tmp_path / "o"), "--activations"]
    line = refused(capsys, 2, *argv, "up.9")
    assert "no module is called 'up.9'" in line
    assert "down_blocks.0" in line
    line = refused(capsys, 2, *argv, "mid_block", "--frames", "9")
    assert "--frames must lie in 1..6" in line
    assert not (tmp_path / "o" / "trajectory.zarr").exists()
