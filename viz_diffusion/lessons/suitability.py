"""Whether a run suits a lesson: by its data, and by what its network works on."""

from __future__ import annotations

from functools import lru_cache

import torch

from viz_diffusion.lessons.base import AnyLesson
from viz_diffusion.training.config import RunConfig

OWN_RUNS = {"latent": "bundled-latent", "text": "bundled-text"}
"""The bundled run that a lesson is about, where that is not the one that is used unasked."""
FIGURE_RUNS = {"latent_map": "bundled-latent-2d", "stable_diffusion": ""}
"""The bundled run that a figure of such a lesson shows, where it is another; empty where the figure names its runs."""
REASONS = ("latent", "prompts", "digits", "labels")
"""Why a run does not suit a lesson; the catalogue has ``report.left_out_<reason>`` and ``report.reason_<reason>``."""
OF_LABELS = ("network",)
"""Lessons that say how a label enters the network, and not how words do."""
FEWEST_DIGITS = 20
"""Held-out digits that each prompt must be true of, where a lesson measures real digits."""


def reason_to_leave_out(lesson: AnyLesson, config: RunConfig) -> str | None:
    """Return why a run does not suit a lesson, one of :data:`REASONS`; None where it does."""
    if config.space == "latent" and not lesson.latent:
        return "latent"
    if config.model.text is not None and lesson.name in OF_LABELS:
        return "prompts"
    if config.prompts and not lesson.prompts and (not lesson.any_data or _fewest_digits(config) < FEWEST_DIGITS):
        return "prompts"
    if not lesson.any_data and not (config.prompts and lesson.prompts) and not config.is_digits:
        return "digits"
    return "labels" if len(config.present_labels) < lesson.least_labels else None


def own_lessons(config: RunConfig) -> frozenset[str]:
    """Return the names of the lessons on what a run has and the bundled one has not: latents, prompts or a flow."""
    has = {
        "latent": config.space == "latent",
        "text": config.model.text is not None,
        "flow": config.training.objective == "flow",
    }
    return frozenset(name for name, is_so in has.items() if is_so)


def own_figures(config: RunConfig) -> frozenset[str]:
    """Return the names of the figures that show what only a run of this kind has: the map of latents of two numbers."""
    return frozenset({"latent_map"} if config.space == "latent" and config.x_shape == (2, 1, 1) else ())


@lru_cache(maxsize=4)
def _fewest_digits(config: RunConfig) -> int:
    """Return how many held-out digits the prompt is true of that is true of the fewest."""
    labels = config.load_digits("test").labels
    return int(torch.bincount(labels, minlength=config.model.num_labels).min())
