"""Command lines that are refused: one line that names the value, the right exit code, and nothing left behind."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from refusals import refused

MNIST = Path(__file__).parents[2] / "viz_diffusion" / "assets" / "mnist"


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["trajectory", "--digit", "12"], "12"),
        (["trajectory", "--digit", "five"], "--digit"),
        (["trajectory", "--steps", "0"], "0"),
        (["trajectory", "--steps", "1001"], "1001"),
        (["trajectory", "--sampler", "lms"], "lms"),
        (["trajectory", "--guidance", "nan"], "nan"),
        (["trajectory", "--eta", "0.5"], "--sampler ddim"),
        (["trajectory", "--sampler", "ddim", "--eta", "2"], "--eta"),
        (["trajectory", "--sampler", "ddim", "--variance", "beta_tilde"], "--sampler ddpm"),
        (["sample", "--variance", "learned", "--out", "x.png"], "beta_tilde"),
        (["sample", "--timestep-spacing", "leading", "--out", "x.png"], "linspace"),
        (["evaluate", "--sampler", "dpm-solver++", "--eta", "1"], "--eta"),
        (["report", "--timestep-spacing", "leading"], "leading"),
        (["report", "--audience", "pupils"], "--audience must be one of lecturer, student, found 'pupils'"),
        (["deck", "--eta", "nan"], "--eta"),
        (["trajectory", "--count", "0"], "--count"),
        (["trajectory", "--seed", "-1"], "-1"),
        (["train", "--seed", "4294967296"], "0..4294967295"),
        (["sample", "--seed", "4294967290", "--count", "7", "--out", "x.png"], "0..4294967289"),
        (["trajectory", "--device", "abacus"], "abacus"),
        (["report", "--digit", "-1"], "-1"),
        (["forward", "--schedule", "zero-snr"], "--schedule must be linear or cosine, found 'zero-snr'"),
        (["forward", "--dataset", "cifar"], "cifar"),
        (["sample", "--out", "x.txt"], "x.txt"),
        (["sample", "--digit", "ten", "--out", "x.png"], "ten"),
        (["sample"], "--out"),
        (["train", "--steps", "0"], "--steps"),
        (["train", "--minutes", "0"], "--minutes"),
        (["train", "--minutes", "nan"], "--minutes"),
        (["train", "--epochs", "-1"], "--epochs"),
        (["train", "--steps", "5", "--minutes", "1"], "--minutes"),
        (["train", "--batch-size", "0"], "--batch-size"),
        (["train", "--dataset", "cifar"], "cifar"),
        (["train", "--resume", "x", "--epochs", "5"], "--resume"),
        (["train", "--unheard-of"], "--unheard-of"),
        (["paint"], "paint"),
    ],
)
def test_a_wrong_command_line_gets_one_line_and_leaves_nothing(
    argv: list[str],
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert names in refused(capsys, 2, *argv)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command", ["trajectory", "worksheet", "report", "deck --format folder", "forward", "lesson noising"]
)
def test_what_only_the_run_shows_to_be_wrong_leaves_no_empty_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").mkdir()
    out = tmp_path / "kept" / "a" / ("b.html" if command == "report" else "b")
    assert "owl" in refused(capsys, 2, *command.split(), "--label", "owl", "--out", str(out))
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_truncated_idx_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in MNIST.glob("*.gz"):
        (data / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    images = data / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    said = refused(capsys, 3, "train", "--steps", "1", "--data-dir", str(data), "--out", str(tmp_path / "run"))
    assert "train-images-idx3-ubyte" in said
    assert "47040000" in said
    assert "47039999" in said
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_named_before_anything_is_sampled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = refused(capsys, 4, "trajectory", "--out", str(tmp_path / "file" / "out"))
    assert str(tmp_path / "file") in said


def test_a_url_is_no_recording_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 2, "report", "--trajectory", "s3://bucket/digits.zarr")
    assert (
        "--trajectory must be a folder or a file on this machine, found s3://bucket/digits.zarr; copy it here" in said
    )
