"""The timesteps of a sampler with few steps, and the names of samplers, variances and spacings.

Loads NumPy only to compute, so that a command line is checked at once. Knows nothing about noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLERS = {"ddpm": "DDPM", "ddim": "DDIM", "dpm-solver++": "DPM-Solver++(2M)", "euler": "Euler", "heun": "Heun"}
"""From the value of ``sampler`` to the name in captions."""
ODE_SAMPLERS = ("euler", "heun")
"""The samplers that solve the probability-flow equation in σ; a flow-matching network is sampled on its own process."""
TIMESTEP_DENSITIES = ("uniform", "logit-normal")
"""How training draws the noise level σ of flow matching."""
BUMP = "bump"
"""Instead of ``uniform``, how training may draw t for the other objectives: more often at middle noise levels."""
VARIANCES = ("beta", "beta_tilde")
"""The two variances of the noise that DDPM injects (Ho et al. 2020, section 3.2)."""
SPACINGS = ("trailing", "linspace")
"""How visited timesteps may be spaced (Lin et al. 2023, table 2); the first is the default."""


def spaced_timesteps(num_train_timesteps: int, steps: int, spacing: str = SPACINGS[0]) -> NDArray[np.int64]:
    """Return ``steps`` falling timesteps, all different, evenly spaced up to rounding (Lin et al. 2023, table 2).

    Both spacings begin at T-1, where the noise is drawn, for any number of steps, whether it divides T or not.
    ``trailing`` takes strides of T/steps down to about T/steps - 1, which leaves the last stride to the finished
    image as long as the others. ``linspace`` ends at 0, so that the last step is as short as can be (with one
    step it begins at T-1 too, where diffusers would visit only 0).

    Raises
    ------
    VizdiffUsageError
        Where ``steps`` is not in 1 .. T, or the spacing is unknown.
    """
    if not 1 <= steps <= num_train_timesteps:
        raise VizdiffUsageError(f"`steps` must lie in 1..{num_train_timesteps}, found {steps}")
    if spacing not in SPACINGS:
        raise VizdiffUsageError(f"`timestep_spacing` must be {' or '.join(SPACINGS)}, found {spacing!r}")
    import numpy as np

    if spacing == "trailing" or steps == 1:
        rising = np.round(np.arange(1, steps + 1) * num_train_timesteps / steps) - 1
    else:
        rising = np.round(np.linspace(0, num_train_timesteps - 1, steps))
    return rising[::-1].astype(np.int64)
