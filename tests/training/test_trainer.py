"""Training to the end of a run: a stop at any step, and a resume, give the bytes of an uninterrupted training."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from training_runs import begin, fingerprint, finish, flip, resumed, train_to

from viz_diffusion.cli.commands import train as command
from viz_diffusion.cli.console import Terminal
from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.files import sha256_file
from viz_diffusion.training import trainer
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Progress, Trainer, evaluation_steps

# -- stopping and resuming -------------------------------------------------------------------------


def test_the_small_run_is_evaluated_at_its_last_seven_steps(config: RunConfig) -> None:
    assert evaluation_steps(config.training) == set(range(100, 107))


def test_a_stopped_run_is_unfinished_but_can_be_resumed(stopped_at_103: Path) -> None:
    run = Run.open(stopped_at_103)
    assert not run.is_finished
    assert [path.name for path in run.checkpoints()] == ["step-00000103"]
    assert not list(stopped_at_103.rglob("*.tmp"))
    state, metrics_bytes, _ = run.resume()
    assert state.step == 103
    assert metrics_bytes == (stopped_at_103 / "metrics.jsonl").stat().st_size


@pytest.mark.parametrize("leftovers", ["none", "later metrics", "half a checkpoint"])
def test_a_resumed_run_ends_bit_identical(
    leftovers: str, stopped_at_103: Path, uninterrupted: Path, tmp_path: Path, digits: Digits
) -> None:
    path = Path(shutil.copytree(stopped_at_103, tmp_path / "resumed"))
    if leftovers == "later metrics":  # written after the checkpoint, before the machine failed
        with (path / "metrics.jsonl").open("ab") as handle:
            handle.write(b'{"step": 110, "loss": 9}\n{"ste')
    if leftovers == "half a checkpoint":  # without a manifest, and the temporary folder of a killed write
        (path / "training" / "step-00000105").mkdir()
        (path / "training" / "step-00000105" / "model.safetensors").write_bytes(b"half")
        (path / "training" / ".step-00000106.0a0a0a0a.tmp").mkdir()
    assert finish(path, digits) == fingerprint(uninterrupted)
    assert Run.open(path).is_finished


def test_stops_after_few_steps_end_bit_identical(
    uninterrupted: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    run, state = begin(tmp_path / "run", config)
    metrics_bytes = 0
    for step in (1, 2, 50):
        train_to(step, run, state, digits, metrics_bytes=metrics_bytes)
        run = Run.open(tmp_path / "run")
        state, metrics_bytes, _ = run.resume()
        assert state.step == step
    assert finish(tmp_path / "run", digits) == fingerprint(uninterrupted)


def test_a_killed_run_resumes_from_its_last_checkpoint(
    uninterrupted: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    """The disk after step 11 is what a kill -9 leaves: a checkpoint of step 8, metrics of step 10."""
    run, state = begin(tmp_path / "run", config)
    steps = Trainer(run, state, digits, digits, checkpoint_every=4).run()
    for _ in range(11):
        next(steps)
    killed = Path(shutil.copytree(tmp_path / "run", tmp_path / "killed"))
    steps.close()
    assert [path.name for path in Run.open(killed).checkpoints()] == ["step-00000004", "step-00000008"]
    assert finish(killed, digits) == fingerprint(uninterrupted)


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
def test_control_a_changed_part_of_the_state_changes_the_weights(
    change: str, stopped_at_103: Path, uninterrupted: Path, tmp_path: Path, digits: Digits
) -> None:
    """If a part of the state were not saved, the comparisons above would fail."""
    path = Path(shutil.copytree(stopped_at_103, tmp_path / "changed"))
    for _ in resumed(path, digits, CHANGES[change]):
        pass
    result, expected = fingerprint(path), fingerprint(uninterrupted)
    differing = {name for name in expected if result[name] != expected[name]}
    assert "model.safetensors" in differing
    assert "config.json" not in differing


def test_control_lost_metrics_change_the_metrics_log(
    stopped_at_103: Path, uninterrupted: Path, tmp_path: Path, digits: Digits
) -> None:
    path = Path(shutil.copytree(stopped_at_103, tmp_path / "changed"))
    state, _, _ = Run.open(path).resume()
    for _ in Trainer(Run.open(path), state, digits, digits, metrics_bytes=0).run():
        pass
    result, expected = fingerprint(path), fingerprint(uninterrupted)
    last = "training/step-00000106"
    assert {name for name in expected if result[name] != expected[name]} == {
        "metrics.jsonl",
        f"{last}/state.json",
        f"{last}/manifest.json",
    }


def test_resume_reads_what_was_saved(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    train_to(5, run, state, digits)
    back, _, _ = Run.open(tmp_path / "run").resume()
    for saved, read in ((state.model, back.model), (state.ema, back.ema)):
        for name, value in saved.state_dict().items():
            assert torch.equal(value, read.state_dict()[name]), name
            assert value.stride() == read.state_dict()[name].stride(), name
    saved, read = state.optimizer.state_dict()["state"], back.optimizer.state_dict()["state"]
    assert saved.keys() == read.keys()
    for index in saved:
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(saved[index][key], read[index][key])
            assert saved[index][key].any()
    for weight, entry in back.optimizer.state.items():
        for key in ("exp_avg", "exp_avg_sq"):  # the fused optimizer reads all three in memory order
            assert entry[key].stride() == weight.stride(), tuple(weight.shape)


# -- evaluations that are abandoned ----------------------------------------------------------------


@pytest.mark.parametrize(("stop_at_call", "step"), [(1, 100), (2, 100), (11, 105), (12, 105)])
def test_a_stop_abandons_the_evaluation_and_resuming_makes_it(
    stop_at_call: int, step: int, uninterrupted: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    """Each evaluation but the last calls twice: before its one batch, and after its one step of the sampler."""
    calls = []
    path = tmp_path / "run"
    run, state = begin(path, config)
    steps = Trainer(
        run, state, digits, digits, should_stop=lambda: calls.append(None) or len(calls) == stop_at_call
    ).run()
    while len(calls) < stop_at_call:
        now = next(steps)
    assert (now.step, len(calls)) == (step, stop_at_call)
    steps.close()
    assert f'"step": {step}, "heldout_loss"' not in (path / "metrics.jsonl").read_text()
    assert not Run.open(path).is_finished
    assert Run.open(path).resume().state.step == step
    steps = resumed(path, digits)
    assert next(steps).evaluation is not None
    killed = Path(shutil.copytree(path, tmp_path / "killed"))  # after the evaluation, before the next checkpoint
    steps.close()
    assert finish(killed, digits) == fingerprint(uninterrupted)
    assert finish(path, digits) == fingerprint(uninterrupted)


def test_an_abandoned_evaluation_is_made_if_the_caller_trains_on(
    uninterrupted: Path, tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    trainer = Trainer(*begin(tmp_path / "run", config), digits, digits, should_stop=lambda: True)
    evaluated = [now.evaluation and now.evaluation.step for now in trainer.run()]
    assert evaluated[99:] == [None, 100, 101, 102, 103, 104, 106]  # the last one is not abandoned
    assert fingerprint(tmp_path / "run") == fingerprint(uninterrupted)


def test_progress_holds_the_last_completed_evaluation(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    evaluations = [now.evaluation for now in Trainer(*begin(tmp_path / "run", config), digits, digits).run()]
    assert evaluations[:99] == [None] * 99
    assert [evaluation.step for evaluation in evaluations[99:]] == list(range(100, 107))
    assert [evaluation.num_thumbnails for evaluation in evaluations[99:]] == list(range(1, 8))
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["heldout_loss"] for line in logged if "heldout_loss" in line]
    assert [list(evaluation.heldout_loss) for evaluation in evaluations[99:]] == losses


def test_a_signal_makes_the_command_abandon_an_evaluation(
    tmp_path: Path, config: RunConfig, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []

    class Evaluating:
        def __init__(self, *_: object, should_stop: Callable[[], bool], **__: object) -> None:
            self.should_stop = should_stop

        def run(self) -> Iterator[Progress]:
            answers.append(self.should_stop())
            signal.raise_signal(signal.SIGINT)
            answers.append(self.should_stop())
            yield Progress(1, 2, 0.5, 1.0)

    monkeypatch.setattr(trainer, "Trainer", Evaluating)
    with pytest.raises(typer.Exit) as stop:
        command._train(*begin(tmp_path / "run", config), digits, digits, 1000, 0, Terminal(as_json=False, quiet=True))
    assert (answers, stop.value.exit_code) == ([False, True], 130)


# -- what training writes --------------------------------------------------------------------------


def test_metrics_are_json_lines(uninterrupted: Path) -> None:
    lines = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, *range(10, 106, 10)]
    assert [line["step"] for line in lines if "heldout_loss" in line] == list(range(100, 107))
    assert all(len(line["heldout_loss"]) == 4 for line in lines if "heldout_loss" in line)


def test_thumbnails_are_kept(uninterrupted: Path) -> None:
    steps, images = Run.open(uninterrupted).load_samples()
    assert steps.tolist() == list(range(100, 107))
    assert images.shape == (7, 10, 28, 28)
    assert images.dtype == torch.uint8
    assert len(images.flatten().unique()) > 1


def test_two_checkpoints_are_kept(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    steps = Trainer(run, state, digits, digits, checkpoint_every=2).run()
    for _ in range(9):
        next(steps)
    assert [path.name for path in run.checkpoints()] == ["step-00000006", "step-00000008"]
    steps.close()
    assert [path.name for path in run.checkpoints()] == ["step-00000008", "step-00000009"]


def test_an_unreadable_newest_checkpoint_is_removed_after_later_ones(stopped: Path, few_digits: Digits) -> None:
    flip(stopped / "training" / "step-00000007" / "model.safetensors")
    run = Run.open(stopped)
    steps = resumed(stopped, few_digits, checkpoint_every=2)
    kept = {next(steps).step: [path.name for path in run.checkpoints()] for _ in range(4)}
    assert kept == {
        5: ["step-00000004", "step-00000007"],
        6: ["step-00000004", "step-00000006"],
        7: ["step-00000004", "step-00000006"],
        8: ["step-00000006", "step-00000008"],
    }
    steps.close()


def test_non_finite_training_leaves_the_last_checkpoint(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", config)
    data = Digits(digits.images.clone(), digits.labels)
    steps = Trainer(run, state, data, digits, checkpoint_every=3).run()
    for _ in range(4):
        next(steps)
    kept = sha256_file(run.checkpoints()[-1] / "model.safetensors")
    data.images.fill_(float("nan"))
    with pytest.raises(VizdiffNonFiniteError):
        next(steps)
    assert [path.name for path in run.checkpoints()] == ["step-00000003"]
    assert sha256_file(run.checkpoints()[-1] / "model.safetensors") == kept
    assert not run.is_finished
