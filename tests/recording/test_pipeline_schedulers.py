"""Every scheduler that diffusers exports: recorded, with x̂_0 by its own formula, or refused for a reason of its own.

A scheduler that a later version exports is in neither table, and the first test fails.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from small_unet import small_unet

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.trajectory import Trajectory

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

Oracle = Callable[[Any, Mapping[str, Any], Any], torch.Tensor]
"""Returns x̂_0 from the scheduler after a step, what the step got, and its output, by the scheduler's own formula."""


def in_its_output(_: Any, __: Mapping[str, Any], output: Any) -> torch.Tensor:
    return output[1] if isinstance(output, tuple) else output.pred_original_sample


def by_its_conversion(scheduler: Any, call: Mapping[str, Any], _: Any) -> torch.Tensor:
    """What ``convert_model_output`` of the DPM-Solver family gives: x̂_0, or ε̂, from which it follows."""
    scheduler._step_index -= 1  # it has gone on by one
    found = scheduler.convert_model_output(call["out"], sample=call["x"])
    alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[scheduler.step_index])
    scheduler._step_index += 1
    algorithm = getattr(scheduler.config, "algorithm_type", "")
    is_eps = algorithm in ("deis", "dpmsolver", "sde-dpmsolver", "noise_prediction")
    is_eps = is_eps or not getattr(scheduler, "predict_x0", True)
    return (call["x"] - sigma * found) / alpha if is_eps else found


def by_alphas(scheduler: Any, call: Mapping[str, Any], _: Any) -> torch.Tensor:
    alpha = scheduler.alphas_cumprod[int(call["t"])]
    if scheduler.config.prediction_type == "v_prediction":
        return alpha.sqrt() * call["x"] - (1 - alpha).sqrt() * call["out"]
    return (call["x"] - (1 - alpha).sqrt() * call["out"]) / alpha.sqrt()


def by_boundary(_: Any, call: Mapping[str, Any], __: Any) -> torch.Tensor:
    """Song et al. 2023, eq. 5, and appendix C."""
    sigma, least, data = call["sigma"], 0.002, 0.5
    skip = data**2 / ((sigma - least) ** 2 + data**2)
    out = data * (sigma - least) / (data**2 + sigma**2) ** 0.5
    return (out * call["out"] + skip * call["x"]).clamp(-1, 1)


def by_velocity(_: Any, call: Mapping[str, Any], __: Any) -> torch.Tensor:
    return call["x"] - call["sigma"] * call["out"]


def by_velocity_to_data(_: Any, call: Mapping[str, Any], __: Any) -> torch.Tensor:
    return call["x"] + call["sigma"] * call["out"]


RECORDED: dict[str, Oracle] = {
    "CMStochasticIterativeScheduler": by_boundary,
    "CogVideoXDDIMScheduler": in_its_output,
    "CogVideoXDPMScheduler": in_its_output,
    "CosineDPMSolverMultistepScheduler": by_its_conversion,
    "DDIMParallelScheduler": in_its_output,
    "DDIMScheduler": in_its_output,
    "DDPMParallelScheduler": in_its_output,
    "DDPMScheduler": in_its_output,
    "DEISMultistepScheduler": by_its_conversion,
    "DPMSolverMultistepScheduler": by_its_conversion,
    "DPMSolverSDEScheduler": in_its_output,
    "DPMSolverSinglestepScheduler": by_its_conversion,
    "EDMDPMSolverMultistepScheduler": by_its_conversion,
    "EDMEulerScheduler": in_its_output,
    "EulerAncestralDiscreteScheduler": in_its_output,
    "EulerDiscreteScheduler": in_its_output,
    "FlowMatchEulerDiscreteScheduler": by_velocity,
    "FlowMatchHeunDiscreteScheduler": by_velocity,
    "FlowMatchLCMScheduler": by_velocity,
    "HeunDiscreteScheduler": in_its_output,
    "KDPM2AncestralDiscreteScheduler": in_its_output,
    "KDPM2DiscreteScheduler": in_its_output,
    "LCMScheduler": by_alphas,
    "LMSDiscreteScheduler": in_its_output,
    "LTXEulerAncestralRFScheduler": by_velocity,
    "MiniMaxH3Scheduler": by_velocity_to_data,
    "PNDMScheduler": by_alphas,
    "SASolverScheduler": by_its_conversion,
    "TCDScheduler": by_alphas,
    "UnCLIPScheduler": in_its_output,
    "UniPCMultistepScheduler": by_its_conversion,
}
REFUSED = {
    "AmusedScheduler": "samples tokens",
    "BlockRefinementScheduler": "samples tokens",
    "DDIMInverseScheduler": "inverts: it goes from the image to noise",
    "DDPMWuerstchenScheduler": r"continuous timesteps in 0\.\.1",
    "DPMSolverMultistepInverseScheduler": "inverts: it goes from the image to noise",
    "DiscreteDDIMScheduler": "samples tokens",
    "EntropyBoundScheduler": "samples tokens",
    "FlowMapEulerDiscreteScheduler": "mean velocity between two noise levels",
    "HeliosDMDScheduler": "stages of several resolutions",
    "HeliosScheduler": "stages of several resolutions",
    "IPNDMScheduler": "noise levels of its own",
    "KarrasVeScheduler": "raises the noise level before each step",
    "PiflowScheduler": "policy for many substeps",
    "RFD4ProteinaScheduler": "coordinates of proteins",
    "RePaintScheduler": r"jumps back to more noise \(RePaint\)",
    "SCMScheduler": "TrigFlow's angle",
    "ScoreSdeVeScheduler": "step_pred and step_correct",
    "VQDiffusionScheduler": "samples tokens",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "AmusedScheduler": {"mask_token_id": 5},
    "RFD4ProteinaScheduler": {"schedule_mode": "power", "noise_mode": "tan", "tsr_k": 1.0, "tsr_sigma": 1.0},
    "VQDiffusionScheduler": {"num_vec_classes": 5},
}
BROWNIAN = {
    "CosineDPMSolverMultistepScheduler": "scheduling_cosine_dpmsolver_multistep",
    "DPMSolverSDEScheduler": "scheduling_dpmsolver_sde",
}
"""The schedulers that need the package torchsde, and their modules."""
STEPS = 6


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


def make(name: str, **options: Any) -> Any:
    owner = importlib.import_module(f"diffusers.schedulers.{BROWNIAN[name]}") if name in BROWNIAN else diffusers
    return getattr(owner, name)(**ARGUMENTS.get(name, {}), **options)


def is_first(scheduler: Any) -> bool:
    """Whether the coming evaluation is its step's first one, by each scheduler's own books."""
    if isinstance(scheduler, diffusers.PNDMScheduler):
        return (
            scheduler.counter % 4 == 0 if scheduler.counter < len(scheduler.prk_timesteps) else scheduler.counter != 1
        )
    return bool(getattr(scheduler, "state_in_first_order", True))


@torch.no_grad()
def sample(pipe: Any, steps: int = STEPS) -> Iterator[tuple[bool, dict[str, Any], Any]]:
    """Sample as diffusers' documentation does; give of each evaluation whether it is its step's first, and the rest."""
    scheduler, old = pipe.scheduler, None
    scheduler.set_timesteps(steps)
    torch.manual_seed(4)
    x = torch.randn(2, 3, 8, 8) * getattr(scheduler, "init_noise_sigma", 1.0)
    for place, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        out, first = pipe.unet(scaled, t).sample, is_first(scheduler)
        call = {"x": x, "t": t, "out": out, "scaled": scaled}
        if hasattr(scheduler, "sigmas"):
            call["sigma"] = scheduler.sigmas[getattr(scheduler, "_step_index", None) or 0].clone()
        if isinstance(scheduler, diffusers.CogVideoXDPMScheduler):
            output: Any = scheduler.step(out, old, t, scheduler.timesteps[place - 1] if place else None, x)
            x, old = output
        else:
            output = scheduler.step(out, t, x)
            x = output.prev_sample
        yield first, call, output


def recorded(scheduler: Any, oracle: Oracle, steps: int = STEPS) -> tuple[Trajectory, list[Any], torch.Tensor]:
    """Record a sampling; return it, (inputs, x̂_0 by the oracle) of each first evaluation, and what it ended with."""
    pipe, seen, last = SimpleNamespace(unet=small_unet(3), scheduler=scheduler), [], None
    with record_pipeline(pipe) as recording:
        for first, call, output in sample(pipe, steps):
            if first:
                seen.append((call, oracle(scheduler, call, output)))
            last = output[0] if isinstance(output, tuple) else output.prev_sample
    assert last is not None
    return recording.trajectory(), seen, last


def check(found: Trajectory, seen: list[Any], last: torch.Tensor) -> None:
    assert found.num_steps == len(seen)
    assert np.all(np.diff(found.log_snr) > 0)
    np.testing.assert_array_equal(found.x0, last.numpy())
    for s, (_, x0) in enumerate(seen):
        expected = x0.numpy()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found.x0_pred[:, s], expected, rtol=0, atol=1e-5 * scale, err_msg=f"step {s}")


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
