"""One figure of a study, for ``vizdiff export``: what it needs is taken from the study, or made and kept there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.open_study import OpenStudy
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import write_bytes

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import AnyLesson, Finding
    from viz_diffusion.recording.comparison_runs import Generation
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.study.narrative import Drawing
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.run import Run


@dataclass(frozen=True, eq=False)
class FigureStudy:
    """The part of a study that one figure shows."""

    run: Run
    """The run whose weights are shown."""
    findings: tuple[Finding, ...]
    """What the figure's lesson measured."""
    recording: dict[str, Any]
    """The facts of the generation, by name."""
    facts: dict[str, Any]
    """All facts: what is written as JSON."""
    trajectory: Trajectory | None
    """The recording; None where the figure needs none."""
    others: tuple[Generation, ...] = ()
    """Its comparison runs, where the figure needs them."""

    def texts(self, texts: Texts) -> Texts:
        """Return the texts that suit the figure, as in the report; without a recording there is nothing to read."""
        from viz_diffusion.study.reading import read_images

        config = self.run.config
        texts = texts.for_classes(config.class_names).for_space(config.space).for_prompts(config.prompts)
        return texts if self.trajectory is None else read_images(self.run, self.trajectory, self.others).texts(texts)

    def drawing(self, figure: str, texts: Texts) -> Drawing:
        """Return the figure with its words, as the report has them.

        Raises
        ------
        VizdiffInputError
            Where the lesson does not suit the run's data, or does not draw the figure for them.
        """
        from viz_diffusion.study.narrative import narrate

        lessons = narrate(self.findings, self.recording, texts)
        found = {drawing.name: drawing for lesson in lessons for drawing in lesson.drawings}
        if figure not in found:
            reasons = [texts[f"report.reason_{reason}"] for reason in self.facts.get("left_out", {}).values()]
            why = f": {reasons[0]}" if reasons else ""
            raise VizdiffInputError(f"figure {figure} is not drawn for this run{why}; choose another, or `run` bundled")
        return found[figure]


def figure_study(
    opened: OpenStudy, lesson: AnyLesson, *, full: bool, film: bool = False, anew: bool = False
) -> FigureStudy:
    """Return what the figures of a lesson, or a film, show.

    Results that ship with the weights are taken, as in the report, except ``anew``; nothing is recorded for a lesson
    that needs no recording. ``full`` says whether to measure with the full sizes what does not ship.
    """
    run, model, weights = opened.loaded
    if film or "recording" in lesson.needs:
        found = opened.measure([lesson], full=full, compared="comparison_runs" in lesson.needs, anew=anew)
        others = found.comparison_runs.others
        return FigureStudy(run, found.findings, found.recording, found.facts(), found.trajectory, others)
    from viz_diffusion.study.lesson_plan import LessonPlan
    from viz_diffusion.study.stored_study import Recordings
    from viz_diffusion.study.study import findings_facts, num_parameters

    plan = LessonPlan.choose([lesson], run.config, weights, full=full, anew=anew)
    findings = opened.find(plan, Recordings())
    recording = opened.generation_facts() | {"millions": num_parameters(model) / 1e6}
    return FigureStudy(run, findings, recording, findings_facts(findings, recording, run, weights, plan.left_out), None)


def film_words(film: str, facts: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Return the title, caption and details of a film, filled in from facts."""
    from viz_diffusion.study.wording import wording
    from viz_diffusion.text.catalogue import true_minus

    values = wording(facts, texts)
    return {part: true_minus(texts(f"film.{film}.{part}", **values)) for part in ("title", "caption", "details")}


def caption_path(path: Path) -> Path:
    """Return the file of a figure's caption: FILE.txt, so that a figure and a film of one name have one each."""
    return path.with_name(f"{path.name}.txt")


def write_caption(path: Path, words: dict[str, Any]) -> Path:
    """Write the title, caption and details of a figure beside its file; return the path."""
    parts = [words[name] for name in ("title", "caption", "details") if words.get(name)]
    write_bytes(caption_path(path), ("\n\n".join(parts) + "\n").encode())
    return caption_path(path)
