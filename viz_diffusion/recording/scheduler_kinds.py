"""Kinds of diffusers' schedulers: how each one scales x_t and where its noise level stands, or why it is not recorded.

It knows nothing about steps, pipelines or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES
from viz_diffusion.diffusion.scaling import SCALINGS, Float64, alphas_cumprod_of
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError

PRESERVING, EXPLODING, FLOW = SCALINGS


@dataclass(frozen=True)
class SchedulerKind:
    """What a recording has to know of a scheduler's class."""

    scaling: str = PRESERVING
    """How its samples are scaled, one of :data:`~viz_diffusion.diffusion.scaling.SCALINGS`."""
    by_sigma: bool = False
    """Whether the noise level of a step is in ``sigmas[step_index]``, else in ``alphas_cumprod[t]``."""
    x0_second: bool = False
    """Whether ``step(..., return_dict=False)`` returns x̂_0 as its second value."""
    clips: bool = True
    """Whether ``clip_sample`` of its config has an effect."""
    denoiser: str = ""
    """The formula of x̂_0 where none of the prediction types is one: ``edm`` or ``consistency``."""
    continuous: bool = False
    """Whether its timesteps are a function of σ, and no index of the schedule."""
    direction: int = 1
    """-1 where the network predicts the velocity towards the data, x_0 - ε."""


_BY_T, _BY_SIGMA = SchedulerKind(), SchedulerKind(by_sigma=True)
_EXPLODING = SchedulerKind(EXPLODING, by_sigma=True, x0_second=True)
_FLOW = SchedulerKind(FLOW, by_sigma=True)
_EDM = SchedulerKind(EXPLODING, by_sigma=True, denoiser="edm", continuous=True)

KINDS: Mapping[str, SchedulerKind] = {
    "DDPMScheduler": replace(_BY_T, x0_second=True),
    "DDPMParallelScheduler": replace(_BY_T, x0_second=True),
    "DDIMScheduler": replace(_BY_T, x0_second=True),
    "DDIMParallelScheduler": replace(_BY_T, x0_second=True),
    "UnCLIPScheduler": replace(_BY_T, x0_second=True),
    "CogVideoXDDIMScheduler": replace(_BY_T, x0_second=True, clips=False),
    "CogVideoXDPMScheduler": replace(_BY_T, x0_second=True, clips=False),
    "LCMScheduler": _BY_T,
    "PNDMScheduler": _BY_T,
    "TCDScheduler": replace(_BY_T, clips=False),
    "DEISMultistepScheduler": _BY_SIGMA,
    "DPMSolverMultistepScheduler": _BY_SIGMA,
    "DPMSolverSinglestepScheduler": _BY_SIGMA,
    "SASolverScheduler": _BY_SIGMA,
    "UniPCMultistepScheduler": _BY_SIGMA,
    "DPMSolverSDEScheduler": _EXPLODING,
    "EulerAncestralDiscreteScheduler": _EXPLODING,
    "EulerDiscreteScheduler": _EXPLODING,
    "HeunDiscreteScheduler": _EXPLODING,
    "KDPM2AncestralDiscreteScheduler": _EXPLODING,
    "KDPM2DiscreteScheduler": _EXPLODING,
    "LMSDiscreteScheduler": _EXPLODING,
    "CosineDPMSolverMultistepScheduler": _EDM,
    "EDMDPMSolverMultistepScheduler": _EDM,
    "EDMEulerScheduler": replace(_EDM, x0_second=True),
    "CMStochasticIterativeScheduler": replace(_EDM, denoiser="consistency"),
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    "FlowMatchLCMScheduler": _FLOW,
    "LTXEulerAncestralRFScheduler": _FLOW,
    "MiniMaxH3Scheduler": replace(_FLOW, direction=-1),
}
"""The schedulers whose steps are recorded, by the name of their class."""

_INVERSION = "inverts: it goes from the image to noise, and a recording holds states from noise to the image"
_TOKENS = "samples tokens, and a recording holds images with Gaussian noise"
REFUSED: Mapping[str, str] = {
    "DDIMInverseScheduler": _INVERSION,
    "DPMSolverMultistepInverseScheduler": _INVERSION,
    "RePaintScheduler": "jumps back to more noise (RePaint), and a recording holds states of falling noise",
    "KarrasVeScheduler": "raises the noise level before each step (Karras et al. 2022, alg. 2), so that a step has two",
    "ScoreSdeVeScheduler": "predicts and corrects with step_pred and step_correct, and has no step to record",
    "ScoreSdeVpScheduler": "steps with step_pred, and has no step to record",
    "FlowMapEulerDiscreteScheduler": "gets the mean velocity between two noise levels, which implies no x̂_0",
    "PiflowScheduler": "gets a policy for many substeps, which is no prediction of x_0, ε or a velocity",
    "IPNDMScheduler": "has noise levels of its own (an angle), and neither ᾱ nor σ to record",
    "SCMScheduler": "has noise levels of its own (TrigFlow's angle), and neither ᾱ nor σ to record",
    "DDPMWuerstchenScheduler": "has continuous timesteps in 0..1, and neither ᾱ nor σ to record",
    "ConsistencyDecoderScheduler": "decodes latents, and has no network evaluation a step to record",
    "HeliosScheduler": "samples in stages of several resolutions, and a recording holds images of one size",
    "HeliosDMDScheduler": "samples in stages of several resolutions, and a recording holds images of one size",
    "RFD4ProteinaScheduler": "samples coordinates of proteins, and a recording holds images",
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "VQDiffusionScheduler": _TOKENS,
}
"""Why the other schedulers of diffusers are not recorded, by the name of their class."""
_PREDICTION_NAMES = {"original_sample": "sample", "flow_prediction": "flow"}
_MEND = "; record a pipeline with another scheduler, such as DDIMScheduler"


def kind_of(scheduler: Any) -> SchedulerKind:
    """Return what is known of a scheduler; of an unknown class with betas, that its steps are like DDIM's or Euler's.

    Raises
    ------
    VizdiffUsageError
        Where it is not recorded; the message says why.
    """
    name, config = type(scheduler).__name__, scheduler.config
    names = [parent.__name__ for parent in type(scheduler).__mro__]
    known = next((parent for parent in names if parent in KINDS or parent in REFUSED), "")
    if known in REFUSED:
        raise VizdiffUsageError(f"{name} {REFUSED[known]}{_MEND}")
    if not known and not (hasattr(scheduler, "betas") and hasattr(scheduler, "alphas_cumprod")):
        raise VizdiffUsageError(f"{name} is not known, and has no betas and no ᾱ to read its noise levels from{_MEND}")
    kind = KINDS[known] if known else SchedulerKind(by_sigma=hasattr(scheduler, "sigmas"))
    if getattr(config, "use_flow_sigmas", False):
        kind = replace(kind, scaling=FLOW)
    if getattr(config, "invert_sigmas", False):
        kind = replace(kind, direction=-1)
    continuous = getattr(config, "timestep_type", "") == "continuous"
    return replace(kind, continuous=True) if continuous and prediction_type_of(scheduler, kind) != "epsilon" else kind


def prediction_type_of(scheduler: Any, kind: SchedulerKind) -> str:
    """Return what the network predicts, one of :data:`PREDICTION_TYPES`.

    Raises
    ------
    VizdiffUsageError
        Where the config names none of them, or one that does not go with the noise levels.
    """
    name = type(scheduler).__name__
    if kind.denoiser:
        return "sample"
    is_flow = kind.scaling == FLOW
    given = getattr(scheduler.config, "prediction_type", "flow" if is_flow else "epsilon")
    found = _PREDICTION_NAMES.get(given, given)
    if found not in PREDICTION_TYPES:
        raise VizdiffUsageError(f"{name} predicts {given!r}; record_pipeline knows {', '.join(PREDICTION_TYPES)}")
    if is_flow != (found == "flow") and found != "sample":
        levels = "those of flow matching" if is_flow else "none of flow matching"
        raise VizdiffUsageError(f"{name} predicts {given!r}, and its noise levels are {levels}; change its config")
    return found


def schedule_of(scheduler: Any, kind: SchedulerKind, prediction_type: str) -> NoiseSchedule:
    """Return a scheduler's forward process.

    Raises
    ------
    VizdiffUsageError
        Where it has zero terminal SNR (ᾱ = 0) and the network predicts ε.
    """
    config = scheduler.config
    count = int(getattr(config, "num_train_timesteps", 1000))
    if kind.scaling == FLOW:
        return NoiseSchedule.named("flow", count)
    if kind.continuous:
        levels = np.asarray(tensor_of(scheduler.sigmas), dtype=np.float64)
        least = getattr(config, "sigma_min", None) or levels[levels > 0].min()
        most = getattr(config, "sigma_max", None) or levels.max()
        return _from_shares(alphas_cumprod_of(np.geomspace(least, most, count), EXPLODING), "custom")
    name = str(getattr(config, "beta_schedule", "custom"))
    schedule = NoiseSchedule(scheduler.betas.double().numpy(), name)
    shares = scheduler.alphas_cumprod.double().numpy()
    if not np.allclose(schedule.alphas_cumprod[:-1], shares[:-1], rtol=1e-2):  # CogVideoX shifts ᾱ and keeps its betas
        schedule = _from_shares(shares, name)
    if prediction_type == "epsilon":
        schedule.require_signal()
    return schedule


def _from_shares(alphas_cumprod: Float64, name: str) -> NoiseSchedule:
    return NoiseSchedule(1 - alphas_cumprod / np.concatenate([[1.0], alphas_cumprod[:-1]]), name)


def scheduler_facts(scheduler: Any, kind: SchedulerKind, prediction_type: str) -> dict[str, Any]:
    """Return the attributes of the sampler; ``step`` gets the prediction after guidance, so its scale is NaN."""
    config = scheduler.config
    variance = getattr(config, "variance_type", "")
    clip = kind.clips and (getattr(config, "clip_sample", False) or getattr(config, "clip_denoised", False))
    return {
        "sampler": type(scheduler).__name__.removesuffix("Scheduler"),
        "variance": {"fixed_small": "beta_tilde", "fixed_large": "beta"}.get(variance, ""),
        "clip": bool(clip),
        "guidance_scale": float("nan"),
        "prediction_type": prediction_type,
        "conventions": _conventions(scheduler, kind),
    }


def _conventions(scheduler: Any, kind: SchedulerKind) -> dict[str, str]:
    """Return how x, t and the prediction of a recording follow from the scheduler's, where they are not the same."""
    said = {}
    if kind.scaling == FLOW:
        said["x"] = "x_t = (1 - σ) x_0 + σ ε"
        said["t"] = "T σ - 1, from the scheduler's σ"
        said["noise end"], said["data end"] = "σ = 1, t = T - 1", "σ = 0, t = -1"
        said["prediction"] = "x_0 - ε" if kind.direction < 0 else "ε - x_0"
    elif kind.scaling == EXPLODING:
        said["x"] = "the scheduler's sample divided by √(1 + σ²)"
    if kind.denoiser:
        paper = "Karras et al. 2022, eq. 7" if kind.denoiser == "edm" else "Song et al. 2023, eq. 5"
        said["prediction"] = f"x_0 = c_skip(σ) x + c_out(σ) F, with the network's output F ({paper})"
    if kind.continuous:
        said["t"] = "the place of σ in the schedule; the network gets a function of σ"
    if hasattr(type(scheduler), "state_in_first_order") or hasattr(scheduler, "prk_timesteps"):
        said["evaluations"] = "a step evaluates the network more than once; the first evaluation of each is recorded"
    return said
