"""The pictures of the report's introduction: forward process, training and reverse process, from this recording.

Knows nothing about HTML or words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.noising.forward_process import Noising
from viz_diffusion.lessons.training.training_steps import Training
from viz_diffusion.plots import pixels
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report.page import Process, Tile
from viz_diffusion.views import frames as frames_view

SHOWN_SHARES = (0.1, 0.25, 0.45, 1.0)
"""Timesteps of the forward process, as shares of T - 1."""
SHOWN_LEFT = (1.0, 0.65, 0.35, 0.15)
"""Steps left of the reverse process, as shares of all steps."""
MOST_SIDE = 64
"""Pixels of a tile's side; of larger images every second, third, ... pixel is shown."""


def introduction(trajectory: Trajectory, findings: Sequence[Finding]) -> tuple[Process, ...]:
    """Return the three parts of the introduction.

    The images are those of the chapters on the forward process and on training; where a chapter is missing, they are
    the recording's own: its finished image with noise, and one of its states with the predicted noise.
    """
    data = {finding.lesson.name: finding.data for finding in findings}
    return (
        Process("forward", _forward(trajectory, data.get("noising"))),
        Process("training", _training(trajectory, data.get("training"))),
        Process("reverse", _reverse(trajectory)),
    )


def _forward(trajectory: Trajectory, noising: Any) -> tuple[Tile, ...]:
    """Return a real digit, or the recording's finished image, without noise and at four timesteps."""
    last = trajectory.schedule.num_train_timesteps - 1
    wanted = np.round(np.multiply(SHOWN_SHARES, last)).astype(np.int64)
    if isinstance(noising, Noising):
        columns = np.abs(noising.timesteps - wanted[:, None]).argmin(axis=1)
        timesteps, x0, noisy = noising.timesteps[columns], noising.images[0, 0], noising.images[0, columns + 1]
    else:
        timesteps, x0 = wanted, frames_view.pictures(trajectory.x0[0])
        signal = trajectory.schedule.alphas_cumprod[timesteps].reshape(-1, *[1] * x0.ndim)
        noise = np.random.default_rng(0).normal(size=x0.shape)
        noisy = (np.sqrt(signal) * x0 + np.sqrt(1 - signal) * noise).astype(np.float32)
    shown = zip(noisy, timesteps.tolist(), strict=True)
    noised = (_tile(pixels.to_gray8(image), f"t = {t}", sign="→") for image, t in shown)
    return (_tile(pixels.to_gray8(x0), "x₀", "image"), *noised)


def _training(trajectory: Trajectory, training: Any) -> tuple[Tile, ...]:
    """Return an image, the noise added to it, their mix, and the predicted noise; of a recording the last two."""
    added: tuple[Tile, ...] = ()
    if isinstance(training, Training):
        frames, row = training.frames, len(training.frames.timesteps) // 2
        added = (
            _tile(pixels.to_gray8(frames.x0[row]), "x₀", "image"),
            _tile(pixels.to_diverging8(frames.noise[row]), "ε", "noise", "+"),
        )
        x_t, eps_pred = frames.x_t[row], frames.eps_pred[row]
    else:
        step = int(np.abs(trajectory.steps_left - 0.35 * trajectory.steps_left[0]).argmin())
        x_t = frames_view.pictures(trajectory.x_t[0, step])
        eps_pred = frames_view.one_channel(trajectory.eps_pred[0, step])
    sign = "→" if added else ""
    predicted = _tile(pixels.to_diverging8(eps_pred), "ε̂", "predicted_noise", "→")
    return (*added, _tile(pixels.to_gray8(x_t), "x_t", "noisy_image", sign), predicted)


def _reverse(trajectory: Trajectory) -> tuple[Tile, ...]:
    """Return four states of the recording and its finished image."""
    left = trajectory.steps_left
    steps = list(dict.fromkeys(int(np.abs(left - share * left[0]).argmin()) for share in SHOWN_LEFT))
    states = frames_view.pictures(np.concatenate([trajectory.x_t[0, steps], trajectory.x0[:1]]))
    words = (*((f"t = {trajectory.timesteps[step]:.0f}", "") for step in steps), ("x₀", "image"))
    signs = ("", *["→"] * len(steps))
    shown = zip(states, words, signs, strict=True)
    return tuple(_tile(pixels.to_gray8(state), *label_and_word, sign) for state, label_and_word, sign in shown)


def _tile(image: pixels.UInt8, label: str, word: str = "", sign: str = "") -> Tile:
    stride = math.ceil(max(image.shape[:2]) / MOST_SIDE)
    small = np.ascontiguousarray(image[::stride, ::stride])
    uri = pixels.data_uri(pixels.encode(small, "PNG"), "image/png")
    return Tile(uri, small.shape[1], small.shape[0], label, word, sign)
