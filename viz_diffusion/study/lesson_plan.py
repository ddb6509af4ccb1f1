"""Which lessons a study measures, how fully, and what ships of them; and their measurement.

Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from viz_diffusion.files import read_json
from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.precomputed import load_pictures, load_results
from viz_diffusion.lessons.suitability import OWN_RUNS, own_lessons, reason_to_leave_out
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.run import MANIFEST, WEIGHTS

if TYPE_CHECKING:
    from viz_diffusion.training.config import RunConfig


@dataclass(frozen=True, eq=False)
class LessonPlan:
    """The lessons of a study."""

    lessons: tuple[AnyLesson, ...]
    """Those to measure, in the order of the story."""
    weights_sha256: str
    """Of the weights that are measured."""
    shipped: Mapping[type, Any] = field(default_factory=dict)
    """Full results that ship for these weights, or for others of the package (``others``), by their dataclass."""
    others: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the other bundled run's weights whose results stand for a lesson's, by the lesson's name."""
    measure_slow: bool = True
    """Whether slow parts are measured where they do not ship."""
    full: bool = False
    """Whether to measure with the full sizes."""
    left_out: tuple[tuple[AnyLesson, str], ...] = ()
    """Lessons that were chosen and that the data do not suit, each with its reason."""

    @classmethod
    def choose(
        cls,
        lessons: Sequence[AnyLesson] | None,
        config: RunConfig,
        weights_sha256: str,
        *,
        full: bool = False,
        anew: bool = False,
    ) -> LessonPlan:
        """Return the plan for lessons that are named, or for those of every report.

        The latter are those of the core, and of the others those whose results ship for exactly these weights; slow
        parts that do not ship are then left out. Results that ship are taken, whoever named the lesson, and only
        ``anew`` measures them again. The report on a bundled run that has latents and prompts, of whose own nothing
        ships, has those lessons of the bundled runs that they are about; where a lesson is named, it is measured if it
        suits the run's prompts.
        """
        chosen = all_lessons() if lessons is None else lessons
        shipped = {} if anew else load_results(chosen, weights_sha256)
        missing = [
            one
            for one in chosen
            if not anew and one.result not in shipped
            if lessons is None or reason_to_leave_out(one, config) == "prompts"
        ]
        others = _of_other_runs(missing, config, weights_sha256)
        for lesson in missing:
            shipped |= load_results([lesson], others[lesson.name]) if lesson.name in others else {}
        suitable, left_out = [], list[tuple[AnyLesson, str]]()
        for lesson in sorted(chosen, key=lambda lesson: lesson.position):
            if lessons is None and not lesson.core and lesson.result not in shipped:
                continue
            if lesson.name not in others and (reason := reason_to_leave_out(lesson, config)):
                left_out.append((lesson, reason))
            else:
                suitable.append(lesson)
        return cls(tuple(suitable), weights_sha256, shipped, others, lessons is not None or full, full, tuple(left_out))

    def measures_slow(self, lesson: AnyLesson) -> bool:
        """Return whether a lesson's data will hold its slow part, where it has one."""
        return self.measure_slow or lesson.result is None or lesson.result in self.shipped

    def ships_whole(self, lesson: AnyLesson) -> bool:
        """Return whether nothing of a lesson has to be measured."""
        return lesson.measure is None and lesson.result in self.shipped

    def find(self, lesson: AnyLesson, context: Callable[[], LessonContext]) -> Finding:
        """Measure a lesson, except for what ships; ``context`` is called where anything has to be measured."""
        if self.ships_whole(lesson):
            assert lesson.result is not None
            return self.with_pictures(Finding.of(lesson, self.shipped[lesson.result], full=True, precomputed=True))
        return self.with_pictures(Finding.measure(lesson, context()))

    def with_pictures(self, finding: Finding) -> Finding:
        """Return a finding with those of its figures that ship."""
        if not finding.precomputed:
            return finding
        weights = self.others.get(finding.lesson.name, self.weights_sha256)
        return replace(finding, pictures=partial(load_pictures, finding.lesson, weights))


def _of_other_runs(lessons: Sequence[AnyLesson], config: RunConfig, weights_sha256: str) -> dict[str, str]:
    """Return the SHA-256 of the weights of the bundled runs that lessons are about, by the lesson's name.

    Only for another bundled run that has what they are about as well, such as latents.
    """
    bundled = _bundled_weights()
    if weights_sha256 not in bundled.values():
        return {}
    wanted = [lesson.name for lesson in lessons if lesson.name in own_lessons(config)]
    return {name: bundled[OWN_RUNS[name]] for name in wanted if OWN_RUNS.get(name) in bundled}


def _bundled_weights() -> dict[str, str]:
    """Return the SHA-256 of the weights of the bundled runs, by name."""
    manifests = {name: folder / MANIFEST for name, folder in BUNDLED_RUNS.items()}
    return {name: str(read_json(path)["sha256"][WEIGHTS]) for name, path in manifests.items() if path.is_file()}
