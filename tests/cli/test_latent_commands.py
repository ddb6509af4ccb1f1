"""Commands on a run in latents: what takes it, and what says in one line that it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from latent_runs import latent_run
from refusals import refused
from training_runs import first_digits

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import live
from viz_diffusion.recording.latent_pictures import is_latent
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thumbnails, "STEPS", 1)
        return latent_run(tmp_path_factory.mktemp("runs") / "latent", first_digits(20)).path


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("space", "shape"), [("latent", (4, 7, 7)), ("latent-2d", (2, 1, 1))])
def test_training_trains_the_autoencoder_first(
    space: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Thumbnails, "STEPS", 1)
    out = str(tmp_path / "run")
    options = ["--space", space, "--autoencoder-steps", "1", "--steps", "1", "--batch-size", "2", "--subset", "10"]
    assert main(["train", *options, "--quiet", "--out", out]) == 0
    run = Run.open(tmp_path / "run")
    assert run.is_finished
    assert (run.config.space, run.config.autoencoder.steps) == ("latent", 1)  # type: ignore[union-attr]
    assert run.config.x_shape == shape
    assert main(["train", "--resume", out, "--steps", "2", "--quiet"]) == 0
    assert Run.open(tmp_path / "run").trained_steps == 2


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--space", "wavelet"], "--space must be pixel, latent or latent-2d, found 'wavelet'"),
        (["--autoencoder-steps", "5"], "--autoencoder-steps goes with --space latent"),
        (["--space", "latent", "--autoencoder-steps", "0"], "--autoencoder-steps must be at least 1, found 0"),
    ],
)
def test_impossible_spaces_are_refused(
    argv: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in refused(capsys, 2, "train", *argv, "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_recording_is_drawn_with_its_channels(
    run: Path, lang: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ["--sampler", "ddim", "--steps", "4", "--lang", lang]
    found = said(capsys, "trajectory", "--run", str(run), *steps, "--out", str(tmp_path))
    assert not found["clip"]
    assert found["x0_beyond_scale"] is None
    assert ("channels" if lang == "en" else "通道") in found["caption"]
    assert is_latent(Trajectory.open(tmp_path / "trajectory.zarr"))
    assert (tmp_path / "latent_channels.png").stat().st_size > 0
    assert (tmp_path / "steps.gif").stat().st_size > 0


def test_samples_are_pictures(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.npz"
    found = said(
        capsys, "sample", "--run", str(run), "--count", "3", "--steps", "2", "--sampler", "ddim", "--out", str(out)
    )
    assert (found["count"], found["clip"], found["x0_beyond_scale"]) == (3, False, None)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lesson", "label"], "this network works in latents"),
        (["live"], "this network works in latents, which the page cannot run"),
        (["worksheet", "--sampler", "ddim", "--steps", "40"], "a worksheet calculates with pixels"),
    ],
)
def test_what_needs_pixels_says_so_in_one_line(
    argv: list[str], words: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("out.html" if argv[0] == "live" else "out")
    assert words in refused(capsys, 3, *argv, "--run", str(run), "--out", str(out))


@pytest.mark.parametrize("name", ["bundled-latent", "bundled-text", "own"])
def test_live_refuses_a_named_run_before_anything_is_loaded(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "open_run", lambda *_: pytest.fail("the run was opened"))
    chosen = str(run) if name == "own" else name
    line = refused(capsys, 3, "live", "--run", chosen, "--out", str(tmp_path / "a.html"), "--quiet")
    assert "use: vizdiff report" in line


def test_a_recording_of_latents_is_reported_without_its_network(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording"
    steps = ["--sampler", "ddim", "--steps", "4"]
    assert main(["trajectory", "--run", str(run), *steps, "--quiet", "--out", str(recording)]) == 0
    page, alone = tmp_path / "page.html", tmp_path / "alone.zarr"
    replace(Trajectory.open(recording / "trajectory.zarr"), weights_sha256="").save(alone)
    options = ["--lessons", "guess,step", "--json", "--out", str(page)]
    assert main(["report", "--trajectory", str(alone), *options]) == 0
    capsys.readouterr()
    assert "latent, its channels" in page.read_text()


@pytest.mark.parametrize(("lang", "title"), [("en", "two numbers of the noised"), ("zh", "两个数")])
def test_latents_of_two_numbers_have_words_of_their_own(lang: str, title: str, tmp_path: Path) -> None:
    argv = ["--run", "bundled-latent-2d", "--sampler", "ddim", "--steps", "4", "--lang", lang, "--quiet"]
    assert main(["trajectory", *argv, "--out", str(tmp_path)]) == 0
    caption = json.loads((tmp_path / "trajectory.json").read_text())["latent_channels"]["caption"]
    assert title in caption
    assert ("channel" if lang == "en" else "通道") not in caption
