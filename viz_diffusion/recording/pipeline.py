"""Recording of 🤗 diffusers pipelines: the scheduler's ``step`` is wrapped while a pipeline samples.

Every sampling loop calls ``step`` with x_t, t and the prediction after guidance, whether the scheduler is DDPM, DDIM,
DPM-Solver++, Euler, Heun, flow matching or another. Needs the extra ``diffusers``; knows nothing about prompts or
networks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.pipeline_recording import PipelineRecording, recording_of
from viz_diffusion.recording.pipeline_runs import PipelineRuns
from viz_diffusion.recording.scheduler_kinds import REFUSED
from viz_diffusion.recording.store.layout import CHUNK_STEPS, WIDE


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

    It observes only: images and random state are the same without it. :class:`PipelineRecording` says what x_t is.

    Parameters
    ----------
    pipe
        Any pipeline, or any object, whose ``.scheduler`` is one of diffusers' with Gaussian noise that
        :data:`~viz_diffusion.recording.scheduler_kinds.KINDS` lists.
    seeds, labels
        Of the images, where they are known. Without ``labels``, the integer ``class_labels`` that the ``unet`` or
        ``transformer`` gets are recorded; of a batch that guidance doubles, the half without the null label.
    activations, activation_steps
        Dotted names or globs of modules of the ``unet`` or ``transformer`` whose outputs are recorded too (see
        :func:`~viz_diffusion.recording.hooks.match_modules`), and the numbers of the steps, from 0, at which they are:
        all by default. Of a batch that guidance doubles, the half under the class or the prompt is recorded.
    store
        A zarr folder to write to while sampling, instead of keeping everything in memory. Several runs of the
        pipeline with the same timesteps are joined as further images; ``seeds`` and ``labels`` are those of all images
        in order. After an error, Ctrl-C or a kill, what was written can be opened with :meth:`Trajectory.open`.
    dtype, compress, aim
        Of the store: as in :meth:`Trajectory.save`; and (images, steps) that are meant to be recorded, for the message
        about a recording that was cut off.
    eta, weights_sha256
        DDIM's η and the SHA-256 of the network's weights; only the caller knows them.

    Raises
    ------
    VizdiffUsageError
        Where the scheduler is not recorded, and the message says why: it has no ``step``, samples tokens or videos,
        inverts or resamples so that t rises, or predicts ε at zero terminal SNR; where ``activations`` match no module,
        or the network is called twice a step; with a ``store``, where nothing was recorded, or runs differ.

    Examples
    --------
    >>> with record_pipeline(pipe) as recording:
    ...     images = pipe(num_inference_steps=50).images
    >>> recording.trajectory().save("run.zarr")
    """
    _require_scheduler(pipe)
    path = None if store is None else Path(store)
    runs = PipelineRuns(seeds, labels, {"eta": eta, "weights_sha256": weights_sha256, "interventions": ""})
    kept_chunk = CHUNK_STEPS if activation_steps is None else 1
    writing = runs.writing(path, {"dtype": dtype, "compress": compress}, aim=aim, kept_chunk=kept_chunk)
    with recording_of(pipe, runs, writing, path, activations, activation_steps) as recording:
        yield recording


def _require_scheduler(pipe: Any) -> None:
    """Refuse what has no scheduler with a step."""
    if not callable(getattr(getattr(pipe, "scheduler", None), "step", None)):
        name = type(getattr(pipe, "scheduler", None)).__name__
        reason = f": {name} {REFUSED[name]}" if name in REFUSED else ""
        raise VizdiffUsageError(f"{type(pipe).__name__} has no scheduler with a step to record{reason}")
