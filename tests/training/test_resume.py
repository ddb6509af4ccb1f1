"""Resuming: with unreadable checkpoints, and in another environment."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_runs import finish, flip

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import load_run
from viz_diffusion.data import Digits
from viz_diffusion.diffusion import environment
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import read_json, sha256_file, write_json, write_manifest
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_an_unreadable_checkpoint_is_named_and_the_one_before_used(
    name: str, damage: Callable[[Path], object], stopped: Path, tmp_path: Path, few_digits: Digits
) -> None:
    copy = Path(shutil.copytree(stopped, tmp_path / "damaged"))
    damage(copy / "training" / "step-00000007" / name)
    state, _, remarks = Run.open(copy).resume()
    assert state.step == 4
    assert len(remarks) == 1
    assert f"step-00000007/{name}" in remarks[0].replace(os.sep, "/")
    assert "using step-00000004 instead" in remarks[0]
    assert finish(copy, few_digits) == finish(stopped, few_digits)


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "missing"])
def test_damage_to_the_only_checkpoint_is_named(name: str, damage: str, stopped: Path) -> None:
    shutil.rmtree(stopped / "training" / "step-00000004")
    file = stopped / "training" / "step-00000007" / name
    if damage == "flipped":
        flip(file)
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(VizdiffInputError, match=f"step-00000007.{name}"):
        Run.open(stopped).resume()


def test_a_finished_run_without_checkpoints_says_what_is_missing(stopped: Path, few_digits: Digits) -> None:
    finish(stopped, few_digits)
    shutil.rmtree(stopped / "training")
    with pytest.raises(VizdiffInputError, match=r"run is finished, but its folder training/.* is missing"):
        Run.open(stopped).resume()
    with pytest.raises(VizdiffInputError, match="is finished, but its folder training/"):
        Run.bundled().resume()


def test_if_no_checkpoint_is_readable_the_newest_is_named(stopped: Path) -> None:
    for path in stopped.glob("training/*/ema.safetensors"):
        flip(path)
    with pytest.raises(VizdiffInputError, match=r"step-00000007.ema\.safetensors"):
        Run.open(stopped).resume()


def test_samples_come_from_the_newest_readable_checkpoint_with_a_warning(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(stopped / "training" / "step-00000007" / "ema.safetensors")
    older = sha256_file(stopped / "training" / "step-00000004" / "ema.safetensors")
    with pytest.warns(UserWarning, match=r"step-00000007.ema\.safetensors is not .*using step-00000004 instead"):
        assert Run.open(stopped).load_model()[1] == older
    assert load_run(str(stopped), "cpu", Terminal(as_json=False, quiet=False))[2] == older
    assert "using step-00000004 instead" in capsys.readouterr().err


def test_a_checkpoint_that_the_disk_cannot_read_is_named_and_the_one_before_used(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = os.open, ["step-00000007"]

    def open_or_fail(path: Path, *given: int) -> int:
        if Path(path).parent.name in refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *given)

    monkeypatch.setattr(os, "open", open_or_fail)
    state, _, remarks = Run.open(stopped).resume()
    assert state.step == 4
    assert re.search(r"cannot read .*step-00000007.*: Input/output error; using step-00000004 instead", remarks[0])
    refused.append("step-00000004")
    with pytest.raises(VizdiffIOError, match="step-00000007"):
        Run.open(stopped).resume()


@pytest.mark.parametrize(("end", "logged"), [(-5, [1, 2, 4, 8, 9]), (5, [8, 9]), (None, [8, 9])])
def test_a_metrics_log_that_lost_its_end_is_named_and_stays_readable(
    end: int | None, logged: list[int], stopped: Path, tmp_path: Path, few_digits: Digits
) -> None:
    """As after a power failure: the log is shorter than the checkpoint says."""
    copy = Path(shutil.copytree(stopped, tmp_path / "short"))
    metrics = copy / "metrics.jsonl"
    kept = metrics.read_bytes()[:end]
    metrics.write_bytes(kept) if end is not None else metrics.unlink()
    remarks = Run.open(copy).resume().remarks
    finish(copy, few_digits)
    assert len(remarks) == 1
    assert f"metrics.jsonl holds {0 if end is None else len(kept)} of the " in remarks[0]
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == logged
    finish(stopped, few_digits)
    assert sha256_file(copy / "model.safetensors") == sha256_file(stopped / "model.safetensors")


@pytest.mark.parametrize("split", ["training_digits", "heldout_digits"])
def test_other_digits_are_refused_by_name_unless_forced(split: str, stopped: Path, few_digits: Digits) -> None:
    other = Digits(few_digits.images.clone(), few_digits.labels.clone())
    other.labels[3] = (other.labels[3] + 1) % 10
    run, at = Run.open(stopped), ("training_digits", "heldout_digits").index(split)
    same = (few_digits, few_digits)
    changed = (other, few_digits) if at == 0 else (few_digits, other)
    assert run.resume(data=same).remarks == []
    with pytest.raises(VizdiffInputError, match=rf"recipe \({split} [0-9a-f]{{12}}… then, [0-9a-f]{{12}}… now\)"):
        run.resume(data=changed)
    assert split in run.resume(force=True, data=changed).remarks[0]


def test_a_checkpoint_without_hashes_of_digits_and_processor_can_be_resumed(stopped: Path, few_digits: Digits) -> None:
    folder = stopped / "training" / "step-00000007"
    entries = read_json(folder / "state.json")
    for name in ("training_digits", "heldout_digits"):
        del entries["recipe"][name]
    del entries["environment"]["processor"]
    write_json(folder / "state.json", entries)
    write_manifest(folder, [path.name for path in folder.iterdir() if path.name != "manifest.json"])
    assert Run.open(stopped).resume(data=(few_digits, few_digits)).remarks == []


def test_the_environment_holds_the_name_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Abacus {device.index}")
    assert environment.environment(torch.device("cuda:1"))["gpu"] == "Abacus 1"
    assert "gpu" not in environment.environment(torch.device("cpu"))


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="only Linux on x86 has it")
def test_the_processor_is_the_model_name_of_the_system() -> None:
    assert len(environment.processor()) > 3
    assert f"model name\t: {environment.processor()}\n" in Path("/proc/cpuinfo").read_text()


def test_metrics_are_flushed_to_disk_before_the_checkpoint_that_holds_their_length(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, int]] = []
    saved: list[int] = []
    flush, save = os.fsync, Run.save_checkpoint

    def fsync(descriptor: int) -> None:
        flush(descriptor)
        status = os.fstat(descriptor)
        flushed.append((status.st_ino, status.st_size))

    def save_checkpoint(run: Run, state: TrainState, metrics_bytes: int, *rest: object) -> None:
        assert ((stopped / "metrics.jsonl").stat().st_ino, metrics_bytes) in flushed
        saved.append(metrics_bytes)
        save(run, state, metrics_bytes, *rest)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Run, "save_checkpoint", save_checkpoint)
    finish(stopped, few_digits)
    assert saved == [(stopped / "metrics.jsonl").stat().st_size]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda patch: patch.setattr(torch, "get_num_threads", lambda: 77), "threads .* then, 77 now"),
        (lambda patch: patch.setattr(torch, "__version__", "9.9"), "torch .* then, 9.9 now"),
        (lambda patch: patch.setattr(environment, "processor", lambda: "Difference Engine"), "processor .* Engine now"),
        (lambda patch: patch.setattr(environment.platform, "machine", lambda: "abacus"), "machine .* abacus"),
    ],
)
def test_another_environment_is_refused_by_name_unless_forced(
    change: Callable[[pytest.MonkeyPatch], None],
    words: str,
    stopped: Path,
    few_digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(monkeypatch)
    with pytest.raises(VizdiffInputError, match=rf"another environment or recipe \({words}.*; force goes on"):
        Run.open(stopped).resume()
    run = Run.open(stopped)
    state, metrics_bytes, remarks = run.resume(force=True)
    assert len(remarks) == 1
    assert remarks[0].startswith("not bit-exact: ")
    for _ in Trainer(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes).run():
        pass
    assert Run.open(stopped).is_finished
