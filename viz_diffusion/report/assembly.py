"""Everything a page, a deck or a worksheet is made from: a recording, its companions, and what lessons found.

The one module of the report that meets a network; it hands findings to the tellers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Players:
    """What the page can play."""

    runs: tuple[Player, ...]
    """The recording, then the other digits."""
    comparisons: tuple[Player, ...]
    """The same digit, guided or sampled otherwise."""


def players(found: Study) -> Players:
    """Return the recording and its companions as the page plays them."""
    recorded, comparison_runs = found.trajectory, found.comparison_runs
    return Players(
        (_recorded(recorded), *(_player(one, recorded) for one in comparison_runs.others)),
        tuple(_player(one, recorded) for one in comparison_runs.comparisons),
    )


def assemble(
    found: Study,
    played: Players,
    told: Sequence[NarratedLesson],
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
    data = strip_view.measure(found.trajectory)
    return drawings(strip_view.draw(data), wording(strip_view.facts(data), texts), texts)[0]


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
