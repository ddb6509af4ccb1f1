"""Selection of a trajectory's frames, conversion of its arrays to images, and the facts of its captions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SAMPLERS
from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots.film import film_frames
from viz_diffusion.recording.trajectory import Float32, Trajectory

DEFAULT_SHARES = (1.0, 0.8, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05)
"""Steps left at the default frames as shares of all steps: 1000, 800, … 50 of 1000, then the finished image."""
SPACINGS = ("default", "t", "log-snr")
MOST_FRAMES = 23
"""The largest number of frames in a strip."""


def choose_frames(
    num_steps: int,
    frames: str | None = None,
    spacing: str = "default",
    log_snr: NDArray[np.float64] | None = None,
    most: int = MOST_FRAMES,
) -> NDArray[np.int64]:
    """Return the indices 0 .. S-1 of the steps to show, most noise first.

    Parameters
    ----------
    num_steps
        S, the number of recorded steps.
    frames
        None for nine; a number N for N of them; or a list of steps left, such as ``1000,500,1``.
    spacing
        ``t``: evenly spaced in steps; ``log-snr``: evenly spaced in the log SNR, where a step selected twice is shown
        once; ``default``: the nine of :data:`DEFAULT_SHARES`, or, with a number, as ``t``.
    log_snr
        (S,) float64, rising: the log SNR of each step; needed for ``log-snr``. Its first entry may be -inf.
    most
        The largest number of frames.

    Raises
    ------
    VizdiffUsageError
        Where ``frames`` or ``spacing`` is none of these, there are too many frames, or a step was not recorded.
    """
    if spacing not in SPACINGS:
        raise VizdiffUsageError(f"`spacing` must be one of {', '.join(SPACINGS)}, found {spacing!r}")
    if frames is None and spacing == "default":
        left = np.unique(np.maximum(1, np.round(np.array(DEFAULT_SHARES) * num_steps))).astype(np.int64)[::-1]
        return num_steps - left
    most = min(num_steps, most)
    try:
        numbers = [min(len(DEFAULT_SHARES), most)] if frames is None else [int(word) for word in frames.split(",")]
    except ValueError:
        raise VizdiffUsageError(f"`frames` takes a number or a list such as 1000,500,1, found {frames!r}") from None
    if len(numbers) == 1 and "," not in (frames or ""):
        if not 1 <= numbers[0] <= most:
            raise VizdiffUsageError(f"`frames` must lie in 1..{most}, found {numbers[0]}")
        return _spaced(num_steps, numbers[0], spacing, log_snr)
    if spacing != "default":
        raise VizdiffUsageError("`spacing` goes with a number of `frames`, not with a list")
    outside = [n for n in numbers if not 1 <= n <= num_steps]
    if outside:
        raise VizdiffUsageError(f"`frames`: steps left must lie in 1..{num_steps}, found {outside[0]}")
    if len(set(numbers)) > most:
        raise VizdiffUsageError(f"`frames` has room for {most} frames, found {len(set(numbers))}")
    return num_steps - np.array(sorted(set(numbers), reverse=True))


def _spaced(num_steps: int, count: int, spacing: str, log_snr: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return at most ``count`` indices of steps, evenly spaced in steps or in ``log_snr``."""
    if spacing == "log-snr" and log_snr is not None:
        lost = int(np.isneginf(log_snr[0]))  # zero terminal SNR: that step is shown, and the others are spaced
        wanted = np.linspace(log_snr[lost], log_snr[-1], count - lost) if num_steps > lost else np.empty(0)
        nearest = lost + np.abs(log_snr[lost:] - wanted[:, None]).argmin(axis=1) if wanted.size else np.empty(0)
        return np.unique(np.append(np.zeros(lost), nearest)).astype(np.int64)
    return np.unique(np.round(np.linspace(0, num_steps - 1, count)).astype(np.int64))


def film_steps(
    trajectory: Trajectory, frames: str | None = None, spacing: str = "default", count: int = 100
) -> NDArray[np.int64]:
    """Return the indices 0 .. S of the states that a film shows; S, the finished image, is last.

    ``frames`` and ``spacing`` are those of :func:`choose_frames`, without its largest number; the default is ``count``
    frames. A number of frames includes the finished image.
    """
    steps = trajectory.num_steps
    number = str(min(count, steps + 1)) if frames is None else frames
    if not number.strip().isdecimal():
        return np.append(choose_frames(steps, number, spacing, most=steps), steps)
    if not 1 <= int(number) <= steps + 1:
        raise VizdiffUsageError(f"`frames` must lie in 1..{steps + 1}, found {number}")
    if spacing != "log-snr" or number == "1":
        choose_frames(steps, None, spacing)  # refuses an unknown spacing
        return film_frames(steps + 1, int(number))
    return np.append(choose_frames(steps, str(int(number) - 1), spacing, trajectory.log_snr, most=steps), steps)


def film_counts(trajectory: Trajectory, shown: NDArray[np.int64]) -> list[tuple[int, int | None]]:
    """Return (steps left, t) of the states with the indices ``shown`` (0 .. S); the finished image, S, has no t."""
    steps = trajectory.num_steps
    return [
        (int(trajectory.steps_left[n]), round(float(trajectory.timesteps[n]))) if n < steps else (0, None)
        for n in shown.tolist()
    ]


def pictures(images: Float32) -> Float32:
    """Return images (..., C, H, W) for drawing: (..., H, W) of one channel, or (..., H, W, 3) of three.

    Raises
    ------
    VizdiffInputError
        Where C is neither 1 nor 3.
    """
    channels = images.shape[-3]
    if channels not in (1, 3):
        raise VizdiffInputError(
            f"images of one or three channels are drawn, found {channels}; latents can be drawn once they are decoded: "
            "recording.trajectory(decode_at=[50, 20, 0])"
        )
    return images[..., 0, :, :] if channels == 1 else np.moveaxis(images, -3, -1)


def one_channel(noise: Float32) -> Float32:
    """Return noise (..., C, H, W) as (..., H, W): the sum over channels / √C, which keeps the variance."""
    return noise.sum(axis=-3) / np.float32(np.sqrt(noise.shape[-3]))


def check_recorded(trajectory: Trajectory, sample: int = 0) -> None:
    """Refuse to draw what was not recorded, in words that say what was forgotten.

    Raises
    ------
    VizdiffNonFiniteError
        Where the finished image or predicted x_0 is not known, or a state holds NaN or infinity.
    """
    if np.isnan(trajectory.x0[sample]).all():
        raise VizdiffNonFiniteError(
            "the finished image is not known; give it at the end of the sampling loop: recorder.finish(images)"
        )
    if np.isnan(trajectory.x0_pred[sample]).all():
        raise VizdiffNonFiniteError(
            "predicted x0 is not known: the loop makes two predictions a step, and how it mixes them was not said; "
            "give Recorder(…, guidance_scale=…)"
        )


def recording_facts(trajectory: Trajectory, sample: int = 0) -> dict[str, Any]:
    """Return the label, seed and sampler settings of a recording, for captions; None where unknown."""
    guidance = trajectory.guidance_scale
    return _facts(
        int(trajectory.labels[sample]),
        int(trajectory.seeds[sample]),
        trajectory.sampler,
        trajectory.variance,
        trajectory.eta,
        guidance if np.isfinite(guidance) else None,
        trajectory.clip,
        trajectory.num_steps,
    )


def requested_facts(label: int, seed: int, config: SamplerConfig, num_train_timesteps: int) -> dict[str, Any]:
    """Return what :func:`recording_facts` says of a generation that is sampled in this way."""
    num_steps = config.num_steps(num_train_timesteps)
    variance, scale = config.injected_variance, float(config.guidance_scale)
    return _facts(label, seed, config.sampler, variance, config.eta, scale, config.clip, num_steps)


def _facts(
    label: int,
    seed: int,
    sampler: str,
    variance: str,
    eta: float,
    guidance_scale: float | None,
    clip: bool,
    num_steps: int,
) -> dict[str, Any]:
    return {
        "digit": label,
        "seed": seed,
        "sampler": SAMPLERS.get(sampler, sampler) + (f" (η = {eta:g})" if eta else ""),
        "variance": variance,
        "eta": eta,
        "guidance_scale": guidance_scale,
        "clip": clip,
        "num_steps": num_steps,
    }
