"""Buffer of recorded steps that is written to a store one chunk at a time.

It knows nothing about denoisers, pipelines or samplers: a function turns the steps into arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.store.fields import RecordingWriter
from viz_diffusion.recording.store.layout import CHUNK_STEPS, steps_chunk
from viz_diffusion.recording.store.writer import StoreWriter
from viz_diffusion.recording.trajectory import Float32
from viz_diffusion.recording.trajectory_files import facts_of

StepT = TypeVar("StepT")
"""A step as a recorder has it."""


@dataclass(frozen=True, eq=False)
class StepChunk:
    """Consecutive steps of one sampling, as the arrays that a recording holds."""

    fields: Mapping[str, Float32]
    """(B, s, C, H, W) float32 by name: x_t, eps_pred, x0_pred and, under guidance, eps_cond and eps_uncond."""
    timesteps: NDArray[Any]
    """(s,) int64, or float64 where they lie between the schedule's."""
    alphas_cumprod: NDArray[np.float64]
    """(s,) float64: ᾱ at each step."""
    own_alphas: bool
    """Whether ᾱ does not follow from the timesteps and the schedule, so that it has to be stored."""
    activations: Mapping[str, Float32]
    """(B, K, ...) float32 by module: the outputs at K of the s steps."""
    activation_steps: NDArray[np.int64]
    """(K,) int64: which steps of the chunk these are, from 0."""
    guidance_scale: float
    """s of ε_∅ + s (ε_y - ε_∅); 1 without guidance, NaN where it is not known."""


@dataclass(frozen=True)
class _Format:
    """The properties of the first chunk that all chunks of a store share."""

    num_steps: int
    fields: frozenset[str]
    timesteps: np.dtype[Any]
    own_alphas: bool


class ChunkWriter(Generic[StepT]):
    """Gathers steps and writes them to a store in chunks; what was written survives the end of the process.

    Several samplings with the same timesteps are joined as further images.

    Parameters
    ----------
    store
        The store to write to.
    schedule
        The forward process of the recording.
    facts
        The recording's JSON attributes, apart from schedule and guidance scale: sampler, variance, clip, weights.
    to_chunk
        Turns up to 50 consecutive steps of one sampling into arrays.
    labels_and_seeds
        Returns the labels and the seeds of a sampling's images, (B,) int64 each, -1 where not known, given the
        number of images in the samplings before it and its first step.
    aim
        (images, steps) that are meant to be recorded; 0 where that is not known.
    kept_chunk
        As in :class:`~viz_diffusion.recording.store.fields.RecordingWriter`.
    """

    def __init__(
        self,
        store: StoreWriter,
        schedule: NoiseSchedule,
        facts: Mapping[str, Any],
        to_chunk: Callable[[Sequence[StepT]], StepChunk],
        labels_and_seeds: Callable[[int, StepT], tuple[NDArray[np.int64], NDArray[np.int64]]],
        *,
        aim: tuple[int, int] = (0, 0),
        kept_chunk: int = CHUNK_STEPS,
    ) -> None:
        self._store, self._schedule, self._facts = store, schedule, facts
        self._to_chunk, self._labels_and_seeds = to_chunk, labels_and_seeds
        self._aim, self._kept_chunk = aim, kept_chunk
        self._chunk_steps = steps_chunk(aim[1])
        self._steps: list[StepT] = []
        self._writer: RecordingWriter | None = None  # from the first chunk on
        self._format: _Format | None = None  # likewise
        self._images_shape: tuple[int, ...] = ()  # (B, C, H, W) of the current sampling

    @property
    def is_empty(self) -> bool:
        """Whether no step has been written yet."""
        return self._writer is None

    def change_facts(self, facts: Mapping[str, Any]) -> None:
        """Take other attributes of the recording from the next commit on, such as a further sampling's prompts."""
        self._facts = facts
        if self._writer is not None:
            scale = self._writer.facts["guidance_scale"]
            kept = {**facts, "guidance_scale": np.nan if scale is None else scale}
            self._writer.facts = facts_of(self._schedule, **kept)

    def put(self, step: StepT) -> None:
        """Add the next step of the current sampling."""
        self._steps.append(step)
        if len(self._steps) == self._chunk_steps:
            self.flush()

    def flush(self) -> None:
        """Write the gathered steps and commit them to the store.

        Raises
        ------
        VizdiffUsageError
            Where the steps do not fit the arrays that the first chunk created, or the samplings before.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return
        chunk = self._to_chunk(steps)
        if self._writer is None or self._format is None:
            self._format = _Format(len(steps), frozenset(chunk.fields), chunk.timesteps.dtype, chunk.own_alphas)
            self._writer = self._create(chunk)
        _check_format(chunk, self._format)
        begun = self._writer.begun[1]
        self._writer.put_steps(chunk.fields, chunk.timesteps, chunk.alphas_cumprod, own_alphas=self._format.own_alphas)
        if chunk.activations:
            self._writer.put_activations(chunk.activations, chunk.activation_steps + begun)
        if not begun:
            self._writer.put_labels(*self._labels_and_seeds(self._writer.finished_samples, steps[0]))
        self._writer.commit()
        shape = chunk.fields["x_t"].shape
        self._images_shape = (shape[0], *shape[2:])

    def end_sampling(self, x0: Float32 | None, inner: Mapping[str, NDArray[Any]] | None = None) -> None:
        """End the current sampling, where it has any step.

        Parameters
        ----------
        x0
            Its finished images, (B, C, H, W); None where they are not known.
        inner
            Its evaluations within steps, the fields ``inner_…`` of a Trajectory by name.
        """
        self.flush()
        if self._writer is not None and self._writer.begun[1]:
            if inner:
                self._writer.put_inner(inner)
            self._writer.finish_batch(np.full(self._images_shape, np.nan, np.float32) if x0 is None else x0)

    def complete(self) -> None:
        """Mark the store as complete; every sampling must have ended, and at least one."""
        assert self._writer is not None
        self._writer.commit(complete=True)

    def _create(self, first: StepChunk) -> RecordingWriter:
        facts = facts_of(self._schedule, **{**self._facts, "guidance_scale": first.guidance_scale})
        return RecordingWriter(
            self._store,
            self._schedule.betas,
            facts,
            aim_samples=self._aim[0],
            aim_steps=self._aim[1],
            kept_chunk=self._kept_chunk,
        )


def stack_activations(outputs: Sequence[Mapping[str, Float32]]) -> tuple[dict[str, Float32], NDArray[np.int64]]:
    """Join the module outputs of s steps, each (B, ...) by module, empty at steps where none were recorded.

    Returns
    -------
    Arrays (B, K, ...) by module, and which K of the s steps they are from, (K,) int64.
    """
    kept = [index for index, output in enumerate(outputs) if output]
    names = outputs[kept[0]] if kept else ()
    values = {name: np.stack([outputs[index][name] for index in kept], axis=1) for name in names}
    return values, np.array(kept, dtype=np.int64)


def numbered(values: Sequence[int], first: int, count: int) -> NDArray[np.int64]:
    """Return entries ``first`` to ``first + count`` of ``values``, (count,) int64, -1 where there are no more."""
    row = np.full(count, -1)
    known = np.asarray(values[first : first + count], dtype=np.int64)
    row[: len(known)] = known
    return row


def _check_format(chunk: StepChunk, first: _Format) -> None:
    """Refuse a chunk that needs an array, or a dtype, that the store was created without."""
    if not first.fields.issuperset(chunk.fields):
        raise VizdiffUsageError(
            f"guidance began after the first {first.num_steps} steps, which a store cannot take in: record in memory"
        )
    fractional = chunk.timesteps.dtype.kind == "f" and first.timesteps.kind != "f"
    if fractional or (chunk.own_alphas and not first.own_alphas):
        raise VizdiffUsageError(
            f"timesteps or noise levels left the schedule's own after the first {first.num_steps} steps, which a store "
            "cannot take in: record in memory"
        )
