"""Several real processes that train one network: what they write, and what becomes of them when one fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import ROOT, run_driver

from viz_diffusion.files import parse_json, read_json, sha256_file
from viz_diffusion.training.run import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork is POSIX's")
SCENARIOS = (
    *("parts", "two", "nan", "killed", "hanging", "terminated", "same_again", "fewer"),
    *("failing", "full_disk", "slow_disk", "small_batch"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def tried(runs: Path) -> dict:
    """What came of each scenario: one process forks all the others, so that PyTorch is loaded once."""
    return run_driver("process_driver.py", runs, *SCENARIOS)


def losses(run: Path, name: str = "loss") -> np.ndarray:
    entries = map(parse_json, (run / "metrics.jsonl").read_text().splitlines())
    return np.array([entry[name] for entry in entries if name in entry])


def only_line(texts: list[str], rank: int) -> str:
    """Return the last line of one process, after a check that the others said nothing and none left a traceback."""
    assert all("Traceback" not in text for text in texts)
    assert [text for place, text in enumerate(texts) if place != rank and text] == []
    return texts[rank].splitlines()[-1]


def test_two_processes_train_what_one_trains(tried: dict, runs: Path) -> None:
    assert tried["two"]["codes"] == [0, 0]
    one, several = runs / "one" / "run", runs / "two" / "run"
    assert losses(several) == pytest.approx(losses(one), rel=1e-5)
    assert losses(several, "heldout_loss") == pytest.approx(losses(one, "heldout_loss"), rel=1e-5)
    assert losses(several, "processes").tolist() == [2]
    assert losses(one, "processes").tolist() == []
    weights = [Run.open(run).load_model()[0].state_dict() for run in (one, several)]
    assert all(torch.allclose(value, weights[1][key], atol=1e-4) for key, value in weights[0].items())
    assert (several / "config.json").read_bytes() == (one / "config.json").read_bytes()


def test_two_processes_end_in_the_bytes_of_one_that_takes_two_parts(tried: dict, runs: Path) -> None:
    """Both add the same two numbers for each weight."""
    assert tried["parts"]["codes"] == [0]
    for name in ("model.safetensors", "samples.safetensors", "training/step-00000012/optimizer.safetensors"):
        digests = {sha256_file(runs / one / "run" / name) for one in ("two", "parts")}
        assert len(digests) == 1, name
    assert sha256_file(runs / "one" / "run" / "model.safetensors") not in digests  # a control: other roundings
    for name, division in (("one", [None, None]), ("two", [2, None]), ("parts", [None, 2])):
        saved = read_json(runs / name / "run" / "training" / "step-00000012" / "state.json")["environment"]
        assert [saved.get(key) for key in ("processes", "accumulate")] == division


def test_only_process_0_speaks(tried: dict) -> None:
    said = tried["two"]
    assert "Batch     5 images in 2 parts; processes: 2, parts in each: 1" in said["err"][0]
    assert said["err"][1] == said["out"][1] == ""
    assert json.loads(said["out"][0])["processes"] == 2


def test_a_nan_in_one_process_ends_all_with_exit_code_6(tried: dict, runs: Path) -> None:
    assert tried["nan"]["codes"] == [6, 6]
    assert only_line(tried["nan"]["err"], 0).startswith("vizdiff: step 7: loss nan")
    assert [path.name for path in Run.open(runs / "nan" / "run").checkpoints()] == ["step-00000005"]


def test_a_killed_process_ends_the_others_and_loses_no_step(tried: dict, runs: Path) -> None:
    killed = tried["killed"]
    assert killed["codes"] == [4, -signal.SIGKILL, 4]
    assert killed["seconds"] < 30
    assert "Traceback" not in "".join(killed["err"])
    for rank in (0, 2):
        assert f"process {rank} of 3 has lost the others" in killed["err"][rank].splitlines()[-1]
    assert tried["fewer"]["codes"] == [0]
    said = tried["fewer"]["err"][0]
    assert "not bit-exact: processes 3 then, 1 now\n" in said
    assert re.search("at step 7, ", said)
    assert losses(runs / "killed" / "run") == pytest.approx(losses(runs / "one" / "run"), rel=1e-5)
    assert losses(runs / "killed" / "run", "processes").tolist() == [3, 1]


def test_a_process_that_hangs_is_given_up(tried: dict, runs: Path) -> None:
    assert tried["hanging"]["codes"] == [4, -signal.SIGKILL]
    assert tried["hanging"]["seconds"] < 15
    assert "process 0 of 2 has lost the others" in only_line(tried["hanging"]["err"], 0)
    assert [path.name for path in Run.open(runs / "hanging" / "run").checkpoints()] == ["step-00000002"]


def test_a_signal_to_one_process_stops_all_after_the_same_step(tried: dict, runs: Path) -> None:
    """And resuming with as many processes ends in the bytes of a run that was not stopped."""
    assert tried["terminated"]["codes"] == [143, 143]
    assert "at step 7; go on with: vizdiff train --resume" in only_line(tried["terminated"]["err"], 0)
    assert tried["same_again"]["codes"] == [0, 0]
    assert "not bit-exact" not in tried["same_again"]["err"][0]
    names = ["metrics.jsonl", "config.json", "model.safetensors", "samples.safetensors"]
    for name in (*names, *(f"training/step-00000012/{kind}.safetensors" for kind in ("model", "ema", "optimizer"))):
        assert sha256_file(runs / "terminated" / "run" / name) == sha256_file(runs / "two" / "run" / name), name


@pytest.mark.parametrize(
    ("name", "rank", "message"), [("failing", 1, "the disk of process 1 is gone"), ("full_disk", 0, "no space is left")]
)
def test_an_error_of_one_process_ends_all_with_its_exit_code(name: str, rank: int, message: str, tried: dict) -> None:
    assert tried[name]["codes"] == [4, 4]
    said = tried[name]["err"]
    assert said[rank].splitlines()[-1] == f"vizdiff: {message}"
    assert "vizdiff:" not in said[1 - rank]
    assert tried[name]["seconds"] < 10


def test_saving_may_take_longer_than_processes_wait_in_a_step(tried: dict, runs: Path) -> None:
    assert tried["slow_disk"]["codes"] == [0, 0]
    assert sha256_file(runs / "slow_disk" / "run" / "model.safetensors") == sha256_file(
        runs / "two" / "run" / "model.safetensors"
    )


def test_a_batch_that_is_too_small_is_refused_once_and_leaves_no_folder(tried: dict, runs: Path) -> None:
    assert tried["small_batch"]["codes"] == [2, 2]
    assert "--batch-size must be at least 6" in only_line(tried["small_batch"]["err"], 0)
    assert not (runs / "small_batch" / "run").exists()


def test_sigterm_to_torchrun_saves_and_leaves_no_traceback_of_ours(tmp_path: Path) -> None:
    """The launcher itself, with the preset that the command takes by default."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--steps", "100000", "--batch-size", "2", "--device", "cpu", "--out", str(run)]
    launcher = subprocess.Popen(
        [*command, "-m", "viz_diffusion", "train", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("loss")) and time.monotonic() < deadline:
        assert launcher.poll() is None
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    out, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert out == ""
    assert "viz_diffusion/" not in err.replace(str(run), "")
    assert len(re.findall("go on with: vizdiff train --resume", err)) == 1
    (checkpoint,) = Run.open(run).checkpoints()
    assert int(checkpoint.name[5:]) >= 1


def test_a_command_that_leaves_at_once_keeps_its_exit_code_and_skips_the_clean_up_of_libraries() -> None:
    """As after an error among several processes: taking down their group may wait for them, or abort."""
    code = (
        "import atexit, sys; from viz_diffusion.stopping import leave_at_once, run_stoppable\n"
        "atexit.register(lambda: print('cleaned up'))\n"
        "def command():\n"
        "    print('said'); leave_at_once(); return 4\n"
        "sys.exit(run_stoppable(command))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (4, ["said"], "")
