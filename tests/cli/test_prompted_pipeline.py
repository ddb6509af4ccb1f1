"""``vizdiff record --prompt``: a saved pipeline like Stable Diffusion, recorded, drawn and reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from refusals import refused
from saved_pipelines import recorded
from tiny_pipelines import stable_diffusion, with_text_encoder

from viz_diffusion.cli import main
from viz_diffusion.recording.latent_pictures import is_latent
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.word_maps import prompt_maps
from viz_diffusion.text.catalogue import languages

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPT = "a thick slanted seven"


@pytest.fixture(scope="module")
def folder(save: Callable[..., Path]) -> Path:
    pipe, _ = stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1))
    return save(with_text_encoder(pipe))


@pytest.mark.parametrize("lang", languages())
def test_a_prompt_is_recorded_drawn_and_reported(lang: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    found, said = recorded(
        folder, out, "--prompt", PROMPT, "--steps", "3", "--count", "2", "--seed", "0", "--lang", lang
    )
    assert [prompt_of(found, k) for k in (0, 1)] == [PROMPT, PROMPT]
    assert (said["prompt"], said["label"], found.seeds.tolist()) == (PROMPT, None, [0, 1])
    assert is_latent(found)
    assert prompt_maps(found, 1).words == ("a", "thick", "slanted", "seven")
    for name in ("steps", "latent_channels", "word_maps"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.size == (3200, 1800)
            assert PROMPT in picture.text["Description"]
            assert "{" not in picture.text["Description"]
    page = tmp_path / "report.html"
    assert main(["report", "--trajectory", str(out), "--out", str(page), "--lang", lang, "--quiet"]) == 0
    assert PROMPT in page.read_text("utf-8")
    if lang == "en":
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
        pipe.set_progress_bar_config(disable=True)
        noise = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        own = pipe(prompt=[PROMPT] * 2, generator=noise, num_inference_steps=3, output_type="np").images
        decoded = np.moveaxis(found.decoded[:, -1], 1, -1)
        np.testing.assert_allclose(decoded.clip(-1, 1) / 2 + 0.5, own, atol=1e-6)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "needs one; give --prompt TEXT"),
        (["--prompt", "a", "--count", "17"], "--count must lie in 1..16 for a prompt, found 17"),
        (["--prompt", "a", "--label", "3"], "takes no class"),
    ],
)
def test_what_a_prompt_needs_is_said(argv: list[str], words: str, folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert words in refused(capsys, 2, "record", str(folder), "--out", str(tmp_path / "o"), *argv)


def test_a_prompt_for_a_pipeline_without_one_is_refused(grey: Path, tmp_path: Path, capsys: Any) -> None:
    line = refused(capsys, 2, "record", str(grey), "--out", str(tmp_path / "o"), "--prompt", "a")
    assert "takes no prompt; leave it out" in line
