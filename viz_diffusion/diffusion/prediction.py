"""Noise predictions of many images at once, a batch after another, on whatever device the denoiser is.

Knows nothing about samplers or schedules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.finite import require_finite
from viz_diffusion.diffusion.samplers import Denoiser

PREDICTION_BATCH = 200
"""Images of one forward pass by default; results depend on it by rounding alone."""


@torch.no_grad()
def predict_noise(
    denoiser: Denoiser,
    x_t: Tensor,
    timesteps: Tensor | int,
    labels: Tensor | int | None = None,
    *,
    batch_size: int = PREDICTION_BATCH,
) -> Tensor:
    """Return the predicted noise ε̂ of (B, C, H, W) noised images, in batches.

    Parameters
    ----------
    denoiser
        Called with (x, timesteps, labels), or with (x, timesteps) where ``labels`` is None.
    x_t
        (B, C, H, W) floating point, on any device.
    timesteps, labels
        (B,) int64, or one number for all images.
    batch_size
        Images of one forward pass; the last one may have fewer.

    Returns
    -------
    (B, C, H, W) float32
        On the CPU, without a gradient.

    Raises
    ------
    VizdiffNonFiniteError
        Where it holds NaN or infinity.
    """
    device = device_of(denoiser)
    inputs = [x_t]
    for values in (timesteps, labels):
        if values is not None:
            values = values if isinstance(values, Tensor) else torch.tensor(values, device="cpu")
            inputs.append(values.expand(len(x_t)).contiguous())
    batches = zip(*(torch.split(values, batch_size) for values in inputs), strict=True)
    predicted = torch.cat([denoiser(*(part.to(device) for part in batch)).float().cpu() for batch in batches])
    require_finite(predicted)
    return predicted


def device_of(denoiser: Any) -> torch.device:
    """Return the device of a module's first parameter or buffer; the CPU for whatever has none."""
    if isinstance(denoiser, nn.Module):
        for tensor in (*denoiser.parameters(), *denoiser.buffers()):
            return tensor.device
    return torch.device("cpu")
