"""What an autoencoder keeps of digits: reconstructions and how the classifier reads them, and what a channel holds.

Takes any latent space. Knows nothing about denoisers, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent

Bools = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
MOVED_DIGITS = (10, 40)
"""Digits whose latents are moved at every place, quick and full."""
NEAR = 8
"""Pixels from the middle of a place within which a change counts as near: a square of 16 by 16 pixels."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """N test digits, and what the decoder makes of their latents of c channels."""

    right: Bools
    """(N,) bool: which of the digits are classified as their labels."""
    decoded_right: Bools
    """(N,) bool: which of their reconstructions are."""
    squared_error: Float64
    """(N,) float64: mean squared difference per pixel, in the grey scale from -1 to 1."""
    channel_mean: Float64
    """(c,) float64: mean of each channel over digits and places; 0 on the training digits."""
    channel_deviation: Float64
    """(c,) float64: its standard deviation; 1 on the training digits."""
    images: Float32
    """(L, H, W) float32: a typical digit of each label."""
    latents: Float32
    """(L, c, h, w) float32: their latents."""
    decoded: Float32
    """(L, H, W) float32: their reconstructions."""


@dataclass(frozen=True, eq=False)
class Channels:
    """What each of c channels of the latent changes in the decoded image."""

    without: Float32
    """(c, H, W) float32: one digit, decoded with the channel at its mean everywhere."""
    whole: Float32
    """(H, W) float32: the same digit, decoded from its whole latent."""
    whole_right: Bools
    """(N,) bool: which reconstructions of N digits are classified as their labels."""
    without_right: Bools
    """(c, N) bool: the same with the channel at its mean."""
    change: Float32
    """(c, H, W) float32: mean change of a pixel where the middle place is moved by one standard deviation."""
    near: Float64
    """(M,) float64: of M digits, share of the squared change near the place that was moved, over all channels, places
    and both directions."""
    near_area: float
    """The share that a change spread evenly over the image would have there."""


def measure_reconstruction(space: LatentSpace, digits: Digits, classifier: DigitClassifier) -> Reconstruction:
    """Encode and decode digits, and classify both."""
    latents = space.encode(digits.images)
    decoded = space.decode(latents)
    shown = [int(torch.nonzero(digits.labels == label)[0]) for label in digits.present]
    numbers = latents.double()
    return Reconstruction(
        right=(classifier.read(digits.images) == digits.labels).numpy(),
        decoded_right=(classifier.read(decoded) == digits.labels).numpy(),
        squared_error=(decoded.double() - digits.images.double()).square().mean(dim=(1, 2, 3)).numpy(),
        channel_mean=numbers.mean(dim=(0, 2, 3)).numpy(),
        channel_deviation=numbers.std(dim=(0, 2, 3), correction=0).numpy(),
        images=digits.images[shown, 0].numpy(),
        latents=latents[shown].numpy(),
        decoded=decoded[shown, 0].numpy(),
    )


def measure_channels(
    space: LatentSpace, digits: Digits, classifier: DigitClassifier, shown: int, count: int, progress: Progress = silent
) -> Channels:
    """Set one channel of the digits' latents to its mean, and move one place of one channel.

    Parameters
    ----------
    shown
        Index of the digit that is drawn.
    count
        M: the first digits, whose latents are moved at every place.
    """
    latents = space.encode(digits.images)
    whole = space.decode(latents)
    channels = space.latent_shape[0]
    without = []
    for channel in range(channels):
        emptied = latents.clone()
        emptied[:, channel] = 0
        without.append(space.decode(emptied))
    change, near, area = _moved(space, latents[:count], whole[:count], progress)
    return Channels(
        without=np.stack([images[shown, 0].numpy() for images in without]),
        whole=whole[shown, 0].numpy(),
        whole_right=(classifier.read(whole) == digits.labels).numpy(),
        without_right=np.stack([(classifier.read(images) == digits.labels).numpy() for images in without]),
        change=change,
        near=near,
        near_area=area,
    )


def _moved(space: LatentSpace, latents: Tensor, whole: Tensor, progress: Progress) -> tuple[Float32, Float64, float]:
    """Return (c, H, W) mean changes of the middle place, (M,) shares near the moved place, and the share of its area.

    Each number is moved by one standard deviation up and down; the change is half the difference of both images.
    """
    channels, rows, columns = space.latent_shape
    _, height, width = space.image_shape
    middle, change = (rows // 2, columns // 2), np.zeros((channels, height, width), np.float32)
    inside, total = torch.zeros(len(latents), dtype=torch.float64), torch.zeros(len(latents), dtype=torch.float64)
    area = 0.0
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        box = _near_box(row, rows, height), _near_box(column, columns, width)
        area += (box[0].stop - box[0].start) * (box[1].stop - box[1].start) / (height * width) / (rows * columns)
        for channel in range(channels):
            images = []
            for step in (1.0, -1.0):
                moved = latents.clone()
                moved[:, channel, row, column] += step
                images.append(space.decode(moved))
            for one in images:
                squared = (one - whole).double().square()
                total += squared.sum(dim=(1, 2, 3))
                inside += squared[:, :, box[0], box[1]].sum(dim=(1, 2, 3))
            if (row, column) == middle:
                change[channel] = ((images[0] - images[1]) / 2).mean(dim=(0, 1)).numpy()
        progress(place + 1, rows * columns, "places of the latent moved")
    return change, (inside / total.clamp(min=1e-12)).numpy(), area


def _near_box(index: int, count: int, size: int) -> slice:
    """Return the pixels within :data:`NEAR` of the middle of a place, cut at the image's edge."""
    centre = (2 * index + 1) * size // (2 * count)
    return slice(max(0, centre - NEAR), min(size, centre + NEAR))
