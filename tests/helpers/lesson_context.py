"""What tests of lessons share: small contexts around any denoiser, denoisers that must fail, all words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.lessons.base import AnyLesson, Finding
from viz_diffusion.lessons.context import LessonContext, record_traces
from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.study.narrative import NarratedLesson, narrate
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import recording_facts


class Answering(nn.Module):
    """A denoiser made of a function of (x, timesteps, labels): for planting what must be caught."""

    def __init__(self, answer: Callable[[Tensor, Tensor, Tensor], Tensor], null_label: int = 10) -> None:
        super().__init__()
        self.answer = answer
        self.null_label = null_label

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.answer(x, timesteps, torch.full_like(timesteps, self.null_label) if labels is None else labels)


def mute() -> Answering:
    """Return a denoiser that sees no noise anywhere."""
    return Answering(lambda x, _t, _y: torch.zeros_like(x))


def speckle(seed: int = 0) -> Answering:
    """Return a denoiser that answers with fresh noise, whatever it is shown."""
    generator = torch.Generator().manual_seed(seed)
    return Answering(lambda x, _t, _y: torch.randn(x.shape, generator=generator))


def deaf_to_labels(denoiser: nn.Module) -> Answering:
    """Return the denoiser asked under the null label, whatever the label."""
    return Answering(lambda x, timesteps, labels: denoiser(x, timesteps, torch.full_like(labels, 10)))


def deaf_to_time(denoiser: nn.Module, t: int = 500) -> Answering:
    """Return the denoiser told one timestep, whatever the timestep."""
    return Answering(lambda x, timesteps, labels: denoiser(x, torch.full_like(timesteps, t), labels))


def make_context(
    denoiser: nn.Module | None = None,
    *,
    heldout: int | None = None,
    recorded_steps: int | None = None,
    traced: tuple[int, int] | None = None,
    **fields: Any,
) -> LessonContext:
    """Return a context of the bundled run around any denoiser (the bundled network by default).

    Parameters
    ----------
    heldout
        How many test digits; all 10,000 by default.
    recorded_steps
        Steps of the one recording (DDPM, guidance 1.5); none is made by default.
    traced
        (images, steps) of the traces; by default they are not handed in, and 1000 steps would be recorded.
    """
    run = Run.bundled()
    model = run.load_model()[0] if denoiser is None else denoiser
    digits, schedule = load_digits("test"), run.config.noise_schedule
    if heldout is not None:
        digits = Digits(digits.images[:heldout], digits.labels[:heldout])
    if recorded_steps is not None:
        fields["recorded"] = record_generation(
            model, schedule, torch.tensor([5]), [0], SamplerConfig(steps=recorded_steps, guidance_scale=1.5)
        )
    if traced is not None:
        images, steps = traced
        fields["given_traces"] = record_traces(model, schedule, images, spaced_timesteps(1000, steps))
    return LessonContext(run, model, digits, **fields)


def with_comparison_runs(context: LessonContext) -> LessonContext:
    """Return a context that has a recording with comparison runs: copies of it, in the place of the other digits."""
    own = context.trajectory
    states = np.concatenate([own.x_t[0, :, 0], own.x0[0]])
    others = tuple(
        Generation(digit, "ddpm", 1.5, own.num_steps, own.timesteps, own.steps_left, states, own.x0_pred[0, :, 0])
        for digit in range(10)
        if digit != context.digit
    )
    return replace(context, comparison_runs=others)


def told_in_every_language(finding: Finding, context: LessonContext) -> dict[str, NarratedLesson]:
    """Return the finding in words; a key or a value that is missing raises."""
    shared: dict[str, Any] = {"digit": context.digit, "seed": context.seed, "num_steps": 1000}
    if context.recorded is not None:
        shared = recording_facts(context.recorded)
    return {lang: narrate([finding], shared, load_texts(lang))[0] for lang in languages()}


def outcomes(lesson: AnyLesson, data: Any) -> dict[str, bool | None]:
    """Return what a lesson's claims say of measured data, by name."""
    return {claim.name: claim.holds for claim in lesson.claims(data)}
