"""Whether a run suits a lesson: by its data, and by what its network works on."""

from __future__ import annotations

from viz_diffusion.lessons.base import AnyLesson
from viz_diffusion.training.config import RunConfig

REASONS = ("latent", "digits", "labels")
"""Why a run does not suit a lesson; the catalogue has ``report.left_out_<reason>`` and ``report.reason_<reason>``."""


def reason_to_leave_out(lesson: AnyLesson, config: RunConfig) -> str | None:
    """Return why a run does not suit a lesson, one of :data:`REASONS`; None where it does."""
    if config.space == "latent" and not lesson.latent:
        return "latent"
    if not lesson.any_data and not config.is_digits:
        return "digits"
    return "labels" if len(config.present_labels) < lesson.least_labels else None
