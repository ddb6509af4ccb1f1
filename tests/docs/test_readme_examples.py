"""The examples of both READMEs, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.recording.trajectory import Trajectory

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def examples(readme: str) -> list[str]:
    """Return the code blocks between the markers."""
    found = re.search(r"<!-- examples -->\n(.*?)<!-- /examples -->", (ROOT / readme).read_text("utf-8"), re.S)
    return re.findall(r"```python\n(.*?)```", found[1], re.S)


def run(code: str) -> dict[str, Any]:
    """Run a block in the current folder; return its names."""
    names: dict[str, Any] = {}
    exec(compile(code, "README", "exec"), names)
    return names


@pytest.fixture(params=READMES)
def blocks(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return examples(request.param)


def test_there_are_three_of_at_most_ten_lines(blocks: list[str]) -> None:
    assert [len(block.splitlines()) <= 10 for block in blocks] == [True] * 3


def test_a_pipeline_of_diffusers_is_recorded_and_drawn(blocks: list[str]) -> None:
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
