"""A recording and the lessons' findings on it: what report, deck and worksheet are made from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext, Progress, silent
from viz_diffusion.lessons.suitability import REASONS, reason_to_leave_out
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.lesson_plan import LessonPlan
from viz_diffusion.study.stored_study import Recordings
from viz_diffusion.study.versions import versions
from viz_diffusion.study.wording import join, weighting, wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import recording_facts

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.training.run import Run


SHOWN_NAMES = 12
"""Classes that a page names."""
NONE_KNOWN: Mapping[str, Finding] = {}


@dataclass(frozen=True, eq=False)
class Study:
    """A recording and what the lessons measured on it."""

    run: Run
    """The run whose weights made the recording."""
    trajectory: Trajectory
    """The recording, of latents as pictures; the lessons are about its first image."""
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
        return findings_facts(self.findings, self.recording, self.run, self.trajectory.weights_sha256, self.left_out)


def findings_facts(
    findings: Sequence[Finding],
    recording: dict[str, Any],
    run: Run,
    weights_sha256: str,
    left_out: Sequence[tuple[AnyLesson, str]] = (),
) -> dict[str, Any]:
    """Return all facts of findings, by lesson, with those of the recording: what is written as JSON."""
    found = {finding.lesson.name: finding.to_dict() for finding in findings}
    facts = {"recording": recording, "weights_sha256": weights_sha256, "lessons": found}
    names = run.config.class_names
    if names is not None:
        facts["class_names"] = list(names)
        facts["label"] = names[recording["digit"]]
    if left_out:
        facts["left_out"] = {lesson.name: reason for lesson, reason in left_out}
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
    """Measure lessons on a recording's first image; which ones, and how fully, says :meth:`LessonPlan.choose`."""
    plan = LessonPlan.choose(lessons, run.config, trajectory.weights_sha256)
    recordings = Recordings(trajectory, comparison_runs)
    label, seed = int(trajectory.labels[0]), int(trajectory.seeds[0])
    findings = measure_lessons(plan, run, model, label, seed, recordings, on_finding=on_finding, progress=progress)
    return Study(run, pictured(trajectory), comparison_runs, findings, num_parameters(model), plan.left_out)


def measure_lessons(
    plan: LessonPlan,
    run: Run,
    model: SimpleUNet,
    label: int,
    seed: int,
    recordings: Recordings,
    known: Mapping[str, Finding] = NONE_KNOWN,
    on_finding: Callable[[Finding], None] | None = None,
    progress: Progress = silent,
) -> tuple[Finding, ...]:
    """Measure the lessons of a plan.

    Parameters
    ----------
    label, seed
        Of the generation that the lessons are about.
    recordings
        What they measure.
    known
        Findings that are known already, by the lesson's name.
    on_finding
        Called with each of the others.
    """

    @cache
    def context() -> LessonContext:
        runs = recordings.comparison_runs
        return LessonContext(
            run,
            model,
            run.config.load_digits("test"),
            label,
            seed,
            recordings.trajectory,
            () if runs is None else runs.others,
            full=plan.full,
            progress=progress,
            precomputed=plan.shipped,
            measure_slow=plan.measure_slow,
        )

    def find(lesson: AnyLesson) -> Finding:
        finding = plan.find(lesson, context)
        if on_finding is not None:
            on_finding(finding)
        return finding

    return tuple(known[lesson.name] if lesson.name in known else find(lesson) for lesson in plan.lessons)


def num_parameters(model: SimpleUNet) -> int:
    """Return how many parameters a network has."""
    return sum(weight.numel() for weight in model.parameters())


def data_note(found: Study, texts: Texts) -> str:
    """Return a paragraph on latents, prompts and data of one's own, and on what is left out for them; or nothing."""
    config = found.run.config
    if config.is_digits and config.space == "pixel" and config.model.text is None:
        return ""
    names = [texts.label(label) for label in config.present_labels]
    comma = texts["report.comma"]
    shown = comma.join(names[:SHOWN_NAMES]) + f"{comma}…" * (len(names) > SHOWN_NAMES)
    channels, size, _ = config.image_shape
    colour = texts["report.data_colour" if channels == 3 else "report.data_grey"]
    about = {"count": len(names), "names": shown, "size": size, "colour": colour}
    kind = "prompts" if config.prompts else "data"
    sentences = [] if config.is_digits else [texts(f"report.{kind}_note", **about)]
    if config.model.text is not None and not config.prompts:
        sentences.append(texts["report.text_note"])
    if config.space == "latent":
        sentences.append(texts("report.latent_note", shape=" × ".join(map(str, config.x_shape)), size=size))
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
