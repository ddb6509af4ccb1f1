"""A run is whole or recognisably unfinished, and going on gives what going through would have given."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import train as command
from viz_diffusion.cli.console import Terminal
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError
from viz_diffusion.files import read_json, sha256_file, write_json
from viz_diffusion.training import run as running
from viz_diffusion.training import trainer as fitting
from viz_diffusion.training.config import UNDECIDED, RunConfig, TrainConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Progress, evaluation_steps, fit

STEPS = 106  # looked at after 100, 101, 102, 103, 104, 105 and 106 steps


@pytest.fixture(scope="module")
def config() -> RunConfig:
    tiny = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)
    return RunConfig(tiny, TrainConfig(steps=STEPS, batch_size=2, warmup_steps=5))


@pytest.fixture(scope="module")
def digits(test_digits: Digits) -> Digits:
    return Digits(test_digits.images[:9], test_digits.labels[:9])


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting.Thumbnails, "STEPS", 1)


def begin(path: Path, config: RunConfig) -> tuple[Run, TrainState]:
    return Run.create(path, config), TrainState.create(config.training, config.model)


def go_on(path: Path, digits: Digits, change: Callable[[TrainState], object] | None = None) -> None:
    run = Run.open(path)
    state, metrics_bytes, _ = run.resume()
    if change is not None:
        change(state)
    for _ in fit(run, state, digits, digits, metrics_bytes=metrics_bytes):
        pass


def fingerprint(path: Path) -> dict[str, str]:
    """Give the SHA-256 of everything that training leaves behind."""
    last = Run.open(path).checkpoints()[-1]
    files = [path / name for name in ("config.json", "metrics.jsonl", "model.safetensors", "samples.safetensors")]
    files += [last / f"{name}.safetensors" for name in ("model", "ema", "optimizer")]
    return {str(file.relative_to(path)): sha256_file(file) for file in [*files, last / "state.json"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: RunConfig, digits: Digits) -> Path:
    """A run that nobody interrupted."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    run, state = begin(path, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.Thumbnails, "STEPS", 1)
        seen = [progress.step for progress in fit(run, state, digits, digits)]
    assert seen == list(range(1, STEPS + 1))
    return path


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    """A finished run of one's own, to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "finished"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, config: RunConfig, digits: Digits) -> Path:
    """A run that was closed after 103 of its 106 steps, between two looks."""
    path = tmp_path_factory.mktemp("runs") / "stopped"
    run, state = begin(path, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting.Thumbnails, "STEPS", 1)
        steps = fit(run, state, digits, digits)
        for _ in range(103):
            next(steps)
        steps.close()
    return path


# -- stopping and going on -------------------------------------------------------------------------


def test_looks_are_where_this_file_thinks(config: RunConfig) -> None:
    assert evaluation_steps(config.training) == set(range(100, 107))


def test_a_stopped_run_is_unfinished_but_whole(stopped: Path) -> None:
    run = Run.open(stopped)
    assert not run.is_finished
    assert [path.name for path in run.checkpoints()] == ["step-00000103"]
    assert not list(stopped.rglob("*.tmp"))
    state, metrics_bytes, _ = run.resume()
    assert state.step == 103
    assert metrics_bytes == (stopped / "metrics.jsonl").stat().st_size


@pytest.mark.parametrize("debris", ["none", "later metrics", "half a checkpoint"])
def test_going_on_ends_bit_identical(debris: str, stopped: Path, whole: Path, tmp_path: Path, digits: Digits) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "again"))
    if debris == "later metrics":  # written after the checkpoint, before the machine died
        with (path / "metrics.jsonl").open("ab") as handle:
            handle.write(b'{"step": 110, "loss": 9}\n{"ste')
    if debris == "half a checkpoint":  # no manifest, and what a killed write leaves behind
        (path / "training" / "step-00000105").mkdir()
        (path / "training" / "step-00000105" / "model.safetensors").write_bytes(b"half")
        (path / "training" / ".step-00000106.0a0a0a0a.tmp").mkdir()
    go_on(path, digits)
    assert Run.open(path).is_finished
    assert fingerprint(path) == fingerprint(whole)


def test_going_on_early_and_often_ends_bit_identical(
    whole: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    run, state = begin(tmp_path / "run", config)
    metrics_bytes = 0
    for stop in (1, 2, 50):
        steps = fit(run, state, digits, digits, metrics_bytes=metrics_bytes)
        while state.step < stop:
            next(steps)
        steps.close()
        run = Run.open(tmp_path / "run")
        state, metrics_bytes, _ = run.resume()
        assert state.step == stop
    go_on(tmp_path / "run", digits)
    assert fingerprint(tmp_path / "run") == fingerprint(whole)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    whole: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    """What the disk holds after step 11 is what a kill -9 leaves: a checkpoint of step 8, metrics of 10."""
    run, state = begin(tmp_path / "run", config)
    steps = fit(run, state, digits, digits, checkpoint_every=4)
    for _ in range(11):
        next(steps)
    killed = Path(shutil.copytree(tmp_path / "run", tmp_path / "killed"))
    steps.close()
    assert [path.name for path in Run.open(killed).checkpoints()] == ["step-00000004", "step-00000008"]
    go_on(killed, digits)
    assert fingerprint(killed) == fingerprint(whole)


@pytest.mark.parametrize(("asked", "step"), [(1, 100), (2, 100), (11, 105), (12, 105)])
def test_a_look_is_left_at_once_where_training_is_to_stop_and_made_on_going_on(
    asked: int, step: int, whole: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    """Each look but the last asks twice: before its one batch, and after its one step of the sampler."""
    times = []
    path = tmp_path / "run"
    run, state = begin(path, config)
    steps = fit(run, state, digits, digits, should_stop=lambda: times.append(None) or len(times) == asked)
    while len(times) < asked:
        now = next(steps)
    assert (now.step, len(times)) == (step, asked)
    steps.close()
    looked = [line for line in (path / "metrics.jsonl").read_text().splitlines() if f'"step": {step}, "held' in line]
    assert looked == []
    assert not Run.open(path).is_finished
    assert Run.open(path).resume().state.step == step
    again, at = Run.open(path), Run.open(path).resume()
    steps = fit(again, at.state, digits, digits, metrics_bytes=at.metrics_bytes)
    assert next(steps).look is not None
    killed = Path(shutil.copytree(path, tmp_path / "killed"))  # after the look, before the next checkpoint
    steps.close()
    go_on(killed, digits)
    assert fingerprint(killed) == fingerprint(whole)
    go_on(path, digits)
    assert fingerprint(path) == fingerprint(whole)


def test_a_look_that_was_left_is_made_where_training_goes_on_after_all(
    whole: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    for _ in fit(*begin(tmp_path / "run", config), digits, digits, should_stop=lambda: True):
        pass
    assert fingerprint(tmp_path / "run") == fingerprint(whole)


def test_the_command_lets_a_signal_end_a_look(
    tmp_path: Path, config: RunConfig, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def looking(*_: object, should_stop: Callable[[], bool], **__: object) -> Iterator[Progress]:
        heard.append(should_stop())
        signal.raise_signal(signal.SIGINT)
        heard.append(should_stop())
        yield Progress(1, 2, 0.5, 1.0)

    monkeypatch.setattr(fitting, "fit", looking)
    with pytest.raises(typer.Exit) as left:
        command._train(*begin(tmp_path / "run", config), digits, digits, 1000, 0, Terminal(as_json=False, quiet=True))
    assert (heard, left.value.exit_code) == ([False, True], 130)


CHANGES: dict[str, Callable[[TrainState], object]] = {
    "position": lambda state: setattr(state, "step", state.step - 1),
    "a weight": lambda state: _nudge(next(state.model.parameters())),
    "an averaged weight": lambda state: _nudge(next(state.ema.parameters())),
    "first moments": lambda state: [entry["exp_avg"].zero_() for entry in state.optimizer.state.values()],
    "second moments": lambda state: [entry["exp_avg_sq"].mul_(2) for entry in state.optimizer.state.values()],
    "optimizer's counter": lambda state: [entry["step"].fill_(1) for entry in state.optimizer.state.values()],
    "seed": lambda state: setattr(state, "config", replace(state.config, seed=1)),
    "peak learning rate": lambda state: setattr(state, "config", replace(state.config, learning_rate=1e-3)),
}


def _nudge(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] += 1e-3


@pytest.mark.parametrize("change", CHANGES)
def test_control_a_lost_piece_of_state_is_noticed(
    change: str, stopped: Path, whole: Path, tmp_path: Path, digits: Digits
) -> None:
    """Were any piece not saved, the comparison above would say so."""
    path = Path(shutil.copytree(stopped, tmp_path / "again"))
    go_on(path, digits, CHANGES[change])
    found, wanted = fingerprint(path), fingerprint(whole)
    differing = {name for name in wanted if found[name] != wanted[name]}
    assert "model.safetensors" in differing
    assert "config.json" not in differing


def test_control_lost_metrics_are_noticed(stopped: Path, whole: Path, tmp_path: Path, digits: Digits) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "again"))
    state, _, _ = Run.open(path).resume()
    for _ in fit(Run.open(path), state, digits, digits, metrics_bytes=0):
        pass
    found, wanted = fingerprint(path), fingerprint(whole)
    assert {name for name in wanted if found[name] != wanted[name]} == {
        "metrics.jsonl",
        "training/step-00000106/state.json",
    }


def test_what_resume_gives_is_what_was_saved(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    steps = fit(run, state, digits, digits)
    for _ in range(5):
        next(steps)
    steps.close()
    back, _, _ = Run.open(tmp_path / "run").resume()
    for ours, theirs in ((state.model, back.model), (state.ema, back.ema)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name
            assert value.stride() == theirs.state_dict()[name].stride(), name
    ours, theirs = state.optimizer.state_dict()["state"], back.optimizer.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for index in ours:
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(ours[index][key], theirs[index][key])
            assert ours[index][key].any()
    for weight, entry in back.optimizer.state.items():
        for key in ("exp_avg", "exp_avg_sq"):  # the fused optimizer walks all three through memory alike
            assert entry[key].stride() == weight.stride(), tuple(weight.shape)


# -- the folder ------------------------------------------------------------------------------------


def test_metrics_are_json_lines(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    logged = [line["step"] for line in lines if "loss" in line]
    assert logged == [1, *range(10, STEPS, 10)]
    looked = [line["step"] for line in lines if "heldout_loss" in line]
    assert looked == list(range(100, 107))
    assert all(len(line["heldout_loss"]) == 4 for line in lines if "heldout_loss" in line)


def test_thumbnails_are_kept(whole: Path) -> None:
    steps, images = Run.open(whole).load_samples()
    assert steps.tolist() == list(range(100, 107))
    assert images.shape == (7, 10, 28, 28)
    assert images.dtype == torch.uint8
    assert len(images.flatten().unique()) > 1


def test_a_finished_run_loads_its_averaged_weights(whole: Path) -> None:
    run = Run.open(whole)
    assert run.is_finished
    model, digest = run.load_model()
    assert digest == hashlib.sha256((whole / "model.safetensors").read_bytes()).hexdigest()
    assert digest == read_json(whole / "manifest.json")["sha256"]["model.safetensors"]
    ema = load_file(run.checkpoints()[-1] / "ema.safetensors")
    weights = load_file(run.checkpoints()[-1] / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, ema[name])
    assert any(not torch.equal(ema[name], weights[name]) for name in ema)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_steps_trained_are_those_behind_the_weights(whole: Path, stopped: Path) -> None:
    assert Run.open(whole).trained_steps == STEPS
    assert Run.open(stopped).trained_steps == 103


def test_the_manifest_says_what_is_there(whole: Path) -> None:
    digests = read_json(whole / "manifest.json")["sha256"]
    assert set(digests) == {"config.json", "metrics.jsonl", "samples.safetensors", "model.safetensors"}
    assert digests == {name: sha256_file(whole / name) for name in digests}


def test_without_a_manifest_a_run_is_unfinished(finished: Path) -> None:
    (finished / "manifest.json").unlink()
    run = Run.open(finished)
    assert not run.is_finished
    _, digest = run.load_model()  # of the newest checkpoint
    assert digest == sha256_file(run.checkpoints()[-1] / "ema.safetensors")
    shutil.rmtree(finished / "training")
    with pytest.raises(VizdiffInputError, match="finished is half-written"):
        run.load_model()
    with pytest.raises(VizdiffInputError, match="finished is half-written"):
        run.resume()


def test_two_checkpoints_are_kept(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    steps = fit(run, state, digits, digits, checkpoint_every=2)
    for _ in range(9):
        next(steps)
    assert [path.name for path in run.checkpoints()] == ["step-00000006", "step-00000008"]
    steps.close()
    assert [path.name for path in run.checkpoints()] == ["step-00000008", "step-00000009"]


def test_a_folder_holds_one_run(finished: Path, config: RunConfig) -> None:
    with pytest.raises(VizdiffInputError, match="already holds a run"):
        Run.create(finished, config)


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"there is no run at .*nowhere"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(VizdiffInputError, match="no config"):
        Run.open(tmp_path)


def test_non_finite_training_leaves_the_last_checkpoint(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    spoilt = Digits(digits.images.clone(), digits.labels)
    steps = fit(run, state, spoilt, digits, checkpoint_every=3)
    for _ in range(4):
        next(steps)
    kept = sha256_file(run.checkpoints()[-1] / "model.safetensors")
    spoilt.images.fill_(float("nan"))
    with pytest.raises(VizdiffNonFiniteError):
        next(steps)
    assert [path.name for path in run.checkpoints()] == ["step-00000003"]
    assert sha256_file(run.checkpoints()[-1] / "model.safetensors") == kept
    assert not run.is_finished


def test_a_time_budget_becomes_a_number_of_steps(
    tmp_path: Path, config: RunConfig, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time at all leaves the steps that were timed; the number is then part of the run."""
    monkeypatch.setattr(fitting, "TIMED_STEPS", 12)
    run, state = begin(tmp_path / "run", config)
    told = [(progress.step, progress.steps) for progress in fit(run, state, digits, digits, minutes=0.0)]
    assert told == [(step, None) for step in range(1, 12)] + [(12, 12)]
    assert Run.open(tmp_path / "run").config.training == replace(config.training, steps=12)
    assert Run.open(tmp_path / "run").is_finished


def test_a_time_budget_outlives_a_stop_before_it_is_a_number(
    tmp_path: Path, config: RunConfig, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The minutes are kept, and begin anew with the process that goes on."""
    monkeypatch.setattr(fitting, "TIMED_STEPS", 12)
    path = tmp_path / "run"
    steps = fit(*begin(path, replace(config, minutes=0.0)), digits, digits)
    assert [next(steps).steps for _ in range(5)] == [None] * 5
    steps.close()
    values = read_json(path / "config.json")
    assert (values["minutes"], values["training"]["steps"]) == (0.0, None)
    run = Run.open(path)
    assert "unfinished, 1 steps so far" in run._repr_html_()
    assert f"{UNDECIDED:,}" not in run._repr_html_()
    state, metrics_bytes, remarks = run.resume()
    assert remarks == []
    told = [(now.step, now.steps) for now in fit(run, state, digits, digits, metrics_bytes=metrics_bytes)]
    assert told == [(step, None) for step in range(6, 17)] + [(17, 17)]
    assert Run.open(path).config == replace(config, training=replace(config.training, steps=17))


def test_a_number_of_steps_takes_the_place_of_minutes(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", replace(config, minutes=10.0))
    state.config = replace(state.config, steps=3)
    assert [now.steps for now in fit(run, state, digits, digits)] == [3, 3, 3]
    assert Run.open(tmp_path / "run").config == replace(config, training=replace(config.training, steps=3))


def test_a_time_budget_begins_where_it_is_given(
    stopped: Path, tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "TIMED_STEPS", 12)
    run = Run.open(Path(shutil.copytree(stopped, tmp_path / "again")))
    state, metrics_bytes, _ = run.resume()
    steps = [now.step for now in fit(run, state, digits, digits, minutes=0.0, metrics_bytes=metrics_bytes)]
    assert steps == list(range(104, 116))


def test_going_on_tells_minutes_as_minutes(
    tmp_path: Path,
    config: RunConfig,
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run"
    steps = fit(*begin(path, replace(config, minutes=10.0)), digits, digits)
    next(steps)
    steps.close()
    monkeypatch.setattr(RunConfig, "load_digits", lambda *_: digits)
    monkeypatch.setattr(command, "_train", lambda *_: None)
    assert main(["train", "--resume", str(path), "--device", "cpu"]) == 0
    assert "at step 1, budget 10 minutes\n" in capsys.readouterr().err


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 9, 300, -1])
def test_a_flipped_byte_in_the_weights_is_noticed(place: int, finished: Path) -> None:
    flip(finished / "model.safetensors", place)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors is not what was written"):
        Run.open(finished).load_model()


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_noticed(name: str, damage: str, stopped: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "spoilt"))
    file = path / "training" / "step-00000103" / name
    if damage == "flipped":
        flip(file, len(file.read_bytes()) // 2)
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(VizdiffInputError, match=f"step-00000103.{name}"):
        Run.open(path).resume()


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_cut_weights_are_noticed(damage: str, finished: Path) -> None:
    path = finished / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    if damage == "gone":
        path.unlink()
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors"):
        Run.open(finished).load_model()


def rewrite(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Put other weights in and make the manifest fit, as an honest mistake would."""
    save_file(weights, path / "model.safetensors")
    manifest = read_json(path / "manifest.json")
    manifest["sha256"]["model.safetensors"] = sha256_file(path / "model.safetensors")
    write_json(path / "manifest.json", manifest)


@pytest.mark.parametrize("kind", ["wider", "one missing", "one more"])
def test_weights_of_another_shape_are_named(kind: str, finished: Path, config: RunConfig) -> None:
    weights = load_file(finished / "model.safetensors")
    if kind == "wider":
        weights = dict(SimpleUNet(replace(config.model, embedding_dim=32)).state_dict())
        named = r"down_inner\.0\.condition\.weight should have shape \(16, 16\), found \(16, 32\)"
    elif kind == "one missing":
        del weights["conv_in.bias"]
        named = r"conv_in\.bias should have shape \(8,\), found None"
    else:
        weights["extra"] = torch.zeros(3)
        named = r"extra should have shape None, found \(3,\)"
    rewrite(finished, weights)
    with pytest.raises(VizdiffInputError, match=rf"model\.safetensors.*{named}") as caught:
        Run.open(finished).load_model()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(number: float, finished: Path) -> None:
    weights = load_file(finished / "model.safetensors")
    weights["conv_in.bias"][3] = number
    rewrite(finished, weights)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors.*not finite"):
        Run.open(finished).load_model()


def test_what_is_no_safetensors_file_is_refused(finished: Path) -> None:
    rewrite(finished, load_file(finished / "model.safetensors"))
    (finished / "model.safetensors").write_bytes(b"\x80\x04\x95 this is a pickle")
    manifest = read_json(finished / "manifest.json")
    manifest["sha256"]["model.safetensors"] = sha256_file(finished / "model.safetensors")
    write_json(finished / "manifest.json", manifest)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors is not a safetensors file"):
        Run.open(finished).load_model()


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"sha256": []}', b'{"sha256": null}', b'{"sha256": 3}'])
def test_an_odd_manifest_is_refused(manifest: bytes, finished: Path) -> None:
    (finished / "manifest.json").write_bytes(manifest)
    with pytest.raises(VizdiffInputError, match=r"manifest\.json|model\.safetensors"):
        Run.open(finished).load_model()


def test_a_config_changed_after_training_is_noticed(finished: Path) -> None:
    """The manifest lists config.json's SHA-256: with another schedule the same weights mean nothing."""
    values = read_json(finished / "config.json")
    values["schedule"] = "cosine"
    write_json(finished / "config.json", values)
    with pytest.raises(VizdiffInputError, match=r"config\.json"):
        Run.open(finished).load_model()


@pytest.mark.parametrize("damage", ["cut", "empty", "no steps", "flipped"])
def test_damaged_thumbnails_are_refused(damage: str, finished: Path) -> None:
    path = finished / "samples.safetensors"
    if damage == "no steps":
        save_file({"images": torch.zeros(1, 10, 28, 28, dtype=torch.uint8)}, path)
    elif damage == "flipped":
        flip(path, -1)
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(VizdiffInputError, match=r"samples\.safetensors"):
        Run.open(finished).load_samples()


GARBAGE: dict[str, Callable[[dict], object]] = {
    "no version": lambda values: values.pop("format_version"),
    "another version": lambda values: values.update(format_version=2),
    "no model": lambda values: values.pop("model"),
    "no training": lambda values: values.pop("training"),
    "unknown entry": lambda values: values.update(colour="blue"),
    "model is a list": lambda values: values.update(model=[1]),
    "model is a number": lambda values: values.update(model=3),
    "training is null": lambda values: values.update(training=None),
    "unknown model entry": lambda values: values["model"].update(depth=3),
    "channels are one": lambda values: values["model"].update(channels=8),
    "channels are text": lambda values: values["model"].update(channels=["8", "8"]),
    "no blocks": lambda values: values["model"].update(num_blocks=0),
    "minutes are text": lambda values: values.update(minutes="ten"),
    "minutes are none at all": lambda values: values["training"].update(steps=None),
    "unknown training entry": lambda values: values["training"].update(momentum=0.9),
    "no steps": lambda values: values["training"].update(steps=0),
    "steps are text": lambda values: values["training"].update(steps="many"),
    "another precision": lambda values: values["training"].update(precision="fp8"),
    "unknown schedule": lambda values: values.update(schedule="sigmoid"),
    "schedule is a list": lambda values: values.update(schedule=["linear"]),
    "negative T": lambda values: values.update(num_train_timesteps=-5),
    "no T": lambda values: values.update(num_train_timesteps=0),
    "T is text": lambda values: values.update(num_train_timesteps="1000"),
    "T is a fraction": lambda values: values.update(num_train_timesteps=0.5),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_a_garbage_config_is_refused_by_name(case: str, finished: Path) -> None:
    path = finished / "config.json"
    values = json.loads(path.read_text())
    GARBAGE[case](values)
    path.write_text(json.dumps(values))
    with pytest.raises(VizdiffInputError, match=r"config\.json") as caught:
        _ = Run.open(finished).config.noise_schedule
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"PK\x03\x04"], ids=repr)
def test_a_config_that_is_no_json_is_refused(content: bytes, finished: Path) -> None:
    (finished / "config.json").write_bytes(content)
    with pytest.raises(VizdiffInputError, match=r"config\.json"):
        Run.open(finished)


def test_config_round_trip(tmp_path: Path, config: RunConfig) -> None:
    write_json(tmp_path / "config.json", config.to_dict())
    assert RunConfig.read(tmp_path / "config.json") == config


# -- which run -------------------------------------------------------------------------------------


def test_the_newest_finished_run_is_chosen(
    whole: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = shutil.copytree(whole, tmp_path / "package" / "weights")
    monkeypatch.setattr(running, "BUNDLED_DIR", Path(bundled))
    monkeypatch.chdir(tmp_path)
    assert Run.choose().is_bundled
    assert Run.choose().name == "bundled"
    for age, (name, source) in enumerate(
        [("new but unfinished", stopped), ("z-older", whole), ("a-newer", whole)][::-1]
    ):
        shutil.copytree(source, tmp_path / "runs" / name)
        for file in (tmp_path / "runs" / name).rglob("*"):
            os.utime(file, (1e9 - 1000 * age, 1e9 - 1000 * age))
    assert Run.choose().path.name == "a-newer"
    assert not Run.choose().is_bundled
    os.utime(tmp_path / "runs" / "z-older" / "manifest.json", (2e9, 2e9))
    assert Run.choose().path.name == "z-older"
    assert Run.choose("bundled").path == Path(bundled)
    assert Run.choose("runs/new but unfinished").name == "new but unfinished"
    assert Run.choose(str(tmp_path / "runs" / "a-newer")).path.name == "a-newer"
    with pytest.raises(VizdiffInputError, match="there is no run at nothing"):
        Run.choose("nothing")


def test_a_config_from_before_the_weighting_means_no_weighting(tmp_path: Path) -> None:
    config = RunConfig(ModelConfig(channels=(8, 16), embedding_dim=24), TrainConfig(steps=3))
    values = config.to_dict()
    assert config.training.weight_exponent == values["training"].pop("weight_exponent") > 0
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert RunConfig.read(tmp_path / "config.json").training.weight_exponent == 0


def test_a_runs_digits_are_a_part_of_its_data_set(tiny_config: ModelConfig) -> None:
    whole = RunConfig(tiny_config, TrainConfig(steps=1))
    part = RunConfig(tiny_config, TrainConfig(steps=1), subset=100)
    few, all_of_them = part.load_digits("train"), whole.load_digits("train")
    assert (len(few), len(part.data_set(few))) == (100, 60_000)
    assert whole.data_set(all_of_them) is all_of_them
