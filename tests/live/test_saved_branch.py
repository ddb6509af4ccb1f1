"""Files of saved branches: what is read, what is refused, and how vizdiff trajectory --from makes them again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.live.replay import replay_branch
from viz_diffusion.live.saved_branch import read_branch
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run

SETTINGS = {"label": 5, "guidance": 1.5, "told": None, "method": "ddim", "eta": 0.5, "variance": "beta"}
Change = Callable[[dict[str, Any]], object]


def encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The file of four steps of DDIM without changes, whose states the package's own sampler gives."""
    network, digest = Run.bundled().load_model()
    config = SamplerConfig("ddim", 4, 1.5, eta=0.5)
    schedule, noise = Run.bundled().config.noise_schedule, ImageNoise([6])
    steps = list(sampling_steps(network, schedule, noise, torch.tensor([5]), config))
    return {
        "format": "vizdiff live branch",
        "format_version": 1,
        "run": "bundled",
        "weights_sha256": digest,
        "schedule": "linear",
        "image_shape": [1, 28, 28],
        "seed": 6,
        "noises": [{"seed": 6, "first": 0}],
        "timesteps": [999, 749, 499, 249],
        "start": None,
        "steps_made": 4,
        "finished": True,
        "changes": [{"at": 0, "settings": SETTINGS, "hold": None, "strokes": []}],
        "last_state": 0,
        "arrays": [encoded(steps[-1].x_prev.numpy()), encoded(np.ones(784))],
    }


def saved(folder: Path, values: dict[str, Any], change: Change = lambda _: None) -> Path:
    copied = json.loads(json.dumps(values))
    change(copied)
    path = folder / "branch.json"
    path.write_text(json.dumps(copied))
    return path


def test_without_changes_it_is_the_packages_own_generation(plain: dict[str, Any], tmp_path: Path) -> None:
    network, _ = Run.bundled().load_model()
    replay = replay_branch(read_branch(saved(tmp_path, plain)), network, Run.bundled().config)
    assert replay.deviation == 0
    found = replay.trajectory
    assert (found.interventions, found.sampler, found.eta, found.guidance_scale) == ("", "ddim", 0.5, 1.5)
    assert found.timesteps.tolist() == [999, 749, 499, 249]
    assert (found.labels.tolist(), found.seeds.tolist()) == ([5], [6])


def test_an_unfinished_branch_goes_on_with_its_last_settings(plain: dict[str, Any], tmp_path: Path) -> None:
    network, _ = Run.bundled().load_model()
    branch = read_branch(saved(tmp_path, plain, lambda one: one.update(steps_made=2, finished=False, last_state=1)))
    replay = replay_branch(branch, network, Run.bundled().config)
    assert replay.deviation == pytest.approx(np.abs(replay.trajectory.x_t[0, 1] - 1).max())
    assert encoded(replay.trajectory.x0) == plain["arrays"][0]


def change_settings(**values: Any) -> Change:
    return lambda one: one["changes"][0]["settings"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(format="png"), "was not saved by the live page"),
        (lambda one: one.update(format_version=2), "expected format_version 1, found 2"),
        (lambda one: one.pop("seed"), "damaged"),
        (lambda one: one.update(seed=-1), "seed must be a whole number in"),
        (lambda one: one.update(timesteps=[3, 4]), "do not fall"),
        (lambda one: one.update(timesteps=[]), "do not fall"),
        (lambda one: one.update(timesteps="999"), "timesteps must be a whole number"),
        (lambda one: one.update(changes=[]), "first step is missing"),
        (lambda one: one.update(steps_made=9), "steps_made must be a whole number in 1..4, found 9"),
        (lambda one: one.update(last_state=7), "picture must be a whole number in 0..1"),
        (lambda one: one.update(arrays=["!!", "!!"]), "damaged"),
        (lambda one: one.update(arrays=["AAAA", "AAAA"]), "damaged"),
        (lambda one: one.update(arrays=[encoded(np.full(784, np.nan))] * 2), "not finite"),
        (lambda one: one.update(image_shape=[1]), "damaged"),
        (change_settings(eta=2), "eta must be a number in 0..1, found 2"),
        (change_settings(guidance=1e9), "guidance must be a number"),
        (change_settings(method="heun"), "'heun'"),
        (change_settings(told={"t": 5, "where": "nowhere"}), "nowhere"),
        (change_settings(label="5"), "label must be a whole number"),
    ],
)
def test_a_file_with_impossible_values_is_refused(
    plain: dict[str, Any], tmp_path: Path, change: Change, message: str
) -> None:
    with pytest.raises(VizdiffInputError, match=message) as caught:
        read_branch(saved(tmp_path, plain, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_settings(label=11), "saved label 11 is none of the run's"),
        (change_settings(label=[1.0, 2.0]), "is none of the run's"),
        (change_settings(told={"t": 1000, "where": "everywhere"}), "timestep 1000 is none of the run's"),
        (lambda one: one.update(schedule="cosine"), "schedule cosine .* the run's is linear"),
        (lambda one: one.update(timesteps=[1000, 3, 2, 1]), "from t = 1000 on, and the run's is linear, T = 1000"),
        (lambda one: one.update(image_shape=[1, 14, 56]), r"the shape \(1, 14, 56\), and the run's \(1, 28, 28\)"),
    ],
)
def test_a_file_that_does_not_fit_the_run_is_refused(
    plain: dict[str, Any], tmp_path: Path, change: Change, message: str
) -> None:
    network, _ = Run.bundled().load_model()
    branch = read_branch(saved(tmp_path, plain, change))
    with pytest.raises(VizdiffInputError, match=message):
        replay_branch(branch, network, Run.bundled().config)


def test_the_command_records_and_draws_it(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, plain)
    assert main(["trajectory", "--from", str(file), "--out", str(tmp_path / "out"), "--frames", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["deviation"] < 1e-5
    assert result["run"] == "bundled"
    opened = Trajectory.open(tmp_path / "out" / "trajectory.zarr")
    assert opened.num_steps == 4
    assert (tmp_path / "out" / "steps.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--digit", "3"], 2, "--digit does not go with --from"),
        (["--steps", "9"], 2, "--steps does not go with --from"),
        (["--run", "bundled-flow"], 3, "choose the --run it was saved with"),
    ],
)
def test_the_command_refuses_what_does_not_go_with_a_file(
    plain: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    file = saved(tmp_path, plain)
    command = ["trajectory", "--from", str(file), "--out", str(tmp_path / "out"), *options]
    assert message in refused(capsys, code, *command)
