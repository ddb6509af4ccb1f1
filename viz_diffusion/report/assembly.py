"""The report's page from a study: the recording, its comparison runs, and the lessons.

Knows nothing about HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Picture
from viz_diffusion.study.narrative import Drawing, NarratedLesson, drawings, wording
from viz_diffusion.study.study import Study, provenance
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views import strip as strip_view


@dataclass(frozen=True, eq=False)
class Players:
    """The generations that the page can play."""

    runs: tuple[Player, ...]
    """The recording, then the same noise with other labels."""
    comparisons: tuple[Player, ...]
    """The same noise and label, with another guidance scale or sampler."""


def players(study: Study) -> Players:
    """Return players for the recording and its comparison runs."""
    recorded, comparison_runs = study.trajectory, study.comparison_runs
    return Players(
        (_recording_player(recorded), *(_comparison_player(one, recorded) for one in comparison_runs.others)),
        tuple(_comparison_player(one, recorded) for one in comparison_runs.comparisons),
    )


def assemble(
    study: Study,
    players: Players,
    lessons: Sequence[NarratedLesson],
    pictures: dict[str, Picture],
    command: str,
    texts: Texts,
) -> Page:
    """Return the page; ``pictures`` holds every drawing by name, including ``steps``."""
    trajectory, facts = study.trajectory, wording(study.recording, texts)
    weights = trajectory.weights_sha256
    return Page(
        title=texts("report.title", **facts),
        lede=texts("report.lede", **facts),
        players=players.runs,
        comparisons=players.comparisons,
        command=command,
        facts=(
            (texts["fact.seed"], str(facts["seed"])),
            (texts["fact.weights"], f"{study.run.name} {weights[:8]}"),
            (texts["fact.sampler"], f"{facts['sampler']}{facts['variance_note']}"),
            (texts["fact.guidance"], f"{facts['guidance_scale']:g}"),
        ),
        strip=pictures["steps"],
        chapters=tuple(one.chapter(pictures) for one in lessons),
        provenance=tuple(provenance(study, command, texts).values()),
        lang=texts.lang,
    )


def strip(study: Study, texts: Texts) -> Drawing:
    """Draw the film strip of the recording, the figure ``steps``."""
    data = strip_view.measure(study.trajectory)
    return drawings(strip_view.draw(data), wording(strip_view.facts(data), texts), texts)[0]


def _recording_player(trajectory: Trajectory, sample: int = 0) -> Player:
    """Return a player for every step of one image of the recording."""
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


def _comparison_player(generation: Generation, trajectory: Trajectory) -> Player:
    """Return a player for the kept steps of a comparison run."""
    return Player(
        digit=generation.digit,
        x_t=generation.x_t,
        x0_pred=generation.x0_pred,
        eps_pred=None,
        timesteps=generation.timesteps,
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=generation.steps_left,
        sampler=generation.sampler,
        guidance_scale=generation.guidance_scale,
    )
