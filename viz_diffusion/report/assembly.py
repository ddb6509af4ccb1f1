"""The report's page from a study: the recording, its comparison runs, and the lessons.

Knows nothing about HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report import lab_link
from viz_diffusion.report.introduction import introduction
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player, shown_steps
from viz_diffusion.study.blocks import Picture
from viz_diffusion.study.narrative import Drawing, NarratedLesson, drawings
from viz_diffusion.study.other_network import OtherNetwork
from viz_diffusion.study.reading import read_study
from viz_diffusion.study.study import Study, data_note, provenance
from viz_diffusion.study.wording import join, wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.class_names import shown_name
from viz_diffusion.views import frames as frames_view
from viz_diffusion.views import strip as strip_view


@dataclass(frozen=True, eq=False)
class Players:
    """The generations that the page can play."""

    runs: tuple[Player, ...]
    """The recording, then the same noise with other labels."""
    comparisons: tuple[Player, ...]
    """The same noise and label, with another guidance scale or sampler; last, where there is one, the same label and
    seed by another network."""


def players(study: Study) -> Players:
    """Return players for the recording and its comparison runs."""
    recorded, comparison_runs = study.trajectory, study.comparison_runs
    names, objective = study.run.config.class_names, study.run.config.training.objective

    def name(label: int) -> str:
        return shown_name(names[label]) if names else ""

    def compared(one: Generation) -> Player:
        lab_run = lab_link.comparison_run(one, recorded, objective)
        return _comparison_player(one, recorded, name=name(one.digit), lab_run=lab_run, space=study.run.config.space)

    lab_run = lab_link.recorded_run(recorded, objective)
    first = _recording_player(recorded, name(int(recorded.labels[0])), lab_run, study.run.config.space)
    return Players(
        (first, *map(compared, comparison_runs.others)),
        tuple(map(compared, comparison_runs.comparisons)),
    )


def with_other_network(played: Players, study: Study, other: OtherNetwork, texts: Texts) -> Players:
    """Return players and, as the last comparison, the recording's generation by a network in the other space."""
    note, label = other_network_note(other, texts), other.generation.digit
    name = texts.label(label) if study.run.config.class_names else ""
    player = _comparison_player(other.generation, study.trajectory, space=other.space, name=name, note=note)
    return replace(played, comparisons=(*played.comparisons, player))


def other_network_note(other: OtherNetwork, texts: Texts) -> str:
    """Return what a page says of a generation by another network: its space, its noise and, if measured, its time."""
    sentences, cost = [texts(f"interface.note_{other.space}", run=other.name, shape=other.shown_shape)], other.cost
    if cost is not None:
        (low, high), ratio = cost.ratio_interval, float(np.median(cost.ratio))
        about = {"ratio": ratio, "low": low, "high": high, "steps": cost.steps}
        sentences.append(texts("interface.note_time", **about))
    return join(*sentences)


def assemble(
    study: Study,
    players: Players,
    lessons: Sequence[NarratedLesson],
    pictures: dict[str, Picture],
    command: str,
    texts: Texts,
    audience: str = "lecturer",
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
        class_names=texts.class_names,
        prompts=study.run.config.prompts,
        space=study.run.config.space,
        note=data_note(study, texts),
        introduction=introduction(trajectory, study.findings),
        audience=audience,
        warning=read_study(study).long_warning(texts),
    )


def strip(study: Study, texts: Texts) -> Drawing:
    """Draw the film strip of the recording, the figure ``steps``."""
    data = strip_view.measure(study.trajectory)
    return drawings(strip_view.draw(data), wording(strip_view.facts(data), texts), texts)[0]


def _recording_player(trajectory: Trajectory, name: str, lab_run: str, space: str) -> Player:
    """Return a player for every step of the recording's first image, or as many as a sprite sheet holds."""
    kept = shown_steps(trajectory)
    return Player(
        digit=int(trajectory.labels[0]),
        name=name,
        lab_run=lab_run,
        space=space,
        x_t=frames_view.pictures(np.concatenate([trajectory.x_t[0, kept], trajectory.x0[:1]])),
        x0_pred=frames_view.pictures(trajectory.x0_pred[0, kept]),
        eps_pred=frames_view.one_channel(trajectory.eps_pred[0, kept]),
        timesteps=trajectory.timesteps[kept],
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=trajectory.steps_left[kept],
        sampler=trajectory.sampler,
        guidance_scale=trajectory.guidance_scale,
    )


def _comparison_player(
    generation: Generation, trajectory: Trajectory, *, space: str, name: str = "", lab_run: str = "", note: str = ""
) -> Player:
    """Return a player for the kept steps of a comparison run."""
    return Player(
        digit=generation.digit,
        name=name,
        lab_run=lab_run,
        space=space,
        note=note,
        x_t=generation.x_t,
        x0_pred=generation.x0_pred,
        eps_pred=None,
        timesteps=generation.timesteps,
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=generation.steps_left,
        sampler=generation.sampler,
        guidance_scale=generation.guidance_scale,
    )
