"""The benchmark of samplers: known errors, and its closed form against the samplers themselves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.samplers import ddim_steps, dpm_solver_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.training.run import Run


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "samplers_benchmark", Path(__file__).parents[2] / "benchmarks" / "samplers.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def variances(linear: NoiseSchedule) -> np.ndarray:
    return GaussianOracle.fit(linear, load_digits("train").images).variances


KNOWN = {
    5: "24.2 14.4 18.9 36.8",
    10: "8.4 3.8 4.4 15.4",
    20: "2.7 1.0 1.1 5.8",
    50: "0.53 0.14 0.22 1.5",
    1000: "0.003 0.001 0.001 0.010",
}


@pytest.mark.parametrize("steps", KNOWN)
def test_known_errors(steps: int, benchmark: ModuleType, variances: np.ndarray, linear: NoiseSchedule) -> None:
    found = (benchmark.error(linear, variances, name, steps) for name in benchmark.SAMPLERS)
    assert " ".join(map(benchmark.digits, found)) == KNOWN[steps]


def test_the_errors_written_down_are_these(benchmark: ModuleType, variances: np.ndarray, linear: NoiseSchedule) -> None:
    written = Path(benchmark.__file__).with_name("SAMPLERS.md").read_text("utf-8")
    assert benchmark.tables(linear, variances) in written
    assert f"Weights {Run.bundled().load_model()[1][:8]}," in written, "measure anew: the bundled weights are others"


@pytest.mark.parametrize(("name", "sampler"), [("DDIM", ddim_steps), ("2M", dpm_solver_steps)])
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_the_closed_form_is_what_the_sampler_does(
    name: str, sampler: object, steps: int, benchmark: ModuleType, linear: NoiseSchedule, fixed_noise: type
) -> None:
    lambdas = np.array([0.0, 0.01, 0.3, 2.0, 20.0])
    oracle = GaussianOracle(linear, np.zeros(5), np.diag(lambdas))
    visited = spaced_timesteps(1000, steps)
    first = torch.from_numpy(np.sqrt(oracle.marginal_variances(999)))[None]
    for step in sampler(oracle, linear, fixed_noise(first), None, timesteps=visited, clip=False):
        last = step.x_prev
    shares = np.append(linear.alphas_cumprod[visited], 1.0)
    np.testing.assert_allclose(benchmark.SAMPLERS[name](shares, lambdas), last[0].abs().numpy(), atol=1e-9)
