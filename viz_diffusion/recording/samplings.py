"""Samplings of a Recorder's block: the steps of each, and the Trajectory in memory that they make.

It knows nothing about hooks or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.chunk_writer import stack_activations
from viz_diffusion.recording.field_assembler import FieldAssembler
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass
from viz_diffusion.recording.step_grouper import NOTHING_RECORDED, InnerEvaluation, RecordedStep
from viz_diffusion.recording.trajectory import Float32, Trajectory


@dataclass
class Sampling:
    """What was recorded of one sampling."""

    steps: list[RecordedStep] = field(default_factory=list)
    """Its steps, in their order."""
    inner: list[InnerEvaluation] = field(default_factory=list)
    """Further evaluations within steps."""
    x0: Float32 | None = None
    """(B, C, H, W) float32: the finished images, where they were given."""


def find_samplings(events: Iterable[ForwardPass | FinishedImages], assembler: FieldAssembler) -> list[Sampling]:
    """Return the samplings among forward passes and finished images.

    Raises
    ------
    VizdiffUsageError
        Where there is none, or as of :meth:`StepGrouper.group`.
    """
    found: list[Sampling] = []
    for item in assembler.grouper().group(events):
        if isinstance(item, FinishedImages):
            if found:
                found[-1].x0 = item.x0
            continue
        if len(found) == item.sampling:
            found.append(Sampling())
        if isinstance(item, InnerEvaluation):
            found[item.sampling].inner.append(item)
        else:
            found[-1].steps.append(item)
            found[-1].x0 = None
    if not found:
        raise VizdiffUsageError(NOTHING_RECORDED)
    return found


def to_trajectory(
    sampling: Sampling, assembler: FieldAssembler, seeds: Sequence[int], facts: dict[str, Any]
) -> Trajectory:
    """Return one sampling as a Trajectory.

    Raises
    ------
    VizdiffUsageError
        As of :meth:`FieldAssembler.check` and :meth:`FieldAssembler.require_guidance`.
    """
    steps = sampling.steps
    images = len(steps[0].cond.x)
    if len(seeds) not in (0, images):
        raise VizdiffUsageError(f"`seeds` must hold one for each image: {images} were recorded, found {len(seeds)}")
    assembler.check(steps, sampling.inner, sampling.x0)
    guided = any(step.uncond is not None for step in steps)
    assembler.require_guidance(guided)
    fields: dict[str, Any] = {
        name: np.ascontiguousarray(values) for name, values in assembler.fields(steps, guided).items()
    }
    labels = assembler.labels(steps[0])
    changed = np.any([assembler.changed_labels(steps[0], step) for step in steps], axis=0)
    if changed.any():
        labels[changed] = -1
        note = f"{facts['conventions'].get('labels', '')}, which changes within the sampling: not recorded"
        facts = {**facts, "conventions": {**facts["conventions"], "labels": note}}
    activations, kept = stack_activations([step.cond.activations for step in steps])
    timesteps, shares = assembler.timesteps(steps), assembler.alphas_cumprod(steps)
    return Trajectory(
        schedule=assembler.schedule,
        timesteps=timesteps,
        **fields,
        x0=np.full_like(fields["x_t"][:, 0], np.nan) if sampling.x0 is None else sampling.x0,
        labels=labels,
        seeds=np.asarray(seeds, dtype=np.int64) if len(seeds) else np.full(images, -1),
        guidance_scale=assembler.scale(guided),
        step_alphas_cumprod=shares if assembler.has_own_alphas(timesteps, shares) else None,
        activations=activations,
        activation_steps=kept if activations else None,
        **assembler.inner(sampling.inner, guided),
        **facts,
    )
