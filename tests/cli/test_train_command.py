"""``vizdiff train``, as a user types it: its result, a time budget, a closed pipe, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from viz_diffusion.cli import main
from viz_diffusion.training.run import Run

TINY = ["--batch-size", "16", "--device", "cpu", "--quiet"]


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    """Run a command with --json; return its one object."""
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_train_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_json(capsys, "train", "--steps", "2", "--out", str(tmp_path / "r"), *TINY)
    assert set(said) == {"run", "steps", "images_per_second", "seconds", "loss", "weights_sha256"}
    assert said["steps"] == 2
    assert said["weights_sha256"] == Run.open(tmp_path / "r").load_model()[1]


def test_a_time_budget_becomes_a_number_of_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r"
    said = run_json(capsys, "train", "--minutes", "0.05", "--out", str(out), *TINY)
    assert said["steps"] == Run.open(out).config.training.steps
    assert said["steps"] >= 50


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe raises another error there")
@pytest.mark.parametrize("as_json", [False, True])
def test_training_goes_on_when_nobody_reads_any_more(as_json: bool, tmp_path: Path) -> None:
    """As with ``2>&1 | head -1``: the rest is said to nobody, and the run is finished."""
    argv = ["train", "--steps", "2", "--batch-size", "2", "--device", "cpu", "--out", str(tmp_path / "r")]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "viz_diffusion", *argv, *["--json"] * as_json],
        stdout=writing,
        stderr=writing,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(writing)
    assert os.read(reading, 7) == b"Loading"
    os.close(reading)
    assert process.wait(timeout=200) == 0
    assert Run.open(tmp_path / "r").is_finished


FORTY = ["--steps", "40", "--batch-size", "8", "--checkpoint-every", "1000"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of forty steps that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", *FORTY, "--device", "cpu", "--quiet", "--out", str(run)]) == 0
    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_resume_goes_on_to_the_same_weights(
    number: int, code: int, whole: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    command = [sys.executable, "-m", "viz_diffusion", "train", *FORTY, "--device", "cpu", "--out", str(stopped)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # the weights depend on it
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    metrics = stopped / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    assert "--resume" in said
    assert not Run.open(stopped).is_finished

    assert main(["train", "--resume", str(stopped), "--device", "cpu", "--quiet"]) == 0
    assert Run.open(stopped).load_model()[1] == Run.open(whole).load_model()[1]
    assert (stopped / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
