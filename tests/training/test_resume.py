"""Resuming: after kills, with broken checkpoints, in another environment, beside another writer."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import load_run
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffIOError, VizdiffLockedError
from viz_diffusion.files import lock, read_json, sha256_file, write_json, write_manifest
from viz_diffusion.training import checkpoint
from viz_diffusion.training import run as running
from viz_diffusion.training import trainer as fitting
from viz_diffusion.training.config import RunConfig, TrainConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import fit

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX's")
def test_twenty_killed_runs_end_in_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(HELPERS / "kill_driver.py"), str(tmp_path), "20", "11"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    differing = [index for index, found in enumerate(said["killed"]) if found != said["whole"]]
    assert len(said["killed"]) == 20
    assert differing == []


@pytest.mark.skipif(sys.platform == "win32", reason="fork and signals to a process are POSIX's")
def test_twenty_stopped_runs_end_soon_with_their_code_and_in_the_same_bytes(tmp_path: Path) -> None:
    """SIGINT, SIGTERM, and SIGINT twice, each at random moments, saving among them."""
    command = [sys.executable, str(HELPERS / "signal_driver.py"), str(tmp_path), "20", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    stopped = [one for one in said["stopped"] if not one["finished"]]
    assert len(said["stopped"]) == 20
    assert len(stopped) >= 15  # the others were done before the signal came
    for one in stopped:
        assert one["code"] == 128 + one["signals"][0], one["signals"]
        assert one["seconds"] < 10
    assert [one["signals"] for one in said["stopped"] if one["fingerprint"] != said["whole"]] == []


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE stands in for a full disk")
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """The command itself, with room for less than a checkpoint: exit 4, one line, the old one as it was."""
    import resource

    def room_for(size: int) -> None:
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
        preexec_fn=lambda: room_for(1_000_000),
        env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 4, ended.stderr
    assert re.search(r"cannot write .*step-00000003: File too large; it needs [\d,]+ bytes", last)
    assert "Traceback" not in ended.stderr
    assert {path: sha256_file(path) for path in kept} == kept
    assert not list(run.rglob("*.tmp"))


@pytest.fixture
def stopped(tmp_path: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run stopped at step 7 of 9, with checkpoints of steps 4 and 7."""
    monkeypatch.setattr(fitting.Thumbnails, "STEPS", 1)
    monkeypatch.setattr(fitting, "LOG_EVERY", 2)
    tiny = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)
    run = Run.create(tmp_path / "run", RunConfig(tiny, TrainConfig(steps=9, batch_size=2, warmup_steps=2)))
    state = TrainState.create(run.config.training, tiny)
    steps = fit(run, state, few_digits, few_digits, checkpoint_every=4)
    for _ in range(7):
        next(steps)
    steps.close()
    assert [path.name for path in run.checkpoints()] == ["step-00000004", "step-00000007"]
    return run.path


def go_on(path: Path, digits: Digits, **options: bool) -> tuple[str, list[str]]:
    run = Run.open(path)
    state, metrics_bytes, remarks = run.resume(**options)
    for _ in fit(run, state, digits, digits, metrics_bytes=metrics_bytes):
        pass
    return sha256_file(path / "model.safetensors") + sha256_file(path / "metrics.jsonl"), remarks


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_broken_checkpoint_is_passed_over_and_named(
    name: str, damage: Callable[[Path], object], stopped: Path, tmp_path: Path, few_digits: Digits
) -> None:
    copy = Path(shutil.copytree(stopped, tmp_path / "broken"))
    damage(copy / "training" / "step-00000007" / name)
    state, _, remarks = Run.open(copy).resume()
    assert state.step == 4
    assert len(remarks) == 1
    assert f"step-00000007/{name}" in remarks[0].replace(os.sep, "/")
    assert "using step-00000004 instead" in remarks[0]
    assert go_on(copy, few_digits)[0] == go_on(stopped, few_digits)[0]


def test_a_finished_run_without_checkpoints_says_what_is_missing(stopped: Path, few_digits: Digits) -> None:
    go_on(stopped, few_digits)
    shutil.rmtree(stopped / "training")
    with pytest.raises(VizdiffInputError, match=r"run is finished, but its folder training/.* is missing"):
        Run.open(stopped).resume()
    with pytest.raises(VizdiffInputError, match="is finished, but its folder training/"):
        Run.bundled().resume()


def test_where_every_checkpoint_is_broken_the_newest_is_named(stopped: Path) -> None:
    for path in stopped.glob("training/*/ema.safetensors"):
        flip(path)
    with pytest.raises(VizdiffInputError, match=r"step-00000007.ema\.safetensors"):
        Run.open(stopped).resume()


def test_a_broken_newest_checkpoint_makes_room_once_the_run_has_gone_on(stopped: Path, few_digits: Digits) -> None:
    flip(stopped / "training" / "step-00000007" / "model.safetensors")
    run = Run.open(stopped)
    state, metrics_bytes, _ = run.resume()
    steps = fit(run, state, few_digits, few_digits, checkpoint_every=2, metrics_bytes=metrics_bytes)
    kept = {next(steps).step: [path.name for path in run.checkpoints()] for _ in range(4)}
    assert kept == {
        5: ["step-00000004", "step-00000007"],
        6: ["step-00000004", "step-00000006"],
        7: ["step-00000004", "step-00000006"],
        8: ["step-00000006", "step-00000008"],
    }
    steps.close()


def test_samples_are_drawn_with_the_newest_whole_checkpoint_and_it_is_said(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(stopped / "training" / "step-00000007" / "ema.safetensors")
    older = sha256_file(stopped / "training" / "step-00000004" / "ema.safetensors")
    with pytest.warns(UserWarning, match=r"step-00000007.ema\.safetensors is not .*using step-00000004 instead"):
        assert Run.open(stopped).load_model()[1] == older
    assert load_run(str(stopped), "cpu", Terminal(as_json=False, quiet=False))[2] == older
    assert "using step-00000004 instead" in capsys.readouterr().err


def test_a_checkpoint_that_the_disk_does_not_give_is_passed_over(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, refused = Path.read_bytes, ["step-00000007"]

    def read_bytes(path: Path) -> bytes:
        if path.parent.name in refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    state, _, remarks = Run.open(stopped).resume()
    assert state.step == 4
    assert re.search(r"cannot read .*step-00000007.*: Input/output error; using step-00000004 instead", remarks[0])
    refused.append("step-00000004")
    with pytest.raises(VizdiffIOError, match="step-00000007"):
        Run.open(stopped).resume()


@pytest.mark.parametrize(("left", "logged"), [(-5, [1, 2, 4, 8, 9]), (5, [8, 9]), (None, [8, 9])])
def test_a_history_that_lost_its_end_is_named_and_stays_readable(
    left: int | None, logged: list[int], stopped: Path, tmp_path: Path, few_digits: Digits
) -> None:
    """As after a loss of power: the checkpoint counts on bytes that are not there."""
    copy = Path(shutil.copytree(stopped, tmp_path / "short"))
    metrics = copy / "metrics.jsonl"
    kept = metrics.read_bytes()[:left]
    metrics.write_bytes(kept) if left is not None else metrics.unlink()
    _, remarks = go_on(copy, few_digits)
    assert len(remarks) == 1
    assert f"metrics.jsonl holds {0 if left is None else len(kept)} of the " in remarks[0]
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == logged
    go_on(stopped, few_digits)
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


def test_a_checkpoint_from_before_digits_and_processor_were_told_still_goes_on(
    stopped: Path, few_digits: Digits
) -> None:
    folder = stopped / "training" / "step-00000007"
    facts = read_json(folder / "state.json")
    for name in ("training_digits", "heldout_digits"):
        del facts["recipe"][name]
    del facts["environment"]["processor"]
    write_json(folder / "state.json", facts)
    write_manifest(folder, [path.name for path in folder.iterdir() if path.name != "manifest.json"])
    assert Run.open(stopped).resume(data=(few_digits, few_digits)).remarks == []


def test_a_gpu_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Abacus {device.index}")
    assert checkpoint.environment(torch.device("cuda:1"))["gpu"] == "Abacus 1"
    assert "gpu" not in checkpoint.environment(torch.device("cpu"))


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="told there by Linux on x86")
def test_a_processor_is_told_by_its_name() -> None:
    assert len(checkpoint.processor()) > 3
    assert f"model name\t: {checkpoint.processor()}\n" in Path("/proc/cpuinfo").read_text()


def hashes(path: Path) -> dict[Path, str]:
    return {file: sha256_file(file) for file in path.rglob("*") if file.is_file()}


def test_a_finished_run_that_goes_back_is_unfinished_until_it_is_done_again(stopped: Path, few_digits: Digits) -> None:
    wanted = go_on(stopped, few_digits)[0]
    flip(stopped / "training" / "step-00000009" / "model.safetensors")
    run = Run.open(stopped)
    state, metrics_bytes, _ = run.resume()
    assert (run.is_finished, state.step) == (True, 7)
    steps = fit(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes)
    next(steps)
    assert not Run.open(stopped).is_finished
    steps.close()
    assert go_on(stopped, few_digits)[0] == wanted
    assert Run.open(stopped).is_finished


@pytest.mark.parametrize("other", [True, False])
def test_a_kill_while_finishing_again_leaves_no_manifest_of_other_weights(
    other: bool, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(stopped, few_digits)
    run = Run.open(stopped)
    state = run.resume().state
    if other:
        next(state.ema.parameters()).view(-1)[0] += 1

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        run.finish(state)
    assert Run.open(stopped).is_finished is not other
    Run.open(stopped).load_model()


def test_more_steps_that_cannot_be_trained_leave_a_finished_run_as_it_was(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(stopped, few_digits)
    before = hashes(stopped)

    def gone(*_: object) -> Digits:
        raise VizdiffInputError("--data-dir /moved: there is no such folder")

    monkeypatch.setattr(RunConfig, "load_digits", gone)
    assert main(["train", "--resume", str(stopped), "--steps", "12", "--device", "cpu", "--quiet"]) == 3
    assert "/moved" in capsys.readouterr().err
    assert hashes(stopped) == before


@pytest.mark.parametrize(("call", "finished"), [("fsync", True), ("replace", False)])
def test_a_config_is_changed_whole_or_not_at_all(
    call: str, finished: bool, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new one is on disk nothing changes; a stop just before it is in place leaves an unfinished run."""
    go_on(stopped, few_digits)
    run, config = Run.open(stopped), (stopped / "config.json").read_bytes()
    state, metrics_bytes, _ = run.resume()
    state.config = replace(state.config, steps=12)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(VizdiffIOError, match=r"config\.json"):
        next(fit(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes))
    monkeypatch.undo()
    assert Run.open(stopped).is_finished is finished
    assert (stopped / "config.json").read_bytes() == config


def test_metrics_are_on_disk_before_the_checkpoint_that_counts_them(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, int]] = []
    counted: list[int] = []
    flush, save = os.fsync, Run.save_checkpoint

    def fsync(descriptor: int) -> None:
        flush(descriptor)
        found = os.fstat(descriptor)
        flushed.append((found.st_ino, found.st_size))

    def save_checkpoint(run: Run, state: TrainState, metrics_bytes: int, *rest: object) -> None:
        assert ((stopped / "metrics.jsonl").stat().st_ino, metrics_bytes) in flushed
        counted.append(metrics_bytes)
        save(run, state, metrics_bytes, *rest)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Run, "save_checkpoint", save_checkpoint)
    go_on(stopped, few_digits)
    assert counted == [(stopped / "metrics.jsonl").stat().st_size]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda patch: patch.setattr(torch, "get_num_threads", lambda: 77), "threads .* then, 77 now"),
        (lambda patch: patch.setattr(torch, "__version__", "9.9"), "torch .* then, 9.9 now"),
        (lambda patch: patch.setattr(checkpoint, "processor", lambda: "Difference Engine"), "processor .* Engine now"),
        (lambda patch: patch.setattr(checkpoint.platform, "machine", lambda: "abacus"), "machine .* abacus"),
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
    with pytest.raises(VizdiffInputError, match=rf"another environment or recipe \({words}.*force"):
        Run.open(stopped).resume()
    remarks = go_on(stopped, few_digits, force=True)[1]
    assert len(remarks) == 1
    assert remarks[0].startswith("not bit-exact: ")


def test_one_run_has_one_writer(
    stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RunConfig, "load_digits", lambda *_: few_digits)
    run = Run.open(stopped)
    state, metrics_bytes, _ = run.resume()
    before = {path: sha256_file(path) for path in stopped.rglob("*") if path.is_file()}
    with run.lock():
        with pytest.raises(VizdiffLockedError, match="another process"):
            next(fit(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes))
        assert main(["train", "--resume", str(stopped), "--steps", "20", "--device", "cpu", "--quiet"]) == 5
    assert "vizdiff: " in capsys.readouterr().err
    assert {path: sha256_file(path) for path in stopped.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_of_two_that_begin_in_one_folder_at_once_one_wins_and_its_config_stays(tmp_path: Path) -> None:
    """Twenty times, both let go at one barrier, each with a seed of its own."""
    tiny = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)
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
                    Run.create(path, RunConfig(tiny, TrainConfig(seed=seed)))
                except VizdiffError as error:
                    code = error.exit_code
                os._exit(code)
            children.append(child)
        os.close(reading)
        os.close(writing)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(codes) in ([0, 3], [0, 5]), codes  # 3: the other was done before it looked
        assert Run.open(path).config.training.seed == 1 + codes.index(0)


def test_a_run_is_not_begun_in_a_folder_that_is_being_written(tmp_path: Path) -> None:
    config = RunConfig(ModelConfig(channels=(8, 8)), TrainConfig())
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
