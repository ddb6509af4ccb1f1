"""One process at a time writes to a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training_runs import TINY, hashes

from viz_diffusion.cli import main
from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffError, VizdiffLockedError
from viz_diffusion.files import lock
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Trainer

ROOT = Path(__file__).parents[2]


def test_one_run_has_one_writer(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RunConfig, "load_digits", lambda *_: few_digits)
    run = Run.open(stopped)
    state, metrics_bytes, _ = run.resume()
    before = hashes(stopped)
    with run.lock():
        with pytest.raises(VizdiffLockedError, match="another process"):
            next(Trainer(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes).run())
        assert main(["train", "--resume", str(stopped), "--steps", "20", "--device", "cpu", "--quiet"]) == 5
    assert "vizdiff: " in capsys.readouterr().err
    assert hashes(stopped) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_if_two_processes_begin_a_run_in_one_folder_one_wins_and_its_config_stays(tmp_path: Path) -> None:
    """Twenty times, both released at the same moment, each with its own seed."""
    for trial in range(20):
        path = tmp_path / f"run-{trial}"
        reading, writing = os.pipe()
        children = []
        for seed in (1, 2):
            if not (child := os.fork()):
                os.close(writing)
                os.read(reading, 1)  # until the other end is closed
                code = 0
                try:
                    Run.create(path, RunConfig(TINY, TrainConfig(seed=seed)))
                except VizdiffError as error:
                    code = error.exit_code
                os._exit(code)
            children.append(child)
        os.close(reading)
        os.close(writing)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(codes) in ([0, 3], [0, 5]), codes  # 3: the other had already written its config
        assert Run.open(path).config.training.seed == 1 + codes.index(0)


def test_a_run_is_not_begun_in_a_folder_that_is_being_written(tmp_path: Path) -> None:
    config = RunConfig(TINY, TrainConfig())
    with lock(tmp_path / ".lock"), pytest.raises(VizdiffLockedError, match=rf"another process \({os.getpid()}\)"):
        Run.create(tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holding = (
        "import sys, time; from pathlib import Path; from viz_diffusion.files import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(VizdiffLockedError), lock(path):
            pass
        holder.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        holder.wait()
    with lock(path):
        pass
