"""``vizdiff train --set``: fields of TrainConfig and ModelConfig by name, what is refused, and what a run records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.commands import train
from viz_diffusion.cli.training_settings import read_settings
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

TINY = ("channels=8,16", "embedding_dim=16", "time_dim=8", "num_heads=2", "batch_size=2")


def command(*settings: str) -> list[str]:
    return ["train", "--device", "cpu", "--quiet", *(word for one in settings for word in ("--set", one))]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command make its run and end before the first training step."""
    monkeypatch.setattr(train, "_train", lambda *_: None)


@pytest.mark.usefixtures("untrained")
def test_settings_reach_network_and_training_and_are_recorded(tmp_path: Path) -> None:
    given = (*TINY, "steps=2", "learning_rate=2e-3", "optimizer=muon", "seed=3", "use_time=false")
    assert main([*command(*given), "--out", str(tmp_path / "r")]) == 0
    config = Run.open(tmp_path / "r").config
    model, training = config.model, config.training
    assert (model.channels, model.embedding_dim, model.use_time, model.schedule) == ((8, 16), 16, False, None)
    assert (training.steps, training.batch_size, training.seed) == (2, 2, 3)
    assert (training.learning_rate, training.optimizer) == (2e-3, "muon")
    assert config.overrides == tuple(sorted(one.partition("=")[0] for one in given))
    assert training.ema_decay == 0.999


@pytest.mark.usefixtures("untrained")
def test_a_setting_is_the_same_as_its_option(tmp_path: Path) -> None:
    options = ["--steps", "1", "--batch-size", "2", "--seed", "5", "--objective", "v"]
    assert main([*command(*TINY[:4]), *options, "--out", str(tmp_path / "a")]) == 0
    settings = (*TINY[:4], "steps=1", "batch_size=2", "seed=5", "objective=v")
    assert main([*command(*settings), "--out", str(tmp_path / "b")]) == 0
    a, b = (Run.open(tmp_path / name).config for name in "ab")
    assert a.overrides != b.overrides
    assert replace(a, overrides=()) == replace(b, overrides=())


def test_resume_takes_no_settings_and_compares_their_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, 2, *command("ema_decay=0.9"), "--resume", str(tmp_path))
    assert "--resume goes on with the run's own" in line
    config = Run.bundled().config
    changed = replace(config, training=replace(config.training, ema_decay=0.5))
    assert changed.conditions() != config.conditions()
    assert replace(config, overrides=("ema_decay",)).conditions() == config.conditions()


def test_a_config_without_settings_is_as_before() -> None:
    config = Run.bundled().config
    assert "overrides" not in config.to_dict()
    assert RunConfig.read(Run.bundled().path / "config.json").overrides == ()


@pytest.mark.parametrize(
    ("word", "given", "said"),
    [
        ("lerning_rate=1", {}, "--set has no setting 'lerning_rate'; did you mean 'learning_rate'?"),
        ("zzzz=1", {}, "--set has no setting 'zzzz'; they are steps, batch_size"),
        ("learning_rate", {}, "--set takes name=value, such as learning_rate=2e-3, found 'learning_rate'"),
        ("learning_rate=fast", {}, "--set learning_rate must be a number, found 'fast'"),
        ("batch_size=2.5", {}, "--set batch_size must be a whole number, found '2.5'"),
        ("channels=16", {}, "--set channels must be two whole numbers with a comma between them"),
        ("use_time=maybe", {}, "--set use_time must be true or false, found 'maybe'"),
        ("num_labels=3", {}, "--set cannot change num_labels, which follows from the data"),
        ("batch_size=8", {"batch_size": 8}, "batch_size and --set batch_size=8 exclude each other"),
        ("use_time=false", {"use_time": True}, "--no-time and --set use_time=false exclude each other"),
    ],
)
def test_impossible_settings_are_refused(word: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(VizdiffUsageError) as raised:
        read_settings([word], given)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("learning_rate=-1",), "learning_rate must be a number of at least 0, found -1.0"),
        (("weight_decay=nan",), "weight_decay must be a number of at least 0, found nan"),
        (("channels=12,16",), "--set channels=(12, 16): the model's channels must be divisible by 8, found 12"),
        (("optimizer=sgd",), "optimizer must be adamw or muon, found 'sgd'"),
        (("steps=5", "steps=6"), "--set gives steps twice"),
        (("steps=0",), "--steps must be at least 1, found 0"),
    ],
)
def test_values_that_no_training_has_are_refused_before_a_folder_is_made(
    settings: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, 2, *command(*settings), "--out", str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_a_budget_is_set_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert "exclude each other" in refused(capsys, 2, *command("steps=5"), "--minutes", "1")
