"""Whether the data of a run suit a lesson."""

from __future__ import annotations

from viz_diffusion.lessons.base import AnyLesson
from viz_diffusion.training.config import RunConfig

REASONS = ("digits", "labels")
"""Why data do not suit a lesson; the catalogue has ``report.left_out_<reason>`` and ``report.reason_<reason>``."""


def reason_to_leave_out(lesson: AnyLesson, config: RunConfig) -> str | None:
    """Return why the data of a run do not suit a lesson, one of :data:`REASONS`; None where they do."""
    if not lesson.any_data and not config.is_digits:
        return "digits"
    return "labels" if len(config.present_labels) < lesson.least_labels else None
