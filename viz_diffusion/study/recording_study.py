"""What a recording shows without its network: the lessons that need neither network nor real digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons.base import AnyLesson, Finding, all_lessons
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.wording import wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.class_names import shown_name
from viz_diffusion.views.frames import check_recorded, recording_facts

MOST_SIDE = 281
"""Pixels of a picture's side for which a strip of nine frames has room."""


@dataclass(frozen=True, eq=False)
class RecordingStudy:
    """A recording, and what the lessons measured on it without its network."""

    trajectory: Trajectory
    """The recording, of latents as pictures; the lessons are about its first image."""
    findings: tuple[Finding, ...]
    """One for each lesson that was measured, in the order of the story."""
    not_shown: tuple[AnyLesson, ...]
    """Lessons that were chosen and that this recording does not show."""

    @property
    def needing_network(self) -> tuple[AnyLesson, ...]:
        """Lessons that need a network or real digits."""
        return tuple(lesson for lesson in all_lessons() if lesson.measure_recording is None)

    def facts(self) -> dict[str, Any]:
        """Return all facts, by lesson: what is written as JSON; None is not known."""
        facts = recording_facts(self.trajectory)
        label, seed = facts.pop("digit"), facts.pop("seed")
        is_class = label >= 0 and not self.trajectory.prompts
        recording = {"label": label if is_class else None, "prompt": prompt_of(self.trajectory, 0) or None}
        recording |= {"seed": seed if seed >= 0 else None, **facts}
        found = {finding.lesson.name: finding.to_dict() for finding in self.findings}
        left_out = [lesson.name for lesson in (*self.needing_network, *self.not_shown)]
        weights = self.trajectory.weights_sha256 or None
        return {"recording": recording, "weights_sha256": weights, "left_out": left_out, "lessons": found}

    def words(self, texts: Texts) -> dict[str, Any]:
        """Return what every text may name: the facts of the recording, in words where they may not be known."""
        comma = texts["report.comma"]
        left_out = [
            texts(
                "report.untold", title=texts[f"chapter.{one.name}.title"], reason=texts[f"chapter.{one.name}.left_out"]
            )
            for one in self.not_shown
        ]
        return recording_words(self.trajectory, texts) | {
            "needing": comma.join(texts[f"chapter.{lesson.name}.title"] for lesson in self.needing_network),
            "untold_note": "".join(left_out),
        }


def recording_words(trajectory: Trajectory, texts: Texts) -> dict[str, Any]:
    """Return the facts of a recording's first image, in words where they may not be known."""
    facts, count = recording_facts(trajectory), trajectory.num_images
    return wording(facts, texts) | {
        "made_by": facts["sampler"] or texts["fact.unknown"],
        "label_note": _label_note(trajectory, texts),
        "seed_note": texts("report.seed_note", seed=facts["seed"]) if facts["seed"] >= 0 else "",
        "images_note": texts("report.images_note", count=count) if count > 1 else "",
    }


def _label_note(trajectory: Trajectory, texts: Texts) -> str:
    """Return the prompt or the label of a recording's first image, as part of a sentence; empty if it has none."""
    label = int(trajectory.labels[0])
    if prompt := prompt_of(trajectory, 0):
        return texts("report.prompt_note", prompt=shown_name(prompt))
    return texts("report.label_note", label=label) if label >= 0 and not trajectory.prompts else ""


def study_recording(trajectory: Trajectory, lessons: Sequence[AnyLesson]) -> RecordingStudy:
    """Measure lessons on a recording's first image, each with its ``measure_recording``.

    Raises
    ------
    VizdiffInputError
        Where the recording holds latents without their pictures, or pictures too large for a strip.
    VizdiffNonFiniteError
        Where its finished image or predicted x_0 is not known.
    """
    recorded, trajectory = trajectory, pictured(trajectory)
    channels, height, width = trajectory.x_t.shape[2:]
    if channels not in (1, 3):
        raise VizdiffInputError(
            f"the recording holds latents of {channels} channels, and pictures have 1 or 3; what was decoded of them "
            "is in Trajectory.decoded"
        )
    if max(height, width) > MOST_SIDE:
        raise VizdiffInputError(
            f"the recording holds pictures of {height} × {width} pixels, and the report has room for {MOST_SIDE} a side"
        )
    check_recorded(trajectory)
    found = [
        (lesson, lesson.measure_recording(recorded))
        for lesson in lessons
        if lesson.measure_recording is not None and (lesson.latent or trajectory is recorded)
    ]
    return RecordingStudy(
        trajectory,
        tuple(Finding.of(lesson, data, full=False) for lesson, data in found if data is not None),
        tuple(lesson for lesson, data in found if data is None),
    )
