"""The config of a run: written, read back, and refused by name if it is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import write_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig

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
    "neither minutes nor steps": lambda values: values["training"].update(steps=None),
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
def test_a_config_that_is_not_json_is_refused(content: bytes, finished: Path) -> None:
    (finished / "config.json").write_bytes(content)
    with pytest.raises(VizdiffInputError, match=r"config\.json"):
        Run.open(finished)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_config_is_read_as_it_was_written(precision: str, tmp_path: Path, tiny_config: ModelConfig) -> None:
    config = RunConfig(tiny_config, TrainConfig(steps=9, precision=precision), schedule="linear", subset=20)
    write_json(tmp_path / "config.json", config.to_dict())
    assert RunConfig.read(tmp_path / "config.json") == config


def test_a_config_from_before_the_weighting_means_no_weighting(tmp_path: Path) -> None:
    config = RunConfig(ModelConfig(channels=(8, 16), embedding_dim=24), TrainConfig(steps=3))
    values = config.to_dict()
    assert config.training.weight_exponent == values["training"].pop("weight_exponent") > 0
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert RunConfig.read(tmp_path / "config.json").training.weight_exponent == 0


def test_a_config_from_before_presets_still_loads(tmp_path: Path) -> None:
    values = Run.bundled().config.to_dict()
    values.pop("preset")
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert RunConfig.read(tmp_path / "config.json").preset is None


def test_a_config_of_a_deleted_preset_still_loads(tmp_path: Path) -> None:
    values = Run.bundled().config.to_dict() | {"preset": "large"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert RunConfig.read(tmp_path / "config.json").preset == "large"


def test_the_digits_of_a_run_are_part_of_its_data_set(tiny_config: ModelConfig) -> None:
    complete = RunConfig(tiny_config, TrainConfig(steps=1))
    part = RunConfig(tiny_config, TrainConfig(steps=1), subset=100)
    few, all_digits = part.load_digits("train"), complete.load_digits("train")
    assert (len(few), len(part.data_set(few))) == (100, 60_000)
    assert complete.data_set(all_digits) is all_digits
