"""A recording and what the lessons found: what report, deck and worksheet are made from."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from viz_diffusion import __version__
from viz_diffusion.lessons.base import Finding, Lesson, all_lessons, choose_lessons
from viz_diffusion.lessons.context import LessonContext, Progress, silent
from viz_diffusion.lessons.precomputed import shipped_finding, shipped_parts, shipped_pictures
from viz_diffusion.recording.comparison_runs import ComparisonRuns
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import recording_facts

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.training.run import Run


_LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "zarr", "pillow")


@dataclass(frozen=True, eq=False)
class Study:
    """A recording and all that was found by looking at it."""

    run: Run
    """The run whose weights made the recording."""
    trajectory: Trajectory
    """The recording; its first image is the one that is told of."""
    comparison_runs: ComparisonRuns
    """Other generations from its noise."""
    findings: tuple[Finding, ...]
    """What the lessons found, in the order of the story."""
    num_parameters: int
    """How many numbers the network holds."""

    @property
    def recording(self) -> dict[str, Any]:
        """Facts every text may name."""
        return recording_facts(self.trajectory) | {"millions": self.num_parameters / 1e6}

    @property
    def training_steps(self) -> int:
        """How many steps the network was trained for."""
        told = [finding.facts["steps"] for finding in self.findings if finding.lesson.name == "training"]
        return int(told[0]) if told else self.run.trained_steps

    def facts(self) -> dict[str, Any]:
        """Return every number found, by lesson: what is written as JSON."""
        found = {finding.lesson.name: finding.to_dict() for finding in self.findings}
        return {"recording": self.recording, "weights_sha256": self.trajectory.weights_sha256, "lessons": found}


def study(
    run: Run,
    model: SimpleUNet,
    trajectory: Trajectory,
    comparison_runs: ComparisonRuns,
    lessons: Sequence[Lesson] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    progress: Progress = silent,
) -> Study:
    """Measure lessons on a recording's first image.

    By default those of the core; of the others what ships with exactly these weights is told too. Slow parts of
    lessons are measured where lessons are named, unless they ship; where none are, they are left out.
    """
    chosen = choose_lessons("core") if lessons is None else lessons
    context = LessonContext(
        run,
        model,
        run.config.load_digits("test"),
        int(trajectory.labels[0]),
        int(trajectory.seeds[0]),
        trajectory,
        comparison_runs.others,
        progress=progress,
        known=shipped_parts(chosen, trajectory.weights_sha256),
        slow=lessons is not None,
    )
    beside = () if lessons is not None else tuple(lesson for lesson in all_lessons() if lesson not in chosen)
    findings = []
    for lesson in sorted((*chosen, *beside), key=lambda lesson: lesson.order):
        finding = (
            shipped_finding(lesson, trajectory.weights_sha256) if lesson in beside else Finding.measure(lesson, context)
        )
        if finding is None:
            continue
        if finding.shipped:
            finding = replace(finding, pictures=shipped_pictures(lesson, trajectory.weights_sha256))
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)
    num_parameters = sum(weight.numel() for weight in model.parameters())
    return Study(run, trajectory, comparison_runs, tuple(findings), num_parameters)


def provenance(found: Study, command: str, texts: Texts) -> dict[str, tuple[str, str]]:
    """Return where a study's numbers come from: (name, value) in words, by the name's key under ``fact``."""
    trajectory, facts = found.trajectory, wording(found.recording, texts)
    weights, schedule = trajectory.weights_sha256, trajectory.schedule
    exponent = found.run.config.training.weight_exponent
    values = {
        "command": command,
        "run": found.run.name,
        "weights_sha256": weights or texts["fact.unknown"],
        "dataset": found.run.config.dataset,
        "steps": f"{found.training_steps:,}",
        "weighting": texts(f"fact.weighting_{'on' if exponent else 'off'}", weight_exponent=exponent),
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
