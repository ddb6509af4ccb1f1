"""Every scheduler that diffusers exports: recorded, with x̂_0 by its own formula, or refused for a reason of its own.

A scheduler that a later version exports is in neither table, and the first test fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from scheduler_oracles import BROWNIAN, RECORDED, REFUSED, by_velocity, check, make, recorded, sample
from small_unet import small_unet

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


class BrownianInterval:
    """A stand-in for torchsde's: any increments will do to see whether they are recorded."""

    def __init__(self, *, size: tuple[int, ...], **_: Any) -> None:
        self.size = size

    def __call__(self, start: Any, end: Any) -> torch.Tensor:
        return torch.full(self.size, 0.1 * (float(end) - float(start)))


@pytest.fixture
def torchsde(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the package torchsde, which diffusers does not install, while a test lasts."""
    stub = ModuleType("torchsde")
    stub.__dict__["BrownianInterval"] = BrownianInterval
    monkeypatch.setitem(sys.modules, "torchsde", stub)
    yield
    for module in BROWNIAN.values():
        sys.modules.pop(f"diffusers.schedulers.{module}", None)


def test_the_tables_hold_every_scheduler() -> None:
    names = {name for name in dir(diffusers) if name.endswith("Scheduler")}
    assert names == RECORDED.keys() | REFUSED.keys()


@pytest.mark.usefixtures("torchsde")
@pytest.mark.parametrize("name", RECORDED)
def test_x0_is_by_the_schedulers_own_formula(name: str) -> None:
    found, seen, last = recorded(make(name), RECORDED[name])
    check(found, seen, last)
    assert found.sampler == name.removesuffix("Scheduler")
    assert np.isfinite(found.x0_pred).all()
    if "clip" not in found.conventions and not found.clip and name != "UnCLIPScheduler":
        rebuilt = found.signal_scale[:, None, None, None] * found.x0_pred + (
            found.noise_scale[:, None, None, None] * found.eps_pred
        )
        atol = 3e-5 * max(1.0, float(np.abs(found.x0_pred).max()))
        np.testing.assert_allclose(rebuilt, found.x_t, rtol=0, atol=atol)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("DDIMScheduler", {"prediction_type": "v_prediction", "clip_sample": False}),
    ("DDIMScheduler", {"prediction_type": "sample", "thresholding": True, "clip_sample": False}),
    ("DEISMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}),
    ("DPMSolverMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}),
    ("DPMSolverMultistepScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"thresholding": True}),
    ("EDMDPMSolverMultistepScheduler", {"prediction_type": "v_prediction", "thresholding": True}),
    ("EDMEulerScheduler", {"prediction_type": "v_prediction", "sigma_data": 1.0}),
    ("EulerAncestralDiscreteScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    (
        "EulerDiscreteScheduler",
        {
            "prediction_type": "v_prediction",
            "timestep_type": "continuous",
            "use_karras_sigmas": True,
            "sigma_min": 0.002,
            "sigma_max": 700.0,
        },
    ),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True, "use_karras_sigmas": True}),
    ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
    ("HeunDiscreteScheduler", {"prediction_type": "v_prediction", "use_karras_sigmas": True}),
    ("KDPM2DiscreteScheduler", {"prediction_type": "v_prediction"}),
    ("LCMScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
    ("PNDMScheduler", {"skip_prk_steps": True, "prediction_type": "v_prediction"}),
    ("SASolverScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}),
    ("UniPCMultistepScheduler", {"predict_x0": False, "solver_type": "bh1"}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=[f"{n} {'+'.join(o)}" for n, o in OPTIONS])
def test_the_configs_options_are_followed(name: str, options: dict[str, Any]) -> None:
    oracle = by_velocity if "use_flow_sigmas" in options else RECORDED[name]
    found, seen, last = recorded(make(name, **options), oracle)
    check(found, seen, last)
    wanted = options.get("prediction_type", "flow" if "Flow" in name else "epsilon")
    wanted = "sample" if name.startswith("EDM") else wanted.replace("flow_prediction", "flow")
    assert found.prediction_type == wanted
    assert found.schedule.scaling == ("flow" if wanted == "flow" else "variance_preserving")


@pytest.mark.usefixtures("torchsde")
@pytest.mark.parametrize("name", RECORDED)
def test_the_sampling_is_not_changed(name: str) -> None:
    def run(watched: bool) -> tuple[torch.Tensor, torch.Tensor]:
        pipe = SimpleNamespace(unet=small_unet(3), scheduler=make(name))
        if watched:
            with record_pipeline(pipe):
                *_, (_, _, output) = sample(pipe)
        else:
            *_, (_, _, output) = sample(pipe)
        return output[0] if isinstance(output, tuple) else output.prev_sample, torch.rand(3)

    for plain, watched in zip(run(watched=False), run(watched=True), strict=True):
        assert torch.equal(plain, watched)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused_for_its_own_reason(name: str) -> None:
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=make(name))
    with pytest.raises(VizdiffUsageError, match=REFUSED[name]) as caught, record_pipeline(pipe):
        pytest.fail("the block must not begin")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (diffusers.DDIMScheduler(rescale_betas_zero_snr=True), "leaves no signal"),
        (diffusers.DPMSolverMultistepScheduler(rescale_betas_zero_snr=True), "leaves no signal"),
        (diffusers.UniPCMultistepScheduler(use_flow_sigmas=True), "'epsilon', and its noise levels are those of flow"),
        (diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction"), "are none of flow matching"),
        (diffusers.DDIMScheduler(prediction_type="score"), "predicts 'score'; record_pipeline knows epsilon"),
    ],
)
def test_configs_that_imply_no_x0_are_refused(scheduler: Any, words: str) -> None:
    pipe = SimpleNamespace(scheduler=scheduler)
    with pytest.raises(VizdiffUsageError, match=words), record_pipeline(pipe):
        pytest.fail("the block must not begin")


@torch.no_grad()
def test_inverted_sigmas_are_noise_levels_from_the_other_end() -> None:
    """The scheduler counts from noise at σ = 0 to data at σ = 1; the recording's σ and velocity are the usual ones."""
    pipe = SimpleNamespace(unet=small_unet(3), scheduler=make("FlowMatchEulerDiscreteScheduler", invert_sigmas=True))
    with record_pipeline(pipe) as recording:
        seen = list(sample(pipe))
    found, sigmas = recording.trajectory(), pipe.scheduler.sigmas[:-1].double().numpy()
    np.testing.assert_allclose(found.noise_scale, 1 - sigmas, atol=1e-6)
    assert np.all(np.diff(found.timesteps) < 0)
    assert found.conventions["prediction"] == "x_0 - ε"
    for s, (_, call, _) in enumerate(seen):
        expected = call["x"] + (1 - call["sigma"]) * call["out"]
        np.testing.assert_allclose(found.x0_pred[:, s], expected.numpy(), atol=1e-5)


def test_steps_that_have_no_common_noise_level_are_refused() -> None:
    x, scheduler = torch.randn(2, 3, 8, 8), make("FlowMatchEulerDiscreteScheduler")

    def step(sigmas: list[float], index: int, x: torch.Tensor = x, **options: Any) -> None:
        scheduler.set_timesteps(sigmas=sigmas)
        with record_pipeline(SimpleNamespace(scheduler=scheduler)):
            for t in scheduler.timesteps[: index + 1]:
                scheduler.step(x, t, x, **options)

    with pytest.raises(VizdiffUsageError, match="got a timestep for each token"):
        step([1.0, 0.5], 0, torch.randn(2, 3, 8), per_token_timesteps=torch.full((2, 3), 1000.0))
    with pytest.raises(VizdiffUsageError, match=r"evaluates at σ = 0, where no noise is left"):
        step([1.0, 0.0], 1)


def test_an_unknown_scheduler_needs_noise_levels() -> None:
    class Mine:
        config = SimpleNamespace()
        sigmas = torch.ones(3)

        def step(self) -> None: ...

    with (
        pytest.raises(VizdiffUsageError, match="Mine is not known"),
        record_pipeline(SimpleNamespace(scheduler=Mine())),
    ):
        pytest.fail("the block must not begin")


def test_a_derived_scheduler_is_what_it_derives_from() -> None:
    class Mine(diffusers.FlowMatchEulerDiscreteScheduler):
        pass

    found, seen, last = recorded(Mine(shift=2.0), by_velocity)
    check(found, seen, last)
    assert (found.sampler, found.prediction_type) == ("Mine", "flow")
