"""Signal and noise scales: a and b of x_t = a x_0 + b ε, in the three ways that the field scales a noised image.

NumPy only; the factors fit NumPy arrays and tensors alike. Knows nothing about timesteps.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError

Float64 = NDArray[np.float64]
SigmaT = TypeVar("SigmaT", float, Float64)
"""A number or an array."""
ArrayT = TypeVar("ArrayT", bound=Any)
"""A NumPy array or a tensor of shape (B, ...); the result has the type of the argument."""

SCALINGS = ("variance_preserving", "variance_exploding", "flow")
"""How a schedule scales x_t = a x_0 + b ε: by a² + b² = 1, by a = 1, or by a + b = 1."""


def scales(alphas_cumprod: float | Float64, scaling: str = SCALINGS[0]) -> tuple[Float64, Float64]:
    """Return a and b of x_t = a x_0 + b ε, float64, for ᾱ = a²/(a² + b²), the signal's share of power.

    ``variance_preserving``: √ᾱ and √(1-ᾱ) (Ho et al. 2020). ``variance_exploding``: 1 and σ = √((1-ᾱ)/ᾱ) (Karras et
    al. 2022). ``flow``: 1-σ and σ, the straight line between data and noise (Liu et al. 2023).
    """
    share = np.asarray(alphas_cumprod, dtype=np.float64)
    signal, noise = np.sqrt(share), np.sqrt(1 - share)
    if scaling == "variance_exploding":
        with np.errstate(divide="ignore"):
            return np.ones_like(signal), noise / signal
    if scaling == "flow":
        return signal / (signal + noise), noise / (signal + noise)
    return signal, noise


def alphas_cumprod_of(sigmas: SigmaT, scaling: str) -> SigmaT:
    """Return ᾱ of noise levels σ, a float or float64: b of :func:`scales`, where the scaling preserves no variance."""
    power = sigmas * sigmas
    if scaling == "variance_exploding":
        return 1 / (1 + power)
    signal = (1 - sigmas) * (1 - sigmas)
    return signal / (signal + power)


def broadcast_factor(value: Float64, like: ArrayT) -> ArrayT:
    """Return float64 factors in the kind, dtype and device of ``like``, shaped to multiply (B, ...).

    They are cast on the CPU first: some devices have no float64.
    """
    if "float" not in str(like.dtype):
        raise VizdiffUsageError(f"images must be floating-point numbers, found {like.dtype}")
    shaped: Any = value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value
    if isinstance(like, np.ndarray):
        return shaped.astype(like.dtype)
    wide = np.float64 if str(like.dtype) == "torch.float64" else np.float32
    return like.new_tensor(np.asarray(shaped, dtype=wide), dtype=like.dtype)
