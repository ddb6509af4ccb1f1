"""A recording whose network is not at hand, such as a diffusers pipeline's: told by what it shows itself.

Says nothing of digits, training data or our network; what only a network could tell is left out, and named.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz_diffusion.catalogue import Texts
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.lessons import guess
from viz_diffusion.lessons.lesson import Finding, Lesson, all_lessons, recording_facts
from viz_diffusion.report.chapters import Drawing, Told, drawings, wording
from viz_diffusion.report.gather import versions
from viz_diffusion.report.parts import Page, Picture
from viz_diffusion.report.player import Player
from viz_diffusion.trajectory import Trajectory

MOST_PIXELS = 1000 * 64 * 64
"""Of all frames of a player's picture; of a recording with more, as many evenly spread steps are kept."""


MOST_SIDE = 281
"""Pixels of a picture's side for which a strip of nine frames has room."""


@dataclass(frozen=True, eq=False)
class Alone:
    """A recording and all that it shows by itself."""

    trajectory: Trajectory
    """The recording; its first image is the one that is told of."""
    findings: tuple[Finding, ...]
    """What the lessons found, in the order of the story."""
    untold: tuple[Lesson, ...]
    """Lessons that were asked for and that this recording does not show."""

    @property
    def needing(self) -> tuple[Lesson, ...]:
        """Lessons that ask a network, or look at real digits."""
        return tuple(lesson for lesson in all_lessons() if lesson.alone is None)

    def facts(self) -> dict[str, Any]:
        """Return every number found, by lesson: what is written as JSON; None is not known."""
        facts = recording_facts(self.trajectory)
        label, seed = facts.pop("digit"), facts.pop("seed")
        recording = {"label": label if label >= 0 else None, "seed": seed if seed >= 0 else None, **facts}
        found = {finding.lesson.name: finding.to_dict() for finding in self.findings}
        left_out = [lesson.name for lesson in (*self.needing, *self.untold)]
        weights = self.trajectory.weights_sha256 or None
        return {"recording": recording, "weights_sha256": weights, "left_out": left_out, "lessons": found}

    def words(self, texts: Texts) -> dict[str, Any]:
        """Return what every text may name: the facts of the recording, in words where they may not be known."""
        comma = texts["report.comma"]
        untold = [
            texts(
                "report.untold", title=texts[f"chapter.{one.name}.title"], reason=texts[f"chapter.{one.name}.left_out"]
            )
            for one in self.untold
        ]
        return recording_words(self.trajectory, texts) | {
            "needing": comma.join(texts[f"chapter.{lesson.name}.title"] for lesson in self.needing),
            "untold_note": "".join(untold),
        }


def recording_words(trajectory: Trajectory, texts: Texts) -> dict[str, Any]:
    """Return the facts of a recording's first image, in words where they may not be known."""
    facts, count = recording_facts(trajectory), trajectory.num_images
    return wording(facts, texts) | {
        "made_by": facts["sampler"] or texts["fact.unknown"],
        "label_note": texts("report.label_note", label=facts["digit"]) if facts["digit"] >= 0 else "",
        "seed_note": texts("report.seed_note", seed=facts["seed"]) if facts["seed"] >= 0 else "",
        "images_note": texts("report.images_note", count=count) if count > 1 else "",
    }


def look(trajectory: Trajectory, lessons: Sequence[Lesson]) -> Alone:
    """Measure lessons, each with :attr:`~viz_diffusion.lessons.lesson.Lesson.alone`, on a recording's first image.

    Raises
    ------
    VizdiffInputError
        Where the recording holds latents, or pictures too large for a strip.
    """
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
    found = [(lesson, lesson.alone(trajectory)) for lesson in lessons if lesson.alone is not None]
    return Alone(
        trajectory,
        tuple(Finding.of(lesson, data, full=False) for lesson, data in found if data is not None),
        tuple(lesson for lesson, data in found if data is None),
    )


def player(trajectory: Trajectory) -> Player:
    """Return the first image as the page plays it: every step, or as many as the page has room for."""
    height, width = trajectory.x_t.shape[3:]
    room = max(1, min(trajectory.num_steps, MOST_PIXELS // (height * width)))
    kept = np.unique(np.round(np.linspace(0, trajectory.num_steps - 1, room)).astype(np.int64))
    return Player(
        digit=None,
        x_t=guess.pictures(np.concatenate([trajectory.x_t[0, kept], trajectory.x0[:1]])),
        x0_pred=guess.pictures(trajectory.x0_pred[0, kept]),
        eps_pred=guess.one_channel(trajectory.eps_pred[0, kept]),
        timesteps=trajectory.timesteps[kept],
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=trajectory.steps_left[kept],
        sampler=trajectory.sampler,
        guidance_scale=trajectory.guidance_scale,
        step_alphas_cumprod=trajectory.alphas_cumprod[kept],
    )


def strip(found: Alone, texts: Texts) -> Drawing:
    """Draw the recording as one still picture, ``steps``."""
    data = guess.measure(found.trajectory)
    facts = wording(guess.facts(data), texts) | found.words(texts)
    return drawings(guess.draw(data), facts, texts)[0]


def assemble(
    found: Alone, played: Player, told: Sequence[Told], pictures: dict[str, Picture], command: str, texts: Texts
) -> Page:
    """Join what was told into a page; ``pictures`` are the drawings by name, ``steps`` among them.

    ``texts`` are those of a recording alone: ``load_texts(lang).preferring("alone")``.
    """
    words = found.words(texts)
    known = _provenance(found, command, texts)
    foot = {name: known[name] for name in ("seed", "sampler", "label", "guidance")}
    foot["weights"] = found.trajectory.weights_sha256[:8] or texts["fact.unknown"]
    return Page(
        title=texts("report.title", **words),
        lede=texts("report.lede", **words),
        players=(played,),
        comparisons=(),
        command=command,
        facts=tuple((texts[f"fact.{name}"], value) for name, value in foot.items() if value != texts["fact.unknown"]),
        strip=pictures["steps"],
        chapters=tuple(one.chapter(pictures) for one in told),
        provenance=tuple((texts[f"fact.{name}"], value) for name, value in known.items()),
        lang=texts.lang,
        alone=True,
        note=texts("report.note", **words),
    )


def _provenance(found: Alone, command: str, texts: Texts) -> dict[str, str]:
    """Return where the page's numbers come from, by the name's key under ``fact``."""
    trajectory, facts, unknown = found.trajectory, recording_facts(found.trajectory), texts["fact.unknown"]
    schedule, guidance = trajectory.schedule, facts["guidance_scale"]
    channels, height, width = trajectory.x_t.shape[2:]
    return {
        "command": command,
        "weights_sha256": trajectory.weights_sha256 or unknown,
        "images": str(trajectory.num_images),
        "shape": f"{channels} × {height} × {width}",
        "schedule": f"{schedule.name}, T = {schedule.num_train_timesteps}",
        "seed": str(facts["seed"]) if facts["seed"] >= 0 else unknown,
        "label": str(facts["digit"]) if facts["digit"] >= 0 else unknown,
        "sampler": f"{facts['sampler'] or unknown}, {trajectory.num_steps}",
        "variance": wording(facts, texts)["variance_note"].strip(" ()（）") or unknown,
        "guidance": unknown if guidance is None else f"{guidance:g}",
        "x0_clip": texts["fact.yes" if trajectory.clip else "fact.no"],
        "versions": versions(),
        "made": time.strftime("%Y-%m-%d"),
    }
