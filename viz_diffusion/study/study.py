"""A recording and the lessons' findings on it: what report, deck and worksheet are made from."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from viz_diffusion import __version__
from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext, Progress, silent
from viz_diffusion.lessons.precomputed import load_pictures, load_results
from viz_diffusion.lessons.suitability import REASONS, reason_to_leave_out
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.wording import join, weighting, wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import recording_facts

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.training.run import Run


SHOWN_NAMES = 12
"""Classes that a page names."""
_LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "zarr", "pillow")


@dataclass(frozen=True, eq=False)
class Study:
    """A recording and what the lessons measured on it."""

    run: Run
    """The run whose weights made the recording."""
    trajectory: Trajectory
    """The recording; the lessons are about its first image."""
    comparison_runs: ComparisonRuns
    """Other generations from the same noise."""
    findings: tuple[Finding, ...]
    """One for each lesson, in the order of the story."""
    num_parameters: int
    """How many parameters the network has."""
    left_out: tuple[tuple[AnyLesson, str], ...] = ()
    """Lessons that were chosen and that the data do not suit, each with its reason."""

    @property
    def recording(self) -> dict[str, Any]:
        """The facts of the recording, by name; every text may name them."""
        return recording_facts(self.trajectory) | {"millions": self.num_parameters / 1e6}

    @property
    def training_steps(self) -> int:
        """How many steps the network was trained for."""
        return self.run.trained_steps

    def facts(self) -> dict[str, Any]:
        """Return all facts, by lesson: what is written as JSON."""
        found = {finding.lesson.name: finding.to_dict() for finding in self.findings}
        facts = {"recording": self.recording, "weights_sha256": self.trajectory.weights_sha256, "lessons": found}
        names = self.run.config.class_names
        if names is not None:
            facts["class_names"] = list(names)
            facts["label"] = names[int(self.trajectory.labels[0])]
        if self.left_out:
            facts["left_out"] = {lesson.name: reason for lesson, reason in self.left_out}
        return facts


def study(
    run: Run,
    model: SimpleUNet,
    trajectory: Trajectory,
    comparison_runs: ComparisonRuns,
    lessons: Sequence[AnyLesson] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    progress: Progress = silent,
) -> Study:
    """Measure lessons on a recording's first image.

    By default they are those of the core, and of the others those whose results ship for exactly these weights; slow
    parts that do not ship are then left out. Lessons that are named are measured, except for slow parts that ship.
    """
    chosen = all_lessons() if lessons is None else lessons
    shipping = chosen if lessons is None else [lesson for lesson in chosen if lesson.core]
    precomputed = load_results(shipping, trajectory.weights_sha256)
    context = LessonContext(
        run,
        model,
        run.config.load_digits("test"),
        int(trajectory.labels[0]),
        int(trajectory.seeds[0]),
        trajectory,
        comparison_runs.others,
        progress=progress,
        precomputed=precomputed,
        measure_slow=lessons is not None,
    )
    findings, left_out = [], list[tuple[AnyLesson, str]]()
    for lesson in sorted(chosen, key=lambda lesson: lesson.position):
        if lessons is None and not lesson.core and lesson.result not in precomputed:
            continue
        if reason := reason_to_leave_out(lesson, run.config):
            left_out.append((lesson, reason))
            continue
        finding = Finding.measure(lesson, context)
        if finding.precomputed:
            finding = replace(finding, pictures=partial(load_pictures, lesson, trajectory.weights_sha256))
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)
    num_parameters = sum(weight.numel() for weight in model.parameters())
    return Study(run, trajectory, comparison_runs, tuple(findings), num_parameters, tuple(left_out))


def data_note(found: Study, texts: Texts) -> str:
    """Return a paragraph on data of one's own, and on what is left out because of them; empty for digits."""
    config = found.run.config
    if config.is_digits:
        return ""
    names = [texts.label(label) for label in config.present_labels]
    comma = texts["report.comma"]
    shown = comma.join(names[:SHOWN_NAMES]) + f"{comma}…" * (len(names) > SHOWN_NAMES)
    channels, size, _ = config.image_shape
    colour = texts["report.data_colour" if channels == 3 else "report.data_grey"]
    sentences = [texts("report.data_note", count=len(names), names=shown, size=size, colour=colour)]
    for reason in REASONS:
        titles = [
            texts[f"chapter.{lesson.name}.title"]
            for lesson in all_lessons()
            if reason_to_leave_out(lesson, config) == reason
        ]
        if titles:
            sentences.append(texts(f"report.left_out_{reason}", titles=comma.join(titles)))
    return join(*sentences)


def provenance(found: Study, command: str, texts: Texts) -> dict[str, tuple[str, str]]:
    """Return where a study's numbers come from: (name, value) in words, by the key of the name under ``fact``."""
    trajectory, facts = found.trajectory, wording(found.recording, texts)
    weights, schedule = trajectory.weights_sha256, trajectory.schedule
    training = found.run.config.training
    exponent, weights_text = training.weight_exponent, weighting(training.objective, training.weight_exponent)
    values = {
        "command": command,
        "run": found.run.name,
        "weights_sha256": weights or texts["fact.unknown"],
        "dataset": found.run.config.dataset,
        "steps": f"{found.training_steps:,}",
        "objective": texts[f"fact.objective_{training.objective}"],
        "weighting": texts(f"fact.weighting_{weights_text}", weight_exponent=exponent),
        "schedule": f"{schedule.name}, T = {schedule.num_train_timesteps}",
        "seed": str(facts["seed"]),
        "sampler": f"{facts['sampler']}, {trajectory.num_steps}",
        "variance": facts["variance_note"].strip(" ()（）") or texts["fact.none"],
        "guidance": f"{facts['guidance_scale']:g}",
        "x0_clip": texts["fact.yes" if trajectory.clip else "fact.no"],
        "versions": versions(),
        "made": time.strftime("%Y-%m-%d"),
    }
    return {key: (texts[f"fact.{key}"], value) for key, value in values.items()}


def versions() -> str:
    """Return this package's, Python's and the main libraries' versions, as one line."""
    found = [f"viz_diffusion {__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # vendored or renamed: leave it out rather than guess
            continue
    return ", ".join(found)
