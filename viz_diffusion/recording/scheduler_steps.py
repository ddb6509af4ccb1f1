"""What a diffusers scheduler's step says, as the fields of a recording; and the forward process it was made for.

Knows nothing about pipelines, networks or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.step_grouper import to_numpy
from viz_diffusion.recording.trajectory import Float32

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


@dataclass(frozen=True, eq=False)
class SchedulerStep:
    """One call of ``scheduler.step``, copied to the CPU; each picture (B, C, H, W) float32."""

    t: float
    """The timestep, whole or not."""
    alphas_cumprod: float
    """ᾱ there."""
    x_t: Float32
    """What entered the network."""
    eps: Float32
    """The noise that its answer implies, after guidance."""
    x0: Float32
    """The finished picture that it implies, clipped where the scheduler clips."""
    x_prev: Float32
    """The next state, in the scheduler's own scaling."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """What modules gave, (B, ...) by dotted name; empty where nothing was kept."""


def read_step(
    scheduler: Any,
    schedule: NoiseSchedule,
    call: Mapping[str, Any],
    output: Any,
    x_in: Tensor,
    activations: Mapping[str, Float32],
) -> SchedulerStep:
    """Return a step just made: the arguments of ``step``, what it returned, and what entered the network."""
    sample, prediction, t = call["sample"], call["model_output"], float(torch.as_tensor(call["timestep"]))
    if prediction.shape[1] == 2 * sample.shape[1]:  # a learned variance rides along
        prediction = prediction[:, : sample.shape[1]]
    alpha = _alpha(scheduler, schedule, call["timestep"])
    x, out = to_numpy(x_in), to_numpy(prediction)
    signal, spread = np.float32(np.sqrt(alpha)), np.float32(np.sqrt(1 - alpha))
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        eps, x0 = out, predict_x0(x, out, alpha)
    elif kind == "sample":
        eps, x0 = (x - signal * out) / spread, out
    else:
        eps, x0 = signal * out + spread * x, signal * x - spread * out
    if getattr(scheduler.config, "clip_sample", False):
        limit = getattr(scheduler.config, "clip_sample_range", 1.0)
        x0 = x0.clip(-limit, limit)
    told = _told_x0(output, sample)
    previous = output[0] if isinstance(output, tuple) else output.prev_sample
    return SchedulerStep(t, alpha, x, eps, x0 if told is None else to_numpy(told), to_numpy(previous), activations)


def scheduler_facts(scheduler: Any) -> dict[str, Any]:
    """Return what a recording says of its sampler; guidance is not known, since the prediction arrives mixed."""
    variance = getattr(scheduler.config, "variance_type", "")
    return {
        "sampler": type(scheduler).__name__.removesuffix("Scheduler"),
        "variance": {"fixed_small": "beta_tilde", "fixed_large": "beta"}.get(variance, ""),
        "clip": bool(getattr(scheduler.config, "clip_sample", False)),
        "guidance_scale": float("nan"),
    }


def fields_of(steps: Sequence[SchedulerStep]) -> dict[str, Any]:
    """Return x_t, ε̂ and x̂_0 of s steps, each (B, s, C, H, W) float32."""
    return {
        "x_t": np.stack([step.x_t for step in steps], axis=1),
        "eps_pred": np.stack([step.eps for step in steps], axis=1),
        "x0_pred": np.stack([step.x0 for step in steps], axis=1),
    }


def times_of(steps: Sequence[SchedulerStep], schedule: NoiseSchedule) -> tuple[NDArray[Any], NDArray[np.float64], bool]:
    """Return (s,) timesteps, int64 where all are whole; (s,) ᾱ; and whether ᾱ follows from timesteps and schedule."""
    timesteps = np.array([step.t for step in steps])
    alphas = np.array([step.alphas_cumprod for step in steps])
    if not np.all(timesteps == timesteps.astype(np.int64)):
        return timesteps, alphas, False
    whole = timesteps.astype(np.int64)
    return whole, alphas, bool(np.allclose(schedule.alphas_cumprod[whole], alphas, rtol=1e-4))


def kept_of(steps: Sequence[SchedulerStep]) -> tuple[dict[str, Float32], NDArray[np.int64]]:
    """Return what modules gave at K of s steps, each (B, K, ...), and which steps these are, (K,)."""
    kept = [index for index, step in enumerate(steps) if step.activations]
    names = steps[kept[0]].activations if kept else ()
    return {name: np.stack([steps[k].activations[name] for k in kept], axis=1) for name in names}, np.array(
        kept, dtype=np.int64
    )


def schedule_of(scheduler: Any) -> NoiseSchedule:
    """Return a diffusers scheduler's forward process.

    Raises
    ------
    VizdiffUsageError
        Where it has none of this kind, ends in pure noise (ᾱ = 0), or predicts something unknown.
    """
    name = type(scheduler).__name__
    if not hasattr(scheduler, "betas") or not hasattr(scheduler, "alphas_cumprod"):
        raise VizdiffUsageError(f"{name} has no betas (flow matching?); record_pipeline knows noise schedules with ᾱ")
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in PREDICTION_TYPES:
        raise VizdiffUsageError(f"{name} predicts {kind!r}; record_pipeline knows {', '.join(PREDICTION_TYPES)}")
    config_name = str(getattr(scheduler.config, "beta_schedule", "custom"))
    schedule = NoiseSchedule(scheduler.betas.double().numpy(), config_name)
    schedule.require_signal()
    return schedule


def _alpha(scheduler: Any, schedule: NoiseSchedule, timestep: Any) -> float:
    """Return ᾱ at the step just made: from the scheduler's own σ where it keeps them, else by timestep, in float64."""
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if sigmas is not None and index is not None:
        return 1 / (1 + float(sigmas[index - 1]) ** 2)
    return float(schedule.alphas_cumprod[int(timestep)])


def _told_x0(output: Any, sample: Tensor) -> Tensor | None:
    """Return the scheduler's own x̂_0, where it gives one of the sample's shape."""
    told = output[1] if isinstance(output, tuple) and len(output) > 1 else getattr(output, "pred_original_sample", None)
    return told if isinstance(told, Tensor) and told.shape == sample.shape else None
