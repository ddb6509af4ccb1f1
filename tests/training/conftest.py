"""Small runs to train, stop, resume and damage; their thumbnails are sampled in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_runs import begin, first_digits, small_config, train_to

from viz_diffusion.data import Digits
from viz_diffusion.training import trainer
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def _one_sampling_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thumbnails, "STEPS", 1)
        yield


@pytest.fixture(scope="session")
def config() -> RunConfig:
    """The config of a run that is evaluated after 100, 101, 102, 103, 104, 105 and 106 steps."""
    return small_config(106, warmup_steps=5)


@pytest.fixture(scope="session")
def digits() -> Digits:
    return first_digits(9)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, config: RunConfig, digits: Digits) -> Path:
    """A finished run, trained without interruption."""
    path = tmp_path_factory.mktemp("runs") / "uninterrupted"
    run, state = begin(path, config)
    steps = [progress.step for progress in Trainer(run, state, digits, digits).run()]
    assert steps == list(range(1, 107))
    return path


@pytest.fixture
def finished(uninterrupted: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to damage."""
    return Path(shutil.copytree(uninterrupted, tmp_path / "finished"))


@pytest.fixture(scope="module")
def stopped_at_103(tmp_path_factory: pytest.TempPathFactory, config: RunConfig, digits: Digits) -> Path:
    """A run that was stopped after 103 of its 106 steps."""
    path = tmp_path_factory.mktemp("runs") / "stopped"
    train_to(103, *begin(path, config), digits)
    return path


@pytest.fixture
def stopped(tmp_path: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was stopped after 7 of its 9 steps, with checkpoints of steps 4 and 7 and every second step logged."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 2)
    run, state = begin(tmp_path / "run", small_config(9))
    train_to(7, run, state, few_digits, checkpoint_every=4)
    assert [path.name for path in run.checkpoints()] == ["step-00000004", "step-00000007"]
    return run.path
