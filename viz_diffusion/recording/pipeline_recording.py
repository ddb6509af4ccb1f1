"""The recording of a 🤗 diffusers pipeline: filled by what hooks and wrappers find while the pipeline samples.

Knows nothing about prompts or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.pipeline_decoding import decoded_trajectory, ended_with
from viz_diffusion.recording.pipeline_hooks import (
    FollowedScheduler,
    WatchedEnding,
    hooked_network,
    network_of,
)
from viz_diffusion.recording.pipeline_layout import NetworkCall, are_equal, condition_rows, image_labels, layout_of
from viz_diffusion.recording.pipeline_runs import NOTHING_RECORDED, PipelineRun, PipelineRuns
from viz_diffusion.recording.scheduler_kinds import EXPLODING
from viz_diffusion.recording.scheduler_steps import SchedulerReader, next_state, read_step
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.recording.word_attention import NetworkOutputs


class PipelineRecording:
    """The recording that ``record_pipeline`` gives; it grows while the pipeline runs.

    ``x_t`` is the network's input. Where a scheduler's samples grow with σ (Euler), they are divided by √(1+σ²), so
    that x_t has unit power and ᾱ = 1/(1+σ²). Flow matching is recorded as it is, x_t = (1-σ) x_0 + σ ε with t = T σ - 1
    (Liu et al. 2023): ``Trajectory.schedule.scaling`` is ``flow``, and x̂_0 = x_t - σ v. What the network predicts is in
    ``prediction_type``; how the recorded t and x follow from the scheduler's is in ``conventions``. ``guidance_scale``
    is NaN (not known), because ``step`` gets the prediction after guidance.

    A scheduler that evaluates the network more than once a step (Heun, KDPM2, PNDM) is recorded by the first
    evaluation of each step. A scheduler that is exchanged inside the block is followed. A batch that guidance doubles
    is recorded once. The finished images are what the pipeline ended with, also where a callback changed them after
    the last step; a loop of one's own says what it ended with by :meth:`finish`.
    """

    def __init__(self, pipe: Any, runs: PipelineRuns, store: Path | None, activation_steps: Collection[int] | None):
        self._pipe, self._runs, self._store = pipe, runs, store
        self._activation_steps = activation_steps
        self._reader = SchedulerReader(pipe.scheduler)
        self._outputs: NetworkOutputs | None = None
        self._prompts: tuple[str, ...] = ()  # of the images of the pipeline's call
        self._call: NetworkCall | None = None  # the network's latest
        self._latest_state: Tensor | None = None  # what the latest step gave
        self._is_fresh = True  # whether the next step begins a run, whatever its timestep

    @property
    def schedule(self) -> NoiseSchedule:
        """The forward process that the pipeline's scheduler was configured with."""
        return self._reader.schedule

    def trajectory(self, *, decode_at: Sequence[int] = (), most_side: int | None = None) -> Trajectory:
        """Return the recording of one run; with a ``store``, all runs joined, read from there.

        Parameters
        ----------
        decode_at
            Steps left at which the pipeline's VAE decodes x̂_0, 0 for the finished latent; the images are in
            ``Trajectory.decoded``. Only for pipelines that have a VAE.
        most_side
            Pixels along the longer side to which larger pictures are reduced, by means of blocks; None: as they are.

        Raises
        ------
        VizdiffUsageError
            Where nothing was recorded, the pipeline ran more than once without a ``store``, it has no VAE, or a
            number in ``decode_at`` is not in 0..S.
        """
        found = self.trajectories(decode_at=decode_at, most_side=most_side)
        if len(found) != 1:
            raise VizdiffUsageError(f"the pipeline ran {len(found)} times in the block: call trajectories()")
        return found[0]

    def trajectories(self, *, decode_at: Sequence[int] = (), most_side: int | None = None) -> list[Trajectory]:
        """Return one Trajectory for each run of the pipeline, in order; with a ``store``, one of all runs joined."""
        found = self._runs.trajectories() if self._store is None else [Trajectory.open(self._store)]
        if not found:
            raise VizdiffUsageError(self._nothing_recorded())
        if not len(decode_at):
            return found
        return [decoded_trajectory(self._pipe, one, decode_at, most_side) for one in found]

    def finish(self, x: Tensor) -> None:
        """Set the finished images of the latest run, shaped as the scheduler's samples.

        Only for a loop of one's own that changes x after the last step: a call of a pipeline is followed to its end.
        """
        run = self._runs.current
        if run is None:
            raise VizdiffUsageError(self._nothing_recorded())
        run.final = run.layout.images(x)

    # -- what hooks and wrappers find --

    def _on_scheduler(self, scheduler: Any) -> None:
        """Read from another scheduler from now on."""
        if scheduler is not self._reader.scheduler:
            self._reader = SchedulerReader(scheduler)
            self._is_fresh = True

    def _on_timesteps(self) -> None:
        self._is_fresh = True

    def _on_call(self, call: NetworkCall | None) -> None:
        self._call = call

    def _keeps_activations(self, t: float) -> bool:
        """Whether the coming evaluation, at the network's timestep ``t``, is one whose activations are recorded."""
        if not self._reader.is_first_evaluation:
            return False
        run = self._runs.current
        begins = run is None or self._is_fresh or self._reader.kind.direction * (t - run.network_t) > 0
        number = 0 if run is None or begins else run.num_steps
        return self._activation_steps is None or number in self._activation_steps

    def _before_step(self, call: Mapping[str, Any]) -> Callable[[Any], None]:
        """Take what is known before a step, and return what records it with its output."""
        reader = self._reader
        if not reader.is_first_evaluation:
            return self._after_later_evaluation
        run = self._run_of(call)
        x_in = reader.network_input(call)

        def record(output: Any) -> None:
            self._latest_state = next_state(output)
            kept = {} if self._outputs is None else self._outputs.end_pass()
            if self._call is not None:
                rows = {name: condition_rows(self._call, run.layout, len(values)) for name, values in kept.items()}
                kept = {name: values[rows[name]] for name, values in kept.items()}
                run.network_t = self._call.t
            if run is not self._runs.current:
                self._runs.begin(run)
            self._is_fresh, self._call = False, None
            self._runs.put(read_step(reader, call, output, x_in, run.layout, kept))

        return record

    def _after_later_evaluation(self, output: Any) -> None:
        """Take the next state from a later evaluation of the latest step."""
        if self._outputs is not None:
            self._outputs.end_pass()
        run = self._runs.current
        self._latest_state, self._call = next_state(output), None
        if run is not None:
            run.go_on_to(run.layout.images(self._latest_state))

    def _run_of(self, call: Mapping[str, Any]) -> PipelineRun:
        """Return the run that a step belongs to: the current one, or a new one where t rises to a beginning.

        Raises
        ------
        VizdiffUsageError
            Where t rises within one sampling.
        """
        run, reader = self._runs.current, self._reader
        t = float(tensor_of(call["timestep"]).flatten()[0])
        if run is not None and not self._is_fresh:
            rise = reader.kind.direction * (t - run.latest_t)
            if rise > 0:
                self._check_begins(run, t, call["sample"])
            elif rise < 0 or run.num_steps > 1:
                run.latest_t = t
                return run
        layout = layout_of(self._call, call["sample"], call["model_output"])
        run = PipelineRun(reader, layout, image_labels(self._call, layout), t)
        run.prompts = self._prompts if len(self._prompts) == layout.count else ()
        if self._call is not None and reader.kind.scaling == EXPLODING and are_equal(self._call.x, call["sample"]):
            run.note = f"got the sample without scale_model_input, which {reader.name} needs"
        return run

    def _check_begins(self, run: PipelineRun, t: float, sample: Tensor) -> None:
        """Refuse a timestep that rises where no sampling begins, as in inversion and in resampling."""
        latest = self._latest_state
        goes_on = latest is not None and are_equal(latest, sample)
        times = [float(one) for one in getattr(self._reader.scheduler, "timesteps", ())] or [t, t]
        if not goes_on and (t in (run.first_t, times[0]) or run.latest_t == times[-1]):
            return
        raise VizdiffUsageError(
            f"t rises from {run.latest_t:g} to {t:g} within one sampling (inversion, or resampling as in RePaint), and "
            "a recording holds states from noise to the image; record the sampling alone"
        )

    def _on_prompts(self, prompts: tuple[str, ...]) -> None:
        self._prompts = prompts

    def _on_latents(self, latents: Tensor) -> None:
        """Take the latents that the pipeline returned as what its run ended with."""
        run = self._runs.current
        if run is not None and run.state is not None:
            found = run.layout.images(latents)
            run.final = found if found.shape == run.state.shape else run.final

    def _on_decoded(self, decoded: Tensor) -> None:
        """Take what the pipeline's VAE decodes as what its run ended with."""
        run = self._runs.current
        if run is not None and run.state is not None:
            found = ended_with(self._pipe.vae, run.state, decoded)
            run.final = run.final if found is None else found

    def _nothing_recorded(self) -> str:
        if self._pipe.scheduler is not self._reader.scheduler and network_of(self._pipe) is None:
            return (
                f"nothing was recorded: the scheduler was exchanged inside the block, and {type(self._pipe).__name__} "
                "has no unet or transformer whose call would show that; exchange it before the block"
            )
        return NOTHING_RECORDED


@contextmanager
def recording_of(
    pipe: Any,
    runs: PipelineRuns,
    writing: AbstractContextManager[None],
    store: Path | None,
    activations: Sequence[str],
    activation_steps: Collection[int] | None,
    word_maps: bool,
) -> Iterator[PipelineRecording]:
    """Follow a pipeline's network, scheduler and ending while the block lasts; give the recording that they fill.

    Parameters
    ----------
    pipe, activations, activation_steps, word_maps
        As of :func:`~viz_diffusion.recording.pipeline.record_pipeline`.
    runs, store
        What the runs of the pipeline are collected in, and the folder that they are written to, if any.
    writing
        Entered once the pipeline is known to be one that is recorded: :meth:`PipelineRuns.writing`.
    """
    recording = PipelineRecording(pipe, runs, store, activation_steps)
    followed = FollowedScheduler(pipe, recording._on_scheduler, recording._before_step, recording._on_timesteps)
    ending = WatchedEnding(pipe, recording._on_latents, recording._on_decoded, recording._on_prompts)

    def on_call(call: NetworkCall | None) -> None:
        followed.follow()
        recording._on_call(call)

    keeps = recording._keeps_activations
    with writing, hooked_network(pipe, activations, keeps, on_call, word_maps=word_maps) as outputs:
        recording._outputs = outputs
        try:
            followed.follow()
            ending.start()
            yield recording
        except BaseException:
            if runs.current is not None:
                runs.current.stop()
            raise
        finally:
            ending.stop()
            followed.release()
