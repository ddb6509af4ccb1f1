"""The shape of digits in four numbers: slant, thickness, width and height, by moments of the ink; and their levels.

Knows nothing about words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from viz_diffusion.data.images import Digits
from viz_diffusion.errors import VizdiffUsageError

Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
ATTRIBUTES = ("slant", "thickness", "width", "height")
"""The measured attributes, in the order of every array here."""
SHARE = 0.3
"""Share of the training digits of a class below the lower threshold of an attribute, and above the upper one."""
_BATCH = 5000


def measure_shapes(images: Tensor) -> Float64:
    """Measure the shape of digits.

    With the ink p = (x + 1) / 2 as a density over the pixels and its second moments μ (Hu 1962):

    =========  =========================  ================================================================
    slant      -μ_xy / μ_yy               columns to the right for each row upwards: 0 upright, 1 at 45°
    thickness  2 Σp / Σ‖∇p‖               pixels: a stroke of length L and width w has the area L w, and ink
                                          rises or falls by 1 along its two edges, 2 L; w at least 2
    width      √(μ_xx - μ_xy² / μ_yy)     pixels: standard deviation of the columns, slant removed
    height     √μ_yy                      pixels: standard deviation of the rows
    =========  =========================  ================================================================

    Parameters
    ----------
    images
        (N, 1, H, W) float32 in [-1, 1].

    Returns
    -------
    (N, 4) float64, in the order of :data:`ATTRIBUTES`; NaN where an image holds no ink.

    Raises
    ------
    VizdiffUsageError
        Where the images are not grey.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise VizdiffUsageError(f"`images` must be grey, (N, 1, H, W), found the shape {tuple(images.shape)}")
    parts = [_measure(part) for part in torch.split(images.detach().cpu(), _BATCH)]
    return torch.cat(parts).double().numpy() if parts else np.empty((0, len(ATTRIBUTES)))


def _measure(images: Tensor) -> Tensor:
    ink = (images[:, 0].float().clamp(-1, 1) + 1) / 2
    rows, columns = ink.sum(dim=2), ink.sum(dim=1)
    y, x = (torch.arange(size, dtype=ink.dtype) for size in ink.shape[1:])
    total = rows.sum(dim=1)
    dy, dx = y - (rows @ y / total)[:, None], x - (columns @ x / total)[:, None]
    mu_yy = (rows * dy**2).sum(dim=1) / total
    mu_xx = (columns * dx**2).sum(dim=1) / total
    mu_xy = ((ink @ dx[:, :, None])[:, :, 0] * dy).sum(dim=1) / total
    padded = functional.pad(ink, (1, 1, 1, 1))
    corner = padded[:, :-1, :-1]
    slope = ((padded[:, 1:, :-1] - corner) ** 2 + (padded[:, :-1, 1:] - corner) ** 2).sqrt().sum(dim=(1, 2))
    width = (mu_xx - mu_xy**2 / mu_yy).clamp(min=0).sqrt()
    return torch.stack([-mu_xy / mu_yy, 2 * total / slope, width, mu_yy.sqrt()], dim=1)


@dataclass(frozen=True, eq=False)
class ShapeLevels:
    """Thresholds that turn measured shapes into levels: -1 low, 0 between, 1 high, compared with the same class."""

    lower: Float64
    """(K, 4) float64: below it an attribute of a digit of the class is low."""
    upper: Float64
    """(K, 4) float64: above it, high."""

    @classmethod
    def of(cls, digits: Digits, shapes: Float64 | None = None, share: float = SHARE) -> ShapeLevels:
        """Return the thresholds at the quantiles ``share`` and 1 - ``share`` of each class of training digits."""
        shapes = measure_shapes(digits.images) if shapes is None else shapes
        labels, none = digits.labels.numpy(), np.full((1, len(ATTRIBUTES)), np.nan)
        classes = [shapes[labels == k] for k in range(digits.num_labels)]
        known = [one[~np.isnan(one).any(axis=1)] for one in classes]
        low, high = ([np.quantile(one if len(one) else none, q, axis=0) for one in known] for q in (share, 1 - share))
        return cls(np.stack(low), np.stack(high))

    def levels(self, shapes: Float64, labels: NDArray[Any]) -> Int8:
        """Return the (N, 4) int8 levels of digits with (N, 4) shapes and (N,) labels."""
        return (shapes > self.upper[labels]).astype(np.int8) - (shapes < self.lower[labels])
