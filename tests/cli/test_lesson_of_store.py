"""``vizdiff lesson decision --trajectories``, and a page of one image of a store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from viz_diffusion.cli import main
from viz_diffusion.cli.generation_request import GenerationOptions, read_request
from viz_diffusion.cli.options import PICTURE_SAMPLER, SamplerOptions
from viz_diffusion.cli.recording_study import recording_command
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.recording.trajectory import Trajectory

NOTHING_GIVEN = GenerationOptions(None, None, (), None, None, False, False, SamplerOptions(PICTURE_SAMPLER, {}))
RECORD = ("trajectory", "--digit", "3", "--sampler", "ddim", "--steps", "6", "--guidance", "0", "--quiet")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of 34 generations without a label."""
    out = tmp_path_factory.mktemp("many") / "many"
    argv = ("--run", "bundled", "--count", "34", "--seed", "5", "--frames", "2", "--dtype", "float16")
    assert main([*RECORD, *argv, "--out", str(out)]) == 0
    return out


def measured(store: Path, out: Path, *options: str) -> dict[str, Any]:
    argv = ("lesson", "decision", "--run", "bundled", "--trajectories", str(store / "trajectory.zarr"))
    assert main([*argv, "--out", str(out), "--quiet", *options]) == 0
    found: dict[str, Any] = json.loads((out / "decision_store.json").read_text())
    return found


def test_the_facts_are_those_of_the_classifier_on_the_whole_store(store: Path, tmp_path: Path) -> None:
    found = measured(store, tmp_path)
    whole = Trajectory.open(store / "trajectory.zarr")
    images = np.concatenate([whole.x0_pred, whole.x0[:, None]], axis=1)
    temperature = Calibration.bundled().temperature
    classifier = DigitClassifier.bundled()[0]
    likely = torch.softmax(classifier(torch.from_numpy(images.reshape(-1, 1, 28, 28))) / temperature, dim=1)
    likely = likely.detach().reshape(34, 7, 10).numpy()
    final = likely[:, -1].argmax(axis=1)
    sure = likely[np.arange(34), :, final] >= 0.9
    first = np.array([next((k for k in range(7) if row[k:].all()), 7) for row in sure])
    at = [int(whole.timesteps[k]) for k in first if 0 < k < 6 and whole.timesteps[k] >= 100]
    assert found["count"] == 34
    assert found["settled"] == len(at)
    assert found["settled"] > 0, "a control"
    assert found["t_median"] == (float(np.median(at)) if len(at) >= 10 else None)
    assert found["settled_by_t"] == pytest.approx([(first <= k).mean() for k in range(7)])
    assert found["never"] == (first == 7).sum()
    assert {one["class"]: one["count"] for one in found["by_class"]} == {
        str(digit): int((final == digit).sum()) for digit in np.unique(final)
    }
    assert found["generations"] == "34 generations (DDIM, 6 steps, guidance 0, without a label)"
    assert {path.name for path in tmp_path.iterdir()} == {
        "decision_store.json",
        "settled_store.png",
        "settled_store.svg",
    }


def test_it_speaks_chinese(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(store, tmp_path, "--lang", "zh")
    assert found["generations"] == "34 次生成（DDIM，6 步，引导强度 0，没有标签）"
    assert found["answers"][0]["question"] == "这些生成会在中途确定数字吗？"
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("noising",), 2, "--trajectories goes with lesson decision, not with noising"),
        (("decision", "--digit", "5"), 2, "--digit contradicts --trajectories"),
        (("decision", "--full"), 2, "--full contradicts --trajectories"),
        (("decision", "--run", "bundled-latent"), 3, "was recorded with weights"),
        (("decision", "--trajectories", "nowhere.zarr"), 3, "nowhere.zarr does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    argv: tuple[str, ...], code: int, message: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--run", "bundled", "--trajectories", str(store / "trajectory.zarr"), "--out", str(tmp_path / "out"))
    assert main(["lesson", argv[0], *where, *argv[1:], "--quiet"]) == code
    assert message in capsys.readouterr().err


def test_a_page_can_show_any_image_of_a_recording(store: Path) -> None:
    whole = Trajectory.open(store / "trajectory.zarr")
    for index in (0, 15, 16, 33):
        shown = read_request(replace(NOTHING_GIVEN, trajectory=store, index=index))
        assert shown.recorded is not None
        assert (shown.seed, shown.index) == (5 + index, index)
        np.testing.assert_array_equal(shown.recorded.x0_pred, whole.x0_pred[index : index + 1])
    for index in (-1, 34):
        with pytest.raises(VizdiffUsageError, match=r"index must lie in 0\.\.33, the images of .*, found"):
            read_request(replace(NOTHING_GIVEN, trajectory=store, index=index))
    with pytest.raises(VizdiffUsageError, match="index goes with trajectory"):
        read_request(replace(NOTHING_GIVEN, index=1))
    with pytest.raises(VizdiffUsageError, match="contradicts"):
        read_request(replace(NOTHING_GIVEN, trajectory=store, index=1, seed=5))
    with pytest.raises(VizdiffInputError, match="does not exist"):
        read_request(replace(NOTHING_GIVEN, trajectory=store / "none", index=1))
    assert recording_command(store, 16, "en").endswith("--index 16")
    assert "--index" not in recording_command(store, 0, "en")
