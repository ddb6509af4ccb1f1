"""The x̂_0 of each of diffusers' schedulers by its own formula, and samplings that are checked by it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from small_unet import small_unet

from viz_diffusion import record_pipeline
from viz_diffusion.recording.trajectory import Trajectory

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
