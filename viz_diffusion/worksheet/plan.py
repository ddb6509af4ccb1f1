"""Which frames and numbers stand on a worksheet, and what the answers are.

What students get is a :class:`~viz_diffusion.worksheet.tasks.Sheet`, which holds no answer: neither the digits, nor
the order, nor the seed. What is protected, and what is not:

- The shuffle comes from a hash of the recording's seed, digit, weights and sampling, so the same command makes
  the same sheet; but the sheet shows only a code, another hash of the same facts, that leads to its key.
- A student who has this package, guesses the seed and the digit and runs the same command gets the same key.
- The frames themselves tell: how much noise is in a picture can be measured, with a program or with the eye.
  That is the exercise.

Knows nothing about networks, words or pages; NumPy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import predict_x0
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.worksheet.tasks import (
    GuessAnswer,
    GuessTask,
    Key,
    OrderAnswer,
    OrderTask,
    PixelAnswer,
    PixelTask,
    Sheet,
    SnrAnswer,
    SnrTask,
)

if TYPE_CHECKING:
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.recording.comparison_runs import Generation
    from viz_diffusion.recording.trajectory import Trajectory


Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NUM_FRAMES = 8
"""Frames to put in order."""
FIRST_SHARE = 0.5
"""Share of the steps left at the noisiest frame to order: above it, frames look alike."""
RUN_NAMES = ("W", "X", "Y", "Z")
"""Names of the runs whose digit is guessed; no letter of a frame."""
STAGE_SHARES = (0.55, 0.45, 0.35, 0.25)
"""Shares of the steps left at which their digit is guessed."""
TABLE_TIMESTEPS = (0, 50, 100, 150, 200, 250, 300, 400, 500)
"""Of 1000: where ᾱ is told and the SNR is asked for."""
PIXEL_SHARE = 0.4
"""Share of the steps left at the frame whose pixels are worked out."""
PIXELS_EACH = 2
"""Pixels of ink, and of background."""
MIN_STEPS = 20
"""Steps a recording needs, or frames that can be told apart are too few."""


def make_plan(
    trajectory: Trajectory, others: Sequence[Generation], real: Float32, sample: int = 0
) -> tuple[Sheet, Key]:
    """Choose and shuffle; return what students get, and the answers.

    Parameters
    ----------
    trajectory
        The recording.
    others
        Generations of other digits from its noise, at least four.
    real
        (H, W) float32: a real digit, for the table of exercise 3.
    sample
        Which image of the recording.

    Raises
    ------
    VizdiffInputError
        Where the recording has too few steps, the others are too few, or the schedule never gets below SNR 1.
    """
    if trajectory.num_steps < MIN_STEPS:
        raise VizdiffInputError(
            f"a worksheet needs a recording of at least {MIN_STEPS} steps, found {trajectory.num_steps}"
        )
    if len(others) < len(RUN_NAMES):
        raise VizdiffInputError(f"a worksheet needs {len(RUN_NAMES)} other digits, found {len(others)}")
    code, rng = _code_and_rng(trajectory, sample)
    order, order_answer = _order(trajectory, sample, rng)
    guess, guess_answer = _guess(others, rng)
    snr, snr_answer = _snr(trajectory.schedule, real, rng)
    pixel, pixel_answer = _pixel(trajectory, sample, rng)
    return (
        Sheet(code, trajectory.num_steps, order, guess, snr, pixel),
        Key(
            int(trajectory.labels[sample]),
            int(trajectory.seeds[sample]),
            order_answer,
            guess_answer,
            snr_answer,
            pixel_answer,
        ),
    )


def _code_and_rng(trajectory: Trajectory, sample: int) -> tuple[str, np.random.Generator]:
    """Return the sheet's code and the source of its shuffles: two hashes that do not give each other away."""
    facts = (
        trajectory.weights_sha256,
        int(trajectory.labels[sample]),
        int(trajectory.seeds[sample]),
        trajectory.sampler,
        trajectory.num_steps,
        float(trajectory.guidance_scale),
        trajectory.clip,
    )
    code, shuffle = (hashlib.sha256(f"{use} {facts}".encode()).digest() for use in ("code", "shuffle"))
    return code[:4].hex().upper(), np.random.default_rng(np.frombuffer(shuffle, dtype=np.uint32))


def choose_order_steps(alphas_cumprod: Float64) -> Int64:
    """Return N indices into S recorded steps and the finished picture (index S) that can be told apart.

    With ᾱ = cos² θ, a picture is cos θ of signal and sin θ of noise; the frames are chosen at even steps of θ,
    from the frame with half of the steps left down to the finished picture, where θ = 0.
    """
    angles = np.append(np.arccos(np.sqrt(alphas_cumprod)), 0.0)
    first = len(alphas_cumprod) - round(FIRST_SHARE * len(alphas_cumprod))
    wanted = np.linspace(angles[first], 0, NUM_FRAMES)
    chosen = np.array([np.argmin(np.abs(angles - angle)) for angle in wanted], dtype=np.int64)
    if len(np.unique(chosen)) < NUM_FRAMES:
        raise VizdiffInputError("the recording's steps are spaced so that too few frames can be told apart")
    return chosen


def roughness(frames: Float32) -> Float64:
    """Return the mean |difference| between neighbouring pixels of (N, H, W) frames, seen on the grey scale."""
    seen = np.clip(frames.astype(np.float64), -1, 1)
    down, across = (np.abs(np.diff(seen, axis=axis)).reshape(len(seen), -1) for axis in (1, 2))
    return np.concatenate([down, across], axis=1).mean(axis=1)


def _order(trajectory: Trajectory, sample: int, rng: np.random.Generator) -> tuple[OrderTask, OrderAnswer]:
    states = np.concatenate([trajectory.x_t[sample, :, 0], trajectory.x0[sample, :1]])
    chosen = choose_order_steps(trajectory.alphas_cumprod)
    places = _scrambled(len(chosen), rng)  # the frame at place i of the true order stands at places[i] on the sheet
    letters = tuple(ascii_uppercase[place] for place in places)
    task = OrderTask(tuple(ascii_uppercase[: len(chosen)]), states[chosen][np.argsort(places)])
    alphas_cumprod = np.append(trajectory.alphas_cumprod, 1.0)[chosen]
    left = np.append(trajectory.steps_left, 0)[chosen]
    return task, OrderAnswer(letters, states[chosen], left, alphas_cumprod, roughness(states[chosen]))


def _scrambled(count: int, rng: np.random.Generator) -> Int64:
    """Return a shuffle of 0 .. count-1 that moves both ends and leaves at most one pair of neighbours together."""
    while True:
        places = rng.permutation(count).astype(np.int64)
        together = np.sum(np.abs(np.diff(places)) == 1)
        if together <= 1 and places[0] != 0 and places[-1] != count - 1:
            return places


def _guess(others: Sequence[Generation], rng: np.random.Generator) -> tuple[GuessTask, GuessAnswer]:
    runs = [others[index] for index in rng.permutation(len(others))[: len(RUN_NAMES)]]
    left = np.maximum(1, np.round(np.array(STAGE_SHARES) * runs[0].num_steps)).astype(np.int64)
    frames = np.stack([run.states_at(left) for run in runs], axis=1)
    guesses = np.stack([run.x0_pred[np.searchsorted(-run.steps_left, -left)] for run in runs], axis=1)
    finished = np.stack([run.x_t[-1] for run in runs])
    digits = tuple(run.digit for run in runs)
    return GuessTask(RUN_NAMES, left, frames), GuessAnswer(RUN_NAMES, digits, guesses, finished)


def _snr(schedule: NoiseSchedule, real: Float32, rng: np.random.Generator) -> tuple[SnrTask, SnrAnswer]:
    crossing = schedule.snr_below_one
    if not crossing:
        raise VizdiffInputError(f"the SNR of the {schedule.name} schedule never crosses 1; a worksheet asks where")
    last = schedule.num_train_timesteps - 1
    timesteps = np.unique(np.array(TABLE_TIMESTEPS) * last // 999)
    printed = np.array([float(f"{a:.4g}") for a in schedule.alphas_cumprod[timesteps]])
    noise = rng.standard_normal(real.shape).astype(np.float32)
    frames = np.stack([schedule.add_noise(real[None], noise[None], int(t))[0] for t in timesteps])
    snr = printed / (1 - printed)
    below = np.flatnonzero(snr < 1)
    if not below.size or below[0] == 0:
        raise VizdiffInputError(f"the SNR of the {schedule.name} schedule crosses 1 outside the worksheet's table")
    b, a = below[0], below[0] - 1
    share = (printed[a] - 0.5) / (printed[a] - printed[b])
    between = float(timesteps[a] + share * (timesteps[b] - timesteps[a]))
    answer = SnrAnswer(snr, int(timesteps[a]), int(timesteps[b]), between, crossing)
    return SnrTask(timesteps, printed, frames), answer


def _pixel(trajectory: Trajectory, sample: int, rng: np.random.Generator) -> tuple[PixelTask, PixelAnswer]:
    index = trajectory.num_steps - round(PIXEL_SHARE * trajectory.num_steps)
    frame, eps = trajectory.x_t[sample, index, 0], trajectory.eps_pred[sample, index, 0]
    guess = trajectory.x0_pred[sample, index, 0]
    share = float(f"{trajectory.alphas_cumprod[index]:.4g}")
    # the brightest and the darkest tenth of the guess's middle: what is ink and what is not is beyond doubt
    margin = guess.shape[0] // 5
    middle = guess[margin:-margin, margin:-margin]
    ranked, tenth = np.argsort(middle, axis=None, kind="stable"), middle.size // 10
    ends = (ranked[-tenth:], ranked[:tenth])
    flat = rng.permutation(np.concatenate([rng.choice(end, PIXELS_EACH, replace=False) for end in ends]))
    rows, columns = (place + margin for place in np.unravel_index(flat, middle.shape))
    x_t, noise = (np.round(image[rows, columns].astype(np.float64), 2) for image in (frame, eps))
    x0 = predict_x0(x_t, noise, share)
    task = PixelTask(
        frame, trajectory.num_steps - index, int(trajectory.timesteps[index]), share, rows + 1, columns + 1, x_t, noise
    )
    recorded = guess[rows, columns].astype(np.float64)
    return task, PixelAnswer(x0, recorded, guess, 2 * float(np.sqrt(share)), float(np.sqrt(1 - share)))
