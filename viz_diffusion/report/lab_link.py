"""The address of a run in the live lab, which opens the lab at a frame of the player.

It holds what the lab needs to make the run again from its noise; the player's script adds the timestep. Knows nothing
about networks.
"""

from __future__ import annotations

from urllib.parse import urlencode

import numpy as np

from viz_diffusion.diffusion.timesteps import VARIANCES, spaced_timesteps
from viz_diffusion.recording.comparison_runs import Generation
from viz_diffusion.recording.trajectory import Trajectory

MOST_GUIDANCE, MOST_SEED = 8, 2**32 - 1
"""What the lab's address may hold; the smallest of both is 0."""
METHODS, FLOW_METHODS = ("ddim", "ddpm", "euler"), ("euler",)
"""The samplers of the lab, for a flow-matching network the second ones."""


def recorded_run(trajectory: Trajectory, objective: str, sample: int = 0) -> str:
    """Return the address of an image of a recording; empty where the lab cannot make it.

    Parameters
    ----------
    objective
        What the network was trained for; ``flow`` is sampled in another process than the rest.

    Returns
    -------
    str
        As ``seed=1&steps=50&label=5&guidance=1.5&method=ddim``. The lab makes no other spacing of timesteps than
        ``trailing``, always clips, and knows nothing of interventions.
    """
    if trajectory.interventions:
        return ""
    generation = Generation(
        digit=int(trajectory.labels[sample]),
        sampler=trajectory.sampler,
        guidance_scale=trajectory.guidance_scale,
        num_steps=int(trajectory.steps_left[0]),
        timesteps=trajectory.timesteps,
        steps_left=trajectory.steps_left,
        x_t=trajectory.x_t[sample],
        x0_pred=trajectory.x0_pred[sample],
    )
    return comparison_run(generation, trajectory, objective, sample)


def comparison_run(generation: Generation, trajectory: Trajectory, objective: str, sample: int = 0) -> str:
    """Return the address of a comparison run of a recording; empty where the lab cannot make it."""
    seed, same = int(trajectory.seeds[sample]), generation.sampler == trajectory.sampler
    possible = (
        trajectory.clip
        and generation.sampler in (FLOW_METHODS if objective == "flow" else METHODS)
        and 0 <= seed <= MOST_SEED
        and 0 <= generation.guidance_scale <= MOST_GUIDANCE
        and generation.digit >= 0
    )
    if not possible or not _spaced_as_in_lab(generation, trajectory.schedule.num_train_timesteps):
        return ""
    parts = {
        "seed": seed,
        "steps": generation.num_steps,
        "label": generation.digit,
        "guidance": repr(float(generation.guidance_scale)),
        "method": generation.sampler,
    }
    if same and trajectory.eta:
        parts["eta"] = repr(float(trajectory.eta))
    if same and trajectory.variance not in ("", VARIANCES[0]):
        parts["variance"] = trajectory.variance
    return urlencode(parts)


def _spaced_as_in_lab(generation: Generation, num_train_timesteps: int) -> bool:
    visited = spaced_timesteps(num_train_timesteps, generation.num_steps)
    return np.array_equal(visited[generation.num_steps - generation.steps_left], generation.timesteps)
