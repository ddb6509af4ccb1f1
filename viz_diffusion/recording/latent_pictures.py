"""Pictures of a recording of latents: predicted x_0 decoded, and x_t and ε̂ as their channels side by side.

Never imports torch; what the decoder made is part of the recording (:attr:`Trajectory.decoded`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.recording.trajectory import Float32, Trajectory

LATENT_LIMIT = 3.0
"""Latents are shown from -3 to 3: black to white."""


@dataclass(frozen=True, eq=False)
class PicturedLatents(Trajectory):
    """A recording of latents as pictures, in which no number may be measured.

    ``x0_pred`` and ``x0`` are what the decoder makes of predicted x_0 and of the finished latent. ``x_t`` and the
    predictions of noise show the latent's channels side by side, in rows, each enlarged; x_t is divided by
    :data:`LATENT_LIMIT`. x_t itself is never decoded: it is no latent of a picture.
    """

    channels: int = 0
    """How many channels the latent has."""

    def x0_unclipped(self, sample: int, step: int) -> NDArray[np.float64]:
        """Return the (C, H, W) float64 picture of x̂_0: no latent is clipped, and pictures lie in [-1, 1]."""
        return self.x0_pred[sample, step].astype(np.float64)


def is_latent(trajectory: Trajectory) -> bool:
    """Return whether a recording holds latents with the pictures of all its steps."""
    steps = trajectory.decoded_steps
    return steps is not None and np.array_equal(steps, np.arange(trajectory.num_steps + 1))


def pictured(trajectory: Trajectory) -> Trajectory:
    """Return a recording of latents as pictures; any other as it is."""
    decoded = trajectory.decoded
    if decoded is None or not is_latent(trajectory):
        return trajectory
    shape = decoded.shape[2:]
    values: dict[str, Any] = {field.name: getattr(trajectory, field.name) for field in fields(Trajectory)}
    for name in ("eps_pred", "eps_cond", "eps_uncond"):
        if values[name] is not None:  # divided so that the sum over C equal channels, over √C, is the latent's
            values[name] = side_by_side(values[name], shape) / np.float32(np.sqrt(shape[0]))
    values |= {name: None for name in values if name.startswith(("decoded", "inner_"))}
    values |= {"x_t": state_picture(trajectory.x_t, shape), "x0_pred": decoded[:, :-1], "x0": decoded[:, -1]}
    return PicturedLatents(**values, channels=trajectory.x_t.shape[2])


def channels_of(trajectory: Trajectory) -> int:
    """Return how many channels the latents of a recording have, pictured or not; 0 where it holds images."""
    if isinstance(trajectory, PicturedLatents):
        return trajectory.channels
    return int(trajectory.x_t.shape[2]) if is_latent(trajectory) else 0


def state_picture(x: Float32, shape: tuple[int, ...]) -> Float32:
    """Return noised latents (..., c, h, w) as pictures of a (C, H, W) shape: -1 is -3 or less, 1 is 3 or more."""
    return side_by_side(x, shape) / np.float32(LATENT_LIMIT)


def side_by_side(x: Float32, shape: tuple[int, ...]) -> Float32:
    """Return the channels of (..., c, h, w) side by side, as C equal channels of (..., C, H, W).

    They fill a square from left to right and from top to bottom, each enlarged without smoothing: four channels of
    7x7 become the quarters of a picture of 28x28. Places without a channel are 0. Channels of one number each have no
    shape to keep, and fill the whole height: two become the halves of a picture.
    """
    count, side = x.shape[-3], int(np.ceil(np.sqrt(x.shape[-3])))
    high = -(-count // side) if x.shape[-2:] == (1, 1) else side
    empty = np.zeros((*x.shape[:-3], high * side - count, *x.shape[-2:]), x.dtype)
    padded = np.concatenate([x, empty], axis=-3)
    rows, columns = (np.arange(length) * parts for length, parts in zip(shape[-2:], (high, side), strict=True))
    cell = (rows // shape[-2])[:, None] * side + columns // shape[-1]
    y = rows % shape[-2] * x.shape[-2] // shape[-2]
    picture = padded[..., cell, y[:, None], (columns % shape[-1] * x.shape[-1] // shape[-1])[None]]
    return np.repeat(picture[..., None, :, :], shape[0], axis=-3)
