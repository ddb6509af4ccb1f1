"""One generation in latents to one figure: the channels of x_t, and what the decoder makes of predicted x_0."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.plots.latent_channels import LatentFrames, draw_latent_channels
from viz_diffusion.recording.latent_pictures import is_latent
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.frames import pictures

SHARES = (1.0, 0.65, 0.45, 0.25, 0.05)
"""Steps left at the states that are drawn, as shares of all steps."""


def draw_channels(trajectory: Trajectory, sample: int = 0) -> Figure:
    """Draw some states of one image: the image decoded from predicted x_0, and each channel of the latent x_t.

    x_t itself is never decoded: the decoder was trained on latents without noise.

    Parameters
    ----------
    trajectory, sample
        A recording of latents with the pictures of all its steps, and the index of its image, 0 .. B-1.

    Raises
    ------
    VizdiffInputError
        Where it is no such recording, or has more channels than the figure holds.
    VizdiffUsageError
        Where there is no such image.
    """
    if not is_latent(trajectory) or trajectory.decoded is None:
        raise VizdiffInputError("this recording holds no latents with their pictures; record one of a run in latents")
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffUsageError(f"`sample` must lie in 0..{trajectory.num_images - 1} here, found {sample}")
    left = np.unique(np.maximum(1, np.round(np.array(SHARES) * trajectory.num_steps)).astype(np.int64))[::-1]
    shown = trajectory.num_steps - left
    return draw_latent_channels(
        LatentFrames(
            left,
            trajectory.timesteps[shown],
            pictures(trajectory.decoded[sample, shown]),
            trajectory.x_t[sample, shown],
        )
    )
