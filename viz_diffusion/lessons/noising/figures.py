"""The noise schedule as a curve of the signal-to-noise ratio, next to the cosine schedule's."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.plots.curves import SnrCurve, draw_snr


def draw_schedule(
    schedule: NoiseSchedule, thumbnails: NDArray[np.float32], thumbnail_timesteps: NDArray[np.int64]
) -> Figure:
    """Draw the signal-to-noise ratio over t, with (M, H, W) or (M, H, W, 3) images at (M,) timesteps."""
    cosine = NoiseSchedule.named("cosine", schedule.num_train_timesteps)
    return draw_snr(
        SnrCurve(
            timesteps=np.arange(schedule.num_train_timesteps),
            snr_db=schedule.snr_db,
            cosine_db=cosine.snr_db,
            crossing=schedule.snr_below_one,
            thumbnails=thumbnails,
            thumbnail_timesteps=thumbnail_timesteps,
        )
    )
