"""Latents of a pipeline and what its VAE makes of them: pictures of x̂_0, and back to the latents that it decoded.

Knows nothing about hooks, steps or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.tensor_values import to_numpy
from viz_diffusion.recording.trajectory import Float32, Trajectory


def decoded_trajectory(
    pipe: Any, trajectory: Trajectory, steps_left: Sequence[int], most_side: int | None = None
) -> Trajectory:
    """Return the trajectory with x̂_0 decoded at some numbers of steps left, reduced to ``most_side`` pixels a side.

    Raises
    ------
    VizdiffUsageError
        Where the pipeline has no VAE, or a number is not in 0..S.
    """
    vae = getattr(pipe, "vae", None)
    if vae is None:
        raise VizdiffUsageError(f"{type(pipe).__name__} has no VAE: its x is the picture, nothing to decode")
    outside = [n for n in steps_left if not 0 <= n <= trajectory.num_steps]
    if outside:
        raise VizdiffUsageError(f"steps left must lie in 0..{trajectory.num_steps}, found {outside[0]}")
    steps = trajectory.num_steps - np.array(sorted(set(steps_left), reverse=True), dtype=np.int64)
    latents = [trajectory.x0 if s == trajectory.num_steps else trajectory.x0_pred[:, s] for s in steps.tolist()]
    with torch.no_grad():
        images = [
            to_numpy(_reduced(vae.decode(decoder_input(vae, torch.from_numpy(z))).sample, most_side)) for z in latents
        ]
    return replace(trajectory, decoded=np.stack(images, axis=1), decoded_steps=steps)


def _reduced(images: Tensor, most_side: int | None) -> Tensor:
    """Return (B, C, H, W) images, larger ones as means of blocks with ``most_side`` pixels along the longer side."""
    height, width = images.shape[-2:]
    longest = max(height, width)
    if most_side is None or longest <= most_side:
        return images
    rows, columns = (max(1, length * most_side // longest) for length in (height, width))
    return adaptive_avg_pool2d(images, (rows, columns))


def decoder_input(vae: Any, latents: Tensor) -> Tensor:
    """Return what pipelines give ``vae.decode`` for their latents, (B, C, H, W): z = latents · std / scaling + mean."""
    std, scaling, mean = _scaling(vae, latents)
    return (latents * std / scaling + mean).to(vae.device, vae.dtype)


def ended_with(vae: Any, latents: Float32, decoded: Tensor) -> Float32 | None:
    """Return the latents that a pipeline ended with, from what its VAE decoded.

    Parameters
    ----------
    vae
        The VAE.
    latents
        (B, C, H, W): what the last step gave, returned as it is where the VAE decoded just that.
    decoded
        What ``vae.decode`` was called with.

    Returns
    -------
    None where that is no batch of these latents, or the VAE's config does not tell how they are scaled.
    """
    if getattr(vae.config, "scaling_factor", None) is None or tuple(decoded.shape) != latents.shape:
        return None
    found, expected = decoded.detach().cpu().float(), decoder_input(vae, torch.from_numpy(latents)).cpu().float()
    allowed = 8 * torch.finfo(decoded.dtype).eps * float(expected.abs().max())
    if not torch.isfinite(expected).all() or float((found - expected).abs().max()) <= allowed:
        return latents
    std, scaling, mean = _scaling(vae, found)
    array: Float32 = ((found - mean) * scaling / std).numpy()
    return array


def _scaling(vae: Any, like: Tensor) -> tuple[Any, float, Any]:
    """Return std, scaling and mean of :func:`decoder_input`."""
    config = vae.config
    scaling = getattr(config, "scaling_factor", None) or 1.0
    std, mean = getattr(config, "latents_std", None), getattr(config, "latents_mean", None)
    if std is None or mean is None:
        return 1.0, scaling, getattr(config, "shift_factor", None) or 0.0
    shape = (1, -1, *(1,) * (like.ndim - 2))
    return like.new_tensor(std).reshape(shape), scaling, like.new_tensor(mean).reshape(shape)
