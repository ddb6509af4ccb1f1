"""A recording that goes to disk while it is made: a thread sorts, computes and writes what was heard.

The sampling loop only copies, and hands over some dozen passes at a time: a thread that woke at every pass would take a
core from the network's own threads, which then wait for each other, a thousand times. The queue is bounded, so
memory is; an error of the thread is raised in the loop at a later forward pass, or when the block ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.passes import Assembly, Finished, ForwardPass, HeardStep, StepSorter
from viz_diffusion.store.layout import CHUNK_STEPS
from viz_diffusion.store.recording import RecordingWriter
from viz_diffusion.store.writing import StoreWriter, growing_store
from viz_diffusion.trajectory import facts_of

_QUEUED_BYTES = 32 << 20
"""Roughly how much may wait for the disk, where one pass is not larger."""
_HANDED = CHUNK_STEPS // 2
"""How many passes are handed over together, where they are small. The very first goes alone: that a step is over is
known from the next one, and so a chunk is written one step after its last."""
_QUEUED = 3
"""How many such heaps may wait."""

NOTHING = (
    "nothing was recorded: the sampling loop has to call the denoiser itself, inside the block, "
    "and not .forward() or a compiled copy of it, which go past hooks"
)


class _StoppedError(Exception):
    """The loop ended early: what was written stays, and is not called complete."""


class Spool:
    """Writes events into a store in a thread of its own.

    Parameters
    ----------
    path
        Where the recording shall be; while it grows it is beside it (``partial_path``).
    assembly
        How steps become fields.
    facts
        Sampler, variance, clip, weights: what the store says of the recording.
    seeds
        Of all images, in their order; -1 is written where they run out.
    aim
        How many samples and steps are meant to be recorded; 0 where that is not known.
    kept_chunk
        As of :class:`~viz_diffusion.store.recording.RecordingWriter`.
    dtype, compress
        As of :class:`~viz_diffusion.store.writing.StoreWriter`.
    """

    def __init__(
        self,
        path: Path,
        assembly: Assembly,
        facts: dict[str, Any],
        seeds: Sequence[int] = (),
        *,
        aim: tuple[int, int] = (0, 0),
        kept_chunk: int = CHUNK_STEPS,
        dtype: str = "float32",
        compress: bool = False,
    ) -> None:
        self._path = Path(path)
        self._assembly = assembly
        self._facts = facts
        self._seeds = seeds
        self._aim = aim
        self._kept_chunk = kept_chunk
        self._options = {"dtype": dtype, "compress": compress}
        self._queue: queue.Queue[list[ForwardPass | Finished] | None] = queue.Queue(_QUEUED)
        self._heap: list[ForwardPass | Finished] = []
        self._begun = False
        self._keep = True
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vizdiff recording", daemon=True)
        self._thread.start()

    def put(self, event: ForwardPass | Finished) -> None:
        """Take an event, waiting while too many are in the queue; raise what went wrong before."""
        self._raise()
        self._heap.append(event)
        if isinstance(event, ForwardPass):
            size = 2 * event.x.nbytes + sum(values.nbytes for values in event.activations.values())
            if not self._begun or len(self._heap) >= min(_HANDED, _QUEUED_BYTES // ((_QUEUED + 1) * size + 1)):
                self._hand_over()
                self._begun = True

    def close(self, *, complete: bool) -> None:
        """Write what is left and end the thread; ``complete`` unless the loop was cut short."""
        self._keep = complete
        self._hand_over()
        self._insert(None)
        self._thread.join()
        if complete:
            self._raise()

    def _hand_over(self) -> None:
        heap, self._heap = self._heap, []
        self._insert(heap)

    def _insert(self, heap: list[ForwardPass | Finished] | None) -> None:
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(heap, timeout=0.2)
                return

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with suppress(_StoppedError), growing_store(self._path, **self._options) as store:
                scribe = _Scribe(store, self._assembly, self._facts, self._seeds, self._aim, self._kept_chunk)
                scribe.write(chain.from_iterable(iter(self._queue.get, None)), lambda: self._keep)
        except BaseException as error:
            self._error = error


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
        self._steps: list[HeardStep] = []
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
                self._store, schedule.betas, facts,
                aim_samples=self._aim[0], aim_steps=self._aim[1], kept_chunk=self._kept_chunk,
            )  # fmt: skip
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
