"""Every command, as a user types it: what it writes, what it says, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from viz_diffusion import Trajectory
from viz_diffusion.cli import main
from viz_diffusion.cli.commands import train as train_command
from viz_diffusion.cli.study import figure_command, study_command
from viz_diffusion.files import write_manifest
from viz_diffusion.plots import saving
from viz_diffusion.training.presets import find_preset
from viz_diffusion.training.run import Run

MNIST = Path(__file__).parents[2] / "viz_diffusion" / "assets" / "mnist"
TINY = ["--batch-size", "16", "--device", "cpu", "--quiet"]


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    """Run a command with --json; return its one object."""
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of few channels, trained for a few steps on real MNIST by the command itself."""
    run, few = tmp_path_factory.mktemp("trained") / "run", replace(find_preset("small"), channels=(8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_command, "find_preset", lambda _: few)
        assert main(["train", "--steps", "12", "--out", str(run), *TINY]) == 0
    return run


def test_a_trained_run_holds_everything_that_later_commands_need(trained: Path) -> None:
    run = Run.open(trained)
    assert run.is_finished
    assert run.config.training.steps == 12
    assert run.config.training.batch_size == 16
    entries = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert 0 < losses[-1] < 2
    assert all(len(entry["heldout_loss"]) == 4 for entry in entries if "heldout_loss" in entry)
    steps, images = run.load_samples()
    assert int(steps[-1]) == 12
    assert images.shape[1:] == (10, 28, 28)


def test_sample_writes_an_archive_and_a_grid(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["sample", "--run", str(trained), "--count", "12", "--sampler", "ddim", "--steps", "3"]
    said = run_json(capsys, *argv, "--out", str(tmp_path / "a.npz"))
    with np.load(tmp_path / "a.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    assert images.shape == (12, 28, 28)
    assert images.dtype == np.uint8
    assert labels.tolist() == [*range(10), 0, 1]
    assert said["count"] == 12
    low, high = said["classified_as_requested_interval_95"]
    assert 0 <= low <= said["classified_as_requested"] / 12 <= high <= 1

    run_json(capsys, *argv, "--digit", "7", "--out", str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (4 * (10 * 29 + 1), 4 * (2 * 29 + 1))


def test_an_image_does_not_depend_on_how_many_are_sampled(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = tmp_path / "few.npz", tmp_path / "many.npz"
    for out, count in ((few, "3"), (many, "25")):
        argv = ["--count", count, "--digit", "4", "--sampler", "ddim", "--steps", "2", "--out", str(out)]
        run_json(capsys, "sample", "--run", str(trained), *argv)
    with np.load(few) as a, np.load(many) as b:
        assert np.array_equal(a["images"], b["images"][:3])
        assert not np.array_equal(b["images"][0], b["images"][1])


@pytest.fixture(scope="module")
def recorded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder written by ``vizdiff trajectory``: a real recording of 1000 steps."""
    out = tmp_path_factory.mktemp("recorded")
    assert main(["trajectory", "--digit", "3", "--run", str(trained), "--out", str(out), "--quiet"]) == 0
    return out


def test_trajectory_records_every_step(recorded: Path, trained: Path) -> None:
    trajectory = Trajectory.open(recorded / "trajectory.zarr")
    assert trajectory.timesteps.tolist() == list(range(999, -1, -1))
    assert trajectory.x_t.shape == (1, 1000, 1, 28, 28)
    assert trajectory.labels.tolist() == [3]
    assert trajectory.guidance_scale == 1.5
    assert trajectory.weights_sha256 == Run.open(trained).load_model()[1]
    assert np.isfinite(trajectory.x0).all()
    said = json.loads((recorded / "trajectory.json").read_text())
    assert said["steps_left"] == [1000, 800, 650, 550, 450, 350, 250, 150, 50]
    assert "digit 3" in said["caption"]
    with Image.open(recorded / "steps.png") as strip, Image.open(recorded / "steps.gif") as film:
        assert strip.size == (3200, 1800)
        assert film.n_frames > 50
    assert (recorded / "steps.svg").read_text().startswith("<?xml")


def test_frames_can_be_chosen(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["trajectory", "--run", str(trained), "--sampler", "ddim", "--steps", "10", "--out", str(tmp_path)]
    said = run_json(capsys, *argv, "--frames", "10,4,1")
    assert said["steps_left"] == [10, 4, 1]
    assert said["timesteps"] == [999, 399, 99]
    assert said["sampler"] == "DDIM"
    assert "at least" not in refused(capsys, 2, *argv, "--frames", "11,1")
    assert "abc" in refused(capsys, 2, *argv, "--frames", "abc")


@pytest.mark.parametrize(
    ("options", "expected", "timesteps"),
    [
        (["--sampler", "dpm-solver++", "--no-clip"], {"sampler": "DPM-Solver++(2M)", "clip": False}, [999, 749, 499]),
        (["--sampler", "ddim", "--eta", "0.5"], {"sampler": "DDIM (η = 0.5)", "eta": 0.5}, [999, 749, 499]),
        (["--variance", "beta_tilde", "--timestep-spacing", "linspace"], {"variance": "beta_tilde"}, [999, 666, 333]),
    ],
)
def test_a_sampler_gets_its_options_and_the_recording_keeps_them(
    options: list[str],
    expected: dict,
    timesteps: list[int],
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [*options, "--steps", "4", "--digit", "3", "--seed", "2"]
    found = run_json(capsys, "trajectory", "--run", str(trained), *argv, "--out", "t", "--frames", "4,3,2")
    assert expected.items() <= found.items()
    assert found["timesteps"] == timesteps
    recorded = Trajectory.open(tmp_path / "t" / "trajectory.zarr")
    assert found["x0_beyond_scale"] == pytest.approx(recorded.x0_beyond_scale.mean())
    assert np.abs(recorded.x0_pred).max() > 1 or recorded.clip
    command = study_command("report", SimpleNamespace(trajectory=recorded, run=Run.open(trained)), "en")
    assert shlex.join(["--digit", "3", "--seed", "2"]) in command
    for option in (word for word in options if word.startswith("--")):
        assert option in command.split()
    found = SimpleNamespace(trajectory=recorded, run=Run.open(trained))
    assert figure_command(found, "zh", "steps") == study_command("export", found, "zh", "--figure", "steps")
    argv = ["--steps", "4", "--seed", "2", "--count", "1", "--digit", "3", "--guidance", "1.5", "--out", "s.npz"]
    shares = run_json(capsys, "sample", "--run", str(trained), *options, *argv)
    assert 0 <= shares["x0_beyond_scale"] <= 1
    pixels = np.load(tmp_path / "s.npz")["images"][0]
    assert np.abs(pixels / 127.5 - 1 - recorded.x0[0, 0].clip(-1, 1)).max() < 2 / 255


@pytest.mark.usefixtures("short_tsne")
def test_embeddings_writes_its_pictures(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_json(capsys, "embeddings", "--run", str(trained), "--out", str(tmp_path))
    names = ("time_embedding", "label_embedding", "conditioning_map", "model")
    written = {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == written | {"embeddings.json"}
    model = Run.open(trained).load_model()[0]
    weights = model.label_emb.weight[:10].double().numpy()
    cosine = weights @ weights.T / np.outer(np.linalg.norm(weights, axis=1), np.linalg.norm(weights, axis=1))
    assert np.allclose(said["label_embedding"]["cosine"], cosine, atol=1e-9)
    assert said["label_embedding"]["tsne_perplexity"] == 3
    assert said["model"]["num_parameters"] == sum(values.numel() for values in model.state_dict().values()) > 1e5


@pytest.mark.usefixtures("short_tsne", "few_compared_steps")
def test_report_is_one_file_with_the_runs_own_numbers(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, figures, recorded = tmp_path / "report.html", tmp_path / "figures", tmp_path / "recorded"
    short = ["--digit", "3", "--sampler", "ddim", "--steps", "20", "--seed", "4"]
    run_json(capsys, "trajectory", "--run", str(trained), *short, "--out", str(recorded))
    monkeypatch.setattr(saving, "written_bytes", partial(saving.written_bytes, dpi=20))  # small figures
    argv = ["report", "--run", str(trained), "--trajectory", str(recorded), "--figures", str(figures)]
    said = run_json(capsys, *argv, "--out", str(out))
    page = out.read_text(encoding="utf-8")
    assert (said["digit"], said["seed"]) == (3, 4)
    assert "A model was given the label 3 and made this image from noise, in 20 recorded steps." in page
    assert re.search(r"This model was trained for 12 steps; its samples are classified as requested [0-5]?0% of", page)
    assert "generated this 3" not in page
    assert Run.open(trained).load_model()[1] in page
    assert str(Path.home()) not in page
    assert str(tmp_path) not in page
    names = ["steps", "ten_digits", "forward", "training_step", "snr", "ledger"]
    names += ["time_embedding", "label_embedding", "model", "loss", "loss_by_snr", "loss_by_t", "bits_by_t"]
    names += ["notations", "amplification", "score_field", "flow_paths", "flow_errors", "flow_guidance"]
    assert {path.name for path in figures.iterdir()} == {f"{n}.{e}" for n in names for e in ("png", "svg")}
    assert len(page) < 5_000_000


def test_a_missing_or_half_written_run_is_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "nowhere" in refused(capsys, 3, "trajectory", "--run", str(tmp_path / "nowhere"), *out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "config.json" in refused(capsys, 3, "embeddings", "--run", str(empty), *out)
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_bytes((trained / "config.json").read_bytes())
    assert "half-written" in refused(capsys, 3, "trajectory", "--run", str(half), *out)
    for name in ("manifest.json", "metrics.jsonl", "model.safetensors"):
        (half / name).write_bytes((trained / name).read_bytes())
    damaged = bytearray((half / "model.safetensors").read_bytes())
    damaged[-1] ^= 1
    (half / "model.safetensors").write_bytes(damaged)
    assert "model.safetensors" in refused(capsys, 3, "trajectory", "--run", str(half), *out)


def test_weights_of_another_shape_are_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    config = json.loads((trained / "config.json").read_text())
    config["model"]["channels"] = [16, 64]
    (other / "config.json").write_text(json.dumps(config))
    write_manifest(other, ["config.json", "model.safetensors"])
    said = refused(capsys, 3, "trajectory", "--run", str(other), "--out", str(tmp_path / "out"))
    assert "model.safetensors" in said
    assert "shape" in said


def test_a_run_is_never_overwritten(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = Run.open(trained).load_model()[1]
    assert "--resume" in refused(capsys, 3, "train", "--steps", "1", "--out", str(trained), *TINY)
    assert Run.open(trained).load_model()[1] == before


def test_a_recording_of_other_weights_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["report", "--run", "bundled", "--trajectory", str(recorded), "--out", str(tmp_path / "r.html")]
    assert "--run" in refused(capsys, 3, *argv)


@pytest.mark.skipif(not hasattr(os, "geteuid") or sys.platform != "linux", reason="RLIMIT_FSIZE is POSIX's")
def test_a_full_disk_loses_nothing(trained: Path, tmp_path: Path) -> None:
    import resource

    out = tmp_path / "digits.npz"
    np.savez(out, images=np.zeros((1, 28, 28), np.uint8))
    before = out.read_bytes()

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    argv = [
        "sample",
        "--run",
        str(trained),
        "--count",
        "20",
        "--sampler",
        "ddim",
        "--steps",
        "1",
        "--out",
        str(out),
        "--force",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "viz_diffusion", *argv],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # compiled modules would be cut off, and kept
    )
    assert done.returncode == 4, done.stderr
    assert "digits.npz" in done.stderr.splitlines()[-1]
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits.npz"]
