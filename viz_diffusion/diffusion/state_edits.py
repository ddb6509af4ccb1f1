"""Changes of a state x_t between two steps: paint on it, hold pixels to a known image, noise it again.

The live page has the same functions (``live/templates/interventions.js``). They work on NumPy arrays and tensors alike,
and know nothing about networks or files. A drawing becomes a state by :meth:`NoiseSchedule.add_noise` (SDEdit, Meng et
al. 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from viz_diffusion.diffusion.scaling import ArrayT, broadcast_factor, scales
from viz_diffusion.diffusion.schedule import NoiseSchedule

FINISHED = -1
"""The timestep of a finished image, where a of x_t = a x_0 + b ε is 1 and b is 0."""


def paint(x_t: ArrayT, x0: ArrayT, coverage: Any, ink: float, schedule: NoiseSchedule, t: int) -> ArrayT:
    """Return x_t + a · coverage · (ink - x̂_0): the state whose predicted x_0 would be ``ink`` where a stroke covers it.

    The noise in x_t stays as it is. Ink that is set on x_t itself would be 1/a times too strong.

    Parameters
    ----------
    x_t, x0
        (B, C, H, W) the state, and the predicted x_0 at it, clipped.
    coverage
        (H, W) of the kind of ``x_t``, in 0 .. 1.
    ink
        -1 (black) to 1 (white).
    t
        In 0 .. T-1.
    """
    signal, _ = _scales(schedule, t, x_t)
    return x_t + signal * coverage * (ink - x0)


def hold(x_t: ArrayT, mask: Any, known: ArrayT, noise: ArrayT, schedule: NoiseSchedule, t: int) -> ArrayT:
    """Return x_t with a ``known`` + b ``noise`` where ``mask`` is 1 (Lugmayr et al. 2022, algorithm 1, lines 4 and 8).

    Parameters
    ----------
    x_t, noise
        (B, C, H, W) the state, and standard normal noise.
    mask, known
        (H, W) of zeros and ones, and (C, H, W) the known image in [-1, 1]; of the kind of ``x_t``.
    t
        In 0 .. T-1, or :data:`FINISHED`.
    """
    signal, spread = _scales(schedule, t, x_t)
    return x_t * (1 - mask) + (signal * known + spread * noise) * mask


def renoise(x: ArrayT, noise: ArrayT, schedule: NoiseSchedule, t_next: int, t: int) -> ArrayT:
    """Return a state at ``t_next`` noised up to ``t``, a draw of q(x_t | x_s) (Lugmayr et al. 2022, alg. 1, line 10).

    x_t = (a_t/a_s) x_s + √(b_t² - (a_t b_s/a_s)²) z, for s = ``t_next`` < ``t``, both in 0 .. T-1.
    """
    a, b = schedule.signal_scale[[t, t_next]], schedule.noise_scale[[t, t_next]]
    kept = a[0] / a[1]
    added = np.sqrt(b[0] ** 2 - (kept * b[1]) ** 2)
    return broadcast_factor(kept, x) * x + broadcast_factor(added, x) * noise


def _scales(schedule: NoiseSchedule, t: int, like: ArrayT) -> tuple[ArrayT, ArrayT]:
    """Return a and b at a timestep, in the kind, dtype and device of ``like``."""
    share = 1.0 if t == FINISHED else schedule.alphas_cumprod[t]
    signal, noise = scales(share, schedule.scaling)
    return broadcast_factor(signal, like), broadcast_factor(noise, like)
