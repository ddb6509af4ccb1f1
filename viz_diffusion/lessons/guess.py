"""The vision in the stone: what does the model see now?

Looks at one recorded generation, and in :mod:`~viz_diffusion.lessons.ideal` at what could be seen at best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from viz_diffusion.catalogue import Texts
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.lessons.ideal import COUNT, Ideal, compare
from viz_diffusion.lessons.lesson import Claim, Lesson, Part, Rows, Series, recording_facts
from viz_diffusion.lessons.material import Material
from viz_diffusion.plots.figures import Figures
from viz_diffusion.plots.film import film_frames
from viz_diffusion.plots.ideal import draw_ideal, rms
from viz_diffusion.plots.strip import StepFrames, draw_steps
from viz_diffusion.trajectory import Float32, Trajectory

DEFAULT_SHARES = (1.0, 0.8, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05)
"""Shares of all steps that are left at the default frames: 1000, 800, … 50 of 1000, then finished."""
SPACINGS = ("default", "t", "log-snr")
MOST_FRAMES = 23
"""What a strip has room for."""
FAR = 1.1
"""Beyond this a pixel lies outside of the grey scale, -1 to 1, by more than the ground of a good guess, which
swings around black."""
SPECKLE = 0.1
"""Share of a guess's pixels beyond :data:`FAR` above which it is speckle."""


@dataclass(frozen=True, eq=False)
class Guess:
    """Chosen frames of one image of a recording."""

    frames: StepFrames
    """What is drawn."""
    trajectory: Trajectory
    """The recording they come from."""
    sample: int
    """Which image of it."""
    ideal: Ideal | None = None
    """The guesses of the same denoiser beside a perfect memory's; None where only the recording is looked at."""


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
        S, the recorded steps.
    frames
        None for nine; a number N for N of them; or a list of steps left, such as ``1000,500,1``.
    spacing
        ``t``: equal in steps; ``log-snr``: equal in the logarithm of the SNR, which may find a step twice
        and then shows it once; ``default``: the nine of :data:`DEFAULT_SHARES`, a number as with ``t``.
    log_snr
        (S,) float64, rising: of each step; needed for ``log-snr``.
    most
        The largest number of frames there is room for.

    Raises
    ------
    VizdiffUsageError
        Where ``frames`` is neither, or names a step that was not recorded.
    """
    if spacing not in SPACINGS:
        raise VizdiffUsageError(f"--spacing must be one of {', '.join(SPACINGS)}, found {spacing!r}")
    if frames is None and spacing == "default":
        left = np.unique(np.maximum(1, np.round(np.array(DEFAULT_SHARES) * num_steps))).astype(np.int64)[::-1]
        return num_steps - left
    most = min(num_steps, most)
    try:
        numbers = [min(len(DEFAULT_SHARES), most)] if frames is None else [int(word) for word in frames.split(",")]
    except ValueError:
        raise VizdiffUsageError(f"--frames takes a number or a list such as 1000,500,1, found {frames!r}") from None
    if len(numbers) == 1 and "," not in (frames or ""):
        if not 1 <= numbers[0] <= most:
            raise VizdiffUsageError(f"--frames must lie in 1..{most}, found {numbers[0]}")
        return _spaced(num_steps, numbers[0], spacing, log_snr)
    if spacing != "default":
        raise VizdiffUsageError("--spacing goes with a number of --frames, not with a list")
    outside = [n for n in numbers if not 1 <= n <= num_steps]
    if outside:
        raise VizdiffUsageError(f"--frames: steps left must lie in 1..{num_steps}, found {outside[0]}")
    if len(set(numbers)) > most:
        raise VizdiffUsageError(f"--frames has room for {most} frames, found {len(set(numbers))}")
    return num_steps - np.array(sorted(set(numbers), reverse=True))


def _spaced(num_steps: int, count: int, spacing: str, log_snr: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return ``count`` indices of steps, equal in steps or in ``log_snr``."""
    if spacing == "log-snr" and log_snr is not None:
        wanted = np.linspace(log_snr[0], log_snr[-1], count)
        return np.unique(np.abs(log_snr - wanted[:, None]).argmin(axis=1)).astype(np.int64)
    return np.unique(np.round(np.linspace(0, num_steps - 1, count)).astype(np.int64))


def film_steps(
    trajectory: Trajectory, frames: str | None = None, spacing: str = "default", count: int = 100
) -> NDArray[np.int64]:
    """Return the indices 0 .. S of the states a film shows, the finished picture last.

    ``frames`` and ``spacing`` are those of :func:`choose_frames`, of which a film has ``count`` by default and
    may have every one; a number counts the finished picture too.
    """
    steps = trajectory.num_steps
    number = str(min(count, steps + 1)) if frames is None else frames
    if not number.strip().isdecimal():
        return np.append(choose_frames(steps, number, spacing, most=steps), steps)
    if not 1 <= int(number) <= steps + 1:
        raise VizdiffUsageError(f"--frames must lie in 1..{steps + 1}, found {number}")
    if spacing != "log-snr" or number == "1":
        choose_frames(steps, None, spacing)  # refuses an unknown spacing
        return film_frames(steps + 1, int(number))
    return np.append(choose_frames(steps, str(int(number) - 1), spacing, trajectory.log_snr, most=steps), steps)


def film_counts(trajectory: Trajectory, shown: NDArray[np.int64]) -> list[tuple[int, int | None]]:
    """Return (steps left, t) of the states with these indices 0 .. S; the finished picture, S, has no t."""
    steps = trajectory.num_steps
    return [
        (int(trajectory.steps_left[n]), round(float(trajectory.timesteps[n]))) if n < steps else (0, None)
        for n in shown.tolist()
    ]  # fmt: skip


def pictures(images: Float32) -> Float32:
    """Return images (..., C, H, W) as they are drawn: (..., H, W), or (..., H, W, 3) where they have three channels.

    Raises
    ------
    VizdiffInputError
        Where they have neither one channel nor three.
    """
    channels = images.shape[-3]
    if channels not in (1, 3):
        raise VizdiffInputError(f"images of one or three channels are drawn, found {channels}")
    return images[..., 0, :, :] if channels == 1 else np.moveaxis(images, -3, -1)


def one_channel(noise: Float32) -> Float32:
    """Return noise (..., C, H, W) as (..., H, W): the sum over channels / √C, of as much spread as one of them."""
    return noise.sum(axis=-3) / np.float32(np.sqrt(noise.shape[-3]))


def measure(trajectory: Trajectory, sample: int = 0, frames: str | None = None, spacing: str = "default") -> Guess:
    """Pick the frames of image number ``sample``; see :func:`choose_frames`."""
    shown = choose_frames(trajectory.num_steps, frames, spacing, trajectory.log_snr)
    return Guess(
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


def draw(data: Guess) -> Figures:
    """Draw ``steps``, the strip, and ``ideal``, guesses beside those of a perfect memory."""
    steps, found = Figures(steps=lambda: draw_steps(data.frames)), data.ideal
    if found is None:
        return steps
    return steps | Figures(ideal=lambda: draw_ideal(found.images, rms(found.error), rms(found.ideal_error)))


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


def facts(data: Guess) -> dict[str, Any]:
    """Return the numbers that captions and tables are filled with."""
    trajectory = data.trajectory
    clipped = (np.abs(data.frames.x_t) > 1).reshape(len(data.frames.x_t), -1).mean(axis=1)
    beyond = _beyond(trajectory, data.sample, 1.0)
    change = _rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    shown = trajectory.num_steps - data.frames.steps_left
    far = _beyond(trajectory, data.sample, FAR)
    speckled = int(np.argmin(np.append(far > SPECKLE, False)))  # steps, from the first on
    return {
        **recording_facts(trajectory, data.sample),
        **({} if data.ideal is None else data.ideal.facts()),
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


def claims(data: Guess) -> tuple[Claim, ...]:
    """Say whether early blurs are as right as can be, and whether late guesses beat a perfect memory."""
    return () if data.ideal is None else data.ideal.claims()


def rows(facts: dict[str, Any], _: Texts) -> Rows:
    """Lay out the frames of the strip."""
    names = ("steps_left", "timesteps", "alphas_cumprod", "snr_db", "x0_change", "x0_clipped")
    lines = (
        (str(left), f"{t:g}", f"{share:.2%}", f"{snr:.1f}", f"{change:.3f}", f"{clipped:.1%}")
        for left, t, share, snr, change, clipped in zip(*(facts[name] for name in names), strict=True)
    )
    return Rows(("left", "t", "signal", "snr", "change", "clipped"), tuple(lines))


def series(data: Guess) -> tuple[Series, ...]:
    """Return how far each step's guess is from the finished picture."""
    trajectory = data.trajectory
    change = _rms(trajectory.x0_pred[data.sample] - trajectory.x0[data.sample])
    return (Series("change", trajectory.steps_left, {"change": change}),)


def _beyond(trajectory: Trajectory, sample: int, limit: float) -> NDArray[np.float64]:
    """Return (S,) the share of each guess's pixels beyond -limit .. limit, before clipping."""
    x_t, eps = trajectory.x_t[sample], trajectory.eps_pred[sample]
    shares = trajectory.alphas_cumprod[:, None, None, None]
    raw = (x_t - np.sqrt(1 - shares) * eps) / np.sqrt(shares)
    return np.asarray((np.abs(raw) > limit).mean(axis=(1, 2, 3)), dtype=np.float64)


def _rms(images: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(np.square(images, dtype=np.float64).mean(axis=(1, 2, 3)))


def _ideal(material: Material) -> Ideal:
    return compare(
        material.model, material.schedule, material.heldout, material.training, material.digit, material.seed,
        material.size(*COUNT), material.progress,
    )  # fmt: skip


LESSON = Lesson(
    "guess", 30, lambda m: replace(measure(m.trajectory, m.sample), ideal=m.take("guess", _ideal)),
    draw, facts, rows, series, claims, figures=("steps", "ideal"), recording=True, seconds=(4, 30),
    part=Part(Ideal, _ideal, ("ideal",)), alone=measure,
    asks=("steps",), of_digit={"ideal": "ideal_digit"},
)  # fmt: skip
