"""The Python examples of the documentation, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

from viz_diffusion import ImageNoise
from viz_diffusion.cli import main
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.recording.trajectory import Trajectory

DOCS = Path(__file__).parents[2] / "docs"
RESEARCHER, STUDENT, MANY = "tutorials/researcher.md", "tutorials/student.md", "many_trajectories.md"

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def examples(page: str) -> list[str]:
    """Return the Python blocks of a page, without those that need another program."""
    text = re.sub(r"<!-- needs: .*? -->\n```python\n.*?```", "", (DOCS / page).read_text("utf-8"), flags=re.S)
    return re.findall(r"```python\n(.*?)```", text, re.S)


def run(code: str) -> dict[str, Any]:
    """Run a block in the current folder; return its names."""
    names: dict[str, Any] = {}
    exec(compile(code, "docs", "exec"), names)
    return names


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return examples(RESEARCHER)


def test_every_example_of_the_documentation_is_run_below() -> None:
    pages = (path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")))
    assert {page: len(examples(page)) for page in pages if examples(page)} == {RESEARCHER: 5, STUDENT: 1, MANY: 1}


def test_stores_are_read_chunk_by_chunk(tmp_path: Path) -> None:
    quick = ["--run", "bundled", "--sampler", "ddim", "--steps", "2", "--guidance", "1", "--count", "17", "--quiet"]
    for command in ("sample", "trajectory"):
        assert main([command, *quick, "--out", str(tmp_path / f"{command}.zarr")]) == 0
    names = run(examples(MANY)[0])
    images = names["SampleStore"](tmp_path / "sample.zarr")
    whole = np.concatenate([part for part, _, _ in images.chunks()])
    np.testing.assert_allclose(names["mean_image"](tmp_path / "sample.zarr"), whole.mean(axis=0), rtol=1e-12)
    error = names["mean_error"](tmp_path / "trajectory.zarr" / "trajectory.zarr")
    recorded = Trajectory.open(tmp_path / "trajectory.zarr" / "trajectory.zarr")
    assert recorded.x_t.shape[0] == 17
    assert np.all(np.isfinite(error))


def test_three_examples_of_ones_own_models_have_at_most_ten_lines(blocks: list[str]) -> None:
    assert [len(block.splitlines()) <= 10 for block in blocks[:3]] == [True] * 3


def test_a_pipeline_of_diffusers_is_recorded_drawn_and_opened_elsewhere(
    blocks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In place of the named weights, which would be downloaded, a small pipeline lies where diffusers looks first."""
    (name,) = re.findall(r'from_pretrained\("([^"]+)"\)', blocks[0])
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=32,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(name)
    found = run(blocks[0])["trajectory"]
    assert found.x_t.shape == (1, 100, 3, 32, 32)
    assert found.sampler == "DDPM"
    assert np.array_equal(Trajectory.open(Path("pipeline.zarr")).x_t, found.x_t)
    with Image.open("strip.png") as picture:
        assert picture.size == (3200, 1800)
    opened = run(blocks[4])["recording"]
    assert np.array_equal(opened["x_t"].values, found.x_t)
    assert "100" in capsys.readouterr().out


def test_activations_are_shown(blocks: list[str]) -> None:
    found = run(blocks[1])["trajectory"]
    assert found.timesteps[found.activation_steps].tolist() == [999, 639, 299, 19]
    assert list(found.activations) == ["up_inner.0", "up_outer.0"]
    with Image.open("inside.png") as picture:
        assert picture.size == (3200, 1800)
        assert len(picture.convert("RGB").getcolors(10**6)) > 500  # maps in colour, not a white page


def test_a_three_becomes_an_eight_in_mid_run(blocks: list[str]) -> None:
    names = run(blocks[2])
    changed = names["changed"]
    assert changed.interventions == "switch 8@500"
    schedule, config = names["run"].config.noise_schedule, names["config"]
    plain = names["record_generation"](names["model"], schedule, torch.tensor([3]), [1], config)
    classifier, _ = DigitClassifier.bundled()
    assert [int(classifier.read(torch.from_numpy(one.x0))) for one in (plain, changed)] == [3, 8]
    before = changed.timesteps > 500
    assert np.array_equal(plain.x_t[:, before], changed.x_t[:, before])
    assert Path("three_to_eight.png").is_file()


def test_a_loop_of_ones_own_samples_what_the_oracle_knows(
    blocks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(blocks[3])
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(t) for t, _ in said] == list(range(999, 0, -100))
    signal = np.sqrt(np.append(names["schedule"].alphas_cumprod[names["visited"]], 1))
    noise = np.sqrt(1 - signal**2)
    factor = np.prod(signal[1:] * signal[:-1] + noise[1:] * noise[:-1])  # of DDIM for unit variance, ε̂ = √(1-ᾱ) x_t
    begin = ImageNoise([0], (1, 4, 4)).draw()
    assert torch.allclose(names["step"].x_prev, begin * factor, atol=1e-5)


def test_a_recording_holds_what_the_students_tutorial_prints(
    blocks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    del blocks
    (block,) = examples(STUDENT)
    trajectory = run(block)["trajectory"]
    assert trajectory.x_t.shape == trajectory.x0_pred.shape == (1, 50, 1, 28, 28)
    shapes, snr = capsys.readouterr().out.splitlines()
    assert shapes == "(1, 50, 1, 28, 28) (1, 50, 1, 28, 28)"
    first, last = map(float, snr.split())
    assert first < 1e-3 < 10 < last
    assert Path("strip.png").is_file()
