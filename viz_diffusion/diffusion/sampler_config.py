"""The configuration of a sampler: which one, how many steps, how much guidance, which noise.

One checked, immutable value travels from the command line to the samplers, the Recorder, the comparison runs and the
saved recording. Imports no torch, so that a command line is checked before anything heavy is loaded.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from viz_diffusion.diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES, spaced_timesteps
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SamplerConfig:
    """How generations are sampled.

    Raises
    ------
    VizdiffUsageError
        Where a value is impossible, or belongs to another sampler.
    """

    sampler: str = "ddpm"
    """``ddpm`` (Ho et al. 2020), ``ddim`` (Song et al. 2021), ``dpm-solver++`` (2M, Lu et al. 2022b), ``euler``, or
    ``heun`` (Karras et al. 2022)."""
    steps: int | None = None
    """Steps, 1 .. T; None for all T timesteps. Each is one network evaluation; with ``heun`` two, the last one only
    one."""
    guidance_scale: float = 1.0
    """s in ε_∅ + s (ε_y - ε_∅), any finite number; 1 is no guidance."""
    variance: str = VARIANCES[0]
    """Variance of the noise that DDPM adds: ``beta`` (β_t) or ``beta_tilde`` (β̃_t)."""
    eta: float = 0.0
    """Noise that DDIM adds: 0 none, 1 as much as DDPM with ``beta_tilde``."""
    timestep_spacing: str = SPACINGS[0]
    """Which timesteps fewer steps visit: ``trailing`` or ``linspace``; see :func:`spaced_timesteps`."""
    clip: bool = True
    """Whether predicted x̂_0 is clipped to [-1, 1]."""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise VizdiffUsageError(f"`sampler` must be one of {', '.join(SAMPLERS)}, found {self.sampler!r}")
        if self.steps is not None and self.steps < 1:
            raise VizdiffUsageError(f"`steps` must be at least 1, found {self.steps}")
        if not math.isfinite(self.guidance_scale):
            raise VizdiffUsageError(f"`guidance_scale` must be a finite number, found {self.guidance_scale:g}")
        if self.variance not in VARIANCES:
            raise VizdiffUsageError(f"`variance` must be {' or '.join(VARIANCES)}, found {self.variance!r}")
        if not 0 <= self.eta <= 1:
            raise VizdiffUsageError(f"`eta` must lie in 0..1, found {self.eta:g}")
        if self.timestep_spacing not in SPACINGS:
            raise VizdiffUsageError(
                f"`timestep_spacing` must be {' or '.join(SPACINGS)}, found {self.timestep_spacing!r}"
            )
        if self.variance != VARIANCES[0] and self.sampler != "ddpm":
            raise VizdiffUsageError(f"`variance` goes with `sampler` ddpm, not with {self.sampler}")
        if self.eta and self.sampler != "ddim":
            raise VizdiffUsageError(f"`eta` goes with `sampler` ddim, not with {self.sampler}")

    @property
    def sampler_name(self) -> str:
        """The sampler's name in sentences, such as ``DPM-Solver++(2M)``."""
        return SAMPLERS[self.sampler]

    @property
    def injected_variance(self) -> str:
        """The variance of the noise that the sampler adds, as a recording stores it; empty where DDPM is not used."""
        return self.variance if self.sampler == "ddpm" else ""

    def num_steps(self, num_train_timesteps: int) -> int:
        """Return the number of steps, where the schedule has T timesteps."""
        return num_train_timesteps if self.steps is None else self.steps

    def num_evaluations(self, num_train_timesteps: int) -> int:
        """Return how often the network is evaluated; the two halves of guidance are one evaluation."""
        steps = self.num_steps(num_train_timesteps)
        return 2 * steps - 1 if self.sampler == "heun" else steps

    def timesteps(self, num_train_timesteps: int) -> NDArray[np.int64]:
        """Return the (S,) int64 falling timesteps that are visited, where the schedule has T timesteps.

        Raises
        ------
        VizdiffUsageError
            Where there are more steps than timesteps.
        """
        return spaced_timesteps(num_train_timesteps, self.num_steps(num_train_timesteps), self.timestep_spacing)

    def facts(self) -> dict[str, Any]:
        """Return the fields by name, without those that this sampler does not have."""
        absent = {"ddpm": ("eta",), "ddim": ("variance",)}.get(self.sampler, ("variance", "eta"))
        return {name: value for name, value in asdict(self).items() if name not in absent}
