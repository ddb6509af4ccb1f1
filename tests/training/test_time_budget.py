"""A time budget: minutes that become a number of steps once the first steps have been timed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from training_runs import begin, resumed, train_to

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import train as command
from viz_diffusion.data import Digits
from viz_diffusion.files import read_json
from viz_diffusion.training import trainer
from viz_diffusion.training.config import UNDECIDED_STEPS, RunConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer


@pytest.fixture
def _twelve_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "TIMED_STEPS", 12)


@pytest.mark.usefixtures("_twelve_timed_steps")
def test_a_time_budget_becomes_a_number_of_steps(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    """With no time at all the run ends after the timed steps; their number is written to its config."""
    run, state = begin(tmp_path / "run", config)
    progress = [(now.step, now.steps) for now in Trainer(run, state, digits, digits, minutes=0.0).run()]
    assert progress == [(step, None) for step in range(1, 12)] + [(12, 12)]
    assert Run.open(tmp_path / "run").config.training == replace(config.training, steps=12)
    assert Run.open(tmp_path / "run").is_finished


@pytest.mark.usefixtures("_twelve_timed_steps")
def test_a_time_budget_is_spent_at_the_speed_of_the_timed_steps(
    tmp_path: Path, config: RunConfig, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps take 3 s, and after ten of them 0.5 s: 2% of a minute is reserved, 31 s are gone, 27.8 s are left."""
    run, state = begin(tmp_path / "run", config)
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: 3.0 * min(state.step, 10) + 0.5 * max(0, state.step - 10))
    steps = Trainer(run, state, digits, digits, minutes=1.0).run()
    assert [next(steps).steps for _ in range(12)] == [None] * 11 + [12 + 55]
    steps.close()


@pytest.mark.usefixtures("_twelve_timed_steps")
def test_a_time_budget_survives_a_stop_before_it_is_converted(
    tmp_path: Path, config: RunConfig, digits: Digits
) -> None:
    """The minutes stay in the config, and start again when the run is resumed."""
    path = tmp_path / "run"
    steps = Trainer(*begin(path, replace(config, minutes=0.0)), digits, digits).run()
    assert [next(steps).steps for _ in range(5)] == [None] * 5
    steps.close()
    values = read_json(path / "config.json")
    assert (values["minutes"], values["training"]["steps"]) == (0.0, None)
    run = Run.open(path)
    assert "unfinished, 1 step so far" in run._repr_html_()
    assert f"{UNDECIDED_STEPS:,}" not in run._repr_html_()
    assert run.resume().remarks == []
    progress = [(now.step, now.steps) for now in resumed(path, digits)]
    assert progress == [(step, None) for step in range(6, 17)] + [(17, 17)]
    assert Run.open(path).config == replace(config, training=replace(config.training, steps=17))


def test_a_number_of_steps_replaces_minutes(tmp_path: Path, config: RunConfig, digits: Digits) -> None:
    run, state = begin(tmp_path / "run", replace(config, minutes=10.0))
    state.config = replace(state.config, steps=3)
    assert [now.steps for now in Trainer(run, state, digits, digits).run()] == [3, 3, 3]
    assert Run.open(tmp_path / "run").config == replace(config, training=replace(config.training, steps=3))


@pytest.mark.usefixtures("_twelve_timed_steps")
def test_a_time_budget_starts_at_the_resumed_step(stopped_at_103: Path, tmp_path: Path, digits: Digits) -> None:
    path = Path(shutil.copytree(stopped_at_103, tmp_path / "resumed"))
    assert [now.step for now in resumed(path, digits, minutes=0.0)] == list(range(104, 116))


def test_the_command_shows_a_time_budget_as_minutes(
    tmp_path: Path,
    config: RunConfig,
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run"
    train_to(1, *begin(path, replace(config, minutes=10.0)), digits)
    monkeypatch.setattr(RunConfig, "load_digits", lambda *_: digits)
    monkeypatch.setattr(command, "_train", lambda *_: None)
    assert main(["train", "--resume", str(path), "--device", "cpu"]) == 0
    assert "at step 1, budget 10 minutes\n" in capsys.readouterr().err
