"""Recording of 🤗 diffusers pipelines: the scheduler's ``step`` is wrapped while a pipeline samples.

Every sampling loop calls ``step`` with x_t, t and the prediction after guidance, whether the scheduler is DDPM, DDIM,
DPM-Solver++, Euler, Heun, flow matching or another. Needs the extra ``diffusers``; knows nothing about networks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.pipeline_prompts import PromptTable
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
    prompts: Sequence[str] = (),
    activations: Sequence[str] = (),
    activation_steps: Collection[int] | None = None,
    word_maps: bool = False,
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
        A pipeline, or any object, with a ``scheduler`` of :data:`~viz_diffusion.recording.scheduler_kinds.KINDS`.
    seeds, labels, prompts
        Of the images, where they are known. By default the ``prompt`` of the call is recorded, and the labels number
        ``Trajectory.prompts``; or else the ``class_labels`` that the network gets, without the null half of guidance.
    activations, activation_steps
        Names or globs of modules of the network whose outputs are recorded too (see
        :func:`~viz_diffusion.recording.hooks.match_modules`), and the numbers of the steps, from 0, at which they are:
        all by default. Of a batch that guidance doubles, the half under the class or the prompt is recorded.
    word_maps
        Whether the attention to each token is recorded at ``activation_steps``, the mean over heads and layers of
        cross-attention, for :func:`~viz_diffusion.views.word_maps.draw_word_maps`.
    store
        A zarr folder to write to while sampling. Runs with the same timesteps are joined as further images; ``seeds``,
        ``labels`` and ``prompts`` are those of all images in order. After an error, Ctrl-C or a kill, what was written
        can be opened with :meth:`Trajectory.open`.
    dtype, compress, aim, eta, weights_sha256
        Of the store: as in :meth:`Trajectory.save`; (images, steps) that are meant; DDIM's η; SHA-256 of the weights.

    Raises
    ------
    VizdiffUsageError
        Where the scheduler is not recorded, and the message says why; where ``activations`` match no module, there is
        no cross-attention for ``word_maps``, or the network is called twice a step; with a ``store``, where nothing was
        recorded, or runs differ.

    Examples
    --------
    >>> with record_pipeline(pipe) as recording:
    ...     images = pipe(num_inference_steps=50).images
    """
    _require_scheduler(pipe)
    facts = {"eta": eta, "weights_sha256": weights_sha256, "interventions": ""}
    runs = PipelineRuns(seeds, labels, facts, _prompt_table(pipe, labels, prompts, word_maps))
    path, kept_chunk = None if store is None else Path(store), CHUNK_STEPS if activation_steps is None else 1
    writing = runs.writing(path, {"dtype": dtype, "compress": compress}, aim=aim, kept_chunk=kept_chunk)
    with recording_of(pipe, runs, writing, path, activations, activation_steps, word_maps) as recording:
        yield recording


def _prompt_table(pipe: Any, labels: Sequence[int] | None, prompts: Sequence[str], word_maps: bool) -> PromptTable:
    if prompts and labels is not None:
        raise VizdiffUsageError("`labels` and `prompts` exclude each other: prompts are recorded as labels; give one")
    return PromptTable(prompts, pipe if word_maps else None)


def _require_scheduler(pipe: Any) -> None:
    """Refuse what has no scheduler with a step."""
    if not callable(getattr(getattr(pipe, "scheduler", None), "step", None)):
        name = type(getattr(pipe, "scheduler", None)).__name__
        reason = f": {name} {REFUSED[name]}" if name in REFUSED else ""
        raise VizdiffUsageError(f"{type(pipe).__name__} has no scheduler with a step to record{reason}")
