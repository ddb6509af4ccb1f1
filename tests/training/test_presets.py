"""Presets: the table, the options that override it, and what was measured of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from viz_diffusion.cli import console, main
from viz_diffusion.cli.commands import info
from viz_diffusion.cli.commands import train as command
from viz_diffusion.cli.console import Terminal
from viz_diffusion.training import presets
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.presets import DEFAULT_PRESET, PRESETS, find_preset
from viz_diffusion.training.run import Run


class TrainingStarts(Exception):
    """Raised in place of training."""


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that takes a command line and returns the run's config and minutes, without training."""
    configs: list[RunConfig] = []

    def catch(run: Run, *_: Any) -> None:
        configs.append(RunConfig.read(run.path / "config.json"))
        raise TrainingStarts

    monkeypatch.setattr(command, "_train", catch)
    monkeypatch.setenv("VIZDIFF_DEBUG", "1")

    def run(*argv: str) -> tuple[RunConfig, float | None]:
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        with pytest.raises(TrainingStarts):
            main(["train", *argv, "--device", "cpu", "--quiet", "--out", str(out)])
        return configs[-1], configs[-1].minutes

    return run


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_sets_network_batch_size_learning_rate_and_budget(preset: presets.Preset, begin: Any) -> None:
    config, minutes = begin("--preset", preset.name)
    assert config.preset == preset.name
    assert (config.model.channels, config.model.num_blocks) == (preset.channels, preset.num_blocks)
    assert config.training.batch_size == preset.batch_size
    assert (config.training.learning_rate, config.training.optimizer) == (preset.learning_rate, preset.optimizer)
    assert minutes == preset.minutes
    if preset.steps is not None:
        assert config.training.steps == preset.steps


def test_the_default_is_small_for_ten_minutes(begin: Any) -> None:
    config, minutes = begin()
    assert config.preset == DEFAULT_PRESET == "small"
    assert minutes == 10


@pytest.mark.parametrize("preset", ["small", "base"])
def test_a_given_budget_or_batch_size_overrides_the_preset(preset: str, begin: Any) -> None:
    named = ("--preset", preset)
    assert begin(*named, "--minutes", "3")[1] == 3
    config, minutes = begin(*named, "--steps", "7", "--batch-size", "5")
    assert (config.training.steps, config.training.batch_size, minutes) == (7, 5, None)
    assert (config.preset, config.training.learning_rate) == (preset, find_preset(preset).learning_rate)
    config, minutes = begin(*named, "--epochs", "0.5", "--batch-size", "50")
    assert (config.training.steps, minutes) == (600, None)


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--preset", "large"], "small, base, found 'large'"),
        (["--resume", "x", "--preset", "small"], "--resume"),
        (["--resume", "x", "--batch-size", "3"], "--resume"),
        (["--resume", "x", "--seed", "3"], "--resume"),
        (["--resume", "x", "--dataset", "kmnist"], "--resume"),
        (["--force"], "--force goes with --resume"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    argv: list[str], names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *argv]) == 2
    err = capsys.readouterr().err
    assert names in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_base_is_the_bundled_network() -> None:
    base, bundled = find_preset("base"), Run.bundled().config
    assert (base.channels, base.num_blocks) == (bundled.model.channels, bundled.model.num_blocks)
    assert (base.batch_size, base.steps) == (bundled.training.batch_size, bundled.training.steps)
    assert base.optimizer == bundled.training.optimizer


def test_the_table_needs_no_torch() -> None:
    program = (
        "import sys, viz_diffusion.training.presets, viz_diffusion.cli.commands.train; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# -- what was measured -------------------------------------------------------------------------------


def evaluated(digest: str = "aa") -> dict[str, Any]:
    """Return the part of the output of ``vizdiff evaluate --out`` that is shown."""
    accuracy = {"hits": 1960, "count": 2000, "value": 0.98, "interval": [0.973, 0.985]}
    return {
        "count": 2000,
        "sampler": "ddim",
        "steps": 50,
        "guidance_scale": 1.0,
        "weights_sha256": digest,
        "classifier_sha256": "bb",
        "samples": {"accuracy": accuracy, "frechet": 0.6, "recall": 0.8},
        "real": {"frechet": 0.24},
    }


def test_info_shows_the_evaluation_of_each_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(presets, "MEASURED_DIR", tmp_path)
    (tmp_path / "small.json").write_text(json.dumps(evaluated()))
    (tmp_path / "base.json").write_text(json.dumps(evaluated("of other weights")))
    assert main(["info", "--json", "--quiet"]) == 0
    shown = {preset["name"]: preset["measured"] for preset in json.loads(capsys.readouterr().out)["presets"]}
    assert shown.keys() == {"small", "base"}
    assert shown["small"]["accuracy"]["hits"] == 1960
    assert shown["small"]["floor"] == 0.24
    assert shown["base"] is None  # an evaluation of other weights than the bundled ones
    row = info.preset_row(find_preset("small"), "", Terminal(False, True))
    assert "98.0% (97.3% to 98.5% of 2,000)" in row
    assert "0.60, 0.36 above real digits" in row, "a ratio would say more of the number of images than of the model"
    (tmp_path / "base.json").write_text(json.dumps(evaluated("cc")))
    assert info.preset_facts(find_preset("base"), "cc")["measured"]["frechet"] == 0.6


def test_the_bundled_evaluations_are_of_the_bundled_weights() -> None:
    for preset in PRESETS:
        results = preset.measured()
        assert results is not None, preset.name
        assert results["samples"]["accuracy"]["count"] == results["count"] >= 1000
    assert find_preset("base").measured()["weights_sha256"] == Run.bundled().load_model()[1]


def test_the_tables_columns_stand_beneath_each_other() -> None:
    lines = console.table(("a", "long name"), [("wide cell", "x"), ("b", "y")])
    assert lines == ["a          long name", "wide cell  x", "b          y"]


def test_the_documentation_shows_what_was_measured_of_each_preset() -> None:
    text = (Path(__file__).parents[2] / "docs" / "measured.md").read_text(encoding="utf-8")
    digest = Run.bundled().load_model()[1]
    for preset in PRESETS:
        (line,) = [line for line in text.splitlines() if line.endswith(f"| `{preset.command}` |")]
        accuracy, distance = info.preset_row(preset, digest, Terminal(False, True))[5:7]
        numbers = re.findall(r"\d[\d.]*%", accuracy) + re.findall(r"\d+\.\d+", distance)
        shown = line.split("|")[4:6]
        assert re.findall(r"\d[\d.]*%", shown[0].replace("95%", "")) + re.findall(r"\d+\.\d+", shown[1]) == numbers
        assert (preset.measured() is None) == (not numbers)
