"""Record any pipeline of 🤗 diffusers: its scheduler's ``step`` is wrapped, and restored on exit.

``step`` is the one place that every sampling loop passes with x_t, t and the prediction as used, guidance
included. Needs the extra ``diffusers``; knows nothing about prompts or networks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import Scribe, writing_steps
from viz_diffusion.recording.hooks import Outputs
from viz_diffusion.recording.scheduler_steps import (
    SchedulerStep,
    fields_of,
    kept_of,
    read_step,
    schedule_of,
    scheduler_facts,
    times_of,
)
from viz_diffusion.recording.step_grouper import to_numpy
from viz_diffusion.recording.store.layout import WIDE
from viz_diffusion.recording.trajectory import Trajectory


class PipelineRecording:
    """What :func:`record_pipeline` gives: it grows while the pipeline runs."""

    def __init__(
        self, pipe: Any, seeds: Sequence[int], labels: Sequence[int] | None, facts: dict[str, Any], store: Path | None
    ) -> None:
        self._pipe, self._scheduler = pipe, pipe.scheduler
        self._seeds, self._labels = seeds, labels
        self._facts = scheduler_facts(pipe.scheduler) | facts
        self._store = store
        self._scribe: Scribe | None = None
        self._heard_labels: NDArray[np.int64] | None = None
        self._runs: list[list[SchedulerStep]] = []
        self._times: list[float] = []  # of the run at hand
        self._last_share = 0.0  # ᾱ of its last step
        self.schedule = schedule_of(pipe.scheduler)
        """The forward process that the scheduler was configured with."""

    def trajectory(self, *, decode_at: Sequence[int] = ()) -> Trajectory:
        """Return what was recorded; with a ``store`` it is read back from there, all runs joined.

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
        if self._store is not None:
            whole = Trajectory.open(self._store)
            return self._decode(whole, decode_at) if len(decode_at) else whole
        found = self.trajectories(decode_at=decode_at)
        if len(found) != 1:
            raise VizdiffUsageError(f"the pipeline ran {len(found)} times in the block: ask for trajectories()")
        return found[0]

    def trajectories(self, *, decode_at: Sequence[int] = ()) -> list[Trajectory]:
        """Return one Trajectory for each run of the pipeline, in order; with a ``store`` a single one."""
        if self._store is not None:
            return [self.trajectory(decode_at=decode_at)]
        if not self._runs:
            raise VizdiffUsageError("nothing was recorded: call the pipeline inside the block")
        return [self._assemble(run, decode_at) for run in self._runs]

    def _coming(self, t: float) -> int:
        """Return the number of the step to come, at t, within its run."""
        return len(self._times) if self._times and t < self._times[-1] else 0

    def _hear(self, step: SchedulerStep) -> None:
        """Take down one step of the run at hand, or of a new one: t rises, or is as large again after one step."""
        times = self._times
        begins = not times or step.t > times[-1] or (len(times) == 1 and step.t == times[-1])
        if not begins and (step.t == times[-1] or step.alphas_cumprod <= self._last_share):
            raise VizdiffUsageError(
                f"{type(self._scheduler).__name__} visits t = {step.t:g} or its noise level twice, which a recording "
                "does not hold; use a scheduler with one evaluation a step, such as DDIM or DPM-Solver++"
            )
        self._times = [step.t] if begins else [*times, step.t]
        self._last_share = step.alphas_cumprod
        if self._scribe is not None:
            if begins:
                self._scribe.end_sampling()
            self._scribe.put(step)
            return
        if begins:
            self._runs.append([])
        self._runs[-1].append(step)

    def _assemble(self, run: list[SchedulerStep], decode_at: Sequence[int]) -> Trajectory:
        timesteps, alphas, follows = times_of(run, self.schedule)
        activations, kept = kept_of(run)
        count = len(run[0].x_t)
        trajectory = Trajectory(
            schedule=self.schedule,
            timesteps=timesteps,
            **fields_of(run),
            x0=run[-1].x_prev,
            labels=self._label_row(0, count),
            seeds=_row(self._seeds, count),
            **self._facts,
            step_alphas_cumprod=None if follows else alphas,
            activations=activations,
            activation_steps=kept if activations else None,
        )
        return self._decode(trajectory, decode_at) if len(decode_at) else trajectory

    def _label_row(self, first: int, count: int) -> NDArray[np.int64]:
        heard = self._heard_labels
        if self._labels is None and heard is not None and len(heard) >= count:
            return heard[:count]
        return _row((self._labels or ())[first:], count)

    def _names(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return labels and seeds of images ``first`` and on."""
        return self._label_row(first, count), _row(self._seeds[first:], count)

    @contextmanager
    def _writing(self, aim: tuple[int, int], kept: Collection[int] | None, options: dict[str, Any]) -> Iterator[None]:
        """Write steps into the store, where there is one, while the block lasts."""
        if self._store is None:
            yield
            return
        with writing_steps(
            self._store, self.schedule, self._facts, self._names, aim=aim, kept=kept, **options
        ) as self._scribe:
            yield

    def _decode(self, trajectory: Trajectory, left: Sequence[int]) -> Trajectory:
        """Return the trajectory with x̂_0 decoded at some steps."""
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
    activations
        Dotted names or globs of modules of its ``unet`` or ``transformer`` whose output is kept too (see
        :func:`~viz_diffusion.recording.hooks.match_modules`); of a doubled batch, the second half, which diffusers
        gives the prompt.
    activation_steps
        Numbers of the steps, from 0, at which they are kept; all of them by default.
    store
        Where to write while sampling (a zarr folder), instead of keeping everything in memory. Several runs of the
        pipeline with the same timesteps are joined as further samples, to which ``seeds`` and ``labels`` go in order.
        After an error, Ctrl-C or a kill what was written stays beside it; see :meth:`Trajectory.open`.
    dtype, compress
        Of the store; see :meth:`Trajectory.save`.
    aim
        (samples, steps) that are meant to be recorded, so that a store that was cut off can say so.
    eta, weights_sha256
        Facts that only the caller knows.

    Raises
    ------
    VizdiffUsageError
        Where the scheduler has no ``step``, is no noise schedule of this kind (flow matching), or predicts
        something unknown; where ``activations`` find no module, or the network is asked twice a step; with a
        ``store``, where nothing was recorded.

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
    with (
        recording._writing(aim, activation_steps, {"dtype": dtype, "compress": compress}),
        _hearing_network(pipe, recording, activations, activation_steps) as outputs,
        _hearing_steps(scheduler, recording, outputs),
    ):
        yield recording


@contextmanager
def _hearing_steps(scheduler: Any, recording: PipelineRecording, outputs: Outputs) -> Iterator[None]:
    """Wrap ``scheduler.step`` while the block lasts."""
    original = scheduler.step
    before = scheduler.__dict__.get("step")

    @wraps(original)  # pipelines look at the signature to see what step takes
    def step(*args: Any, **kwargs: Any) -> Any:
        call = dict(zip(("model_output", "timestep", "sample"), args, strict=False)) | kwargs
        x_in = scheduler.scale_model_input(call["sample"], call["timestep"])
        x_in = x_in.clone() if x_in is call["sample"] else x_in
        output = original(*args, **kwargs)
        kept = {name: values[-len(x_in) :] for name, values in outputs.take().items()}
        recording._hear(read_step(scheduler, recording.schedule, call, output, x_in, kept))
        return output

    scheduler.step = step
    try:
        yield
    finally:
        if before is None:
            del scheduler.step
        else:
            scheduler.step = before


@contextmanager
def _hearing_network(
    pipe: Any, recording: PipelineRecording, activations: Sequence[str], wanted: Collection[int] | None
) -> Iterator[Outputs]:
    """Hear what the pipeline's network is told, and what its modules give, while the block lasts."""
    outputs = Outputs(activations)
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(network, nn.Module):
        if activations:
            raise VizdiffUsageError(f"{type(pipe).__name__} has no unet or transformer to keep activations of")
        yield outputs
        return

    def hear(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        labels = kwargs.get("class_labels")
        if isinstance(labels, Tensor) and not labels.is_floating_point() and labels.ndim == 1:
            recording._heard_labels = to_numpy(labels)
        if not activations:
            return
        if outputs.is_open:
            raise VizdiffUsageError("the network was asked twice in one step; activations are those of one answer")
        named = dict(zip(("sample", "timestep"), args, strict=False)) | kwargs
        coming = recording._coming(float(torch.as_tensor(named["timestep"]).flatten()[0]))
        outputs.open(wanted is None or coming in wanted, len(named["sample"]))

    handle = network.register_forward_pre_hook(hear, with_kwargs=True)
    try:
        outputs.start(network)
        yield outputs
    finally:
        handle.remove()
        outputs.stop()


def _row(values: Sequence[int], count: int) -> NDArray[np.int64]:
    row = np.full(count, -1)
    row[: len(values)] = np.asarray(values, dtype=np.int64)[:count]
    return row
