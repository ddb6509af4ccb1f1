"""Resuming runs that are finished: unfinished while they go on, and as they were where they cannot."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from training_runs import finish, flip, hashes, resumed

from viz_diffusion.cli import main
from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.training import run as run_module
from viz_diffusion.training import trainer
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer


def test_a_finished_run_that_resumes_from_an_older_checkpoint_is_unfinished_until_its_end(
    stopped: Path, few_digits: Digits
) -> None:
    expected = finish(stopped, few_digits)
    flip(stopped / "training" / "step-00000009" / "model.safetensors")
    run = Run.open(stopped)
    assert (run.is_finished, run.resume().state.step) == (True, 7)
    steps = resumed(stopped, few_digits)
    next(steps)
    assert not Run.open(stopped).is_finished
    steps.close()
    assert finish(stopped, few_digits) == expected
    assert Run.open(stopped).is_finished


@pytest.mark.parametrize("changed", [True, False])
def test_a_kill_while_finishing_again_leaves_no_manifest_of_other_weights(
    changed: bool, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(stopped, few_digits)
    run = Run.open(stopped)
    state = run.resume().state
    if changed:
        next(state.ema.parameters()).view(-1)[0] += 1

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        run.finish(state)
    assert Run.open(stopped).is_finished is not changed
    Run.open(stopped).load_model()


@pytest.fixture
def without_last_evaluation(stopped: Path, few_digits: Digits) -> Path:
    """A finished run whose metrics log lost its last line, the evaluation of the last step."""
    finish(stopped, few_digits)
    metrics = stopped / "metrics.jsonl"
    metrics.write_bytes(b"".join(metrics.read_bytes().splitlines(keepends=True)[:-1]))
    return stopped


def test_a_finished_run_is_unfinished_while_its_last_evaluation_is_made_again(
    without_last_evaluation: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "heldout_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        finish(without_last_evaluation, few_digits)
    assert not Run.open(without_last_evaluation).is_finished


def test_metrics_are_flushed_to_disk_before_the_run_is_finished(
    without_last_evaluation: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no checkpoint follows the last evaluation."""
    metrics, flush, flushed = without_last_evaluation / "metrics.jsonl", os.fsync, []

    def fsync(descriptor: int) -> None:
        flush(descriptor)
        flushed.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    finish(without_last_evaluation, few_digits)
    assert b"heldout_loss" in metrics.read_bytes().splitlines()[-1]
    assert (metrics.stat().st_ino, metrics.stat().st_size) in flushed


def test_more_steps_that_cannot_be_trained_leave_a_finished_run_as_it_was(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(stopped, few_digits)
    before = hashes(stopped)

    def missing(*_: object) -> Digits:
        raise VizdiffInputError("--data-dir /moved: there is no such folder")

    monkeypatch.setattr(RunConfig, "load_digits", missing)
    assert main(["train", "--resume", str(stopped), "--steps", "12", "--device", "cpu", "--quiet"]) == 3
    assert "/moved" in capsys.readouterr().err
    assert hashes(stopped) == before


@pytest.mark.parametrize(("call", "finished"), [("fsync", True), ("replace", False)])
def test_a_config_is_changed_completely_or_not_at_all(
    call: str, finished: bool, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new one is on disk nothing changes; a stop just before the renaming leaves an unfinished run."""
    finish(stopped, few_digits)
    run, config = Run.open(stopped), (stopped / "config.json").read_bytes()
    state, metrics_bytes, _ = run.resume()
    state.config = replace(state.config, steps=12)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(VizdiffIOError, match=r"config\.json"):
        next(Trainer(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes).run())
    monkeypatch.undo()
    assert Run.open(stopped).is_finished is finished
    assert (stopped / "config.json").read_bytes() == config
