"""Control models: a network without time input, and one that is trained on few digits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from viz_diffusion.cli import main
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.training import presets
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.presets import Preset
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig


def perturbed(config: ModelConfig) -> SimpleUNet:
    """Return a network without weights of exactly 0."""
    torch.manual_seed(0)
    unet = SimpleUNet(config).eval()
    with torch.no_grad():
        for weight in unet.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return unet


def test_without_time_input_the_prediction_depends_on_image_and_label_only(tiny_config: ModelConfig) -> None:
    no_time = replace(tiny_config, use_time=False, schedule=None)
    x, labels = torch.randn(2, 1, 28, 28), torch.tensor([3, 8])
    for config, differs in ((no_time, False), (replace(tiny_config, schedule=None), True)):
        unet = perturbed(config)
        early, late = (unet(x, torch.full((2,), t), labels) for t in (0, 999))
        assert torch.equal(early, late) is not differs
        assert not torch.equal(unet(x, torch.zeros(2, dtype=torch.long), labels.flip(0)), early)
    assert not any(name.startswith("time_mlp") for name in perturbed(no_time).state_dict())
    assert "amplitudes" not in dict(perturbed(no_time).named_buffers())


def test_a_network_without_time_input_must_not_know_the_schedule() -> None:
    with pytest.raises(VizdiffInputError, match="without timesteps has no schedule"):
        ModelConfig.from_dict({"use_time": False, "schedule": "linear"})
    with pytest.raises(VizdiffInputError, match="use_time must be true or false, found 0"):
        ModelConfig.from_dict({"use_time": 0})


def test_a_subset_takes_the_labels_in_turn(few_digits: Digits) -> None:
    labels = torch.tensor([5, 5, 0, 5, 1, 0, 0, 7])
    digits = Digits(torch.arange(8.0)[:, None, None, None], labels)
    rows = [2, 4, 0, 7, 5, 1, 6, 3]  # the first 0, 1, 5, 7; the second 0 and 5; the third 0 and 5
    for count in (1, 3, 5, 8):
        subset = digits.first_of_each(count)
        assert subset.images.flatten().tolist() == rows[:count]
        assert torch.equal(subset.labels, labels[rows[:count]])
    for count in (0, 41):
        with pytest.raises(VizdiffUsageError, match=f"1 to 40 digits, found {count}"):
            few_digits.first_of_each(count)


def test_a_run_on_a_subset_loads_that_subset_and_all_test_digits(tmp_path: Path) -> None:
    config = RunConfig(ModelConfig(), TrainConfig(), subset=100)
    run = Run.create(tmp_path / "r", config)
    subset, complete = Run.open(run.path).config.load_digits("train"), replace(config, subset=None).load_digits("train")
    assert torch.bincount(subset.labels).tolist() == [10] * 10
    for label in range(10):
        assert torch.equal(subset.images[subset.labels == label], complete.images[complete.labels == label][:10])
    assert len(Run.open(run.path).config.load_digits("test")) == 10_000


@pytest.mark.parametrize("subset", [0, -3, 1.5, True, "100"])
def test_an_invalid_subset_in_a_config_is_refused_by_name(subset: object, tmp_path: Path) -> None:
    Run.create(tmp_path / "r", RunConfig(ModelConfig(), TrainConfig()))
    path = tmp_path / "r" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"subset": subset}))
    with pytest.raises(VizdiffInputError, match="subset must be a whole number"):
        Run.open(tmp_path / "r")


def test_the_conditions_of_a_control_model_are_new_entries_which_older_checkpoints_lack() -> None:
    plain = RunConfig(ModelConfig(), TrainConfig())
    assert not {"use_time", "subset"} & plain.conditions().keys()
    control = RunConfig(ModelConfig(use_time=False, schedule=None), TrainConfig(), subset=100)
    assert control.conditions() == plain.conditions() | {"use_time": False, "subset": 100}


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Preset("small", "a test", (8, 8), 1, batch_size=4, learning_rate=1e-3, steps=3)
    monkeypatch.setattr(presets, "PRESETS", (tiny,))


@pytest.mark.usefixtures("tiny_preset")
def test_the_command_trains_and_resumes_a_control_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r"
    assert main(["train", "--no-time", "--subset", "20", "--steps", "2", "--out", str(path), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "no timestep as input; 20 images of mnist" in shown.out + shown.err
    config = Run.open(path).config
    assert (config.model.use_time, config.model.schedule, config.subset) == (False, None, 20)
    assert main(["train", "--resume", str(path), "--steps", "3", "--device", "cpu"]) == 0
    unet, _ = Run.open(path).load_model()
    x = torch.randn(1, 1, 28, 28)
    assert torch.equal(unet(x, torch.tensor([0])), unet(x, torch.tensor([999])))
    capsys.readouterr()
    assert main(["lesson", "network", "--run", str(path), "--out", str(tmp_path / "l")]) == 2
    assert "has no time embedding" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--subset", "0"], "--subset must be at least 1, found 0"),
        (["--subset", "60001"], "a subset holds 1 to 60,000 digits, found 60,001"),
        (["--resume", "r", "--no-time"], "add nothing but --steps"),
        (["--resume", "r", "--subset", "5"], "add nothing but --steps"),
    ],
)
def test_impossible_options_are_refused_in_one_line(
    argv: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *argv, "--steps", "1", "--quiet"] if "--resume" not in argv else ["train", *argv]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
