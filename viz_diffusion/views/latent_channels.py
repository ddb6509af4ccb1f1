"""One generation in latents to one figure: the channels of x_t, and what the decoder makes of predicted x_0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.plots.latent_channels import MOST_ROWS, LatentFrames, draw_latent_channels
from viz_diffusion.recording.latent_pictures import is_latent, side_by_side, state_picture
from viz_diffusion.recording.requested_label import requested_prompt
from viz_diffusion.recording.trajectory import Float32, Trajectory
from viz_diffusion.views.frames import one_channel, pictures

Drawn = Callable[[Float32], Float32]
"""Returns images as they are drawn."""
SHARES = (1.0, 0.65, 0.45, 0.25, 0.05)
"""Steps left at the states that are drawn, as shares of all steps."""


def drawn_as(trajectory: Trajectory) -> tuple[Drawn, Drawn]:
    """Return how (R, C, H, W) states and noise are drawn: as (R, H, W), of latents the channels side by side."""
    if not is_latent(trajectory) or trajectory.decoded is None:
        return pictures, one_channel
    shape = (1, *trajectory.decoded.shape[3:])
    return (lambda x: state_picture(x, shape)[:, 0]), (lambda noise: side_by_side(noise, shape)[:, 0])


def draw_channels(trajectory: Trajectory, sample: int = 0) -> Figure:
    """Draw some states of one image: the image decoded from predicted x_0, and each channel of the latent x_t.

    x_t itself is never decoded: the decoder was trained on latents without noise.

    Drawn are five steps where the pictures of all steps are there, or else the steps that were decoded, six at most.
    Of more than four channels the first four are drawn, and the figure says so.

    Parameters
    ----------
    trajectory, sample
        A recording of latents with decoded pictures, and the index of its image, 0 .. B-1.

    Raises
    ------
    VizdiffInputError
        Where nothing was decoded.
    VizdiffUsageError
        Where there is no such image.
    """
    if trajectory.decoded is None or trajectory.decoded_steps is None or not len(trajectory.decoded_steps):
        raise VizdiffInputError(
            "this recording holds no latents with their pictures; record one of a run in latents, or decode those of a "
            "pipeline: recording.trajectory(decode_at=[50, 20, 0])"
        )
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffUsageError(f"`sample` must lie in 0..{trajectory.num_images - 1} here, found {sample}")
    count, decoded = trajectory.num_steps, trajectory.decoded_steps
    if is_latent(trajectory):
        shown = count - np.unique(np.maximum(1, np.round(np.array(SHARES) * count)).astype(np.int64))[::-1]
    else:
        shown = np.unique(np.round(np.linspace(0, len(decoded) - 1, MOST_ROWS)).astype(np.int64))
    steps = decoded[shown]
    states = np.concatenate([trajectory.x_t[sample], trajectory.x0[sample : sample + 1]])
    return draw_latent_channels(
        LatentFrames(
            count - steps,
            np.append(trajectory.timesteps, -1)[steps],
            pictures(trajectory.decoded[sample, shown]),
            states[steps],
            requested_prompt(trajectory, sample),
        )
    )
