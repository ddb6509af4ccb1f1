"""Steps of a diffusers scheduler, as the fields of a recording.

It knows nothing about pipelines, networks or files; what the classes of schedulers have in common, and how they differ,
is in :mod:`viz_diffusion.recording.scheduler_kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.parameterizations import to_x0_and_eps
from viz_diffusion.diffusion.scaling import scales
from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import StepChunk, stack_activations
from viz_diffusion.recording.pipeline_layout import ImageLayout
from viz_diffusion.recording.scheduler_kinds import (
    FLOW,
    PRESERVING,
    kind_of,
    prediction_type_of,
    schedule_of,
    scheduler_facts,
)
from viz_diffusion.recording.trajectory import Float32


@dataclass(frozen=True, eq=False)
class SchedulerStep:
    """One step of a scheduler, copied to the CPU; each array of images is (B, C, H, W) float32."""

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


class SchedulerReader:
    """One scheduler, its forward process, and what a recording says of it.

    Raises
    ------
    VizdiffUsageError
        Where it is not recorded; the message says why.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.kind = kind_of(scheduler)
        self.prediction_type = prediction_type_of(scheduler, self.kind)
        self.schedule: NoiseSchedule = schedule_of(scheduler, self.kind, self.prediction_type)
        self.facts: dict[str, Any] = scheduler_facts(scheduler, self.kind, self.prediction_type)

    @property
    def name(self) -> str:
        """The name of the scheduler's class."""
        return type(self.scheduler).__name__

    @property
    def is_first_evaluation(self) -> bool:
        """Whether the coming evaluation is the first one of its step, which is the one that is recorded."""
        counter = getattr(self.scheduler, "counter", None)  # PNDM's
        if counter is None:
            return bool(getattr(self.scheduler, "state_in_first_order", True))
        first = self.scheduler.prk_timesteps
        in_runge_kutta = first is not None and counter < len(first)
        return counter % 4 == 0 if in_runge_kutta else counter != 1

    def network_input(self, call: Mapping[str, Any]) -> Tensor:
        """Return a copy of the sample that ``step`` is about to be called with, scaled as the recorded x_t."""
        sample: Tensor = call["sample"]
        if (
            self.kind.denoiser
        ):  # its own factor of scale_model_input belongs to the denoiser: c_in of Karras et al. 2022
            sigma = float(self.scheduler.sigmas[_index(self.scheduler, call["timestep"])])
            return sample / (1 + sigma**2) ** 0.5
        scale = getattr(self.scheduler, "scale_model_input", None)
        scaled: Tensor = sample if scale is None else scale(sample, call["timestep"])
        return scaled.clone() if scaled is sample else scaled


def read_step(
    reader: SchedulerReader,
    call: Mapping[str, Any],
    output: Any,
    x_in: Tensor,
    layout: ImageLayout,
    activations: Mapping[str, Float32],
) -> SchedulerStep:
    """Return the scheduler's latest step.

    Parameters
    ----------
    reader
        The scheduler after the step.
    call
        The arguments of ``scheduler.step`` by name: ``model_output``, ``timestep`` and ``sample``.
    output
        What ``scheduler.step`` returned.
    x_in
        (B, C, H, W): the sample scaled as the network's input.
    layout
        How the scheduler's tensors become images.
    activations
        (B, ...) float32: the recorded modules' outputs, by dotted name.
    """
    if call.get("per_token_timesteps") is not None:
        raise VizdiffUsageError(f"{reader.name} got a timestep for each token; a recording has one for all images")
    sample, prediction = call["sample"], call["model_output"]
    if prediction.ndim > 2 and prediction.shape[1] == 2 * sample.shape[1]:  # the rest is a learned variance
        prediction = prediction[:, : sample.shape[1]]
    t, alpha, signal, noise = _level(reader, call["timestep"])
    x, out = layout.images(x_in), layout.images(prediction)
    given = _given_x0(reader, output, sample)
    if given is None and reader.kind.denoiser:
        given = _denoised(reader, sample, prediction)
    if reader.kind.denoiser and given is not None:
        out = layout.images(given)
    if reader.prediction_type == "epsilon":
        eps, x0 = out, predict_x0(x, out, alpha)
    else:
        x0, eps = to_x0_and_eps(out * np.float32(reader.kind.direction), x, reader.prediction_type, signal, noise)
    x0 = layout.images(given) if given is not None else _limited(reader, x0)
    return SchedulerStep(t, alpha, x, eps, x0, layout.images(next_state(output)), activations)


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


def next_state(output: Any) -> Tensor:
    """Return the next state in what ``scheduler.step`` returned."""
    state: Tensor = output[0] if isinstance(output, tuple) else output.prev_sample
    return state


def _index(scheduler: Any, timestep: Any) -> int:
    """Return the index of the coming step among the scheduler's noise levels."""
    if scheduler.step_index is None:
        scheduler._init_step_index(timestep)  # as its own step does first
    return int(scheduler.step_index)


def _level(reader: SchedulerReader, timestep: Any) -> tuple[float, float, float, float]:
    """Return t, ᾱ and the scales of signal and noise at the latest step, as they are recorded.

    ᾱ is 1/(1+σ²) of the scheduler's own σ where it has them (flow matching: of its σ in a + b = 1), else by timestep.
    """
    scheduler, kind, schedule = reader.scheduler, reader.kind, reader.schedule
    times = tensor_of(timestep).flatten()
    if times.numel() > 1 and bool((times != times[0]).any()):
        raise VizdiffUsageError(f"{reader.name} got several timesteps in one step; a recording has one for all images")
    t, count = float(times[0]), schedule.num_train_timesteps
    index = getattr(scheduler, "step_index", getattr(scheduler, "_step_index", None))
    if not kind.by_sigma or index is None:
        alpha = float(schedule.alphas_cumprod[int(t)])
        return t, alpha, *_scales(alpha, PRESERVING)
    sigma = float(scheduler.sigmas[index - 1])
    if kind.scaling == FLOW:
        if getattr(scheduler.config, "invert_sigmas", False):
            sigma = 1 - sigma
        if sigma <= 0:
            raise VizdiffUsageError(
                f"{reader.name} evaluates at σ = 0, where no noise is left; leave 0 out of its sigmas"
            )
        alpha = (1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma**2)
        t = count * sigma - 1
        if abs(t - round(t)) < 2e-7 * count * sigma:  # what float32 loses of a whole timestep
            t = float(round(t))
        return t, alpha, 1 - sigma, sigma
    alpha = 1 / (1 + sigma**2)
    if kind.continuous:
        t = float(np.interp(-np.log(alpha), -np.log(schedule.alphas_cumprod), np.arange(count)))
    return t, alpha, *_scales(alpha, PRESERVING)


def _scales(alpha: float, scaling: str) -> tuple[float, float]:
    signal, noise = scales(alpha, scaling)
    return float(signal), float(noise)


def _denoised(reader: SchedulerReader, sample: Tensor, prediction: Tensor) -> Tensor:
    """Return x̂_0 of a preconditioned network, by the scheduler's own formula."""
    scheduler = reader.scheduler
    sigma = scheduler.sigmas[scheduler.step_index - 1]
    if reader.kind.denoiser == "edm":
        x0: Tensor = scheduler.precondition_outputs(sample, prediction, sigma)
        return scheduler._threshold_sample(x0) if getattr(scheduler.config, "thresholding", False) else x0
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition(sigma)
    x0 = c_out * prediction + c_skip * sample
    return x0.clamp(-1, 1) if scheduler.config.clip_denoised else x0


def _limited(reader: SchedulerReader, x0: Float32) -> Float32:
    """Return x̂_0 clipped, or thresholded, as the scheduler does."""
    config = reader.scheduler.config
    if not reader.kind.clips:
        return x0
    if getattr(config, "thresholding", False):
        limited: Float32 = reader.scheduler._threshold_sample(torch.from_numpy(x0)).numpy()
        return limited
    if getattr(config, "clip_sample", False):
        limit = getattr(config, "clip_sample_range", 1.0)
        return x0.clip(-limit, limit)
    return x0


def _given_x0(reader: SchedulerReader, output: Any, sample: Tensor) -> Tensor | None:
    """Return the x̂_0 in the output of ``scheduler.step``, where there is one."""
    if isinstance(output, tuple):
        x0 = output[1] if reader.kind.x0_second and len(output) > 1 else None
    else:
        x0 = getattr(output, "pred_original_sample", None)
    return x0 if isinstance(x0, Tensor) and x0.shape == sample.shape else None
