"""Writes a pipeline's steps to disk while it samples, a chunk at a time; what was written survives a kill.

Knows nothing about pipelines; it gets steps, and is told where one sampling ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.scheduler_steps import SchedulerStep, fields_of, kept_of, times_of
from viz_diffusion.recording.step_grouper import Assembly, Finished, RecordedStep, StepSorter
from viz_diffusion.recording.store.fields import RecordingWriter
from viz_diffusion.recording.store.layout import CHUNK_STEPS
from viz_diffusion.recording.store.writer import StoreWriter, growing_store, steps_chunk
from viz_diffusion.recording.trajectory_files import facts_of

Names = Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""(first image, how many) to their labels and seeds, (b,) each; -1 where not known."""


class Scribe:
    """Gathers steps into blocks of one chunk and writes them.

    Parameters
    ----------
    store, schedule, facts
        Where to, the forward process, and what is known of the recording from the start.
    names
        Labels and seeds of images.
    aim
        (samples, steps) that are meant to be recorded; 0 where that is not known.
    kept_chunk
        As of :class:`~viz_diffusion.recording.store.fields.RecordingWriter`.
    """

    def __init__(
        self,
        store: StoreWriter,
        schedule: NoiseSchedule,
        facts: dict[str, Any],
        names: Names,
        aim: tuple[int, int],
        kept_chunk: int,
    ) -> None:
        self._writer = RecordingWriter(
            store,
            schedule.betas,
            facts_of(schedule, **facts),
            aim_samples=aim[0],
            aim_steps=aim[1],
            kept_chunk=kept_chunk,
        )
        self._schedule = schedule
        self._names = names
        self._room = steps_chunk(aim[1])
        self._steps: list[SchedulerStep] = []
        self._last: SchedulerStep | None = None
        self._samples = 0
        self._times: tuple[np.dtype[Any], bool] | None = None

    def put(self, step: SchedulerStep) -> None:
        """Take the next step of the sampling at hand."""
        self._steps.append(step)
        self._last = step
        if len(self._steps) == self._room:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, so that it counts."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        begun, count = self._writer.begun[1], len(steps[0].x_t)
        timesteps, alphas, follows = times_of(steps, self._schedule)
        self._times = self._times or (timesteps.dtype, follows)
        if timesteps.dtype.kind > self._times[0].kind or (self._times[1] and not follows):
            raise VizdiffUsageError(
                f"timesteps or noise levels left the schedule's own after the first {self._room} steps, which a store "
                "cannot take in: record in memory"
            )
        self._writer.put_steps(fields_of(steps), timesteps.astype(self._times[0]), alphas, own_alphas=not follows)
        activations, kept = kept_of(steps)
        if activations:
            self._writer.put_activations(activations, kept + begun)
        if not begun:
            self._writer.put_labels(*self._names(self._samples, count))
        self._writer.commit()

    def end_sampling(self) -> None:
        """Close the sampling at hand; its last step's next state is what came out."""
        self.flush()
        if self._last is not None:
            self._writer.finish_batch(self._last.x_prev)
            self._samples += len(self._last.x_prev)
        self._last = None

    def finish(self) -> None:
        """Leave the store complete."""
        self.end_sampling()
        if not self._samples:
            raise VizdiffUsageError("nothing was recorded: call the pipeline inside the block")
        self._writer.commit(complete=True)


@contextmanager
def writing_steps(
    path: Path,
    schedule: NoiseSchedule,
    facts: dict[str, Any],
    names: Names,
    *,
    aim: tuple[int, int],
    kept: Collection[int] | None,
    **options: Any,
) -> Iterator[Scribe]:
    """Give a scribe whose store is complete at ``path`` once the block ends well, and else stays beside it.

    ``kept`` are the steps at which activations are kept, None for all; ``options`` those of the store.
    """
    with growing_store(path, **options) as store:
        scribe = Scribe(store, schedule, facts, names, aim, CHUNK_STEPS if kept is None else 1)
        try:
            yield scribe
        except BaseException:
            scribe.flush()
            raise
        scribe.finish()


NOTHING = (
    "nothing was recorded: the sampling loop has to call the denoiser itself, inside the block, "
    "and not .forward() or a compiled copy of it, which go past hooks"
)


class _StoppedError(Exception):
    """The loop ended early: what was written stays, and is not called complete."""


class _Scribe:
    """Gathers steps into blocks of one chunk and writes them."""

    def __init__(
        self,
        store: StoreWriter,
        assembly: Assembly,
        facts: dict[str, Any],
        seeds: Sequence[int],
        aim: tuple[int, int],
        kept_chunk: int,
    ) -> None:
        self._store, self._assembly, self._facts, self._seeds, self._aim = store, assembly, facts, seeds, aim
        self._kept_chunk = kept_chunk
        self._writer: RecordingWriter | None = None
        self._steps: list[RecordedStep] = []
        self._sampling = 0
        self._first_sample = 0
        self._guided = False
        self._image: tuple[int, ...] = ()
        self._x0: Finished | None = None

    def write(self, events: Iterator[Any], is_complete: Callable[[], bool]) -> None:
        """Write everything; leave the store complete, or raise :class:`_StoppedError`."""
        for item in StepSorter(self._assembly.null_label).sort(events):
            if isinstance(item, Finished):
                self._x0 = item
                continue
            if item.sampling != self._sampling:
                self._finish_batch()
                self._sampling = item.sampling
            self._x0 = None
            self._steps.append(item)
            if len(self._steps) == CHUNK_STEPS:
                self._flush()
        self._flush()
        if not is_complete():
            raise _StoppedError
        if self._writer is None:
            raise VizdiffUsageError(NOTHING)
        self._finish_batch()
        self._writer.commit(complete=True)

    def _flush(self) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        if self._writer is None:
            self._guided = any(step.uncond is not None for step in steps)
            schedule = self._assembly.schedule
            facts = facts_of(schedule, **self._facts, guidance_scale=self._assembly.scale(self._guided))
            self._writer = RecordingWriter(
                self._store,
                schedule.betas,
                facts,
                aim_samples=self._aim[0],
                aim_steps=self._aim[1],
                kept_chunk=self._kept_chunk,
            )
        elif not self._guided and any(step.uncond is not None for step in steps):
            raise VizdiffUsageError(
                f"guidance began after the first {CHUNK_STEPS} steps, which a store cannot take in: record in memory"
            )
        begun, self._image = self._writer.begun[1], steps[0].cond.x.shape[1:]
        timesteps = np.array([step.cond.t for step in steps])
        alphas = self._assembly.schedule.alphas_cumprod[timesteps]
        self._writer.put_steps(self._assembly.fields(steps, self._guided), timesteps, alphas)
        kept = [index for index, step in enumerate(steps) if step.cond.activations]
        if kept:
            names = steps[kept[0]].cond.activations
            values = {name: np.stack([steps[i].cond.activations[name] for i in kept], axis=1) for name in names}
            self._writer.put_activations(values, np.array(kept) + begun)
        if not begun:
            self._writer.put_labels(self._assembly.labels(steps[0]), self._batch_seeds(len(steps[0].cond.x)))
        self._writer.commit()

    def _batch_seeds(self, count: int) -> Any:
        seeds = np.full(count, -1)
        told = np.asarray(self._seeds[self._first_sample : self._first_sample + count], dtype=np.int64)
        seeds[: len(told)] = told
        self._first_sample += count
        return seeds

    def _finish_batch(self) -> None:
        self._flush()
        assert self._writer is not None
        samples = self._writer.begun[0]
        x0 = np.full((samples, *self._image), np.nan, np.float32) if self._x0 is None else self._x0.x0
        self._writer.finish_batch(x0)
        self._x0 = None
