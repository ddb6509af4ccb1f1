"""The study of a single lesson, and the estimate of its duration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.options import PICTURE_SAMPLER
from viz_diffusion.errors import VizdiffInputError

if TYPE_CHECKING:
    from viz_diffusion.cli.loading import LoadedRun
    from viz_diffusion.lessons.base import AnyLesson, Finding, Need
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.text.catalogue import Texts


NEED_SECONDS: dict[Need, float] = {"recording": 10, "comparison_runs": 30, "traces": 45}
"""Duration on two cores of the recordings that lessons share."""


def estimated_seconds(lesson: AnyLesson, full: bool) -> float:
    """Return the seconds that one lesson takes with everything it needs."""
    return lesson.seconds[full] + sum(NEED_SECONDS[need] for need in lesson.needs)


def study_lesson(
    lesson: AnyLesson,
    loaded: LoadedRun,
    digit: int,
    seed: int,
    full: bool,
    texts: Texts,
    terminal: Terminal,
) -> tuple[Finding, NarratedLesson]:
    """Sample what a lesson needs, measure the lesson, and put it into words."""
    from viz_diffusion.lessons.base import Finding
    from viz_diffusion.lessons.context import LessonContext
    from viz_diffusion.lessons.suitability import reason_to_leave_out
    from viz_diffusion.recording.comparison_runs import Generation
    from viz_diffusion.recording.comparison_sampling import sample_comparison_runs
    from viz_diffusion.study.narrative import narrate
    from viz_diffusion.views.frames import recording_facts

    if reason := reason_to_leave_out(lesson, loaded.run.config):
        raise VizdiffInputError(
            f"lesson {lesson.name} does not suit this run's data: {texts[f'report.reason_{reason}']}; choose another "
            "lesson, or `run` bundled"
        )
    recorded, others = None, tuple[Generation, ...]()
    facts: dict[str, Any] = {"digit": digit, "seed": seed, "num_steps": loaded.run.config.num_train_timesteps}
    if "recording" in lesson.needs:
        from viz_diffusion.cli.record import record

        recorded = record(loaded, digit, seed, 1, PICTURE_SAMPLER, terminal)
        facts = recording_facts(recorded)
    if "comparison_runs" in lesson.needs and recorded is not None:
        text = terminal.text("comparison_runs")
        with terminal.progress("Sampling", text, None) as update:
            others = sample_comparison_runs(
                loaded.model,
                recorded,
                on_step=lambda done, total: update(done, total, text),
                labels=loaded.run.config.present_labels,
            ).others
    with terminal.progress("Measuring", lesson.name, None) as update:
        context = LessonContext(
            loaded.run,
            loaded.model,
            loaded.run.config.load_digits("test"),
            digit,
            seed,
            recorded,
            others,
            full=full,
            progress=terminal.translated(update, lesson.name),
        )
        finding = Finding.measure(lesson, context)
    if recorded is not None:
        from viz_diffusion.study.reading import read_images

        texts = read_images(loaded.run, recorded, others).texts(texts)
    terminal.say("Drawing", ", ".join(lesson.figure_names))
    return finding, narrate([finding], facts, texts)[0]
