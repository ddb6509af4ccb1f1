"""Trackers: TensorBoard's own files, and calls to stand-ins for Trackio and Weights & Biases."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_runs import begin, small_config, train_to

from viz_diffusion.cli import main
from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import parse_json
from viz_diffusion.training import trainer
from viz_diffusion.training.run import Run
from viz_diffusion.training.trackers import TRACKERS, NoTracker, Tracker, TrackerError, load_tracker
from viz_diffusion.training.trainer import Trainer


@pytest.fixture
def logged(tmp_path: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train a run to a step with a tracker, and once more to its end; return the numbers of its own log."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 2)

    def train(first: Tracker, second: Tracker) -> dict[str, list[tuple[int, float]]]:
        run, state = begin(tmp_path / "a run", small_config(6))
        train_to(4, run, state, few_digits, tracker=first)
        state, metrics_bytes, _ = Run.open(run.path).resume()
        list(Trainer(run, state, few_digits, few_digits, metrics_bytes=metrics_bytes, tracker=second).run())
        found: dict[str, list[tuple[int, float]]] = {}
        for entry in map(parse_json, (run.path / "metrics.jsonl").read_text().splitlines()):
            step, quarters = entry.pop("step"), entry.pop("heldout_loss", ())
            entry |= {f"heldout_loss/quarter_{place}": loss for place, loss in enumerate(quarters, start=1)}
            entry |= {"heldout_loss/mean": sum(quarters) / 4} if quarters else {}
            for name, value in entry.items():
                found.setdefault(name, []).append((step, value))
        return found

    return train


def test_tensorboard_holds_what_the_log_holds(logged: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    expected = logged(load_tracker("tensorboard"), load_tracker("tensorboard"))
    events = EventAccumulator(str(tmp_path / "a run" / "tensorboard"))
    events.Reload()
    found = {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found.pop("grad_norm")
    assert set(found) == set(expected) >= {"loss", "learning_rate", "heldout_loss/mean", "heldout_loss/quarter_4"}
    for name, values in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in values]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-6)


class FakeModule(SimpleNamespace):
    """Stands in for a tracker's package: keeps the arguments of every call, by the documented parameters."""

    def __init__(self, init: Any) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        run = SimpleNamespace(log=self.keeping("log", self._log), finish=self.keeping("finish", lambda: None))
        super().__init__(init=self.keeping("init", init, run))

    @staticmethod
    def _log(metrics: dict[str, Any], step: int | None = None) -> None:
        """Take what ``trackio.Run.log`` and ``wandb.Run.log`` take."""

    def keeping(self, name: str, documented: Any, result: Any = None) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            self.calls.append((name, inspect.signature(documented).bind(*values, **named).arguments))
            return result

        return call


def trackio_init(
    project: str, name: str | None = None, config: dict[str, Any] | None = None, resume: str = "never"
) -> None:
    """Take what ``trackio.init`` takes, as far as it is used."""


def wandb_init(
    project: str | None = None,
    dir: str | None = None,
    id: str | None = None,
    name: str | None = None,
    config: dict[str, Any] | None = None,
    resume: bool | str | None = None,
) -> None:
    """Take what ``wandb.init`` takes, as far as it is used."""


@pytest.mark.parametrize(
    ("name", "init", "resumes"), [("trackio", trackio_init, ["never", "allow"]), ("wandb", wandb_init, [None, "allow"])]
)
def test_calls_to_the_other_trackers(
    name: str, init: Any, resumes: list[str | None], logged: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeModule(init)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    expected = logged(load_tracker(name), load_tracker(name))
    begun = [arguments for kind, arguments in module.calls if kind == "init"]
    assert [one["resume"] for one in begun] == resumes
    assert {one["project"] for one in begun} == {"viz_diffusion"}
    assert {one["name"] for one in begun} == {"a run"}
    assert begun[0]["config"]["training"]["batch_size"] == 2
    assert str(tmp_path) not in json.dumps(begun[0]["config"])
    if name == "wandb":
        (own,) = {one["id"] for one in begun}
        load_tracker(name).start("a run", tmp_path / "b" / "a run", {}, 0)
        (other,) = [arguments["id"] for kind, arguments in module.calls[-1:]]
        assert re.fullmatch("a run-[0-9a-f]{8}", own)
        assert other != own, "a run of this name in another folder is another run"
        assert {one["dir"] for one in begun} == {str(tmp_path / "a run")}
    found: dict[str, list[tuple[int, float]]] = {}
    for kind, arguments in module.calls:
        for key, value in arguments["metrics"].items() if kind == "log" else ():
            found.setdefault(key, []).append((arguments["step"], value))
    assert found.pop("grad_norm")
    assert found == expected
    assert [kind for kind, _ in module.calls].count("finish") == 2


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_is_one_line_with_its_mend(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, {"tensorboard": "torch.utils.tensorboard"}.get(name, name), None)
    out = tmp_path / "run"
    assert main(["train", "--steps", "1", "--device", "cpu", "--quiet", "--log", name, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--log {name} needs a package that is not here: pip install 'viz-diffusion[{name}]'" in line
    assert not out.exists()


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(VizdiffUsageError, match="log must be tensorboard, trackio, wandb, found 'mlflow'"):
        load_tracker("mlflow")


def test_an_error_of_a_tracker_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("not\nlogged in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    for step, mend in ((0, "begin anew without it"), (5, "go on without it, with resume")):
        with pytest.raises(TrackerError, match=rf"log wandb failed \(ValueError: not logged in\); {mend}"):
            load_tracker("wandb").start("run", tmp_path, {}, step)


class FailingTracker(NoTracker):
    """Fails at the fourth step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        if step == 4:
            raise TrackerError("the server is gone")


def test_a_tracker_that_fails_loses_no_step(
    tmp_path: Path, few_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 2)
    run, state = begin(tmp_path / "run", small_config(6))
    with pytest.raises(TrackerError):
        list(Trainer(run, state, few_digits, few_digits, tracker=FailingTracker()).run())
    assert [path.name for path in run.checkpoints()] == ["step-00000004"]
