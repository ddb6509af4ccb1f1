"""Numbers that are not finite end every command that samples with exit code 6, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from refusals import refused
from safetensors.torch import load_file, save_file
from small_unet import small_unet
from training_runs import begin, finish, first_digits, small_config, train_to

from viz_diffusion.diffusion.ode_samplers import euler_steps, heun_steps
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.samplers import ImageNoise, Step, ddim_steps, ddpm_steps, dpm_solver_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffNonFiniteError
from viz_diffusion.files import write_manifest

QUICK = ("--sampler", "ddim", "--steps", "60")
COMMANDS: dict[str, tuple[str, ...]] = {
    "report": ("report", *QUICK, "--lessons", "noising", "--out", "x.html"),
    "deck": ("deck", *QUICK, "--slides", "steps", "--out", "x.pptx"),
    "worksheet": ("worksheet", *QUICK, "--out", "x"),
    "lesson": ("lesson", "guess", "--out", "x"),
    "export": ("export", *QUICK, "--figure", "steps", "--out", "x.png"),
    "trajectory": ("trajectory", *QUICK, "--out", "x"),
    "intervene": ("intervene", *QUICK, "--switch", "8@500", "--out", "x"),
    "sample": ("sample", *QUICK, "--count", "1", "--out", "x.npz"),
    "evaluate": ("evaluate", *QUICK, "--count", "20", "--out", "x.json"),
}


@pytest.fixture(scope="module")
def huge_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run whose weights are finite, and whose predictions are not."""
    path, digits = tmp_path_factory.mktemp("runs") / "run", first_digits(4)
    run, state = begin(path, small_config(2))
    train_to(1, run, state, digits)
    finish(path, digits)
    weights = load_file(path / "model.safetensors")
    save_file({name: torch.full_like(value, 1e38) for name, value in weights.items()}, path / "model.safetensors")
    names = [file.name for file in path.iterdir() if file.is_file() and file.name not in ("manifest.json", ".lock")]
    write_manifest(path, sorted(names))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_predictions_that_are_not_finite_are_exit_6_and_nothing_is_written(
    name: str, huge_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, 6, *COMMANDS[name], "--run", str(huge_run))
    assert "the network's prediction holds NaN or infinity" in line
    assert "check its weights, or choose a smaller --guidance" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_pipeline_whose_predictions_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It begins with finite ones, so that a part of the recording is on the disk before."""
    monkeypatch.chdir(tmp_path)
    unet = small_unet()
    with torch.no_grad():
        unet.conv_out.bias[:] = 1e37  # x grows until it overflows
    DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=100, clip_sample=False)).save_pretrained("pipe")
    assert "holds NaN or infinity" in refused(capsys, 6, "record", "pipe", "--out", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("steps", [ddpm_steps, ddim_steps, dpm_solver_steps, euler_steps, heun_steps])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_every_sampler_stops_at_the_step_where_it_happens(
    steps: Callable[..., Iterator[Step]], value: float, linear: NoiseSchedule
) -> None:
    """Clipping turns an infinity of predicted x_0 into a pixel like any other: it is seen before."""

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        spoiled = x.clone()
        if int(t[0]) <= 500:
            spoiled[1, 0, 3, 3] = value
        return spoiled

    grid = np.linspace(999, 0, 12).astype(int)
    making = steps(denoiser, linear, ImageNoise([1, 2, 3]), None, timesteps=grid)
    for _ in range(5):  # a step of Heun's looks ahead
        assert next(making).t > 500
    with pytest.raises(VizdiffNonFiniteError, match=r"at t = 4\d\d, for 1 of 3 images"):
        list(making)


def test_predictions_in_batches_are_checked_too() -> None:
    with pytest.raises(VizdiffNonFiniteError, match="for 2 of 5 images"):
        predict_noise(lambda x, _: x, torch.tensor([1.0, torch.nan, 2.0, torch.inf, 3.0]).reshape(5, 1, 1, 1), 5)
