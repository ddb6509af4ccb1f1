"""Players: one generation each, step by step, checked, with its frames as sprite sheets.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import pixels
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.report import sprites

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


MOST_PIXELS = 1000 * 64 * 64
"""Largest number of pixels of a field over all steps; of longer recordings, evenly spaced steps are kept."""


def shown_steps(trajectory: Trajectory) -> Int64:
    """Return the indices of the steps that a player shows: all, or as many as :data:`MOST_PIXELS` allows."""
    height, width = trajectory.x_t.shape[3:]
    num_kept = max(1, min(trajectory.num_steps, MOST_PIXELS // (height * width)))
    return np.unique(np.round(np.linspace(0, trajectory.num_steps - 1, num_kept)).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Player:
    """One generation that the page can play.

    Raises
    ------
    VizdiffUsageError
        Where shapes, timesteps or the schedule do not fit together.
    VizdiffNonFiniteError
        Where a frame holds NaN or infinity.
    """

    digit: int | None
    """The label; None where it is unknown."""
    x_t: Float32
    """(S+1, H, W) float32, or (S+1, H, W, 3) for RGB, nominally -1..1: x_t at each step, then the finished image."""
    x0_pred: Float32
    """(S, H, W) or (S, H, W, 3) float32, -1..1: predicted x_0 at each step."""
    eps_pred: Float32 | None
    """(S, H, W) float32, in standard deviations: predicted noise at each step; None where not recorded."""
    timesteps: Int64 | Float64
    """(S,) int or float, strictly falling: t of each step, in 0..T-1."""
    alphas_cumprod: Float64
    """(T,) float64, unitless, 0..1: ᾱ at every timestep of the schedule."""
    steps_left: Int64 | None = None
    """(S,) int, strictly falling, last >= 1: steps left before each step. None means t + 1."""
    sampler: str = "ddpm"
    """ddpm, ddim, dpm-solver++, or another program's."""
    guidance_scale: float = 1.0
    """s; 1 is no guidance, NaN is unknown."""
    step_alphas_cumprod: Float64 | None = None
    """(S,) float64: ᾱ at each step; needed where a timestep is not an index of ``alphas_cumprod``."""
    name: str = ""
    """The name of the label's class; empty for digits."""
    space: str = "pixel"
    """What the network works on: ``pixel`` or ``latent``."""
    note: str = ""
    """What a page says of it as the second of two generations; empty where both are of one network and one noise."""
    lab_run: str = ""
    """The run in an address of the live lab, without the timestep; empty where the lab cannot make it."""

    def __post_init__(self) -> None:
        count, shape = len(self.timesteps), np.shape(self.x0_pred)
        run = "the recording" if self.digit is None else f"digit {self.digit}"
        pictures = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
        if count == 0 or not pictures or shape[0] != count or np.shape(self.x_t) != (count + 1, *shape[1:]):
            raise VizdiffUsageError(
                f"{run}: {count} timesteps need x0_pred ({count}, H, W) and x_t ({count + 1}, H, W), "
                f"found {shape} and {np.shape(self.x_t)}"
            )
        if self.eps_pred is not None and np.shape(self.eps_pred) != shape[:3]:
            raise VizdiffUsageError(f"{run}: eps_pred must be {shape[:3]}, found {np.shape(self.eps_pred)}")
        for name, row in (("timesteps", self.timesteps), ("steps_left", self.left)):
            if np.shape(row) != (count,) or not (np.diff(row) < 0).all() or np.min(row) < 0:
                raise VizdiffUsageError(f"{run}: {name} must be {count} strictly falling numbers >= 0")
        if np.ndim(self.alphas_cumprod) != 1 or np.max(self.timesteps) >= len(self.alphas_cumprod):
            raise VizdiffUsageError(f"{run}: alphas_cumprod must be (T,) and hold every timestep")
        if np.shape(self.shares) != (count,):
            raise VizdiffUsageError(f"{run}: step_alphas_cumprod must be {count} numbers")
        for shares in (self.alphas_cumprod, self.shares):
            if not ((shares >= 0) & (shares <= 1)).all():
                raise VizdiffUsageError(f"{run}: alphas_cumprod must lie in 0..1")
        for name in ("x_t", "x0_pred", "eps_pred"):
            field = getattr(self, name)
            if field is not None and not np.isfinite(field).all():
                raise VizdiffNonFiniteError(f"{run}: {name} holds NaN or infinity; it is not usable")

    @property
    def shown(self) -> str | int | None:
        """The label as the page names it: the name of its class, or the digit."""
        return self.name or self.digit

    @property
    def shares(self) -> Float64:
        """(S,) float64: ᾱ at each step."""
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod
        return self.alphas_cumprod[self.timesteps.astype(np.int64)]

    @property
    def left(self) -> Int64:
        """(S,) steps left before each step: ``steps_left``, or t + 1."""
        return np.floor(self.timesteps).astype(np.int64) + 1 if self.steps_left is None else np.asarray(self.steps_left)

    @property
    def total(self) -> int:
        """Number of steps of the generation, of which S are in this player."""
        return max(int(self.left[0]), len(self.timesteps))

    @cached_property
    def sheets(self) -> dict[str, sprites.SpriteSheet | None]:
        """All frames of ``x_t``, ``x0_pred`` and, where recorded, ``eps_pred``, as one sprite sheet each.

        Encoding is slow but releases the GIL, so a thread can compute this property before it is needed.
        """
        eps = self.eps_pred
        return {
            "x_t": sprites.make_sprite_sheet(pixels.to_gray8(self.x_t)),
            "x0_pred": sprites.make_sprite_sheet(pixels.to_gray8(self.x0_pred)),
            "eps_pred": None if eps is None else sprites.make_sprite_sheet(pixels.to_diverging8(eps)),
        }

    @cached_property
    def finished(self) -> pixels.UInt8:
        """(H, W) or (H, W, 3) uint8: the finished image on the fixed scale of -1..1."""
        return pixels.to_gray8(self.x_t[-1])
