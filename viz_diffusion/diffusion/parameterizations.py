"""Conversions between the ways to write one prediction: ε, x_0, v, velocity and score.

At a state x_t = a x_0 + b ε, each of them is a weighted sum p = α ε + β x_0, so that x_t and p together determine ε and
x_0, and with them every other one. a and b are the schedule's ``signal_scale`` and ``noise_scale``, r = √(a² + b²):

================  =========================  ===========  =====================================================
name              prediction p               (α, β)       source
================  =========================  ===========  =====================================================
``epsilon``       ε                          (1, 0)       Ho et al. 2020, section 3.2
``sample``        x_0                        (0, 1)       Ho et al. 2020, section 3.2
``v_prediction``  v = (a ε - b x_0) / r      (a, -b) / r  Salimans & Ho 2022, section 4, where r = 1
``flow``          ε - x_0, the velocity      (1, -1)      Lipman et al. 2023; Liu et al. 2023, with t from data
``score``         ∇ log q(x_t) = -ε / b      (-1/b, 0)    Song et al. 2021, eq. 7
================  =========================  ===========  =====================================================

v is that of the state scaled to unit power, x_t / r: where variance is preserved, r is 1 and v = a ε - b x_0. On a
variance-exploding schedule v = (ε - σ x_0) / √(1 + σ²), minus what the network inside the preconditioner of Karras et
al. 2022 predicts (table 1, σ_data = 1). On a flow's schedule too, v depends on x_0, ε and the SNR alone.

The formulas work on NumPy arrays and on tensors alike. They know nothing about networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from viz_diffusion.diffusion.scaling import ArrayT, Float64, broadcast_factor
from viz_diffusion.errors import VizdiffUsageError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample", "flow")
"""What a network may predict, as 🤗 diffusers names it."""
PARAMETERIZATIONS = (*PREDICTION_TYPES, "score")
"""What a prediction can be converted from and to."""
OBJECTIVES = dict(zip(("epsilon", "v", "x0", "flow"), ("epsilon", "v_prediction", "sample", "flow"), strict=True))
"""From the value of ``objective``, what a network is trained to predict, to its prediction type."""


def weights_of(kind: str, signal_scale: Float64, noise_scale: Float64) -> tuple[Float64, Float64]:
    """Return (α, β) of p = α ε + β x_0, float64, shaped like the scales.

    Raises
    ------
    VizdiffUsageError
        Where ``kind`` is not in :data:`PARAMETERIZATIONS`.
    """
    a, b = np.asarray(signal_scale, dtype=np.float64), np.asarray(noise_scale, dtype=np.float64)
    one, zero, power = np.ones_like(a), np.zeros_like(a), np.hypot(a, b)
    power = np.where(np.abs(power - 1) < 1e-12, 1.0, power)  # rounding, where variance is preserved
    table = {
        "epsilon": lambda: (one, zero),
        "sample": lambda: (zero, one),
        "v_prediction": lambda: (a / power, -b / power),
        "flow": lambda: (one, -one),
        "score": lambda: (-1 / b, zero),
    }
    if kind not in table:
        raise VizdiffUsageError(f"`prediction_type` must be one of {', '.join(PARAMETERIZATIONS)}, found {kind!r}")
    return table[kind]()


def to_x0_and_eps(
    prediction: ArrayT, x_t: ArrayT, kind: str, signal_scale: float | Float64, noise_scale: float | Float64
) -> tuple[ArrayT, ArrayT]:
    """Return (x̂_0, ε̂), unclipped, that a prediction implies.

    Parameters
    ----------
    prediction, x_t
        (B, ...) floating point; the result has the dtype and device of ``x_t``.
    kind
        What is predicted, one of :data:`PARAMETERIZATIONS`.
    signal_scale, noise_scale
        a and b of x_t = a x_0 + b ε, float64: one number, or an array whose axes are the first ones of ``x_t``.

    Returns
    -------
    x̂_0 is NaN or infinite where ε alone is predicted and a is 0, and ε̂ where x_0 is and b is 0.
    """
    a, b = np.asarray(signal_scale, dtype=np.float64), np.asarray(noise_scale, dtype=np.float64)
    if kind == "score":  # a multiple of ε, also where a is 0
        prediction, kind = broadcast_factor(-b, prediction) * prediction, "epsilon"
    alpha, beta = weights_of(kind, a, b)
    determinant = a * alpha - b * beta
    x0, eps = prediction, prediction
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind != "sample":
            x0 = _combined(alpha / determinant, x_t, -b / determinant, prediction)
        if kind != "epsilon":
            eps = _combined(-beta / determinant, x_t, a / determinant, prediction)
    return x0, eps


def from_x0_and_eps(
    x0: ArrayT, eps: ArrayT, kind: str, signal_scale: float | Float64, noise_scale: float | Float64
) -> ArrayT:
    """Return the prediction p = α ε + β x_0 of that kind; parameters as in :func:`to_x0_and_eps`."""
    if kind in ("epsilon", "sample"):
        return eps if kind == "epsilon" else x0
    alpha, beta = weights_of(kind, np.asarray(signal_scale), np.asarray(noise_scale))
    if kind == "score":  # x̂_0 does not enter, and need not be known
        return broadcast_factor(alpha, eps) * eps
    return _combined(alpha, eps, beta, x0)


def convert(
    prediction: ArrayT,
    x_t: ArrayT,
    kind: str,
    wanted: str,
    signal_scale: float | Float64,
    noise_scale: float | Float64,
) -> ArrayT:
    """Return a prediction of one kind as another: both as in :func:`to_x0_and_eps`."""
    if kind == wanted:
        return prediction
    x0, eps = to_x0_and_eps(prediction, x_t, kind, signal_scale, noise_scale)
    return from_x0_and_eps(x0, eps, wanted, signal_scale, noise_scale)


def _combined(first: Any, x: ArrayT, second: Any, y: ArrayT) -> ArrayT:
    """Return first · x + second · y, with float64 factors cast to the dtype and device of the arrays."""
    return broadcast_factor(first, x) * x + broadcast_factor(second, y) * y
