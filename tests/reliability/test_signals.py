"""Ctrl-C, SIGTERM and SIGHUP in every kind of command: the exit code, no traceback, no temporary file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork and signals to a process are POSIX's")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def check_trials(folder: Path, trials: int, seed: int) -> list[dict]:
    """Stop each of eight commands ``trials`` times and check what became of it; return the trials that were stopped."""
    driver = ROOT / "tests" / "helpers" / "stop_driver.py"
    command = [sys.executable, str(driver), str(folder), str(trials), str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len(found) == 8 * trials
    for one in found:
        assert "Traceback" not in one["said"], one
        assert "Exception ignored" not in one["said"], one
        assert one["left"] == [], one
        assert one["code"] in (0, 128 + one["signals"][0]), one
    return [one for one in found if one["code"]]


def test_eight_commands_end_by_each_kind_of_signal(tmp_path: Path) -> None:
    assert len(check_trials(tmp_path, 1, 5)) >= 5  # the others had finished before the signal came


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_eight_commands_end_by_signals_a_hundred_times_each(tmp_path: Path) -> None:
    assert len(check_trials(tmp_path, 100, 11)) >= 400


LONG_STEP = """
import hashlib, signal, sys
from pathlib import Path
from viz_diffusion.files import atomic_write
from viz_diffusion.stopping import run_stoppable

def command():
    with atomic_write(Path(sys.argv[1])) as handle:
        handle.write(b"half")
        handle.flush()
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # some minutes in one call, which no signal interrupts
    return 0

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else it would stay ignored where nohup runs the tests
sys.exit(run_stoppable(command))
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM)],
)
def test_within_one_long_step_the_second_signal_ends_at_once(first: int, second: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LONG_STEP, str(tmp_path / "x")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            assert len(list(tmp_path.iterdir())) == 1
            time.sleep(0.3)  # now the step has begun
            child.send_signal(first)
            if first == signal.SIGHUP:
                child.send_signal(first)  # shell and system send one each: that is no second signal
            time.sleep(0.5)
            assert child.poll() is None  # a control: the step goes on
            child.send_signal(second)
            assert child.wait(5) == 128 + second
            assert child.stderr is not None
            assert child.stderr.read() == ""
        finally:
            child.kill()
    assert list(tmp_path.iterdir()) == []


def test_signals_that_come_while_the_modules_are_loaded(tmp_path: Path) -> None:
    for pause in (0.15, 0.3, 0.6):
        command = [
            sys.executable,
            "-c",
            "from viz_diffusion.__main__ import main; print(1, flush=True); raise SystemExit(main())",
        ]
        with subprocess.Popen(
            [*command, "forward", "--out", "f"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=tmp_path,
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(pause)
            child.send_signal(signal.SIGINT)
            assert child.wait(60) in (0, 130)
            assert child.stderr is not None
            assert "Traceback" not in child.stderr.read()
