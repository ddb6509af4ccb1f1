"""One recorded run as a page plays it, checked: its pictures step by step, and their frames as sheets.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.plots import pixels
from viz_diffusion.report import sprites

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Player:
    """One recorded run that the page can play.

    Raises
    ------
    VizdiffUsageError
        Where shapes, timesteps or the schedule do not fit together.
    VizdiffNonFiniteError
        Where a frame holds NaN or infinity.
    """

    digit: int | None
    """The digit that was asked for, 0..9; None where it is not known to be one."""
    x_t: Float32
    """(S+1, H, W) float32, or (S+1, H, W, 3) of three colours, nominally -1..1: the picture entering each step, and
    last the finished one."""
    x0_pred: Float32
    """(S, H, W) or (S, H, W, 3) float32, -1..1: the guess of the finished picture at each step."""
    eps_pred: Float32 | None
    """(S, H, W) float32, standard deviations: the predicted noise at each step; None where not kept."""
    timesteps: Int64 | Float64
    """(S,) int or float, strictly falling: t of each step, in 0..T-1."""
    alphas_cumprod: Float64
    """(T,) float64, unitless, 0..1: the signal's share of power at every timestep of the schedule."""
    steps_left: Int64 | None = None
    """(S,) int, strictly falling, last >= 1: steps left before each step. None means t + 1."""
    sampler: str = "ddpm"
    """ddpm, ddim, dpm-solver++, or another program's."""
    guidance_scale: float = 1.0
    """s; 1 is none, NaN not known."""
    step_alphas_cumprod: Float64 | None = None
    """(S,) float64: ᾱ at each step, where it does not follow from timesteps and ``alphas_cumprod``."""

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
    def shares(self) -> Float64:
        """(S,) float64: ᾱ, the signal's share of power, at each step."""
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod
        return self.alphas_cumprod[self.timesteps.astype(np.int64)]

    @property
    def left(self) -> Int64:
        """(S,) steps left before each step: ``steps_left``, or t + 1."""
        return np.floor(self.timesteps).astype(np.int64) + 1 if self.steps_left is None else np.asarray(self.steps_left)

    @property
    def total(self) -> int:
        """Steps of the whole run, of which S were kept."""
        return max(int(self.left[0]), len(self.timesteps))

    @cached_property
    def sheets(self) -> dict[str, sprites.Sprite | None]:
        """All frames of ``x_t``, ``x0_pred`` and, where kept, ``eps_pred``, as one sprite sheet each.

        This takes long and leaves the interpreter to others: ask for it in a thread before it is needed.
        """
        eps = self.eps_pred
        return {
            "x_t": sprites.make_sprite(pixels.to_gray8(self.x_t)),
            "x0_pred": sprites.make_sprite(pixels.to_gray8(self.x0_pred)),
            "eps_pred": None if eps is None else sprites.make_sprite(pixels.to_diverging8(eps)),
        }

    @cached_property
    def finished(self) -> pixels.UInt8:
        """(H, W) or (H, W, 3) uint8: the finished picture on the fixed scale."""
        return pixels.to_gray8(self.x_t[-1])
