"""Everything a page, a deck or a worksheet is made from: a recording, its companions, and what lessons found.

The one module of the report that meets a network; it hands findings to the tellers.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from viz_diffusion import __version__
from viz_diffusion.catalogue import Texts
from viz_diffusion.lessons import guess
from viz_diffusion.lessons.companions import Companions, Generation
from viz_diffusion.lessons.lesson import Finding, Lesson, all_lessons, choose_lessons, recording_facts
from viz_diffusion.lessons.material import Material, Progress, silent
from viz_diffusion.lessons.shipped import shipped_finding, shipped_parts, shipped_pictures
from viz_diffusion.report.chapters import Drawing, Told, drawings, wording
from viz_diffusion.report.parts import Page, Picture
from viz_diffusion.report.player import Player
from viz_diffusion.trajectory import Trajectory

if TYPE_CHECKING:
    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.run import Run

_LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "zarr", "pillow")


@dataclass(frozen=True, eq=False)
class Study:
    """A recording and all that was found by looking at it."""

    run: Run
    """The run whose weights made the recording."""
    trajectory: Trajectory
    """The recording; its first image is the one that is told of."""
    companions: Companions
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
    companions: Companions,
    lessons: Sequence[Lesson] | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    progress: Progress = silent,
) -> Study:
    """Measure lessons on a recording's first image.

    By default those of the core; of the others what ships with exactly these weights is told too. Slow parts of
    lessons are measured where lessons are named, unless they ship; where none are, they are left out.
    """
    chosen = choose_lessons("core") if lessons is None else lessons
    material = Material(
        run, model, run.config.load_digits("test"), int(trajectory.labels[0]), int(trajectory.seeds[0]),
        trajectory, companions.others, progress=progress,
        known=shipped_parts(chosen, trajectory.weights_sha256), slow=lessons is not None,
    )  # fmt: skip
    beside = () if lessons is not None else tuple(lesson for lesson in all_lessons() if lesson not in chosen)
    findings = []
    for lesson in sorted((*chosen, *beside), key=lambda lesson: lesson.order):
        finding = (
            shipped_finding(lesson, trajectory.weights_sha256)
            if lesson in beside
            else Finding.measure(lesson, material)
        )
        if finding is None:
            continue
        if finding.shipped:
            finding = replace(finding, pictures=shipped_pictures(lesson, trajectory.weights_sha256))
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)
    num_parameters = sum(weight.numel() for weight in model.parameters())
    return Study(run, trajectory, companions, tuple(findings), num_parameters)


@dataclass(frozen=True, eq=False)
class Players:
    """What the page can play."""

    runs: tuple[Player, ...]
    """The recording, then the other digits."""
    comparisons: tuple[Player, ...]
    """The same digit, guided or sampled otherwise."""


def players(found: Study) -> Players:
    """Return the recording and its companions as the page plays them."""
    recorded, companions = found.trajectory, found.companions
    return Players(
        (_recorded(recorded), *(_player(one, recorded) for one in companions.others)),
        tuple(_player(one, recorded) for one in companions.comparisons),
    )


def assemble(
    found: Study,
    played: Players,
    told: Sequence[Told],
    pictures: dict[str, Picture],
    command: str,
    texts: Texts,
) -> Page:
    """Join what was told into the report's page; ``pictures`` are the drawings by name, ``steps`` among them."""
    trajectory, facts = found.trajectory, wording(found.recording, texts)
    weights = trajectory.weights_sha256
    return Page(
        title=texts("report.title", **facts),
        lede=texts("report.lede", **facts),
        players=played.runs,
        comparisons=played.comparisons,
        command=command,
        facts=(
            (texts["fact.seed"], str(facts["seed"])),
            (texts["fact.weights"], f"{found.run.name} {weights[:8]}"),
            (texts["fact.sampler"], f"{facts['sampler']}{facts['variance_note']}"),
            (texts["fact.guidance"], f"{facts['guidance_scale']:g}"),
        ),
        strip=pictures["steps"],
        chapters=tuple(one.chapter(pictures) for one in told),
        provenance=tuple(provenance(found, command, texts).values()),
        lang=texts.lang,
    )


def strip(found: Study, texts: Texts) -> Drawing:
    """Draw the recording as one still picture, ``steps``."""
    data = guess.measure(found.trajectory)
    return drawings(guess.draw(data), wording(guess.facts(data), texts), texts)[0]


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


def _recorded(trajectory: Trajectory, sample: int = 0) -> Player:
    """Return the recording itself, every step of it."""
    return Player(
        digit=int(trajectory.labels[sample]),
        x_t=np.concatenate([trajectory.x_t[sample, :, 0], trajectory.x0[sample]]),
        x0_pred=trajectory.x0_pred[sample, :, 0],
        eps_pred=trajectory.eps_pred[sample, :, 0],
        timesteps=trajectory.timesteps,
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=trajectory.steps_left,
        sampler=trajectory.sampler,
        guidance_scale=trajectory.guidance_scale,
    )


def _player(one: Generation, trajectory: Trajectory) -> Player:
    """Return a companion, as many of its steps as were kept."""
    return Player(
        digit=one.digit,
        x_t=one.x_t,
        x0_pred=one.x0_pred,
        eps_pred=None,
        timesteps=one.timesteps,
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=one.steps_left,
        sampler=one.sampler,
        guidance_scale=one.guidance_scale,
    )


def versions() -> str:
    """Return this package's, Python's and the main libraries' versions, as one line."""
    found = [f"viz_diffusion {__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # vendored or renamed: leave it out rather than guess
            continue
    return ", ".join(found)
