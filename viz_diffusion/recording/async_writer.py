"""Thread that groups forward passes into steps and writes them to disk while the sampling loop runs.

The sampling loop only copies arrays and passes on some dozen forward passes at a time: a thread that woke at every
pass would take a core from the network's own threads, a thousand times a sampling. The queue is bounded, and so is the
memory. An error in the thread is raised in the loop at a later forward pass, or at the end of the block.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import ChunkWriter, StepChunk, numbered, stack_activations
from viz_diffusion.recording.field_assembler import FieldAssembler
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass
from viz_diffusion.recording.step_grouper import NOTHING_RECORDED, InnerEvaluation, RecordedStep
from viz_diffusion.recording.store.layout import CHUNK_STEPS
from viz_diffusion.recording.store.writer import StoreWriter, growing_store
from viz_diffusion.recording.trajectory import Float32

_QUEUE_BYTES = 32 << 20
"""About how many bytes may wait for the disk, unless a single pass is larger."""
_ENTRY_PASSES = CHUNK_STEPS // 2
"""How many small passes make one entry of the queue. The very first pass is an entry of its own: a step is
known to be complete only once the next one begins, and so each chunk is written one step after its last."""
_QUEUE_ENTRIES = 3
"""How many entries may wait."""


class AsyncWriter:
    """Writes forward passes to a store in a thread of its own.

    Parameters
    ----------
    path
        The folder of the complete recording; until then it grows at ``partial_path(path)``.
    assembler
        Computes the fields of the steps.
    facts
        The recording's JSON attributes: sampler, variance, clip, weights.
    seeds
        Of all images, in the order of recording; -1 is written for images beyond the last seed.
    aim
        (images, steps) that are meant to be recorded; 0 where that is not known.
    kept_chunk
        As in :class:`~viz_diffusion.recording.store.fields.RecordingWriter`.
    dtype, compress
        As in :class:`~viz_diffusion.recording.store.writer.StoreWriter`.
    """

    def __init__(
        self,
        path: Path,
        assembler: FieldAssembler,
        facts: dict[str, Any],
        seeds: Sequence[int] = (),
        *,
        aim: tuple[int, int] = (0, 0),
        kept_chunk: int = CHUNK_STEPS,
        dtype: str = "float32",
        compress: bool = False,
    ) -> None:
        self._path = Path(path)
        self._assembler = assembler
        self._facts = facts
        self._seeds = seeds
        self._aim = aim
        self._kept_chunk = kept_chunk
        self._store_options = {"dtype": dtype, "compress": compress}
        self._queue: queue.Queue[list[ForwardPass | FinishedImages] | None] = queue.Queue(_QUEUE_ENTRIES)
        self._entry: list[ForwardPass | FinishedImages] = []
        self._first_pass = True
        self._complete = True
        self._guided = False  # used by the thread only, like the next three
        self._before: RecordedStep | None = None  # the last step of the current sampling that was checked
        self._num_checked = 0  # its steps that were checked
        self._unchecked: list[InnerEvaluation] = []  # those of the current sampling whose step was not checked
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vizdiff recording", daemon=True)
        self._thread.start()

    def put(self, event: ForwardPass | FinishedImages) -> None:
        """Add an event; wait while the queue is full, and raise the thread's error if it had one."""
        self._raise_error()
        self._entry.append(event)
        if isinstance(event, ForwardPass):
            size = 2 * event.x.nbytes + sum(values.nbytes for values in event.activations.values())
            most = min(_ENTRY_PASSES, _QUEUE_BYTES // ((_QUEUE_ENTRIES + 1) * size + 1))
            if self._first_pass or len(self._entry) >= most:
                self._end_entry()
                self._first_pass = False

    def close(self, *, complete: bool) -> None:
        """Write what is left and end the thread; ``complete`` unless the loop ended early."""
        self._complete = complete
        self._end_entry()
        self._enqueue(None)
        self._thread.join()
        if complete:
            self._raise_error()

    def _end_entry(self) -> None:
        entry, self._entry = self._entry, []
        self._enqueue(entry)

    def _enqueue(self, entry: list[ForwardPass | FinishedImages] | None) -> None:
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(entry, timeout=0.2)
                return

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with suppress(_StoppedError), growing_store(self._path, **self._store_options) as store:
                self._write(store)
        except BaseException as error:
            self._error = error

    def _write(self, store: StoreWriter) -> None:
        """Write all events of the queue; leave the store complete, or raise :class:`_StoppedError`."""
        schedule = self._assembler.schedule
        writer: ChunkWriter[RecordedStep] = ChunkWriter(
            store,
            schedule,
            self._facts,
            self._to_chunk,
            self._labels_and_seeds,
            aim=self._aim,
            kept_chunk=self._kept_chunk,
        )
        sampling = 0
        first: RecordedStep | None = None  # of the current sampling
        x0: Float32 | None = None
        inner: list[InnerEvaluation] = []  # of the current sampling
        events = chain.from_iterable(iter(self._queue.get, None))
        for item in self._assembler.grouper().group(events):
            if isinstance(item, FinishedImages):
                x0 = item.x0
                continue
            if item.sampling != sampling:
                self._end_sampling(writer, inner, x0)
                sampling, first = item.sampling, None
            if isinstance(item, InnerEvaluation):
                inner.append(item)
                self._unchecked.append(item)
                continue
            x0, first = None, first or item
            if self._assembler.changed_labels(first, item).any():
                raise VizdiffUsageError(
                    f"labels changed between t = {first.cond.t:g} and t = {item.cond.t:g}, and a store has one for "
                    "each image: record in memory, which leaves such labels out"
                )
            writer.put(item)
        writer.flush()
        if not self._complete:
            raise _StoppedError
        if writer.is_empty:
            raise VizdiffUsageError(NOTHING_RECORDED)
        self._assembler.require_guidance(self._guided)
        self._end_sampling(writer, inner, x0)
        writer.complete()

    def _end_sampling(
        self, writer: ChunkWriter[RecordedStep], inner: list[InnerEvaluation], x0: Float32 | None
    ) -> None:
        """End a sampling with its inner evaluations, which are written at its end, and its finished images."""
        writer.flush()
        self._check((), x0)
        self._before, self._num_checked = None, 0
        writer.end_sampling(x0, self._assembler.inner(inner, self._guided))
        inner.clear()

    def _check(self, steps: Sequence[RecordedStep], x0: Float32 | None = None) -> None:
        """Check further steps of the current sampling, as they follow from the step before them, and its ending."""
        known = [step for step in (self._before, *steps) if step is not None]
        first = self._num_checked + len(steps) - len(known)
        self._assembler.check(known, [replace(one, step=one.step - first) for one in self._unchecked], x0)
        self._unchecked = [one for one in self._unchecked if one.step >= first + len(known)]
        self._before, self._num_checked = known[-1] if known else None, first + len(known)

    def _to_chunk(self, steps: Sequence[RecordedStep]) -> StepChunk:
        """Return steps as arrays, with the fields of guidance from the first guided chunk on."""
        self._guided = self._guided or any(step.uncond is not None for step in steps)
        self._check(steps)
        timesteps, shares = self._assembler.timesteps(steps), self._assembler.alphas_cumprod(steps)
        activations, activation_steps = stack_activations([step.cond.activations for step in steps])
        return StepChunk(
            self._assembler.fields(steps, self._guided),
            timesteps,
            shares,
            own_alphas=self._assembler.has_own_alphas(timesteps, shares),
            activations=activations,
            activation_steps=activation_steps,
            guidance_scale=self._assembler.scale(self._guided),
        )

    def _labels_and_seeds(self, first: int, step: RecordedStep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._assembler.labels(step), numbered(self._seeds, first, len(step.cond.x))


class _StoppedError(Exception):
    """The sampling loop ended early: what was written stays, without being marked as complete."""
