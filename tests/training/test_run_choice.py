"""Which run is taken where none is named: one that was trained well enough, and what is said of another."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.loading import open_run
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import write_manifest
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import Run
from viz_diffusion.training.run_choice import MOST_LOSS_RATIO, choose_run, heldout_loss_of


def copy(source: Path, out: Path, age: int, loss: float | None = None, **config: object) -> Path:
    """Copy a run, with another last held-out loss and another config, last changed ``age`` seconds ago."""
    shutil.copytree(source, out)
    if loss is not None:
        with (out / "metrics.jsonl").open("a") as log:
            log.write(json.dumps({"step": 106, "heldout_loss": [loss] * 4}) + "\n")
    values = json.loads((out / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(values))
    if (out / "manifest.json").is_file():
        write_manifest(out, ["config.json", "metrics.jsonl", "model.safetensors"])
    for file in out.rglob("*"):
        os.utime(file, (1.7e9 - age, 1.7e9 - age))
    return out


@pytest.fixture
def place(uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundled run whose held-out loss is 0.1."""
    bundled = copy(uninterrupted, tmp_path / "package" / "weights", 0, 0.1)
    monkeypatch.setitem(BUNDLED_RUNS, "bundled", bundled)
    monkeypatch.chdir(tmp_path)
    assert heldout_loss_of(Run.bundled()) == pytest.approx(0.1)
    return Path("runs")


def test_a_run_is_taken_up_to_one_and_a_half_times_the_bundled_loss(uninterrupted: Path, place: Path) -> None:
    copy(uninterrupted, place / "good", 30, 0.1 * MOST_LOSS_RATIO)
    assert choose_run() == (Run.open(place / "good"), None)
    copy(uninterrupted, place / "worse", 20, 0.151)
    found, passed_over = choose_run()
    assert found.name == "good"
    assert passed_over is not None
    assert passed_over.path == place / "worse"
    assert passed_over.loss == pytest.approx(0.151)
    shutil.rmtree(place / "good")
    assert choose_run().run.is_bundled
    assert choose_run(str(place / "worse")) == (Run.open(place / "worse"), None)


def test_a_run_without_losses_is_not_taken(uninterrupted: Path, place: Path) -> None:
    run = copy(uninterrupted, place / "silent", 10)
    (run / "metrics.jsonl").write_text("")
    write_manifest(run, ["config.json", "metrics.jsonl", "model.safetensors"])
    found, passed_over = choose_run()
    assert found.is_bundled
    assert passed_over is not None
    assert passed_over.loss == float("inf")


NO_LOSSES = ['{"heldout_loss": [NaN, NaN]}', "[" * 100_000, '{"heldout_loss": []}', "[1]", "\\xff"]


@pytest.mark.parametrize("line", NO_LOSSES)
def test_a_run_whose_losses_are_no_numbers_is_not_taken(line: str, uninterrupted: Path, place: Path) -> None:
    """NaN is smaller than no limit and larger than none: it must not pass as small."""
    broken = copy(uninterrupted, place / "broken", 0)
    (broken / "metrics.jsonl").write_text(line + "\n")
    assert heldout_loss_of(Run.open(broken)) == float("inf")
    assert choose_run().run.is_bundled


@pytest.mark.parametrize("name", BUNDLED_RUNS)
def test_a_bundled_run_is_opened_by_its_name(name: str) -> None:
    run = choose_run(name).run
    assert run.path == BUNDLED_RUNS[name]
    assert run.name == run.name_or_path == name
    assert run.is_bundled == (name == "bundled")


@pytest.mark.usefixtures("place")
def test_an_unknown_bundled_run_is_told_with_the_known_ones(uninterrupted: Path) -> None:
    with pytest.raises(VizdiffInputError, match=f"'bundled-mine'; they are {', '.join(BUNDLED_RUNS)}"):
        choose_run("bundled-mine")
    copy(uninterrupted, Path("bundled-mine"), 0)
    assert choose_run("bundled-mine").run.path == Path("bundled-mine")


def test_on_other_data_the_planned_end_is_enough(uninterrupted: Path, place: Path) -> None:
    copy(uninterrupted, place / "own", 10, 9.0, dataset="kmnist")
    assert choose_run().run.name == "own"
    assert choose_run().passed_over is None


def test_an_unfinished_run_is_passed_over_and_said(
    stopped_at_103: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(stopped_at_103, place / "half", 10, 0.01)
    assert open_run(None, Terminal(False, False)).is_bundled
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "runs/half is not used" in said
    assert "--run runs/half" in said
    assert open_run("runs/half", Terminal(False, False)).trained_steps == 103
    assert capsys.readouterr().err == ""


def test_a_run_of_too_large_a_loss_is_said_with_both_numbers(
    uninterrupted: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(uninterrupted, place / "worse", 10, 0.2)
    open_run(None, Terminal(False, False))
    said = capsys.readouterr().err
    assert "0.200" in said
    assert "0.100" in said
    assert "--run runs/worse" in said
