"""Record any pipeline of 🤗 diffusers: its scheduler's ``step`` is wrapped, and restored on exit.

``step`` is the one place that every sampling loop passes with x_t, t and the prediction as used, guidance
included. Needs the extra ``diffusers``; knows nothing about prompts or networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.passes import to_numpy
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.trajectory import Float32, Trajectory

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")


@dataclass(frozen=True, eq=False)
class _Step:
    """One call of ``scheduler.step``."""

    t: float
    alphas_cumprod: float
    x_t: Float32
    eps: Float32
    x0: Float32
    x_prev: Float32


class PipelineRecording:
    """What :func:`record_pipeline` gives: it grows while the pipeline runs."""

    def __init__(self, pipe: Any, seeds: Sequence[int], labels: Sequence[int] | None) -> None:
        self._pipe, self._scheduler = pipe, pipe.scheduler
        self._seeds, self._labels = seeds, labels
        self._heard_labels: NDArray[np.int64] | None = None
        self._runs: list[list[_Step]] = []
        self.schedule = schedule_of(pipe.scheduler)
        """The forward process that the scheduler was configured with."""

    def trajectory(self, *, decode_at: Sequence[int] = ()) -> Trajectory:
        """Return what was recorded.

        Parameters
        ----------
        decode_at
            Steps left at which x̂_0 is decoded by the pipeline's VAE, 0 for the finished latent; the pictures
            go into ``Trajectory.decoded``. Only for pipelines that have one.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, or the pipeline ran more than once.
        """
        found = self.trajectories(decode_at=decode_at)
        if len(found) != 1:
            raise VizdiffUsageError(f"the pipeline ran {len(found)} times in the block: ask for trajectories()")
        return found[0]

    def trajectories(self, *, decode_at: Sequence[int] = ()) -> list[Trajectory]:
        """Return one Trajectory for each run of the pipeline, in order."""
        if not self._runs:
            raise VizdiffUsageError("nothing was recorded: call the pipeline inside the block")
        return [self._assemble(run, decode_at) for run in self._runs]

    def _hear(self, call: dict[str, Any], output: Any, x_in: Tensor, alpha: float) -> None:
        """Take down one step: the arguments of ``step``, what it returned, and what entered the network."""
        sample, prediction, t = call["sample"], call["model_output"], float(torch.as_tensor(call["timestep"]))
        if prediction.shape[1] == 2 * sample.shape[1]:  # a learned variance rides along
            prediction = prediction[:, : sample.shape[1]]
        x, out = to_numpy(x_in), to_numpy(prediction)
        signal, spread = np.float32(np.sqrt(alpha)), np.float32(np.sqrt(1 - alpha))
        kind = self._scheduler.config.prediction_type
        if kind == "epsilon":
            eps, x0 = out, (x - spread * out) / signal
        elif kind == "sample":
            eps, x0 = (x - signal * out) / spread, out
        else:
            eps, x0 = signal * out + spread * x, signal * x - spread * out
        if getattr(self._scheduler.config, "clip_sample", False):
            limit = getattr(self._scheduler.config, "clip_sample_range", 1.0)
            x0 = x0.clip(-limit, limit)
        told = _told_x0(output, sample)
        previous = output[0] if isinstance(output, tuple) else output.prev_sample
        step = _Step(t, alpha, x, eps, x0 if told is None else to_numpy(told), to_numpy(previous))
        if not self._runs or t > self._runs[-1][-1].t:
            self._runs.append([])
        elif t == self._runs[-1][-1].t:
            raise VizdiffUsageError(
                f"{type(self._scheduler).__name__} visits t = {t:g} twice, which a recording does not hold; "
                "use a scheduler with one evaluation a step, such as DDIM or DPM-Solver++"
            )
        self._runs[-1].append(step)

    def _assemble(self, run: list[_Step], decode_at: Sequence[int]) -> Trajectory:
        timesteps = np.array([step.t for step in run])
        alphas = np.array([step.alphas_cumprod for step in run])
        whole = bool(np.all(timesteps == timesteps.astype(np.int64)))
        follows = whole and np.allclose(self.schedule.alphas_cumprod[timesteps.astype(np.int64)], alphas, rtol=1e-4)
        config, count = self._scheduler.config, len(run[0].x_t)
        trajectory = Trajectory(
            schedule=self.schedule,
            timesteps=timesteps.astype(np.int64) if whole else timesteps,
            x_t=np.stack([step.x_t for step in run], axis=1),
            eps_pred=np.stack([step.eps for step in run], axis=1),
            x0_pred=np.stack([step.x0 for step in run], axis=1),
            x0=run[-1].x_prev,
            labels=self._label_row(count),
            seeds=_row(self._seeds, count),
            sampler=type(self._scheduler).__name__.removesuffix("Scheduler"),
            variance={"fixed_small": "beta_tilde", "fixed_large": "beta"}.get(getattr(config, "variance_type", ""), ""),
            clip=bool(getattr(config, "clip_sample", False)),
            guidance_scale=float("nan"),
            step_alphas_cumprod=None if follows else alphas,
        )
        return self._decode(trajectory, decode_at) if len(decode_at) else trajectory

    def _label_row(self, count: int) -> NDArray[np.int64]:
        heard = self._heard_labels
        if self._labels is None and heard is not None and len(heard) >= count:
            return heard[:count]
        return _row(self._labels or (), count)

    def _decode(self, trajectory: Trajectory, left: Sequence[int]) -> Trajectory:
        """Return the trajectory with x̂_0 decoded at some steps."""
        from dataclasses import replace

        vae = getattr(self._pipe, "vae", None)
        if vae is None:
            raise VizdiffUsageError(f"{type(self._pipe).__name__} has no VAE: its x is the picture, nothing to decode")
        outside = [n for n in left if not 0 <= n <= trajectory.num_steps]
        if outside:
            raise VizdiffUsageError(f"steps left must lie in 0..{trajectory.num_steps}, found {outside[0]}")
        steps = trajectory.num_steps - np.array(sorted(set(left), reverse=True), dtype=np.int64)
        latents = [trajectory.x0 if s == trajectory.num_steps else trajectory.x0_pred[:, s] for s in steps.tolist()]
        scaling, shift = getattr(vae.config, "scaling_factor", 1.0), getattr(vae.config, "shift_factor", None) or 0.0
        with torch.no_grad():
            images = [
                to_numpy(vae.decode(torch.from_numpy(z).to(vae.device, vae.dtype) / scaling + shift).sample)
                for z in latents
            ]
        return replace(trajectory, decoded=np.stack(images, axis=1), decoded_steps=steps)


@contextmanager
def record_pipeline(
    pipe: Any, *, seeds: Sequence[int] = (), labels: Sequence[int] | None = None
) -> Iterator[PipelineRecording]:
    """Record every step of a diffusers pipeline while the block lasts.

    Works with any pipeline, or any object, whose ``.scheduler`` has ``step`` and ``alphas_cumprod`` and asks the
    network once a step: DDPM, DDIM, DPM-Solver++ multistep, Euler and their kin. It observes only: images and
    random state are the same without it. ``x_t`` is what entered the network: where a scheduler scales x by its
    σ (Euler), it is divided by √(1+σ²) again, so that it has unit power and ᾱ = 1/(1+σ²). ``guidance_scale`` is
    NaN, not known, since the prediction arrives mixed.

    Parameters
    ----------
    pipe
        The pipeline.
    seeds, labels
        Of the images, where they are known. Integer ``class_labels`` that the pipeline gives its ``unet`` or
        ``transformer`` are heard; of a doubled batch, the first half.

    Raises
    ------
    VizdiffUsageError
        Where the scheduler has no ``step``, is no noise schedule of this kind (flow matching), or predicts
        something unknown.

    Examples
    --------
    >>> with record_pipeline(pipe) as recording:  # doctest: +SKIP
    ...     pipe(num_inference_steps=50)
    >>> recording.trajectory().save("run.zarr")  # doctest: +SKIP
    """
    scheduler: Any = getattr(pipe, "scheduler", None)
    if not callable(getattr(scheduler, "step", None)):
        raise VizdiffUsageError(f"{type(pipe).__name__} has no scheduler with a step to record")
    recording = PipelineRecording(pipe, seeds, labels)
    original = scheduler.step
    before = scheduler.__dict__.get("step")

    @wraps(original)  # pipelines look at the signature to see what step takes
    def step(*args: Any, **kwargs: Any) -> Any:
        call = dict(zip(("model_output", "timestep", "sample"), args, strict=False)) | kwargs
        x_in = scheduler.scale_model_input(call["sample"], call["timestep"])
        x_in = x_in.clone() if x_in is call["sample"] else x_in
        output = original(*args, **kwargs)
        recording._hear(call, output, x_in, _alpha(scheduler, recording.schedule, call["timestep"]))
        return output

    handle = _hear_labels(pipe, recording)
    scheduler.step = step
    try:
        yield recording
    finally:
        if before is None:
            del scheduler.step
        else:
            scheduler.step = before
        if handle is not None:
            handle.remove()


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


def _row(values: Sequence[int], count: int) -> NDArray[np.int64]:
    row = np.full(count, -1)
    row[: len(values)] = np.asarray(values, dtype=np.int64)[:count]
    return row


def _hear_labels(pipe: Any, recording: PipelineRecording) -> Any:
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(network, nn.Module):
        return None

    def hear(_: nn.Module, __: Any, kwargs: dict[str, Any]) -> None:
        labels = kwargs.get("class_labels")
        if isinstance(labels, Tensor) and not labels.is_floating_point() and labels.ndim == 1:
            recording._heard_labels = to_numpy(labels)

    return network.register_forward_pre_hook(hear, with_kwargs=True)
