"""A network in latents of two numbers, on the map of what its decoder makes of each point: paths and where they end.

Knows nothing about figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import NUM_LABELS, Digits
from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.diffusion.prediction import device_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import Denoiser, ImageNoise
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.lessons.context import Progress, silent

Float32 = NDArray[np.float32]
LIMIT = 3.0
"""The map reaches from -LIMIT to LIMIT in both numbers, in standard deviations of the training digits."""
TILES = 17
"""Decoded images in a row and a column of the map."""
SHADES = 8
"""Grey levels in which they are kept."""
STEPS = 50
"""DDIM steps of each path, without guidance."""
STEPS_LEFT = (50, 30, 20, 10, 0)
"""Steps left at the states that are decoded."""
SHOWN_LABEL = 7
"""Label of the path whose states are shown."""
SHOWN_PATHS, SHOWN_DIGITS = 12, 500
"""Paths of each label, and encoded test digits, that are kept for the figure."""
SIZES = ((41, 20), (81, 200))
"""Points in a row of the map whose class is read, and noises from which paths start: quick and full."""


class FlatNetwork(NamedTuple):
    """A network that works in latents of two numbers."""

    network: Denoiser
    """Returns ε̂ of (B, 2, 1, 1) latents."""
    schedule: NoiseSchedule
    """The process that it is sampled in."""
    space: LatentSpace
    """Its autoencoder."""
    sha256: str
    """Of the network's weights."""


@dataclass(frozen=True, eq=False)
class LatentMap:
    """The plane of all latents of two numbers, and generations as paths on it.

    A point is (first number, second number): to the right and upwards on the map. The map is divided into equal cells,
    whose rows are counted from the bottom, and whose middles are decoded.
    """

    tiles: NDArray[np.uint8]
    """(G, G, H, W) uint8, 0 to SHADES - 1: the image that the decoder makes of the middle of each cell."""
    probability: NDArray[np.uint8]
    """(L, R, R) uint8, 0 to 255: the classifier's probability of each digit in the images of a finer division."""
    points: Float32
    """(M, 2) float32: the first encoded test digits."""
    point_labels: NDArray[np.int64]
    """(M,) int64: their labels."""
    right: NDArray[np.bool_]
    """(N,) bool: which reconstructions of N test digits are classified as their labels."""
    outside: float
    """Share of these digits whose latents lie beyond the edge of the map."""
    paths: Float32
    """(L, K, S + 1, 2) float32: a path of each label from each of K noises, from x_T to the finished latent."""
    read: NDArray[np.int64]
    """(F, L, P) int64: the digit that is read in the decoded states of the paths of each label from P noises."""
    steps_left: NDArray[np.int64]
    """(F,) int64, falling to 0: steps left at these states."""
    digit: int
    """The label of the path whose states are shown."""
    frames: Float32
    """(F, H, W) float32: what the decoder makes of the states of that label's path from the first noise."""
    sha256: str
    """Of the network's weights."""

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(F, L, P) bool: which states lie where the classifier reads the path's label in the decoded image."""
        return self.read == np.arange(self.read.shape[1])[:, None]

    @property
    def shuffled(self) -> NDArray[np.bool_]:
        """(L, P) bool: which paths from the same noise, but of another label, end in the region of a label."""
        count, noises = self.read.shape[1:]
        label, noise = np.arange(count)[:, None], np.arange(noises)
        other = (label + 1 + noise % (count - 1)) % count
        return np.asarray(self.read[-1][other, noise] == label)


def measure_map(
    flat: FlatNetwork,
    digits: Digits,
    classifier: DigitClassifier,
    digit: int,
    sizes: tuple[int, int],
    progress: Progress = silent,
) -> LatentMap:
    """Decode the map, encode and decode digits, and generate paths of every label from the same noises.

    Parameters
    ----------
    digits
        The N test digits.
    digit
        The label of the path whose states are shown.
    sizes
        R and P, see :data:`SIZES`.
    """
    space, (resolution, noises) = flat.space, sizes
    tiles = space.decode(cell_middles(TILES))[:, 0]
    progress(1, 4, "parts of the latent map")
    probability = classifier.probabilities(space.decode(cell_middles(resolution)))
    progress(2, 4, "parts of the latent map")
    latents = space.encode(digits.images)
    right = classifier.read(space.decode(latents)) == digits.labels
    points = latents[:, :, 0, 0]
    progress(3, 4, "parts of the latent map")
    paths = trace(flat, torch.arange(NUM_LABELS).repeat_interleave(noises), list(range(noises)) * NUM_LABELS)
    states = STEPS - np.array(STEPS_LEFT)
    decoded = [space.decode(paths[:, state, :, None, None]) for state in states]
    return LatentMap(
        tiles=np.rint((tiles.numpy() + 1) / 2 * (SHADES - 1)).astype(np.uint8).reshape(TILES, TILES, *tiles.shape[1:]),
        probability=np.rint(255 * probability.T.numpy()).astype(np.uint8).reshape(-1, resolution, resolution),
        points=points[:SHOWN_DIGITS].numpy(),
        point_labels=digits.labels[:SHOWN_DIGITS].numpy(),
        right=right.numpy(),
        outside=float((points.abs() > LIMIT).any(dim=1).double().mean()),
        paths=paths.reshape(NUM_LABELS, noises, STEPS + 1, 2)[:, :SHOWN_PATHS].numpy(),
        read=np.stack([classifier.read(images).numpy().reshape(NUM_LABELS, noises) for images in decoded]),
        steps_left=np.array(STEPS_LEFT),
        digit=digit,
        frames=np.stack([images[digit * noises, 0].numpy() for images in decoded]),
        sha256=flat.sha256,
    )


def cell_middles(count: int) -> Tensor:
    """Return the (count², 2, 1, 1) middles of the map's count × count cells, row by row from the bottom."""
    middles = LIMIT * ((2 * torch.arange(count, dtype=torch.float64) + 1) / count - 1)
    second, first = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([first, second], dim=-1).reshape(-1, 2, 1, 1).float()


def trace(flat: FlatNetwork, labels: Tensor, seeds: list[int]) -> Tensor:
    """Return the (B, S + 1, 2) points of DDIM generations, from x_T to the finished latent."""
    states = []
    for step in sampling_steps(
        flat.network,
        flat.schedule,
        ImageNoise(seeds, flat.space.latent_shape),
        labels.to(device_of(flat.network)),
        SamplerConfig("ddim", STEPS),
    ):
        states.append(step.x_t.cpu())
    return torch.stack([*states, step.x_prev.cpu()], dim=1)[:, :, :, 0, 0]
