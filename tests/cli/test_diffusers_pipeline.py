"""``vizdiff record``: saved pipelines that this project did not write, recorded and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
)
from PIL import Image
from refusals import refused
from saved_pipelines import recorded
from small_unet import small_unet

from viz_diffusion.cli import main
from viz_diffusion.files import sha256_file
from viz_diffusion.views import strip as strip_view

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Save = Callable[..., Path]

# -- recorded as it is -----------------------------------------------------------------------------


def test_the_finished_picture_is_the_pipelines_own(grey: Path, tmp_path: Path) -> None:
    found, said = recorded(grey, tmp_path, "--steps", "12", "--seed", "3")
    pipe = DDPMPipeline.from_pretrained(grey)
    pipe.set_progress_bar_config(disable=True)
    own = pipe(generator=[torch.Generator().manual_seed(3)], num_inference_steps=12, output_type="np").images
    np.testing.assert_allclose(np.moveaxis(found.x0, 1, -1).clip(-1, 1) / 2 + 0.5, own, atol=1e-6)
    assert found.timesteps.tolist() == pipe.scheduler.timesteps.tolist()
    assert found.seeds.tolist() == [3]
    assert found.labels.tolist() == [-1]
    assert (
        found.weights_sha256
        == said["weights_sha256"]
        == sha256_file(grey / "unet" / "diffusion_pytorch_model.safetensors")
    )
    with torch.no_grad():
        eps = pipe.unet(torch.from_numpy(found.x_t[:, 4]), found.timesteps[4]).sample
    np.testing.assert_allclose(found.eps_pred[:, 4], eps.numpy(), atol=1e-5)


def test_an_image_does_not_depend_on_how_many_there_are(grey: Path, tmp_path: Path) -> None:
    one, _ = recorded(grey, tmp_path / "one", "--steps", "5", "--seed", "4")
    many, said = recorded(grey, tmp_path / "many", "--steps", "5", "--seed", "3", "--count", "3")
    np.testing.assert_allclose(many.x_t[1], one.x_t[0], atol=1e-5)
    assert not np.allclose(many.x_t[0], many.x_t[1])
    assert many.seeds.tolist() == [3, 4, 5]
    assert said["count"] == 3


def test_the_class_reaches_the_network(classes: Path, tmp_path: Path) -> None:
    runs = {n: recorded(classes, tmp_path / str(n), "--steps", "4", "--label", str(n)) for n in (0, 4)}
    assert [found.labels.tolist() for found, _ in runs.values()] == [[0], [4]]
    assert np.array_equal(runs[0][0].x_t[:, 0], runs[4][0].x_t[:, 0])
    assert not np.allclose(runs[0][0].eps_pred, runs[4][0].eps_pred)
    assert "class 4" in runs[4][1]["caption"]
    pipe = DDIMPipeline.from_pretrained(classes)
    with torch.no_grad():
        x = torch.from_numpy(runs[4][0].x_t[:, 1])
        eps = pipe.unet(x, int(runs[4][0].timesteps[1]), class_labels=torch.tensor([4])).sample
    np.testing.assert_allclose(runs[4][0].eps_pred[:, 1], eps.numpy(), atol=1e-5)
    default, _ = recorded(classes, tmp_path / "default", "--steps", "4")
    assert np.array_equal(default.x0, runs[0][0].x0)


def test_eta_is_ddims(classes: Path, tmp_path: Path) -> None:
    plain, noisy = (
        recorded(classes, tmp_path / eta, "--steps", "4", "--label", "1", "--eta", eta)[0] for eta in ("0", "1")
    )
    assert (plain.eta, noisy.eta) == (0, 1)
    assert np.array_equal(plain.x_t[:, 0], noisy.x_t[:, 0])
    assert not np.allclose(plain.x_t[:, 1], noisy.x_t[:, 1])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_the_network_predicts_is_said(lang: str, save: Save, tmp_path: Path) -> None:
    """Flow matching, whose first step has no signal, in the recording, the caption and the report."""
    folder = save(DDPMPipeline(small_unet(3), FlowMatchEulerDiscreteScheduler(shift=3.0)))
    found, said = recorded(folder, tmp_path, "--steps", "6", "--lang", lang)
    assert found.prediction_type == said["prediction_type"] == "flow"
    assert (found.schedule.scaling, found.log_snr[0], said["snr_db"][0]) == ("flow", -np.inf, None)
    assert ("velocity of flow matching" if lang == "en" else "流匹配的速度") in said["caption"]
    page = tmp_path / "report.html"
    assert main(["report", "--trajectory", str(tmp_path), "--out", str(page), "--lang", lang, "--quiet"]) == 0
    assert "FlowMatchEulerDiscrete" in page.read_text("utf-8")


def test_consistency_models_are_recorded_in_their_few_steps(save: Save, tmp_path: Path) -> None:
    folder = save(ConsistencyModelPipeline(small_unet(3, num_class_embeds=5), CMStochasticIterativeScheduler()))
    found, said = recorded(folder, tmp_path, "--steps", "2", "--label", "3")
    assert (found.num_steps, found.labels.tolist(), found.prediction_type) == (2, [3], "sample")
    assert "predicts x̂₀" in said["caption"]


def test_epsilon_is_the_rule_and_not_said(grey: Path, tmp_path: Path) -> None:
    _, said = recorded(grey, tmp_path, "--steps", "3")
    assert "which the network predicts" not in said["caption"]
    assert "the network predicts x̂₀" not in said["caption"]


def test_a_scheduler_that_the_pipeline_cannot_use_is_one_line(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path / "o"), "--steps", "3")
    folder = save(DDPMPipeline(small_unet(3), HeunDiscreteScheduler()))
    line = refused(capsys, 3, "record", str(folder), *out)
    assert "does not sample with its HeunDiscreteScheduler" in line
    folder = save(DDPMPipeline(small_unet(3), IPNDMScheduler()))
    line = refused(capsys, 2, "record", str(folder), *out)
    assert "IPNDMScheduler has noise levels of its own" in line


# -- drawn -----------------------------------------------------------------------------------------


def test_strip_and_film_are_those_of_our_own_recordings(grey: Path, tmp_path: Path) -> None:
    _, said = recorded(grey, tmp_path, "--steps", "12", "--frames", "12,6,1", "--lang", "zh")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "steps.gif",
        "steps.png",
        "steps.svg",
        "trajectory.json",
        "trajectory.zarr",
    ]
    assert said["steps_left"] == [12, 6, 1]
    assert said["guidance_scale"] is None
    assert (said["pipeline"], said["sampler"], said["label"]) == ("DDPMPipeline", "DDPM", None)
    assert "DDPMPipeline" in said["caption"]
    assert "调度器" in said["caption"]
    with Image.open(tmp_path / "steps.png") as picture, Image.open(tmp_path / "steps.gif") as film:
        assert picture.size == (3200, 1800)
        assert picture.text["Description"] == said["caption"]
        assert film.n_frames == 13
        assert film.width == 224


def test_pictures_of_three_colours_are_drawn_in_colour(save: Save, tmp_path: Path) -> None:
    folder = save(DDPMPipeline(small_unet(3), DDPMScheduler()))
    found, _ = recorded(folder, tmp_path, "--steps", "3")
    frames = strip_view.measure(found).frames
    assert frames.x_t.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(frames.x_t[1, :, :, 2], found.x_t[0, 1, 2])
    np.testing.assert_allclose(frames.eps_pred[2], found.eps_pred[0, 2].sum(axis=0) / np.sqrt(3), rtol=1e-6)
    with Image.open(tmp_path / "steps.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    with Image.open(tmp_path / "steps.gif") as film:
        film.seek(film.n_frames - 1)
        end = np.asarray(film.convert("RGB")).astype(int)
    wanted = np.rint(255 * (np.moveaxis(found.x0[0], 0, -1).clip(-1, 1) + 1) / 2).astype(int)
    factor = 224 // 8
    assert np.abs(end[: 8 * factor : factor, : 8 * factor : factor] - wanted).max() <= 40  # a palette of 256
    row = wanted[0]
    found_in_strip = (np.abs(pixels[:, :, None] - row[None, None]).max(axis=3) <= 1).any(axis=(0, 1))
    assert found_in_strip.all()


def test_pictures_too_large_for_a_strip_are_refused(save: Save, tmp_path: Path, capsys: Any) -> None:
    folder = save(DDPMPipeline(small_unet(sample_size=400, add_attention=False), DDPMScheduler()))
    argv = ["record", str(folder), "--steps", "1", "--out", str(tmp_path)]
    assert "room for images of 336 pixels" in refused(capsys, 3, *argv)
