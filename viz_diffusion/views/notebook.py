"""HTML of a recording for notebooks: some frames of its first image, and its settings."""

from __future__ import annotations

import numpy as np

from viz_diffusion.diffusion.timesteps import SAMPLERS
from viz_diffusion.recording.latent_pictures import pictured
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.trajectory import Trajectory, listed
from viz_diffusion.text.class_names import shown_name
from viz_diffusion.text.notebook_html import facts, picture, strip, whole

_SHOWN_SHARES = (1.0, 0.65, 0.5, 0.35, 0.2, 0.1)
"""Steps left at the frames that a notebook shows, as shares of all steps."""


def trajectory_html(trajectory: Trajectory) -> str:
    """Return frames of the first image and the settings of the recording as HTML without scripts."""
    shown = pictured(trajectory)
    title = f"Trajectory of {trajectory.num_images} image{'s' if trajectory.num_images != 1 else ''}"
    left = np.round(np.array(_SHOWN_SHARES) * trajectory.num_steps).astype(np.int64)
    frames = [(int(n), trajectory.num_steps - int(n)) for n in np.unique(left[left > 0])[::-1]]
    strips = []
    if trajectory.num_images:
        x_t = [(f"{n}", picture(shown.x_t[0, k], f"x_t with {_steps(n)} left")) for n, k in frames]
        x_t.append(("finished", picture(shown.x0[0], "the finished image")))
        x0_pred = [(f"{n}", picture(shown.x0_pred[0, k], f"predicted x0 with {_steps(n)} left")) for n, k in frames]
        strips = [strip("x_t, by steps left", x_t), strip("predicted x0, the finished image as predicted", x0_pred)]
    has_label = trajectory.num_images and trajectory.labels[0] >= 0 and not trajectory.prompts
    label = f", digit {trajectory.labels[0]}" if has_label else ""
    if trajectory.num_images and (prompt := prompt_of(trajectory, 0)):
        label = f", prompt “{shown_name(prompt)}”"
    sampler = SAMPLERS.get(trajectory.sampler, trajectory.sampler) or "unknown sampler"
    first = "the first is shown: " if trajectory.num_images > 1 else ""
    note = f"({first}{_steps(trajectory.num_steps)}{label}, {sampler})"
    guidance = f"{trajectory.guidance_scale:g}" if np.isfinite(trajectory.guidance_scale) else "not known"
    pairs = (
        ("images × steps × image", " × ".join(map(str, trajectory.x_t.shape))),
        ("labels", listed(trajectory.labels)),
        ("seeds", listed(trajectory.seeds)),
        ("sampler", sampler),
        ("variance", trajectory.variance or "none"),
        ("guidance", guidance),
        ("x̂_0 clipped", "yes" if trajectory.clip else "no"),
        ("schedule", f"{trajectory.schedule.name}, T = {trajectory.schedule.num_train_timesteps}"),
        ("weights", trajectory.weights_sha256 or "not known"),
    )
    return whole(title, note, *strips, facts("facts", pairs))


def _steps(count: int) -> str:
    return f"{count} step{'s' if count != 1 else ''}"
