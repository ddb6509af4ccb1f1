"""The examples in docstrings run, on an oracle and two steps, and give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import viz_diffusion
from viz_diffusion import (
    ForkedNoise,
    GaussianOracle,
    ImageNoise,
    NoiseSchedule,
    Recorder,
    SamplerConfig,
    WithInterventions,
    ddpm_steps,
    record_generation,
    record_pipeline,
    sampling_steps,
    switch_label,
)

SHAPE = (1, 4, 4)
PARSER = doctest.DocTestParser()


def modules_with_examples() -> list[str]:
    root = Path(viz_diffusion.__file__).parent
    names = (found.name for found in pkgutil.walk_packages([str(root)], "viz_diffusion."))
    paths = {name: root.joinpath(*name.split(".")[1:]).with_suffix(".py") for name in names}
    return [name for name, path in paths.items() if path.is_file() and ">>>" in path.read_text(encoding="utf-8")]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples may use without having made it."""
    monkeypatch.chdir(tmp_path)
    schedule = NoiseSchedule(np.array([0.02, 0.5]))
    unet = GaussianOracle(schedule, np.zeros(16), np.eye(16))

    def sample(denoiser: Callable[..., torch.Tensor]) -> torch.Tensor:
        return [step.x_prev for step in sampling_steps(denoiser, schedule, ImageNoise([0], SHAPE), None)][-1]

    def record(denoiser: torch.nn.Module, forward: NoiseSchedule, labels: torch.Tensor, seeds: list[int]) -> Any:
        config = SamplerConfig(guidance_scale=1.0)
        return record_generation(denoiser, forward, labels, seeds, config, image_shape=SHAPE)

    return {
        "schedule": schedule,
        "unet": unet,
        "sample": sample,
        "trajectory": record(unet, schedule, torch.tensor([3]), [0]),
        "record_generation": record,
        "np": np,
        "torch": torch,
        **{
            one.__name__: one
            for one in (ForkedNoise, ImageNoise, Recorder, WithInterventions, ddpm_steps, record_pipeline, switch_label)
        },
    }


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name: str, names: dict[str, Any]) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    if name.endswith("pipeline"):
        names |= {"pipe": make_pipeline()}
    examples = [test for test in doctest.DocTestFinder(recurse=True).find(module, name) if test.examples]
    assert examples
    failed: list[str] = []
    for test in examples:
        test.globs = {**names, **test.globs}
        runner.run(test, out=failed.append)
    assert runner.failures == 0, "".join(failed)


def make_pipeline() -> Any:
    diffusers = pytest.importorskip("diffusers")
    from small_unet import small_unet

    pipe = diffusers.DDIMPipeline(small_unet(), diffusers.DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_control_a_wrong_example_fails() -> None:
    test = PARSER.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner()
    runner.run(test, out=lambda _: None)
    assert runner.failures == 1
