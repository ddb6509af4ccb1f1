"""``--prompt``: recorded, drawn and named everywhere; and every prompt that cannot be one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.lesson_study import lesson_run
from viz_diffusion.lessons.base import all_lessons
from viz_diffusion.plots.words import use_texts
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.recording.word_maps import has_word_maps, prompt_maps
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import Run
from viz_diffusion.training.text_run import prompted_run
from viz_diffusion.views.strip import draw_strip

PROMPT = "a thick slanted seven"
STEPS = ["--steps", "8", "--guidance", "2", "--quiet"]
FEW = ["--sampler", "ddim", "--steps", "8", "--guidance", "2", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``vizdiff trajectory --prompt`` wrote, without ``--run``."""
    out = tmp_path_factory.mktemp("prompt") / "one"
    assert main(["trajectory", "--prompt", f"  {PROMPT.replace(' ', '  ')} ", *STEPS, "--out", str(out)]) == 0
    return out


def test_a_recording_names_its_prompt_in_file_caption_and_strip(folder: Path) -> None:
    found = Trajectory.open(folder / "trajectory.zarr")
    assert (found.prompts, found.labels.tolist()) == ((PROMPT,), [0])
    said = json.loads((folder / "trajectory.json").read_text())
    assert said["run"] == "bundled-text"
    assert f"prompt “{PROMPT}”" in said["caption"]
    for lang, title in (("en", f"“{PROMPT}”: from noise"), ("zh", f"“{PROMPT}”：从噪声")):
        with use_texts(load_texts(lang)):
            assert any(text.get_text().startswith(title) for text in draw_strip(found).texts)


def test_a_recording_has_the_attention_to_the_words_of_its_prompt(folder: Path) -> None:
    """Oracle: the network itself, at the recorded x_t of one step under the prompt; half of guidance is left out."""
    found = Trajectory.open(folder / "trajectory.zarr")
    maps = prompt_maps(found)
    assert maps.words == tuple(PROMPT.split())
    network = prompted_run(Run.choose("bundled-text"), [PROMPT]).load_model()[0]
    seen: list[torch.Tensor] = []
    network.word_attention.maps.register_forward_hook(lambda *given: seen.append(given[2]))
    step = int(maps.steps[1])
    with torch.no_grad():
        network(torch.from_numpy(found.x_t[:, step]), torch.from_numpy(found.timesteps[[step]]), torch.tensor([0]))
    np.testing.assert_allclose(maps.maps[1], seen[0][0, 1:].numpy(), atol=1e-5)  # without the start token
    assert {"words", "x", "t", "labels", "timesteps"} <= found.conventions.keys(), "and how its passes were read"
    assert "attends to a word" in json.loads((folder / "trajectory.json").read_text())["word_maps"]["caption"]
    assert (folder / "word_maps.png").stat().st_size > 0


@pytest.mark.parametrize(
    "options",
    [["--digit", "3"], ["--prompt", ""], ["--prompt", PROMPT, "--guidance", "0"]],
    ids=["no prompt", "no words", "no part"],
)
def test_without_words_that_count_no_attention_is_drawn(options: list[str], tmp_path: Path) -> None:
    few = [word for word in FEW if "--guidance" not in options or word not in ("--guidance", "2")]
    assert main(["trajectory", "--run", "bundled-text", *options, *few, "--out", str(tmp_path)]) == 0
    assert not has_word_maps(Trajectory.open(tmp_path / "trajectory.zarr"))
    assert not (tmp_path / "word_maps.png").exists()


def test_activations_of_the_whole_layer_replace_the_maps_of_its_part(tmp_path: Path) -> None:
    argv = ["--prompt", PROMPT, "--activations", "word_attention", *FEW, "--out", str(tmp_path)]
    assert main(["trajectory", *argv]) == 0
    assert list(Trajectory.open(tmp_path / "trajectory.zarr").activations) == ["word_attention"]
    assert not (tmp_path / "word_maps.png").exists()


def test_a_prompt_draws_what_it_says(tmp_path: Path) -> None:
    """Thick sevens hold more ink than thin ones from the same noise, in both languages; all are read as sevens."""
    prompts = ["a thick seven", "a thin seven", "一个粗的七", "一个细的七"]
    argv = [word for prompt in prompts for word in ("--prompt", prompt)]
    out = tmp_path / "sevens.npz"
    assert main(["sample", *argv, "--count", "12", *FEW, "--json", "--out", str(out)]) == 0
    with np.load(out) as file:
        ink = file["images"].reshape(3, 4, -1).mean(axis=2)
        assert file["class_names"].tolist() == prompts
        assert file["labels"].tolist() == [0, 1, 2, 3] * 3
    assert (ink[:, 0] > 1.2 * ink[:, 1]).all()
    assert (ink[:, 2] > 1.2 * ink[:, 3]).all()


def test_prompts_are_drawn_from_the_same_noise_and_counted_by_their_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--prompt", "a two", "--prompt", "一个二", "--count", "4", "--json", *FEW, "--out", str(tmp_path / "a.npz")]
    assert main(["sample", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["classified_as_requested"] == 4
    with np.load(tmp_path / "a.npz") as file:
        images = file["images"].astype(float)
    same = np.abs(images[0] - images[1]).mean()
    other = np.abs(images[0] - images[2]).mean()
    assert same < other  # two languages from one noise, one language from two


def test_words_in_another_order_change_the_picture_less_than_other_words(tmp_path: Path) -> None:
    prompts = ["thick slanted seven", "slanted thick seven", "thin upright seven"]
    argv = [word for prompt in prompts for word in ("--prompt", prompt)]
    assert main(["sample", *argv, "--count", "6", *FEW, "--out", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as file:
        images = file["images"].astype(float).reshape(2, 3, -1)
    shuffled, other = (np.abs(images[:, 0] - images[:, k]).mean(axis=1) for k in (1, 2))
    assert (2 * shuffled < other).all()


def test_an_empty_prompt_is_the_null_prompt_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--prompt", " ", "--sampler", "ddim", "--steps", "2", "--count", "1", "--out", str(tmp_path / "a.npz")]
    assert main(["sample", *argv]) == 0
    assert "the empty prompt" in capsys.readouterr().err
    with np.load(tmp_path / "a.npz") as file:
        assert file["class_names"].tolist() == ["∅"]


def test_a_digit_is_drawn_by_its_plain_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--run", "bundled-text", "--digit", "3", "--count", "3", *FEW, "--json", "--out", str(tmp_path / "a.npz")]
    assert main(["sample", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["classified_as_requested"] == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--prompt", "a fat sevn"], "'fat', 'sevn' (nearest: seven)"),
        (["--prompt", "<script>seven</script>"], "'<script>', '</script>'"),
        (["--prompt", "seven 🙂"], r"'\U0001f642'"),
        (["--prompt", "seven \u202eneves"], r"'\u202eneves'"),
        (["--prompt", "a " * 10_000], "at most 1,000 characters, found 20,000"),
        (["--prompt", "a " * 65], "at most 64 words, found 65"),
        (["--prompt", "a seven", "--run", "bundled"], "this one has labels; --run bundled-text is one"),
        (["--prompt", "a seven", "--digit", "7"], "--digit and --prompt exclude each other"),
        (["--prompt", "a seven", "--prompt", "a two"], "draws one prompt, found 2"),
    ],
)
def test_prompts_that_cannot_be_drawn(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, 2, "trajectory", *argv, "--out", str(tmp_path / "out"), "--quiet")
    assert said in line
    assert line.isprintable()


def test_another_prompt_than_the_recordings_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--trajectory", str(folder), "--prompt", "a two", "--quiet"]
    assert "contradicts --trajectory" in refused(capsys, 2, "report", *argv)


def test_a_report_of_a_recording_and_of_another_prompt_names_both(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    argv = ["--trajectory", str(folder), "--prompt", PROMPT, "--prompt", "a thin upright seven", "--lessons", "network"]
    assert main(["report", *argv, "--run", "bundled-text", "--out", str(page), "--quiet"]) == 0
    text = page.read_text(encoding="utf-8")
    assert f"the prompt “{PROMPT}” from noise" in text
    assert "prompt “a thin upright seven”" in text
    assert "class “" not in text


def test_a_prompt_is_switched_to_another_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--prompt", PROMPT, "--switch", "a thin upright two@499", "--sampler", "ddim", "--steps", "6"]
    assert main(["intervene", *argv, "--json", "--out", str(tmp_path)]) == 0
    said, err = capsys.readouterr()
    compared = json.loads(said)["compare"]
    assert "switch a thin upright two@499" in err
    assert (f"prompt “{PROMPT}”" in compared["caption"], "a thin upright two" in compared["caption"]) == (True, True)
    assert (compared["plain_read_as_7"]["count"], compared["changed_read_as_7"]["count"]) == (1, 0)
    assert Trajectory.open(tmp_path / "changed.zarr").prompts == (PROMPT, "a thin upright two")
    both = ["intervene", "--prompt", "a two", "--prompt", "a three", "--drop-label", "--quiet"]
    assert "--switch takes the other one" in refused(capsys, 2, *both)
    assert "is given twice" in refused(capsys, 2, "intervene", "--prompt", "a two", "--switch", "a two@9", "--quiet")


def test_a_lesson_on_prompts_or_latents_is_of_its_own_bundled_run() -> None:
    own = {lesson.name: lesson_run(lesson, None) for lesson in all_lessons()}
    assert {name: run for name, run in own.items() if run} == {"text": "bundled-text", "latent": "bundled-latent"}
    assert {lesson_run(lesson, "bundled") for lesson in all_lessons()} == {"bundled"}


def test_text_is_trained_on_mnist_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run"), "--quiet"]
    text = ["train", "--conditioning", "text", *out]
    assert "must be label or text" in refused(capsys, 2, "train", "--conditioning", "words", *out)
    assert "MNIST only" in refused(capsys, 2, *text, "--dataset", "kmnist")
    assert "MNIST only" in refused(capsys, 2, *text, "--data-dir", str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_the_bundled_run_is_small_and_says_where_it_comes_from() -> None:
    folder = BUNDLED_RUNS["bundled-text"]
    weights = [folder / name for name in ("model.safetensors", "text_encoder.safetensors")]
    assert sum(path.stat().st_size for path in weights) < 1.8e6
    said = json.loads((folder / "provenance.json").read_text())
    assert said["samples"]["share"] >= 0.97
    assert "--conditioning text" in said["command"]
    evaluated = json.loads((folder / "evaluation.json").read_text())
    assert evaluated["weights_sha256"] == said["sha256"]
