"""Images with their labels and class names, and the conversion of pixels between bytes and [-1, 1]."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

IMAGE_SIZE = 28
IMAGE_SIZES = (28, 32, 64)
"""Heights and widths that a network can be trained on."""
NUM_LABELS = 10


@dataclass(frozen=True, eq=False)
class Digits:
    """Images with their labels."""

    images: Tensor
    """(N, C, H, W) float32 in [-1, 1]: -1 is black, 1 is white; C is 1 for grey or 3 for RGB, H = W."""
    labels: Tensor
    """(N,) int64 in 0 .. K-1."""
    class_names: tuple[str, ...] = ()
    """(K,) the names of the classes; empty where the labels are the digits 0 .. 9."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_labels(self) -> int:
        """K, the number of classes; 10 for digits."""
        return len(self.class_names) or NUM_LABELS

    @cached_property
    def present(self) -> tuple[int, ...]:
        """The labels that occur, rising."""
        return tuple(torch.unique(self.labels).tolist())

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the images, the labels and, where there are any, the class names, as 64 hexadecimal digits."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        if self.class_names:
            digest.update(json.dumps(self.class_names).encode())
        return digest.hexdigest()

    def take(self, rows: Tensor) -> Digits:
        """Return the images of the given rows, (M,) int64 or (N,) bool."""
        return Digits(self.images[rows], self.labels[rows], self.class_names)

    def draw_labels(self, rows: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return the (B,) int64 labels that a training step gives the images of (B,) rows; here nothing is drawn."""
        return self.labels[rows]

    def name(self, label: int) -> str:
        """Return the name of a class: its class name, or the digit."""
        return self.class_names[label] if self.class_names else str(label)

    def first_of_each(self, count: int) -> Digits:
        """Return ``count`` images, the first ones of each label in turn: 0, 1, .. K-1, 0, 1, ..

        Each label occurs equally often, up to one, until a label has no more images.

        Raises
        ------
        VizdiffUsageError
            Where there are fewer images, or ``count`` is below 1.
        """
        if not 1 <= count <= len(self):
            kind = "images" if self.class_names else "digits"
            raise VizdiffUsageError(f"a subset holds 1 to {len(self):,} {kind}, found {count:,}")
        turn = torch.empty_like(self.labels)
        for label in torch.unique(self.labels):
            rows = torch.nonzero(self.labels == label)[:, 0]
            turn[rows] = torch.arange(len(rows))
        rows = torch.argsort(turn * self.num_labels + self.labels)[:count]
        return self.take(rows)

    def typical_of(self, digit: int) -> Tensor:
        """Return the (C, H, W) image with the label ``digit`` that is nearest to the mean of all with that label.

        Raises
        ------
        VizdiffInputError
            Where no image has that label.
        """
        images = self.images[self.labels == digit]
        if not len(images):
            known = self.class_names[digit] if 0 <= digit < len(self.class_names) else digit
            shown = ", ".join(self.name(label) for label in self.present[:10]) + ", …" * (len(self.present) > 10)
            raise VizdiffInputError(f"the data hold no image with the label {known}; their labels are {shown}")
        distances = (images - images.mean(dim=0)).square().sum(dim=(1, 2, 3))
        return images[int(distances.argmin())]


@dataclass(frozen=True, eq=False)
class EncodedDigits(Digits):
    """Latents in the place of images, with their labels: what a network that works in latents is trained on.

    ``images`` are (N, c, h, w) float32 of mean about 0 and deviation about 1.
    """

    source: Digits | None = None
    """The images that were encoded."""
    encoder_sha256: str = ""
    """SHA-256 of the autoencoder's weights file."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the images that were encoded."""
        return super().sha256 if self.source is None else self.source.sha256

    def draw_labels(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the labels that the images would get, in the same draws: of digits with captions, true captions."""
        return super().draw_labels(rows, generator) if self.source is None else self.source.draw_labels(rows, generator)


def to_unit_range(pixels: NDArray[np.uint8]) -> Tensor:
    """Return (N, C, H, W) float32 in [-1, 1] from (N, H, W) or (N, H, W, 3) bytes: 0 becomes -1 and 255 becomes 1."""
    unit = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)
    return unit[:, None] if unit.ndim == 3 else unit.movedim(-1, 1).contiguous()


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return (N, H, W) or (N, H, W, 3) bytes from (N, C, H, W) in [-1, 1]; values outside are clipped.

    The inverse of :func:`to_unit_range`.
    """
    chosen = images[:, 0] if images.shape[1] == 1 else images.movedim(1, -1)
    scaled = (chosen.clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).cpu().numpy()
