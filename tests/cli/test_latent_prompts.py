"""Commands on a run of prompts in latents: trained by the command, recorded, sampled, changed, reported; or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.recording.latent_pictures import is_latent
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training import text_encoder_training
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.views.latent_channels import draw_channels
from viz_diffusion.views.strip import draw_strip

PROMPT, OTHER = "a thin leaning seven", "a thick two"
FEW = ["--sampler", "ddim", "--steps", "4", "--guidance", "2", "--quiet"]
QUICK = ["--autoencoder-steps", "1", "--steps", "2", "--batch-size", "4", "--subset", "100"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ``vizdiff train`` made in two steps, after one step of each encoder."""
    out = tmp_path_factory.mktemp("runs") / "both"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thumbnails, "STEPS", 1)
        patch.setattr(text_encoder_training, "STEPS", 1)
        argv = ["--space", "latent", "--conditioning", "text", *QUICK, "--quiet", "--out", str(out)]
        assert main(["train", *argv]) == 0
    return out


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``vizdiff trajectory --prompt`` wrote."""
    out = tmp_path_factory.mktemp("prompt") / "one"
    assert main(["trajectory", "--run", str(run), "--prompt", PROMPT, *FEW, "--out", str(out)]) == 0
    return out


def test_the_command_trains_both_encoders_and_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Run.open(run)
    assert trained.is_finished
    assert (trained.config.space, trained.config.x_shape) == ("latent", (4, 7, 7))
    assert trained.config.model.text is not None
    assert trained.config.model.embedding_dim == 128  # that of a network of labels in latents
    before = {name: (run / name).read_bytes() for name in ("autoencoder.safetensors", "text_encoder.safetensors")}
    monkeypatch.setattr(Thumbnails, "STEPS", 1)
    assert main(["train", "--resume", str(run), "--steps", "3", "--quiet"]) == 0
    assert Run.open(run).trained_steps == 3
    assert before == {name: (run / name).read_bytes() for name in before}  # neither was trained anew


def test_a_recording_has_its_prompt_its_latents_and_their_pictures(run: Path, folder: Path) -> None:
    found = Trajectory.open(folder / "trajectory.zarr")
    assert (found.prompts, found.x_t.shape[2:], found.clip) == ((PROMPT,), (4, 7, 7), False)
    assert is_latent(found)
    space = Run.open(run).load_model()[0].latent_space
    assert space is not None
    assert found.decoded is not None
    decoded = space.decode(torch.from_numpy(found.x0)).numpy()
    np.testing.assert_allclose(found.decoded[:, -1], decoded, atol=1e-5)
    said = json.loads((folder / "trajectory.json").read_text())
    assert f"prompt “{PROMPT}”" in said["caption"]
    assert f"prompt “{PROMPT}”" in said["latent_channels"]["caption"]
    assert (folder / "latent_channels.png").stat().st_size > 0


@pytest.mark.parametrize(("prompt", "guidance", "why"), [(PROMPT, "0", "guidance scale 0"), ("", "2", "empty prompt")])
def test_a_recording_without_a_prompt_that_counts_says_so(
    run: Path, tmp_path: Path, prompt: str, guidance: str, why: str
) -> None:
    argv = ["--run", str(run), "--prompt", prompt, *FEW, "--guidance", guidance, "--out", str(tmp_path)]
    assert main(["trajectory", *argv]) == 0
    said = json.loads((tmp_path / "trajectory.json").read_text())
    assert said["label"] == (prompt or "∅")
    assert why in said["caption"]
    assert why in said["latent_channels"]["caption"]
    found = Trajectory.open(tmp_path / "trajectory.zarr")
    for figure in (draw_strip(found), draw_channels(found)):
        words = " ".join(text.get_text() for text in figure.texts)
        assert f"“{prompt or '∅'}”" not in words, "the title does not name what plays no part"


def test_samples_are_pictures_of_prompts(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.npz"
    argv = ["--run", str(run), "--prompt", PROMPT, "--prompt", OTHER, "--count", "4", *FEW, "--out", str(out)]
    assert main(["sample", *argv]) == 0
    with np.load(out) as file:
        assert file["images"].shape == (4, 28, 28)
        assert file["class_names"].tolist() == [PROMPT, OTHER]


def test_a_prompt_is_switched_to_another_on_the_way(run: Path, tmp_path: Path) -> None:
    argv = ["--run", str(run), "--prompt", PROMPT, "--switch", f"{OTHER}@499", *FEW, "--out", str(tmp_path)]
    assert main(["intervene", *argv]) == 0
    changed = Trajectory.open(tmp_path / "changed.zarr")
    assert changed.prompts == (PROMPT, OTHER)
    assert is_latent(changed)


def test_a_report_of_two_prompts_shows_decoded_latents(folder: Path, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    argv = ["--trajectory", str(folder), "--prompt", PROMPT, "--prompt", OTHER, "--lessons", "step", "--quiet"]
    assert main(["report", *argv, "--run", str(run), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert f"the prompt “{PROMPT}” from noise" in text
    assert f"prompt “{OTHER}”" in text
    assert "latent, its channels" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["live"], "this network takes prompts, which the page cannot read"),
        (["worksheet", "--sampler", "ddim", "--steps", "40"], "choose --run bundled-text"),
        (["lesson", "network"], "this network works in latents"),
    ],
)
def test_what_cannot_show_it_says_so_in_one_line(
    argv: list[str], words: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("out.html" if argv[0] == "live" else "out")
    assert words in refused(capsys, 3, *argv, "--run", str(run), "--quiet", "--out", str(out))


def test_latents_without_rows_and_columns_take_no_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--conditioning", "text", "--space", "latent-2d", "--out", str(tmp_path / "run"), "--quiet"]
    assert "goes with --space pixel or latent" in refused(capsys, 2, *argv)
    assert not (tmp_path / "run").exists()


def test_prompts_choose_the_digit_and_its_thickness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All from the same noise: two digits, and thick and thin ones, which hold more and less ink."""
    prompts = ["a thick two", "a thin two", "a thick seven", "一个细的七"]
    argv = [word for prompt in prompts for word in ("--prompt", prompt)]
    few = ["--sampler", "ddim", "--steps", "20", "--guidance", "2", "--quiet", "--json"]
    out = tmp_path / "a.npz"
    assert main(["sample", "--run", "bundled-latent-text", *argv, "--count", "16", *few, "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["classified_as_requested"] >= 15
    with np.load(out) as file:
        ink = file["images"].reshape(4, 4, -1).mean(axis=(0, 2))
    assert ink[0] > 1.2 * ink[1]
    assert ink[2] > 1.2 * ink[3]


def test_the_bundled_run_is_small_and_says_where_it_comes_from() -> None:
    folder = BUNDLED_RUNS["bundled-latent-text"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1.5e6
    said = json.loads((folder / "provenance.json").read_text())
    assert "--space latent --conditioning text" in said["command"]
    evaluated = json.loads((folder / "evaluation.json").read_text())
    assert evaluated["weights_sha256"] == said["sha256"]
    assert evaluated["samples"]["accuracy"]["value"] == said["samples"]["share"] >= 0.95
