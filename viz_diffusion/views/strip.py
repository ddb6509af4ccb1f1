"""One generation as a strip: x_t, x̂_0 and ε̂ at chosen frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import predict_x0
from viz_diffusion.evaluation.statistics import pixel_rms
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.strip import StepFrames, draw_steps
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.views.frames import choose_frames, one_channel, pictures, recording_facts

FAR = 1.1
"""Beyond this a pixel lies outside of the grey scale, -1 to 1, by more than the ground of a good guess, which
swings around black."""
SPECKLE = 0.1
"""Share of a guess's pixels beyond :data:`FAR` above which it is speckle."""


@dataclass(frozen=True, eq=False)
class StripData:
    """Chosen frames of one image of a recording."""

    frames: StepFrames
    """What is drawn."""
    trajectory: Trajectory
    """The recording they come from."""
    sample: int
    """Which image of it."""


def measure(trajectory: Trajectory, sample: int = 0, frames: str | None = None, spacing: str = "default") -> StripData:
    """Pick the frames of image number ``sample``; see :func:`choose_frames`."""
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
        ),
        trajectory,
        sample,
    )


def draw(data: StripData) -> Figures:
    """Draw ``steps``, the strip."""
    return Figures(steps=lambda: draw_steps(data.frames))


def draw_strip(trajectory: Trajectory, sample: int = 0, frames: str | None = None, spacing: str = "default") -> Figure:
    """Draw one image of any recording: x_t, x̂_0 and ε̂ at chosen frames, and the finished picture.

    Parameters
    ----------
    trajectory, sample
        The recording, and which of its images, 0 .. B-1.
    frames, spacing
        As in :func:`choose_frames`.

    Raises
    ------
    VizdiffInputError
        Where the images have neither one channel nor three, or are too large.
    VizdiffUsageError
        Where ``frames`` or ``spacing`` is none that there is.
    VizdiffNonFiniteError
        Where what is drawn was not recorded: guidance not told to a Recorder, a sampling that was not finished.
    """
    return draw_steps(measure(trajectory, sample, frames, spacing).frames)


def facts(data: StripData) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    trajectory = data.trajectory
    clipped = (np.abs(data.frames.x_t) > 1).reshape(len(data.frames.x_t), -1).mean(axis=1)
    beyond = _beyond(trajectory, data.sample, 1.0)
    change = pixel_rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    shown = trajectory.num_steps - data.frames.steps_left
    far = _beyond(trajectory, data.sample, FAR)
    speckled = int(np.argmin(np.append(far > SPECKLE, False)))  # steps, from the first on
    return {
        **recording_facts(trajectory, data.sample),
        "frames": len(data.frames.timesteps),
        "steps_left": [int(n) for n in data.frames.steps_left],
        "timesteps": data.frames.timesteps.tolist(),
        "alphas_cumprod": [float(a) for a in data.frames.alphas_cumprod],
        "snr_db": [float(v) for v in 10 * np.log10(trajectory.snr[shown])],
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
    x_t, eps = (values[sample].astype(np.float64) for values in (trajectory.x_t, trajectory.eps_pred))
    raw = predict_x0(x_t, eps, trajectory.alphas_cumprod)
    return np.asarray((np.abs(raw) > limit).mean(axis=(1, 2, 3)), dtype=np.float64)
