"""A recording that goes to disk while it is made: a thread sorts, computes and writes what was heard.

The sampling loop only copies, and hands over some dozen passes at a time: a thread that woke at every pass would take a
core from the network's own threads, which then wait for each other, a thousand times. The queue is bounded, so
memory is; an error of the thread is raised in the loop at a later forward pass, or when the block ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from viz_diffusion.recording.chunk_writer import _Scribe, _StoppedError
from viz_diffusion.recording.step_grouper import Assembly, Finished, ForwardPass
from viz_diffusion.recording.store.layout import CHUNK_STEPS
from viz_diffusion.recording.store.writer import growing_store

_QUEUED_BYTES = 32 << 20
"""Roughly how much may wait for the disk, where one pass is not larger."""
_HANDED = CHUNK_STEPS // 2
"""How many passes are handed over together, where they are small. The very first goes alone: that a step is over is
known from the next one, and so a chunk is written one step after its last."""
_QUEUED = 3
"""How many such heaps may wait."""


class AsyncWriter:
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
        As of :class:`~viz_diffusion.recording.store.fields.RecordingWriter`.
    dtype, compress
        As of :class:`~viz_diffusion.recording.store.writer.StoreWriter`.
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
