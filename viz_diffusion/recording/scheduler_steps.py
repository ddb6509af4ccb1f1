"""Steps and noise schedule of a diffusers scheduler, as the fields and the forward process of a recording.

It knows nothing about pipelines, networks or files.
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
from viz_diffusion.recording.chunk_writer import StepChunk, stack_activations
from viz_diffusion.recording.forward_pass import to_numpy
from viz_diffusion.recording.trajectory import Float32

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


@dataclass(frozen=True, eq=False)
class SchedulerStep:
    """One call of ``scheduler.step``, copied to the CPU; each array of images is (B, C, H, W) float32."""

    t: float
    """The timestep; may be fractional."""
    alphas_cumprod: float
    """ᾱ at this step."""
    x_t: Float32
    """The state that the network was called with."""
    eps: Float32
    """ε̂, the predicted noise: computed from the network's prediction, after guidance."""
    x0: Float32
    """x̂_0, computed from the prediction, clipped where the scheduler clips."""
    x_prev: Float32
    """The next state, in the scheduler's own scaling."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """(B, ...) float32: each recorded module's output, by dotted name; empty at steps without any."""


def read_step(
    scheduler: Any,
    schedule: NoiseSchedule,
    call: Mapping[str, Any],
    output: Any,
    x_in: Tensor,
    activations: Mapping[str, Float32],
) -> SchedulerStep:
    """Return the scheduler's latest step.

    Parameters
    ----------
    scheduler, schedule
        The scheduler after the step, and its forward process.
    call
        The arguments of ``scheduler.step`` by name: ``model_output``, ``timestep`` and ``sample``.
    output
        What ``scheduler.step`` returned.
    x_in
        (B, C, H, W): the sample scaled as the network's input.
    activations
        (B, ...) float32: the recorded modules' outputs, by dotted name.
    """
    sample, prediction, t = call["sample"], call["model_output"], float(torch.as_tensor(call["timestep"]))
    if prediction.shape[1] == 2 * sample.shape[1]:  # the rest is a learned variance
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
    given = _given_x0(output, sample)
    previous = output[0] if isinstance(output, tuple) else output.prev_sample
    return SchedulerStep(t, alpha, x, eps, x0 if given is None else to_numpy(given), to_numpy(previous), activations)


def scheduler_facts(scheduler: Any) -> dict[str, Any]:
    """Return the attributes of the sampler; ``step`` gets the prediction after guidance, so its scale is NaN."""
    variance = getattr(scheduler.config, "variance_type", "")
    return {
        "sampler": type(scheduler).__name__.removesuffix("Scheduler"),
        "variance": {"fixed_small": "beta_tilde", "fixed_large": "beta"}.get(variance, ""),
        "clip": bool(getattr(scheduler.config, "clip_sample", False)),
        "guidance_scale": float("nan"),
    }


def to_chunk(steps: Sequence[SchedulerStep], schedule: NoiseSchedule) -> StepChunk:
    """Return s steps as arrays; the timesteps are int64 where all of them are whole."""
    timesteps: NDArray[Any] = np.array([step.t for step in steps])
    alphas = np.array([step.alphas_cumprod for step in steps])
    whole = timesteps.astype(np.int64)
    own_alphas = True
    if np.all(timesteps == whole):
        timesteps = whole
        own_alphas = not np.allclose(schedule.alphas_cumprod[whole], alphas, rtol=1e-4)
    activations, activation_steps = stack_activations([step.activations for step in steps])
    return StepChunk(
        {
            "x_t": np.stack([step.x_t for step in steps], axis=1),
            "eps_pred": np.stack([step.eps for step in steps], axis=1),
            "x0_pred": np.stack([step.x0 for step in steps], axis=1),
        },
        timesteps,
        alphas,
        own_alphas=own_alphas,
        activations=activations,
        activation_steps=activation_steps,
        guidance_scale=float("nan"),
    )


def schedule_of(scheduler: Any) -> NoiseSchedule:
    """Return a diffusers scheduler's forward process.

    Raises
    ------
    VizdiffUsageError
        Where it has no betas (flow matching), zero terminal SNR (ᾱ = 0), or an unknown type of prediction.
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
    """Return ᾱ at the latest step, float64: 1/(1+σ²) of the scheduler's own σ where it has them, else by timestep."""
    sigmas, index = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if sigmas is not None and index is not None:
        return 1 / (1 + float(sigmas[index - 1]) ** 2)
    return float(schedule.alphas_cumprod[int(timestep)])


def _given_x0(output: Any, sample: Tensor) -> Tensor | None:
    """Return the x̂_0 in the output of ``scheduler.step``, where there is one of the sample's shape."""
    x0 = output[1] if isinstance(output, tuple) and len(output) > 1 else getattr(output, "pred_original_sample", None)
    return x0 if isinstance(x0, Tensor) and x0.shape == sample.shape else None
