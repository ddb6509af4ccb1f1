"""vizdiff forward and vizdiff info: pictures of real digits with noise, and what is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from viz_diffusion.cli import main
from viz_diffusion.training.run import Run


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    """Run a command with --json; return its one object."""
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_forward_writes_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_json(capsys, "forward", "--digit", "8", "--out", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"forward.png", "forward.svg", "snr.png", "snr.svg"}
    assert said["crossing"] == 259
    assert said["digits"] == [8, 9, 0, 1, 2]
    assert "t = 259" in said["captions"]["forward"]
    assert run_json(capsys, "forward", "--schedule", "cosine", "--out", str(tmp_path / "c"))["crossing"] == 496


def test_info_names_weights_and_device(capsys: pytest.CaptureFixture[str]) -> None:
    said = run_json(capsys, "info")
    assert said["bundled_weights_sha256"] == Run.bundled().load_model()[1]
    assert said["device"] in ("cpu", "cuda", "mps")
    assert said["classifier_test_accuracy"] >= 0.995
    assert said["bundled_runs"][:2] == ["bundled", "bundled-flow"]
    assert (said["studies"] > 0) == (said["studies_bytes"] > 0)
