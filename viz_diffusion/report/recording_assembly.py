"""The report's page from a recording only, without its network, such as one of a diffusers pipeline.

Makes no statement about digits, training data or the network; a note on the page names the lessons left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from viz_diffusion.recording.latent_pictures import PicturedLatents
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.introduction import introduction
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player, shown_steps
from viz_diffusion.study.blocks import Picture
from viz_diffusion.study.narrative import Drawing, NarratedLesson, drawings
from viz_diffusion.study.recording_study import RecordingStudy
from viz_diffusion.study.versions import versions
from viz_diffusion.study.wording import wording
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.class_names import shown_name
from viz_diffusion.views import frames as frames_view
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts


def player(trajectory: Trajectory) -> Player:
    """Return a player for the first image: every step, or as many as a sprite sheet holds."""
    kept = shown_steps(trajectory)
    return Player(
        digit=None,
        x_t=frames_view.pictures(np.concatenate([trajectory.x_t[0, kept], trajectory.x0[:1]])),
        x0_pred=frames_view.pictures(trajectory.x0_pred[0, kept]),
        eps_pred=frames_view.one_channel(trajectory.eps_pred[0, kept]),
        timesteps=trajectory.timesteps[kept],
        alphas_cumprod=trajectory.schedule.alphas_cumprod,
        steps_left=trajectory.steps_left[kept],
        sampler=trajectory.sampler,
        guidance_scale=trajectory.guidance_scale,
        step_alphas_cumprod=trajectory.alphas_cumprod[kept],
    )


def strip(study: RecordingStudy, texts: Texts) -> Drawing:
    """Draw the film strip of the recording, the figure ``steps``."""
    data = strip_view.measure(study.trajectory)
    facts = wording(strip_view.facts(data), texts) | study.words(texts)
    return drawings(strip_view.draw(data), facts, texts)[0]


def assemble(
    study: RecordingStudy,
    player: Player,
    lessons: Sequence[NarratedLesson],
    pictures: dict[str, Picture],
    command: str,
    texts: Texts,
    audience: str = "lecturer",
) -> Page:
    """Return the page; ``pictures`` holds every drawing by name, including ``steps``.

    ``texts`` are ``load_texts(lang).preferring("alone")``, which are worded for a recording without its network.
    """
    words = study.words(texts)
    known = _provenance(study, command, texts)
    named = [name for name in ("seed", "sampler", "prompt", "label", "guidance") if name in known]
    foot: dict[str, str] = {name: known[name] for name in named}
    foot["weights"] = study.trajectory.weights_sha256[:8] or texts["fact.unknown"]
    return Page(
        title=texts("report.title", **words),
        lede=texts("report.lede", **words),
        players=(player,),
        comparisons=(),
        command=command,
        facts=tuple((texts[f"fact.{name}"], value) for name, value in foot.items() if value != texts["fact.unknown"]),
        strip=pictures["steps"],
        chapters=tuple(one.chapter(pictures) for one in lessons),
        provenance=tuple((texts[f"fact.{name}"], value) for name, value in known.items()),
        lang=texts.lang,
        recording_only=True,
        space="latent" if isinstance(study.trajectory, PicturedLatents) else "pixel",
        note=texts("report.note", **words),
        introduction=introduction(study.trajectory, study.findings),
        audience=audience,
    )


def _condition(trajectory: Trajectory, unknown: str) -> dict[str, str]:
    """Return what the first image was sampled with: its prompt, or its label."""
    if prompt := prompt_of(trajectory, 0):
        return {"prompt": shown_name(prompt)}
    label = int(trajectory.labels[0])
    return {"label": str(label) if label >= 0 and not trajectory.prompts else unknown}


def _provenance(study: RecordingStudy, command: str, texts: Texts) -> dict[str, str]:
    """Return weights, sampler, seed and so on as texts, by their key under ``fact`` in the catalogue."""
    trajectory, facts, unknown = study.trajectory, recording_facts(study.trajectory), texts["fact.unknown"]
    schedule, guidance = trajectory.schedule, facts["guidance_scale"]
    channels, height, width = trajectory.x_t.shape[2:]
    return {
        "command": command,
        "weights_sha256": trajectory.weights_sha256 or unknown,
        "images": str(trajectory.num_images),
        "shape": f"{channels} × {height} × {width}",
        "schedule": f"{schedule.name}, T = {schedule.num_train_timesteps}",
        "seed": str(facts["seed"]) if facts["seed"] >= 0 else unknown,
        **_condition(trajectory, unknown),
        "sampler": f"{facts['sampler'] or unknown}, {trajectory.num_steps}",
        "variance": wording(facts, texts)["variance_note"].strip(" ()（）") or unknown,
        "guidance": unknown if guidance is None else f"{guidance:g}",
        "x0_clip": texts["fact.yes" if trajectory.clip else "fact.no"],
        "versions": versions(),
        "made": time.strftime("%Y-%m-%d"),
    }
