"""The study of a single lesson, and the estimate of its duration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz_diffusion.cli.figure_study import figure_study
from viz_diffusion.cli.open_study import OpenStudy
from viz_diffusion.errors import VizdiffInputError

if TYPE_CHECKING:
    from viz_diffusion.cli.lesson_list import ListedLesson
    from viz_diffusion.lessons.base import AnyLesson, Finding
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.text.catalogue import Texts


NEED_SECONDS: dict[str, float] = {"recording": 10, "comparison_runs": 30, "traces": 45}
"""Duration on two cores of the recordings that lessons share."""


def estimated_seconds(lesson: AnyLesson | ListedLesson, full: bool) -> float:
    """Return the seconds that one lesson takes with everything it needs, where nothing of it ships or is kept."""
    return lesson.seconds[full] + sum(NEED_SECONDS[need] for need in lesson.needs)


def lesson_run(lesson: AnyLesson, run: str | None) -> str | None:
    """Return the run to measure a lesson on: where none is named, the bundled one that the lesson is about.

    It is the run that is used unasked where the lesson is about that one, or about none in particular.
    """
    from viz_diffusion.lessons.suitability import OWN_RUNS, own_lessons
    from viz_diffusion.training.run_choice import choose_run

    if run is not None or lesson.name not in OWN_RUNS or lesson.name in own_lessons(choose_run().run.config):
        return run
    return OWN_RUNS[lesson.name]


def study_lesson(
    opened: OpenStudy, lesson: AnyLesson, *, full: bool, anew: bool, texts: Texts
) -> tuple[Finding, NarratedLesson]:
    """Return what a lesson measured, as the report has it, and in words.

    What ships with the weights or is kept of the study is not measured again, except ``anew``.

    Raises
    ------
    VizdiffInputError
        Where the lesson does not suit the run's data.
    """
    from viz_diffusion.lessons.suitability import reason_to_leave_out
    from viz_diffusion.study.narrative import narrate

    if reason := reason_to_leave_out(lesson, opened.loaded.run.config):
        raise VizdiffInputError(
            f"lesson {lesson.name} does not suit this run's data: {texts[f'report.reason_{reason}']}; choose another "
            "lesson, or `run` bundled"
        )
    found = figure_study(opened, lesson, full=full, anew=anew)
    return found.findings[0], narrate(found.findings, found.recording, found.texts(texts))[0]
