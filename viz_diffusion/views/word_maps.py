"""The attention to the words of one image's prompt, at the steps where it was recorded, as one figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.plots.word_maps import MOST_STEPS
from viz_diffusion.plots.word_maps import draw_word_maps as draw_maps
from viz_diffusion.recording.trajectory import Float32, Trajectory
from viz_diffusion.recording.word_maps import prompt_maps
from viz_diffusion.views.frames import pictures


def draw_word_maps(trajectory: Trajectory, sample: int = 0) -> Figure:
    """Draw predicted x_0 of one image, and under it a map for each word of its prompt, over some steps.

    Columns are the steps, at most six, at which the attention was recorded and, of latents, x̂_0 was decoded. A map
    shows the share of a position's attention that a word gets, from 0 (black) to the largest of the figure (white).

    Parameters
    ----------
    trajectory, sample
        A recording made with ``record_pipeline(pipe, word_maps=True)``, and the index of its image, 0 .. B-1.

    Raises
    ------
    VizdiffInputError
        Where it holds no attention to words, or no picture of x̂_0 at the same steps.
    VizdiffUsageError
        Where there is no such image.
    """
    found = prompt_maps(trajectory, sample)
    images = _pictures_at(trajectory, sample, found.steps)
    both = [k for k, step in enumerate(found.steps.tolist()) if step in images]
    if not both:
        left = ", ".join(str(trajectory.num_steps - step) for step in found.steps.tolist()[:MOST_STEPS])
        raise VizdiffInputError(
            "no picture of this recording is from a step with attention to words; decode them: "
            f"recording.trajectory(decode_at=[{left}])"
        )
    shown = np.array(both)[np.unique(np.round(np.linspace(0, len(both) - 1, MOST_STEPS)).astype(np.int64))]
    steps = found.steps[shown]
    x0_pred = np.stack([images[step] for step in steps.tolist()])
    return draw_maps(trajectory.timesteps[steps], x0_pred, found.maps[shown], found.words)


def _pictures_at(trajectory: Trajectory, sample: int, steps: NDArray[np.int64]) -> dict[int, Float32]:
    """Return the pictures of x̂_0 by step: decoded ones, or x̂_0 itself where it is a picture."""
    if trajectory.decoded is not None and trajectory.decoded_steps is not None:
        return dict(zip(trajectory.decoded_steps.tolist(), pictures(trajectory.decoded[sample]), strict=True))
    if trajectory.x_t.shape[2] in (1, 3):
        return {step: pictures(trajectory.x0_pred[sample, step]) for step in steps.tolist()}
    return {}
