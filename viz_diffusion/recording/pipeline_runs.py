"""Runs of a pipeline: its steps, gathered in memory or written to a store, and the recordings made of them.

Knows nothing about hooks or networks: steps come in one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import ChunkWriter, StepChunk, numbered
from viz_diffusion.recording.pipeline_layout import ImageLayout
from viz_diffusion.recording.pipeline_prompts import PromptTable
from viz_diffusion.recording.scheduler_steps import SchedulerReader, SchedulerStep, to_chunk
from viz_diffusion.recording.store.writer import StoreWriter, growing_store
from viz_diffusion.recording.trajectory import Float32, Trajectory


@dataclass(eq=False)
class PipelineRun:
    """One sampling: the steps from noise to the image by one scheduler."""

    reader: SchedulerReader
    """The scheduler."""
    layout: ImageLayout
    """How its tensors become images."""
    labels: NDArray[np.int64] | None
    """(B,) int64: the labels that the network was called with; None where it got none."""
    first_t: float
    """The timestep, as the scheduler got it, of the first step."""
    prompts: tuple[str, ...] = ()
    """(B,): the prompts that the pipeline was called with; empty where it got none."""
    latest_t: float = float("nan")
    """Likewise of the latest step."""
    network_t: float = float("nan")
    """The timestep of the latest step as the network got it."""
    steps: list[SchedulerStep] = field(default_factory=list)
    """The steps; without those that went to a store."""
    last: SchedulerStep | None = None
    """The latest step; None before the first."""
    num_steps: int = 0
    state: Float32 | None = None
    """(B, C, H, W): the next state that the latest evaluation gave."""
    final: Float32 | None = None
    """(B, C, H, W): what the run has ended with, if it ends here."""
    note: str = ""
    """What a recording has to say of how the pipeline calls its network; nothing where that is as it should be."""
    stopped: str = ""
    """Where an error ended the run before its last timestep, how far it got."""

    def __post_init__(self) -> None:
        self.latest_t = self.first_t

    def go_on_to(self, state: Float32) -> None:
        """Take the next state from an evaluation."""
        self.state = self.final = state

    def facts(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the recording, with ``others``, which only the caller knows."""
        facts = {**self.reader.facts, **others}
        if self.layout.words:
            said = dict(facts["conventions"])
            said["x"] = "; ".join([*([said["x"]] if "x" in said else []), self.layout.words])
            facts["conventions"] = said
        if self.note:
            facts["conventions"] = {**facts["conventions"], "network": self.note}
        return facts

    def stop(self) -> None:
        """End the run because of an error: its images are finished only after the scheduler's last timestep."""
        times = getattr(self.reader.scheduler, "timesteps", None)
        if times is not None and len(times) and self.latest_t != float(times[-1]) and self.state is not None:
            self.stopped, self.final = f"{self.num_steps} steps", np.full_like(self.state, np.nan)

    def check_follows(self, step: SchedulerStep) -> None:
        """Refuse a step that a recording does not hold after the latest one."""
        last = self.last
        if last is None:
            return
        if step.t >= last.t or step.alphas_cumprod <= last.alphas_cumprod:
            raise VizdiffUsageError(
                f"{self.reader.name} visits t = {step.t:g} or its noise level twice, which a recording "
                "does not hold; use a scheduler with one evaluation a step, such as DDIM or DPM-Solver++"
            )
        if step.x_t.shape != last.x_t.shape:
            raise VizdiffUsageError(
                f"x changed its shape within one sampling, from {last.x_t.shape} to {step.x_t.shape}; a recording "
                "holds images of one size"
            )


class PipelineRuns:
    """The runs of a pipeline.

    Parameters
    ----------
    seeds, labels
        Of all images in order, as far as the caller knows them.
    facts
        The recording's attributes that only the caller knows: eta, weights_sha256, interventions.
    prompts
        The images' prompts, which take the place of the labels where those are not given.
    """

    def __init__(
        self, seeds: Sequence[int], labels: Sequence[int] | None, facts: Mapping[str, Any], prompts: PromptTable
    ) -> None:
        self._seeds, self._labels, self._facts = seeds, labels, facts
        self._prompts = prompts
        self._runs: list[PipelineRun] = []  # the latest only, with a store
        self._store: StoreWriter | None = None
        self._writer: ChunkWriter[SchedulerStep] | None = None
        self._writer_options: dict[str, Any] = {}

    @property
    def current(self) -> PipelineRun | None:
        """The latest run; None before the first step."""
        return self._runs[-1] if self._runs else None

    def begin(self, run: PipelineRun) -> None:
        """Begin another run.

        Raises
        ------
        VizdiffUsageError
            Where a store holds runs of another scheduler.
        """
        before = self.current
        if self._store is not None and before is not None:
            if not _are_alike(before, run):
                raise VizdiffUsageError(
                    f"a store holds runs of one scheduler, and {run.reader.name} follows {before.reader.name} with "
                    "another class or config; record them in memory, or each to a store of its own"
                )
            self._end_run(before)
            self._runs.clear()
        self._runs.append(run)
        if self._labels is None:
            self._prompts.add(run.prompts)
            if self._writer is not None:
                self._writer.change_facts(self._facts_of(run))

    def put(self, step: SchedulerStep) -> None:
        """Add a step to the current run."""
        run = self._runs[-1]
        run.check_follows(step)
        if self._store is None:
            run.steps.append(step)
        else:
            self._writer_of(run, self._store).put(step)
        run.last, run.num_steps = step, run.num_steps + 1
        run.go_on_to(step.x_prev)

    def trajectories(self) -> list[Trajectory]:
        """Return one recording for each run, in order."""
        return [self._assembled(run) for run in self._runs]

    @contextmanager
    def writing(self, path: Path | None, options: Mapping[str, Any], **writer_options: Any) -> Iterator[None]:
        """Write the steps to a store at ``path``, if it is not None, within the block.

        ``options`` are those of :func:`growing_store`, ``writer_options`` those of :class:`ChunkWriter`.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded.
        """
        if path is None:
            yield
            return
        with growing_store(path, **options) as store:
            self._store, self._writer_options = store, writer_options
            try:
                yield
                if self._writer is None or self.current is None:
                    raise VizdiffUsageError(NOTHING_RECORDED)
                self._end_run(self.current)
                self._writer.complete()
            except BaseException:
                if self._writer is not None:
                    self._writer.flush()
                raise
            finally:
                self._store = self._writer = None

    def _writer_of(self, run: PipelineRun, store: StoreWriter) -> ChunkWriter[SchedulerStep]:
        """Return the writer of the store, which the first run's first step creates."""
        if self._writer is None:
            schedule = run.reader.schedule

            def chunk(steps: Sequence[SchedulerStep]) -> StepChunk:
                return to_chunk(steps, schedule)

            def labels_and_seeds(first: int, _: SchedulerStep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
                return self._labels_and_seeds(self._runs[-1], first)

            facts = self._facts_of(run)
            self._writer = ChunkWriter(store, schedule, facts, chunk, labels_and_seeds, **self._writer_options)
        return self._writer

    def _end_run(self, run: PipelineRun) -> None:
        if self._writer is not None:
            self._writer.end_sampling(run.final)

    def _labels_and_seeds(self, run: PipelineRun, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the labels and seeds of a run's images, of which ``first`` were recorded before."""
        count = run.layout.count
        seeds = numbered(self._seeds, first, count)
        prompted = self._prompts.labels(run.prompts, first, count) if self._labels is None else None
        if prompted is not None:
            return prompted, seeds
        if self._labels is None and run.labels is not None:
            return run.labels, seeds
        return numbered(self._labels or (), first, count), seeds

    def _facts_of(self, run: PipelineRun) -> dict[str, Any]:
        """Return the recording's attributes, with the prompts of all runs so far."""
        facts = run.facts(self._facts)
        conventions = facts["conventions"] | self._prompts.conventions
        return facts | {"prompts": self._prompts.names, "conventions": conventions}

    def _assembled(self, run: PipelineRun) -> Trajectory:
        chunk = to_chunk(run.steps, run.reader.schedule)
        fields: dict[str, Any] = dict(chunk.fields)
        labels, seeds = self._labels_and_seeds(run, 0)
        return Trajectory(
            schedule=run.reader.schedule,
            timesteps=chunk.timesteps,
            **fields,
            x0=run.steps[-1].x_prev if run.final is None else run.final,
            labels=labels,
            seeds=seeds,
            **self._facts_of(run),
            stopped=run.stopped,
            step_alphas_cumprod=chunk.alphas_cumprod if chunk.own_alphas else None,
            activations=chunk.activations,
            activation_steps=chunk.activation_steps if chunk.activations else None,
        )


NOTHING_RECORDED = "nothing was recorded: call the pipeline inside the block"


def _are_alike(one: PipelineRun, other: PipelineRun) -> bool:
    """Whether two runs have the same forward process and attributes, so that a store can hold both."""
    first, second = one.reader, other.reader
    same = np.array_equal(first.schedule.betas, second.schedule.betas) and one.layout.words == other.layout.words
    ours, theirs = ({**reader.facts, "guidance_scale": 0} for reader in (first, second))  # NaN differs from itself
    return same and ours == theirs
