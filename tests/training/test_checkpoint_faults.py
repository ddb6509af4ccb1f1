"""Checkpoints: lost entries, damage, full disks, leftovers, and other users of random numbers."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import TINY, finish, resumed

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffLockedError, VizdiffNonFiniteError
from viz_diffusion.files import lock, read_json, sha256_file, write_json, write_manifest
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer

FILES = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"]


def last(path: Path) -> Path:
    """Return the newest checkpoint of the stopped run."""
    return path / "training" / "step-00000007"


def adapt_manifest(folder: Path) -> None:
    """Write a manifest of the files as they are, as a program that forgot something would."""
    write_manifest(folder, FILES)


# -- a lost part of the state -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES[:3])
def test_a_missing_tensor_is_named(name: str, stopped: Path) -> None:
    shutil.rmtree(stopped / "training" / "step-00000004")
    path = last(stopped) / name
    tensors = load_file(path)
    assert len(tensors) > 40
    for key in list(tensors)[::3]:
        save_file({other: tensor for other, tensor in tensors.items() if other != key}, path)
        adapt_manifest(last(stopped))
        with pytest.raises(VizdiffInputError) as caught:
            Run.open(stopped).resume()
        assert f" {key} " in str(caught.value)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("key", ["step", "metrics_bytes", "environment", "recipe"])
def test_every_missing_entry_is_named(key: str, stopped: Path) -> None:
    shutil.rmtree(stopped / "training" / "step-00000004")
    entries = read_json(last(stopped) / "state.json")
    assert set(entries) == {"step", "metrics_bytes", "environment", "recipe"}
    del entries[key]
    write_json(last(stopped) / "state.json", entries)
    adapt_manifest(last(stopped))
    with pytest.raises(VizdiffInputError, match=rf"state\.json holds no {key}"):
        Run.open(stopped).resume()


def reset_tensors(folder: Path, name: str, suffix: str) -> None:
    """Replace saved tensors by their initial values, as if they had not been saved."""
    tensors = load_file(folder / name)
    fresh = dict(SimpleUNet(TINY).state_dict())
    chosen = [key for key in tensors if key.endswith(suffix)]
    assert chosen
    for key in chosen:
        tensors[key] = fresh.get(key, torch.zeros_like(tensors[key])).contiguous()
    save_file(tensors, folder / name)
    adapt_manifest(folder)


LOST = [(FILES[0], "weight"), (FILES[1], "weight")]
LOST += [(FILES[2], f".{key}") for key in ("exp_avg", "exp_avg_sq", "step")]


@pytest.mark.parametrize(("name", "suffix"), LOST)
def test_control_a_lost_part_of_the_state_changes_the_weights(
    name: str, suffix: str, stopped: Path, tmp_path: Path, few_digits: Digits
) -> None:
    """The comparison for bit-exactness can fail, and does for each kind of state."""
    copy = Path(shutil.copytree(stopped, tmp_path / "reset"))
    reset_tensors(last(copy), name, suffix)
    assert finish(copy, few_digits)["model.safetensors"] != finish(stopped, few_digits)["model.safetensors"]


@pytest.mark.parametrize(
    ("entry", "value"), [("learning_rate", 1e-3), ("batch_size", 3), ("seed", 1), ("label_dropout", 0.5)]
)
def test_a_changed_config_is_refused_by_name(entry: str, value: float, stopped: Path) -> None:
    config = read_json(stopped / "config.json")
    config["training"][entry] = value
    write_json(stopped / "config.json", config)
    with pytest.raises(VizdiffInputError, match=rf"{entry} .* then, {value} now.*; force goes on"):
        Run.open(stopped).resume()
    assert f"{value} now" in Run.open(stopped).resume(force=True).remarks[0]


def test_other_users_of_random_numbers_change_nothing(stopped: Path, tmp_path: Path, few_digits: Digits) -> None:
    """No random state is saved, because every draw follows from the seed and the step."""
    copy = Path(shutil.copytree(stopped, tmp_path / "reseeded"))
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = finish(stopped, few_digits)
    entropy = random.Random(7)

    def reseed() -> None:
        torch.manual_seed(entropy.randrange(2**31))
        random.seed(entropy.randrange(2**31))
        np.random.seed(entropy.randrange(2**31))  # noqa: NPY002

    reseed()
    assert finish(copy, few_digits, reseed) == expected


# -- damage ------------------------------------------------------------------------------------------


def test_every_flipped_bit_and_every_cut_is_detected(stopped: Path) -> None:
    """1,000 flips of single bits over all files of the only checkpoint, and cuts every 4,096 bytes."""
    shutil.rmtree(stopped / "training" / "step-00000004")
    run, draw, accepted, cases = Run.open(stopped), random.Random(3), [], 0
    contents = {name: (last(stopped) / name).read_bytes() for name in [*FILES, "manifest.json"]}
    for name, data in contents.items():
        flips = [(draw.randrange(len(data)), 1 << draw.randrange(8)) for _ in range(200)]
        damaged = [data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at, bit in flips]
        damaged += [data[:length] for length in range(0, len(data) - 1, 4096 if len(data) > 4096 else 64)]
        for content in damaged:
            (last(stopped) / name).write_bytes(content)
            try:
                run.resume()
                accepted.append(name)
            except VizdiffInputError:
                pass
            cases += 1
        (last(stopped) / name).write_bytes(data)
    assert cases > 1000
    assert accepted == []
    assert run.resume().state.step == 7


# -- a disk that refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_leaves_the_old_checkpoint(
    call: str, code: int, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: sha256_file(path) for path in stopped.rglob("*.safetensors") if "training" in path.parts}
    steps = resumed(stopped, few_digits)
    next(steps)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    # the metrics are flushed first: the checkpoint holds their length
    message = "metrics.jsonl: {}" if call == "fsync" else r"step-00000008: {}; it needs [\d,]+ bytes"
    with pytest.raises(VizdiffIOError, match=message.format(os.strerror(code))) as caught:
        steps.close()
    monkeypatch.undo()
    assert caught.value.exit_code == 4
    assert {path: sha256_file(path) for path in before} == before
    assert not list(stopped.rglob("*.tmp"))
    assert Run.open(stopped).resume().state.step == 7


# -- leftovers ---------------------------------------------------------------------------------------


def test_leftovers_are_never_read_and_are_removed(stopped: Path, few_digits: Digits) -> None:
    training = stopped / "training"
    dead = [training / ".step-00000009.0a0a0a0a.tmp", training / ".step-00000003.0b0b0b0b.old"]
    for folder in dead:
        shutil.copytree(last(stopped), folder)
    half = Path(shutil.copytree(last(stopped), training / "step-00000008"))
    (half / "manifest.json").unlink()
    file = stopped / ".samples.safetensors.0c0c0c0c.tmp"
    file.write_bytes(b"half")
    notes = stopped / ".notes.tmp"
    notes.write_text("a file of the user")
    assert Run.open(stopped).resume().state.step == 7
    with lock(stopped / ".lock"), pytest.raises(VizdiffLockedError):  # another process may still be writing
        finish(stopped, few_digits)
    assert all(path.exists() for path in (*dead, half, file))
    finish(stopped, few_digits)
    assert not any(path.exists() for path in (*dead, half, file))
    assert notes.exists()


# -- non-finite numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_non_finite_number_stops_training_before_the_step(
    where: str, stopped: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(stopped)
    state, metrics_bytes, _ = run.resume()
    forward = SimpleUNet.forward

    def non_finite(self: SimpleUNet, *inputs: torch.Tensor) -> torch.Tensor:
        prediction = forward(self, *inputs)
        if where == "loss":
            return prediction * float("nan")
        if prediction.requires_grad:
            prediction.register_hook(lambda gradient: gradient * float("inf"))
        return prediction

    monkeypatch.setattr(SimpleUNet, "forward", non_finite)
    weights = {name: value.clone() for name, value in state.model.state_dict().items()}
    with pytest.raises(VizdiffNonFiniteError, match="step 8") as caught:
        next(Trainer(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes).run())
    assert caught.value.exit_code == 6
    assert all(torch.equal(value, weights[name]) for name, value in state.model.state_dict().items())
    monkeypatch.undo()
    newest = Run.open(stopped).resume().state
    assert newest.step == 7
    assert all(torch.isfinite(value).all() for value in newest.model.state_dict().values())
    assert json.loads((last(stopped) / "state.json").read_text())["step"] == 7
