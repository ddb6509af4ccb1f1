"""Training that is killed, stopped by signals, or has no room on the disk, in processes of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from training_runs import run_driver

from viz_diffusion.cli import main
from viz_diffusion.errors import VizdiffLockedError
from viz_diffusion.files import sha256_file
from viz_diffusion.training.run import Run

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX's")
def test_twelve_killed_runs_end_in_the_same_bytes(tmp_path: Path) -> None:
    results = run_driver("kill_driver.py", tmp_path, "12", "11")
    assert len(results["killed"]) == 12
    differing = [index for index, killed in enumerate(results["killed"]) if killed != results["uninterrupted"]]
    assert differing == []


@pytest.mark.skipif(sys.platform == "win32", reason="fork and signals to a process are POSIX's")
def test_twelve_stopped_runs_end_soon_with_their_exit_code_and_in_the_same_bytes(tmp_path: Path) -> None:
    """SIGINT, SIGTERM, SIGHUP twice (a shell and the system send one each) and SIGINT twice, at random moments."""
    results = run_driver("signal_driver.py", tmp_path, "12", "5")
    stopped = [trial for trial in results["stopped"] if not trial["finished"]]
    assert len(results["stopped"]) == 12
    assert len(stopped) >= 8  # the others had finished before the signal came
    for trial in stopped:
        assert trial["code"] == 128 + trial["signals"][0], trial["signals"]
        assert trial["seconds"] < 10
    differing = [trial["signals"] for trial in results["stopped"] if trial["fingerprint"] != results["uninterrupted"]]
    assert differing == []


@contextmanager
def begin_training(run: Path, steps: int, *, ignore_hangup: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Start the command; yield when it has made its first step."""
    command = [sys.executable, "-m", "viz_diffusion", "train", "--steps", str(steps), "--batch-size", "2"]
    child = subprocess.Popen(
        [*command, "--device", "cpu", "--out", str(run)],
        stderr=subprocess.PIPE,
        text=True,
        # under nohup the tests themselves would hand on that it is ignored
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignore_hangup else signal.SIG_DFL),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    metrics = run / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert child.poll() is None
        time.sleep(0.02)
    with child:
        try:
            yield child
        finally:
            child.kill()  # where a test failed; else it has ended


@pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP is POSIX's")
def test_a_hangup_before_the_first_checkpoint_keeps_the_work(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with begin_training(run, 100_000) as child:
        # while it trains, nobody else is told that the run is half-written
        with pytest.raises(VizdiffLockedError, match=rf"another process \({child.pid}\)"):
            Run.open(run).load_model()
        child.send_signal(signal.SIGHUP)
        assert child.wait(60) == 129
        assert "go on with: vizdiff train --resume" in child.stderr.read().splitlines()[-1]
    (checkpoint,) = run.glob("training/step-*")
    done = int(checkpoint.name[5:])
    assert main(["train", "--resume", str(run), "--steps", str(done + 1), "--quiet", "--force"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP is POSIX's")
def test_nohup_goes_on(tmp_path: Path) -> None:
    with begin_training(tmp_path / "run", 20, ignore_hangup=True) as child:
        child.send_signal(signal.SIGHUP)
        assert child.wait(120) == 0
    assert (tmp_path / "run" / "manifest.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE stands in for a full disk")
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """The command itself, with too little room for a checkpoint: exit code 4, one line, the old one unchanged."""
    import resource

    def limit_file_size(size: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    run = tmp_path / "run"
    assert main(["train", "--steps", "2", "--batch-size", "2", "--device", "cpu", "--quiet", "--out", str(run)]) == 0
    kept = {path: sha256_file(path) for path in run.glob("training/step-00000002/*")}
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "viz_diffusion", "train", "--resume", str(run), "--steps", "3", "--device", "cpu"]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        preexec_fn=lambda: limit_file_size(1_000_000),
        env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 4, ended.stderr
    assert re.search(r"cannot write .*step-00000003: File too large; it needs [\d,]+ bytes", last)
    assert "Traceback" not in ended.stderr
    assert {path: sha256_file(path) for path in kept} == kept
    assert not list(run.rglob("*.tmp"))
