"""``vizdiff record``: pipelines and folders that cannot be recorded, each refused in one line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from refusals import refused
from saved_pipelines import recorded
from small_unet import small_unet

from viz_diffusion.cli import main

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Save = Callable[..., Path]

# -- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--label", "3"], "takes no class"),
        (["--eta", "0.5"], "--eta does not go with DDPMPipeline"),
        (["--steps", "51"], "--steps must lie in 1..50, found 51"),
        (["--frames", "51,3"], "1..50, found 51"),
        (["--eta", "2"], "--eta must lie in 0..1, found 2"),
        (["--sampler", "ddim"], "--sampler"),
        (["--run", "bundled"], "--run"),
    ],
)
def test_what_a_pipeline_cannot_do_is_a_usage_error(
    argv: list[str], words: str, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save(DDPMPipeline(small_unet(), DDPMScheduler(num_train_timesteps=50)))
    assert words in refused(capsys, 2, "record", str(folder), "--out", str(tmp_path / "o"), *argv)
    assert not (tmp_path / "o" / "trajectory.zarr").exists()


def test_a_class_that_there_is_not_is_refused(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["record", str(classes), "--out", str(tmp_path / "o"), "--label", "5"]
    assert "--label must lie in 0..4" in refused(capsys, 2, *argv)


def spoil_nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def spoil_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{", "utf-8")


def spoil_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")


def spoil_config(folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()


def pickled(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_nothing, "no model_index.json"),
        (spoil_index, "model_index.json is not readable JSON"),
        (spoil_weights, "does not load as a pipeline"),
        (spoil_config, "does not load as a pipeline"),
        (pickled, "does not load as a pipeline"),
    ],
)
def test_a_folder_that_is_no_pipeline_is_one_line(
    spoil: Callable[[Path], None], words: str, grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(grey, folder)
    spoil(folder)
    line = refused(capsys, 3, "record", str(folder), "--out", str(tmp_path / "o"))
    assert words in line
    assert str(folder) in line


@pytest.mark.parametrize(("ins", "outs"), [(4, 4), (5, 1)], ids=["latents", "label channels"])
def test_networks_that_make_no_pictures_from_noise_alone_are_refused(
    ins: int, outs: int, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save(DDPMPipeline(small_unet(in_channels=ins, out_channels=outs), DDPMScheduler()))
    line = refused(capsys, 3, "record", str(folder), "--out", str(tmp_path / "o"))
    assert f"{ins} channels in and {outs} out" in line
    assert "record_pipeline" in line


def test_a_pipeline_that_lacks_an_argument_is_refused(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_picture(self: Any, generator: Any = None, num_inference_steps: int = 10) -> None:  # noqa: ARG001
        raise AssertionError("it must not sample")

    monkeypatch.setattr(DDPMPipeline, "__call__", one_picture)
    line = refused(capsys, 3, "record", str(grey), "--out", str(tmp_path / "o"))
    assert "takes no batch_size, output_type" in line
    assert "record_pipeline" in line


def test_a_pipeline_that_takes_anything_by_name_is_recorded(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = DDPMPipeline.__call__

    def anything(self: Any, num_inference_steps: int | None = None, **others: Any) -> Any:
        return own(self, num_inference_steps=num_inference_steps, **others)

    expected, _ = recorded(grey, tmp_path / "own", "--steps", "4", "--seed", "6")
    monkeypatch.setattr(DDPMPipeline, "__call__", anything)
    found, _ = recorded(grey, tmp_path / "anything", "--steps", "4", "--seed", "6")
    assert np.array_equal(found.x0, expected.x0)


def test_without_diffusers_it_says_how_to_get_it(
    grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    line = refused(capsys, 2, "record", str(grey), "--out", str(tmp_path / "o"))
    assert "pip install 'viz-diffusion[diffusers]'" in line


@pytest.mark.parametrize(
    "command", [["deck"], ["worksheet"], ["export", "--figure", "steps"]], ids=["deck", "worksheet", "export"]
)
def test_what_asks_the_network_refuses_what_another_program_sampled(
    command: list[str], grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(grey, tmp_path / "t", "--steps", "3")
    line = refused(capsys, 3, *command, "--trajectory", str(tmp_path / "t"))
    assert "sampled by another program (DDPM)" in line
    assert line.endswith(f"vizdiff report --trajectory {tmp_path / 't'}")


def test_the_next_command_is_the_report_of_it(grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", str(grey), "--steps", "3", "--out", str(tmp_path)]) == 0
    last = capsys.readouterr().err.strip().splitlines()[-1].split()
    assert last == ["Next", "vizdiff", "report", "--trajectory", str(tmp_path), "--open"]
