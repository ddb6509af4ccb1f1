"""One generation as a strip: x_t, predicted x̂_0 and predicted noise ε̂ at selected frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.mosaic import MosaicRow, draw_mosaic
from viz_diffusion.plots.strip import StepFrames, draw_steps
from viz_diffusion.plots.theme import EPS_PRED, NOISE_LIMIT, NOISE_MAP, X0_PRED, X_T
from viz_diffusion.recording.latent_pictures import channels_of, is_latent, pictured
from viz_diffusion.recording.requested_label import requested_prompt
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.decoded import draw_decoded
from viz_diffusion.views.frames import check_recorded, choose_frames, one_channel, pictures, recording_facts

FAR = 1.1
"""The absolute value beyond which a pixel of x̂_0 is clearly outside the grey scale, -1 to 1; the background of an
accurate x̂_0 varies around -1 by less."""
SPECKLE = 0.1
"""The share of pixels beyond :data:`FAR` above which a predicted x̂_0 counts as speckled."""


@dataclass(frozen=True, eq=False)
class StripData:
    """Selected frames of one image of a recording."""

    frames: StepFrames
    """The arrays to draw."""
    trajectory: Trajectory
    """The recording."""
    sample: int
    """The index of the image in it, 0 .. B-1."""


def measure(trajectory: Trajectory, sample: int = 0, frames: str | None = None, spacing: str = "default") -> StripData:
    """Select frames of the image with index ``sample``; see :func:`choose_frames`."""
    recorded, trajectory = trajectory, pictured(trajectory)
    shown = choose_frames(trajectory.num_steps, frames, spacing, trajectory.log_snr)
    return StripData(
        StepFrames(
            x_t=pictures(trajectory.x_t[sample, shown]),
            x0_pred=pictures(trajectory.x0_pred[sample, shown]),
            eps_pred=one_channel(trajectory.eps_pred[sample, shown]),
            timesteps=trajectory.timesteps[shown],
            alphas_cumprod=trajectory.alphas_cumprod[shown],
            steps_left=trajectory.steps_left[shown],
            x0=pictures(trajectory.x0[sample]),
            prompt=requested_prompt(recorded, sample),
            latent_channels=channels_of(recorded),
        ),
        recorded,
        sample,
    )


def draw(data: StripData) -> Figures:
    """Draw the figure ``steps``."""
    return Figures(steps=lambda: draw_steps(data.frames))


def draw_strip(
    trajectory: Trajectory,
    sample: int = 0,
    frames: int | Sequence[int] | str | None = None,
    spacing: str = "default",
    ax: Axes | None = None,
) -> Figure:
    """Draw one image of a recording: x_t, x̂_0 and ε̂ at selected frames, and the finished image.

    Of latents whose pictures were all decoded, x_t and ε̂ show the channels side by side (:class:`PicturedLatents`);
    any other recording of latents is drawn at the steps where x̂_0 was decoded; see
    :func:`~viz_diffusion.views.decoded.draw_decoded`.

    Parameters
    ----------
    trajectory, sample
        The recording, and the index of its image, 0 .. B-1.
    frames, spacing
        As in :func:`choose_frames`; a list of steps left may be a sequence of numbers.
    ax
        Axes to draw into, in their own size and style (a figure with ``layout="constrained"`` leaves room for the
        labels); by default a whole 16:9 page is drawn.

    Returns
    -------
    Figure
        The page, or the figure that ``ax`` belongs to.

    Raises
    ------
    VizdiffInputError
        Where the images have neither one channel nor three, or are too large.
    VizdiffUsageError
        Where there is no such image, or ``frames`` or ``spacing`` is invalid.
    VizdiffNonFiniteError
        Where an array was not recorded: the Recorder was not given the guidance scale, or sampling did not finish.
    """
    if not 0 <= sample < trajectory.num_images:
        raise VizdiffUsageError(f"`sample` must lie in 0..{trajectory.num_images - 1} here, found {sample}")
    check_recorded(trajectory, sample)
    if isinstance(frames, int):
        frames = str(frames)
    elif frames is not None and not isinstance(frames, str):
        frames = ",".join(map(str, [*frames, *frames[:1]]))  # repeated, for a single number would be a count
    if trajectory.x_t.shape[2] not in (1, 3) and trajectory.decoded is not None and not is_latent(trajectory):
        if frames is not None:
            raise VizdiffUsageError(
                "a recording of latents is drawn at the steps that were decoded; leave `frames` out, or decode others"
            )
        return draw_decoded(trajectory, sample, ax)
    shown = measure(trajectory, sample, frames, spacing).frames
    if ax is None:
        return draw_steps(shown)
    rows = (
        MosaicRow(X_T, (*shown.x_t, shown.x0)),
        MosaicRow(X0_PRED, (*shown.x0_pred, None)),
        MosaicRow(EPS_PRED, (*shown.eps_pred, None), NOISE_MAP, NOISE_LIMIT),
    )
    return draw_mosaic(ax, rows, [*map(str, shown.steps_left.tolist()), "0"], "steps left")


def facts(data: StripData) -> dict[str, Any]:
    """Return the numbers of captions, tables and the JSON file; distances are RMS per pixel."""
    trajectory = pictured(data.trajectory)
    clipped = (np.abs(data.frames.x_t) > 1).reshape(len(data.frames.x_t), -1).mean(axis=1)
    beyond = _beyond(trajectory, data.sample, 1.0)
    change = pixel_rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    shown = trajectory.num_steps - data.frames.steps_left
    far = _beyond(trajectory, data.sample, FAR)
    speckled = int(np.argmin(np.append(far > SPECKLE, False)))  # steps before the first x̂_0 without speckle
    return {
        **recording_facts(trajectory, data.sample),
        "frames": len(data.frames.timesteps),
        "steps_left": [int(n) for n in data.frames.steps_left],
        "timesteps": data.frames.timesteps.tolist(),
        "alphas_cumprod": [float(a) for a in data.frames.alphas_cumprod],
        "snr_db": [float(10 * np.log10(v)) if v else None for v in trajectory.snr[shown]],
        "x_t_beyond_scale": [float(v) for v in clipped],
        "x0_clipped": [float(v) for v in beyond[shown]],
        "x0_change": [float(v) for v in change[shown]],
        "x0_change_last": float(change[shown[-1]]),
        "first_change": float(change[0]),
        "closer": int((np.diff(change) < 0).sum()),
        "num_steps_but_one": trajectory.num_steps - 1,
        "first_far": float(far[0]),
        "speckle_left": int(trajectory.steps_left[speckled - 1]) if speckled else 0,
    }


def _beyond(trajectory: Trajectory, sample: int, limit: float) -> NDArray[np.float64]:
    """Return (S,) the share of each guess's pixels beyond -limit .. limit, before clipping."""
    raw = np.stack([trajectory.x0_unclipped(sample, step) for step in range(trajectory.num_steps)])
    return np.asarray((np.abs(raw) > limit).mean(axis=(1, 2, 3)), dtype=np.float64)
