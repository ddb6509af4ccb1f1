"""Recording of 🤗 diffusers pipelines: the scheduler's ``step`` is wrapped while a pipeline samples.

Every sampling loop calls ``step`` with x_t, t and the prediction after guidance. Needs the extra ``diffusers``; knows
nothing about prompts or networks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import ChunkWriter, StepChunk, numbered
from viz_diffusion.recording.forward_pass import to_numpy
from viz_diffusion.recording.pipeline_hooks import hooked_network, wrapped_step
from viz_diffusion.recording.scheduler_steps import SchedulerStep, schedule_of, scheduler_facts, to_chunk
from viz_diffusion.recording.store.layout import CHUNK_STEPS, WIDE
from viz_diffusion.recording.store.writer import growing_store
from viz_diffusion.recording.trajectory import Trajectory

_NOTHING_RECORDED = "nothing was recorded: call the pipeline inside the block"


class PipelineRecording:
    """The recording that :func:`record_pipeline` gives; it grows while the pipeline runs."""

    def __init__(
        self, pipe: Any, seeds: Sequence[int], labels: Sequence[int] | None, facts: dict[str, Any], store: Path | None
    ) -> None:
        self._pipe, self._scheduler = pipe, pipe.scheduler
        self._seeds, self._labels = seeds, labels
        self._facts = scheduler_facts(pipe.scheduler) | facts
        self._store = store
        self._writer: ChunkWriter[SchedulerStep] | None = None
        self._class_labels: NDArray[np.int64] | None = None  # of the network's latest call
        self._runs: list[list[SchedulerStep]] = []  # without a store
        self._last: SchedulerStep | None = None
        self._num_steps = 0  # of the current run
        self.schedule = schedule_of(pipe.scheduler)
        """The forward process that the scheduler was configured with."""

    def trajectory(self, *, decode_at: Sequence[int] = ()) -> Trajectory:
        """Return the recording of one run; with a ``store``, all runs joined, read from there.

        Parameters
        ----------
        decode_at
            Steps left at which the pipeline's VAE decodes x̂_0, 0 for the finished latent; the images are in
            ``Trajectory.decoded``. Only for pipelines that have a VAE.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, the pipeline ran more than once without a ``store``, it has no VAE, or a
            number in ``decode_at`` is not in 0..S.
        """
        if self._store is not None:
            joined = Trajectory.open(self._store)
            return self._decode(joined, decode_at) if len(decode_at) else joined
        found = self.trajectories(decode_at=decode_at)
        if len(found) != 1:
            raise VizdiffUsageError(f"the pipeline ran {len(found)} times in the block: call trajectories()")
        return found[0]

    def trajectories(self, *, decode_at: Sequence[int] = ()) -> list[Trajectory]:
        """Return one Trajectory for each run of the pipeline, in order; with a ``store``, one of all runs joined."""
        if self._store is not None:
            return [self.trajectory(decode_at=decode_at)]
        if not self._runs:
            raise VizdiffUsageError(_NOTHING_RECORDED)
        return [self._assemble(run, decode_at) for run in self._runs]

    def _next_step(self, t: float) -> int:
        """Return the number within its run of the coming step, at timestep ``t``."""
        return self._num_steps if self._last is not None and t < self._last.t else 0

    def _record(self, step: SchedulerStep) -> None:
        """Add a step to the current run, or to a new one where t rises, or repeats after a run of one step."""
        last = self._last
        begins = last is None or step.t > last.t or (self._num_steps == 1 and step.t == last.t)
        if last is not None and not begins and (step.t == last.t or step.alphas_cumprod <= last.alphas_cumprod):
            raise VizdiffUsageError(
                f"{type(self._scheduler).__name__} visits t = {step.t:g} or its noise level twice, which a recording "
                "does not hold; use a scheduler with one evaluation a step, such as DDIM or DPM-Solver++"
            )
        if self._writer is not None:
            if begins:
                self._end_run(self._writer)
            self._writer.put(step)
        else:
            if begins:
                self._runs.append([])
            self._runs[-1].append(step)
        self._num_steps = 1 if begins else self._num_steps + 1
        self._last = step

    def _end_run(self, writer: ChunkWriter[SchedulerStep]) -> None:
        """End the current run, if there is one; its finished images are the last step's next state."""
        writer.end_sampling(None if self._last is None else self._last.x_prev)

    def _assemble(self, run: list[SchedulerStep], decode_at: Sequence[int]) -> Trajectory:
        chunk = to_chunk(run, self.schedule)
        fields: dict[str, Any] = dict(chunk.fields)
        labels, seeds = self._labels_and_seeds(0, run[0])
        trajectory = Trajectory(
            schedule=self.schedule,
            timesteps=chunk.timesteps,
            **fields,
            x0=run[-1].x_prev,
            labels=labels,
            seeds=seeds,
            **self._facts,
            step_alphas_cumprod=chunk.alphas_cumprod if chunk.own_alphas else None,
            activations=chunk.activations,
            activation_steps=chunk.activation_steps if chunk.activations else None,
        )
        return self._decode(trajectory, decode_at) if len(decode_at) else trajectory

    def _set_class_labels(self, labels: Tensor) -> None:
        self._class_labels = to_numpy(labels)

    def _labels_and_seeds(self, first: int, step: SchedulerStep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the labels and seeds of a run's images, of which ``first`` were recorded before."""
        count = len(step.x_t)
        seeds = numbered(self._seeds, first, count)
        if self._labels is None and self._class_labels is not None and len(self._class_labels) >= count:
            return self._class_labels[:count], seeds
        return numbered(self._labels or (), first, count), seeds

    @contextmanager
    def _writing(self, aim: tuple[int, int], kept_chunk: int, options: dict[str, Any]) -> Iterator[None]:
        """Write the steps to the store, where there is one, within the block."""
        if self._store is None:
            yield
            return

        def chunk(steps: Sequence[SchedulerStep]) -> StepChunk:
            return to_chunk(steps, self.schedule)

        with growing_store(self._store, **options) as store:
            writer = ChunkWriter(
                store, self.schedule, self._facts, chunk, self._labels_and_seeds, aim=aim, kept_chunk=kept_chunk
            )
            self._writer = writer
            try:
                yield
            except BaseException:
                writer.flush()
                raise
            finally:
                self._writer = None
            self._end_run(writer)
            if writer.is_empty:
                raise VizdiffUsageError(_NOTHING_RECORDED)
            writer.complete()

    def _decode(self, trajectory: Trajectory, left: Sequence[int]) -> Trajectory:
        """Return the trajectory with x̂_0 decoded at the given numbers of steps left."""
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
    pipe: Any,
    *,
    seeds: Sequence[int] = (),
    labels: Sequence[int] | None = None,
    activations: Sequence[str] = (),
    activation_steps: Collection[int] | None = None,
    store: Path | None = None,
    dtype: str = WIDE,
    compress: bool = False,
    aim: tuple[int, int] = (0, 0),
    eta: float = 0.0,
    weights_sha256: str = "",
) -> Iterator[PipelineRecording]:
    """Record every step of a diffusers pipeline within the block.

    Works with any pipeline, or any object, whose ``.scheduler`` has ``step`` and ``alphas_cumprod`` and needs one
    network evaluation a step: DDPM, DDIM, DPM-Solver++ multistep, Euler and similar ones. It observes only: images
    and random state are the same without it. ``x_t`` is the network's input: where a scheduler's samples grow with σ
    (Euler), they are divided by √(1+σ²), so that x_t has unit power and ᾱ = 1/(1+σ²). ``guidance_scale`` is NaN (not
    known), because ``step`` gets the prediction after guidance.

    Parameters
    ----------
    pipe
        The pipeline.
    seeds, labels
        Of the images, where they are known. Without ``labels``, the integer ``class_labels`` with which the pipeline
        calls its ``unet`` or ``transformer`` are recorded; the first half, if the batch is doubled for guidance.
    activations
        Dotted names or globs of modules of its ``unet`` or ``transformer`` whose outputs are recorded too (see
        :func:`~viz_diffusion.recording.hooks.match_modules`); of a batch that is doubled for guidance, the second
        half, which in diffusers is the one with the prompt.
    activation_steps
        Numbers of the steps, from 0, at which they are recorded; all of them by default.
    store
        A zarr folder to write to while sampling, instead of keeping everything in memory. Several runs of the
        pipeline with the same timesteps are joined as further images; ``seeds`` and ``labels`` are those of all images
        in order. After an error, Ctrl-C or a kill, what was written can be opened with :meth:`Trajectory.open`.
    dtype, compress
        As in :meth:`Trajectory.save`, for the store.
    aim
        (images, steps) that are meant to be recorded, for the message about a recording that was cut off.
    eta, weights_sha256
        DDIM's η and the SHA-256 of the network's weights; only the caller knows them.

    Raises
    ------
    VizdiffUsageError
        Where the scheduler has no ``step``, no betas (flow matching), zero terminal SNR, an unknown type of prediction
        or two evaluations a step; where ``activations`` match no module, or the network is called twice a step; with
        a ``store``, where nothing was recorded.

    Examples
    --------
    >>> with record_pipeline(pipe) as recording:
    ...     images = pipe(num_inference_steps=50).images
    >>> recording.trajectory().save("run.zarr")
    """
    scheduler: Any = getattr(pipe, "scheduler", None)
    if not callable(getattr(scheduler, "step", None)):
        raise VizdiffUsageError(f"{type(pipe).__name__} has no scheduler with a step to record")
    facts = {"eta": eta, "weights_sha256": weights_sha256, "interventions": ""}
    recording = PipelineRecording(pipe, seeds, labels, facts, None if store is None else Path(store))

    def keep_at(t: float) -> bool:
        return activation_steps is None or recording._next_step(t) in activation_steps

    kept_chunk = CHUNK_STEPS if activation_steps is None else 1
    with (
        recording._writing(aim, kept_chunk, {"dtype": dtype, "compress": compress}),
        hooked_network(pipe, activations, keep_at, recording._set_class_labels) as outputs,
        wrapped_step(scheduler, recording.schedule, outputs, recording._record),
    ):
        yield recording
