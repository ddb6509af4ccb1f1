"""A film of one image emerging: a GIF of whole-factor enlarged frames.

Knows nothing about where the frames come from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.files import atomic_write
from viz_diffusion.plots.theme import Array, enlarge


def film_frames(num: int, count: int) -> NDArray[np.int64]:
    """Choose which of ``num`` frames a film of about ``count`` frames shows.

    Parameters
    ----------
    num
        How many frames there are, at least 1.
    count
        How many are wanted, at least 1; where it exceeds ``num``, all are taken.

    Returns
    -------
    (min(num, count),) int64, rising without repeats, evenly spaced, with the first and the last frame
    among them (one frame alone is the last).
    """
    if num < 1 or count < 1:
        raise VizdiffUsageError(f"a film needs at least one frame, found num={num}, count={count}")
    if count == 1:
        return np.array([num - 1], dtype=np.int64)
    return np.rint(np.linspace(0, num - 1, min(num, count))).astype(np.int64)


def to_grey(frames: Array) -> NDArray[np.uint8]:
    """Return values in [-1, 1] as uint8 greys, -1 black and 1 white; values beyond are clipped."""
    if not np.all(np.isfinite(frames)):
        raise VizdiffNonFiniteError("a frame holds NaN or infinity; no film is written")
    return np.rint((np.clip(frames, -1, 1) + 1) * 127.5).astype(np.uint8)


def write_gif(frames: Array, path: Path, *, scale: int = 8, frame_ms: int = 60, hold_ms: int = 1000) -> None:
    """Write a looping greyscale GIF whose last frame is held.

    Parameters
    ----------
    frames
        (F, H, W) float, in [-1, 1]: what is shown, first to last; F at least 1.
    path
        Where to write; whole or not at all.
    scale
        Page pixels for each image pixel, a whole number, at least 1.
    frame_ms, hold_ms
        How long each frame and the last one stay, in milliseconds; GIF counts in steps of 10 ms.
        Frames that are equal one after another are stored once, for their time together.
    """
    if frames.ndim != 3 or not frames.shape[0]:
        raise VizdiffInputError(f"a film needs frames of the shape (F, H, W), found {frames.shape}")
    if scale < 1 or frame_ms < 10 or hold_ms < 10:
        raise VizdiffUsageError("a film needs scale >= 1, frame_ms >= 10 and hold_ms >= 10")
    first, *rest = (Image.fromarray(enlarge(frame, scale)) for frame in to_grey(frames))
    with atomic_write(Path(path)) as handle:
        first.save(
            handle,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=[frame_ms] * len(rest) + [hold_ms],
            loop=0,
            optimize=False,
        )
