"""The check that a network's predictions are finite numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from viz_diffusion.errors import VizdiffNonFiniteError


def require_finite(prediction: Tensor, where: str = "") -> None:
    """Refuse predictions (B, ...) that hold NaN or infinity: whatever follows from them is no sample.

    Parameters
    ----------
    where
        The timestep, such as `` at t = 500``, for the message.

    Raises
    ------
    VizdiffNonFiniteError
        Where any image's holds one; the message says how many do.
    """
    finite = torch.isfinite(prediction)
    if not finite.all():
        lost = int((~finite).flatten(1).any(dim=1).sum())
        raise VizdiffNonFiniteError(
            f"the network's prediction holds NaN or infinity{where}, for {lost} of {len(prediction)} images; "
            "check its weights, or choose a smaller `guidance_scale`"
        )
