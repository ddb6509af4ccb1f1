"""Choice of the frames and numbers of a worksheet, and computation of its answers.

Students get a :class:`~viz_diffusion.worksheet.tasks.Worksheet`, which holds no answer: neither the digits, nor the
frames' order, nor the seed. How well the answers are protected:

- The shuffle is seeded with a hash of the recording's seed, label, weights and sampler, so the same command makes the
  same worksheet. The worksheet shows only a code, another hash of the same facts, by which its key is found.
- A student who has this package, guesses the seed and the digit and runs the same command gets the same key.
- The amount of noise in a frame can be measured with a program or by eye. That is the exercise.

Knows nothing about networks, texts or pages; NumPy only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import predict_x0
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.views.frames import pictures
from viz_diffusion.worksheet.tasks import (
    AnswerKey,
    DigitAnswer,
    DigitTask,
    FrameOrderAnswer,
    FrameOrderTask,
    PixelAnswer,
    PixelTask,
    SnrAnswer,
    SnrTask,
    Worksheet,
)

if TYPE_CHECKING:
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.recording.comparison_runs import Generation
    from viz_diffusion.recording.trajectory import Trajectory


Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NUM_FRAMES = 8
"""Number of frames to put in order."""
NOISIEST_SHARE = 0.5
"""Share of the steps left at the noisiest of these frames; noisier frames look alike."""
RUN_NAMES = ("W", "X", "Y", "Z")
"""Names of the generations whose digit is to be recognised; not used as names of frames."""
FEWEST_RUNS = 2
"""With fewer generations there is nothing to recognise, and the exercise is left out."""
DIGIT_SHARES = (0.55, 0.45, 0.35, 0.25)
"""Shares of the steps left at which the digit is to be recognised."""
TABLE_TIMESTEPS = (0, 50, 100, 150, 200, 250, 300, 400, 500)
"""Timesteps of 1000 at which ᾱ is given and the SNR is to be computed."""
PIXEL_SHARE = 0.4
"""Share of the steps left at the frame of the pixel exercise."""
PIXELS_PER_KIND = 2
"""Number of pixels of ink, and of background."""
MOST_ROUGHNESS_LEFT = 0.5
"""Most roughness of the finished image, as a share of the noisiest frame's, with which the order can be seen."""
MIN_STEPS = 20
"""Smallest number of steps of a recording: with fewer, too few frames differ visibly."""


def make_worksheet(
    trajectory: Trajectory,
    others: Sequence[Generation],
    real: Float32,
    sample: int = 0,
    misread: Container[int] = (),
) -> tuple[Worksheet, AnswerKey]:
    """Choose and shuffle frames and numbers; return the worksheet and its answers.

    Parameters
    ----------
    trajectory
        The recording.
    others
        Generations of other classes from the same noise.
    real
        (H, W) or (H, W, 3) float32: a real image, for exercise 3.
    sample
        Index of the image in the recording.
    misread
        The labels whose finished image a classifier reads as another class: exercise 2 does not use them, and
        exercise 4 is left out where the recording's label is among them.

    Raises
    ------
    VizdiffInputError
        Where the recording has too few steps, or the SNR never falls below 1.
    """
    if trajectory.num_steps < MIN_STEPS:
        raise VizdiffInputError(
            f"a worksheet needs a recording of at least {MIN_STEPS} steps, found {trajectory.num_steps}"
        )
    code, rng = _code_and_rng(trajectory, sample)
    left_out: dict[str, str] = {}
    order = _frame_order_exercise(trajectory, sample, rng)
    if (left := order[1].roughness)[-1] > MOST_ROUGHNESS_LEFT * left[0]:
        left_out["order"] = "left_out"
    frame_order, frame_order_answer = (None, None) if "order" in left_out else order
    readable = [one for one in others if one.digit not in misread]
    digits, digits_answer = _digit_exercise(readable, rng) if len(readable) >= FEWEST_RUNS else (None, None)
    if digits is None:
        left_out["guess"] = "left_out" if len(others) < FEWEST_RUNS else "unreadable"
    snr, snr_answer = _snr_exercise(trajectory.schedule, real, rng)
    if int(trajectory.labels[sample]) in misread:
        left_out["pixel"] = "left_out"
    pixel, pixel_answer = (None, None) if "pixel" in left_out else _pixel_exercise(trajectory, sample, rng)
    return (
        Worksheet(code, trajectory.num_steps, frame_order, digits, snr, pixel, left_out),
        AnswerKey(
            int(trajectory.labels[sample]),
            int(trajectory.seeds[sample]),
            frame_order_answer,
            digits_answer,
            snr_answer,
            pixel_answer,
        ),
    )


def _code_and_rng(trajectory: Trajectory, sample: int) -> tuple[str, np.random.Generator]:
    """Return the worksheet's code and its random generator, from two hashes that do not reveal each other."""
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


def choose_frames(alphas_cumprod: Float64) -> Int64:
    """Return N indices into the S recorded steps and the finished image (index S), of visibly different frames.

    With ᾱ = cos² θ, x_t = cos θ · x_0 + sin θ · ε. The frames are chosen at equal steps of θ, from the frame with
    half of the steps left down to the finished image, where θ = 0.
    """
    angles = np.append(np.arccos(np.sqrt(alphas_cumprod)), 0.0)
    first = len(alphas_cumprod) - round(NOISIEST_SHARE * len(alphas_cumprod))
    wanted = np.linspace(angles[first], 0, NUM_FRAMES)
    chosen = np.array([np.argmin(np.abs(angles - angle)) for angle in wanted], dtype=np.int64)
    if len(np.unique(chosen)) < NUM_FRAMES:
        raise VizdiffInputError("the recording's steps are spaced so that too few frames can be told apart")
    return chosen


def roughness(frames: Float32) -> Float64:
    """Return the mean |difference| between neighbouring pixels of (N, H, W) or (N, H, W, 3) frames clipped to -1..1."""
    clipped = np.clip(frames.astype(np.float64), -1, 1)
    down, across = (np.abs(np.diff(clipped, axis=axis)).reshape(len(clipped), -1) for axis in (1, 2))
    return np.concatenate([down, across], axis=1).mean(axis=1)


def _frame_order_exercise(
    trajectory: Trajectory, sample: int, rng: np.random.Generator
) -> tuple[FrameOrderTask, FrameOrderAnswer]:
    states = pictures(np.concatenate([trajectory.x_t[sample], trajectory.x0[sample][None]]))
    chosen = choose_frames(trajectory.alphas_cumprod)
    places = _shuffled_places(len(chosen), rng)  # worksheet position of the i-th frame of the recording
    letters = tuple(ascii_uppercase[place] for place in places)
    task = FrameOrderTask(tuple(ascii_uppercase[: len(chosen)]), states[chosen][np.argsort(places)])
    alphas_cumprod = np.append(trajectory.alphas_cumprod, 1.0)[chosen]
    left = np.append(trajectory.steps_left, 0)[chosen]
    return task, FrameOrderAnswer(letters, states[chosen], left, alphas_cumprod, roughness(states[chosen]))


def _shuffled_places(count: int, rng: np.random.Generator) -> Int64:
    """Return a permutation of 0 .. count-1 that moves both ends and keeps at most one pair of neighbours."""
    while True:
        places = rng.permutation(count).astype(np.int64)
        num_kept_pairs = np.sum(np.abs(np.diff(places)) == 1)
        if num_kept_pairs <= 1 and places[0] != 0 and places[-1] != count - 1:
            return places


def _digit_exercise(others: Sequence[Generation], rng: np.random.Generator) -> tuple[DigitTask, DigitAnswer]:
    runs = [others[index] for index in rng.permutation(len(others))[: len(RUN_NAMES)]]
    left = np.maximum(1, np.round(np.array(DIGIT_SHARES) * runs[0].num_steps)).astype(np.int64)
    names = RUN_NAMES[: len(runs)]
    frames = np.stack([run.states_at(left) for run in runs], axis=1)
    x0_pred = np.stack([run.x0_pred[np.searchsorted(-run.steps_left, -left)] for run in runs], axis=1)
    finished = np.stack([run.x_t[-1] for run in runs])
    digits = tuple(run.digit for run in runs)
    return DigitTask(names, left, frames), DigitAnswer(names, digits, x0_pred, finished)


def _snr_exercise(schedule: NoiseSchedule, real: Float32, rng: np.random.Generator) -> tuple[SnrTask, SnrAnswer]:
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


def _pixel_exercise(trajectory: Trajectory, sample: int, rng: np.random.Generator) -> tuple[PixelTask, PixelAnswer]:
    index = trajectory.num_steps - round(PIXEL_SHARE * trajectory.num_steps)
    # of three colours the exercise takes the mean: the formula is linear
    frame, eps, x0_pred = (
        field[sample, index].mean(axis=0) for field in (trajectory.x_t, trajectory.eps_pred, trajectory.x0_pred)
    )
    share = float(f"{trajectory.alphas_cumprod[index]:.4g}")
    # Pixels from the brightest and the darkest tenth of the central part of x̂_0 are clearly ink or background.
    margin = x0_pred.shape[0] // 5
    middle = x0_pred[margin:-margin, margin:-margin]
    ranked, tenth = np.argsort(middle, axis=None, kind="stable"), middle.size // 10
    ends = (ranked[-tenth:], ranked[:tenth])
    flat = rng.permutation(np.concatenate([rng.choice(end, PIXELS_PER_KIND, replace=False) for end in ends]))
    rows, columns = (place + margin for place in np.unravel_index(flat, middle.shape))
    x_t, noise = (np.round(image[rows, columns].astype(np.float64), 2) for image in (frame, eps))
    x0 = predict_x0(x_t, noise, share)
    shown, left = pictures(trajectory.x_t[sample, index]), trajectory.num_steps - index
    task = PixelTask(shown, left, int(trajectory.timesteps[index]), share, rows + 1, columns + 1, x_t, noise)
    recorded = x0_pred[rows, columns].astype(np.float64)
    guess = pictures(trajectory.x0_pred[sample, index])
    return task, PixelAnswer(x0, recorded, guess, 2 * float(np.sqrt(share)), float(np.sqrt(1 - share)))
