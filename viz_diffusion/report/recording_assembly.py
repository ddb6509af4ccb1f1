"""A recording whose network is not at hand, such as a diffusers pipeline's: told by what it shows itself.

Says nothing of digits, training data or our network; what only a network could tell is left out, and named.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Picture
from viz_diffusion.study.narrative import Drawing, NarratedLesson, drawings, wording
from viz_diffusion.study.recording_study import RecordingStudy
from viz_diffusion.study.study import versions
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views import frames as frames_view
from viz_diffusion.views import strip as strip_view
from viz_diffusion.views.frames import recording_facts

MOST_PIXELS = 1000 * 64 * 64
"""Of all frames of a player's picture; of a recording with more, as many evenly spread steps are kept."""


def player(trajectory: Trajectory) -> Player:
    """Return the first image as the page plays it: every step, or as many as the page has room for."""
    height, width = trajectory.x_t.shape[3:]
    room = max(1, min(trajectory.num_steps, MOST_PIXELS // (height * width)))
    kept = np.unique(np.round(np.linspace(0, trajectory.num_steps - 1, room)).astype(np.int64))
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


def strip(found: RecordingStudy, texts: Texts) -> Drawing:
    """Draw the recording as one still picture, ``steps``."""
    data = strip_view.measure(found.trajectory)
    facts = wording(strip_view.facts(data), texts) | found.words(texts)
    return drawings(strip_view.draw(data), facts, texts)[0]


def assemble(
    found: RecordingStudy,
    played: Player,
    told: Sequence[NarratedLesson],
    pictures: dict[str, Picture],
    command: str,
    texts: Texts,
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


def _provenance(found: RecordingStudy, command: str, texts: Texts) -> dict[str, str]:
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
