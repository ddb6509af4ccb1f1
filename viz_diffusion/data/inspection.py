"""What a data set looks like: counts by class and split, examples, and a suspicion of transposed or inverted images.

Knows nothing about figures or the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data.images import NUM_LABELS, Digits, to_bytes
from viz_diffusion.data.loading import DataSet, load_digits

WHITE = 0.6
"""On the scale from -1 to 1: a background, the median of an image's border, that is at least so bright is white."""
MOST = 0.5
"""Of all images that must be so."""
CLEARER = 0.1
"""By how much the correlation with MNIST's mean digits must rise for images to count as transposed."""
LOOKED_AT = 2000


@dataclass(frozen=True)
class Suspicion:
    """Something that may be wrong with the images of a data set."""

    kind: str
    """``transposed``, ``inverted``, ``blank`` or ``repeated``."""
    text: str
    """What was found, and what to do, in one sentence."""


def count_by_class(digits: Digits) -> dict[str, int]:
    """Return how many images each class has, by its name."""
    counts = torch.bincount(digits.labels, minlength=digits.num_labels).tolist()
    return {digits.name(label): count for label, count in enumerate(counts)}


def examples(digits: Digits, count: int) -> NDArray[np.uint8]:
    """Return (K', count, H, W[, 3]) bytes: the first images of each class that has any; blank where it has fewer."""
    rows = []
    for label in digits.present:
        images = to_bytes(digits.images[digits.labels == label][:count])
        missing = count - len(images)
        rows.append(np.concatenate([images, np.full((missing, *images.shape[1:]), 255, np.uint8)]))
    return np.stack(rows)


def suspicions(data: DataSet, name: str = "") -> tuple[Suspicion, ...]:
    """Return what may be wrong: images that are transposed, inverted, blank, or both trained and tested on.

    ``name`` is the name of the folder or of the files: EMNIST's IDX files are known to be transposed.
    """
    found = [_transposed(data, name), _inverted(data.train), _blank(data.train), _repeated(data)]
    return tuple(one for one in found if one is not None)


def _transposed(data: DataSet, name: str) -> Suspicion | None:
    if data.kind == "IDX files" and "emnist" in name.lower():
        return Suspicion("transposed", "EMNIST's IDX files hold their images transposed; `transpose` mends a copy")
    likeness = digit_likeness(data.train)
    if likeness is None or likeness[1] < likeness[0] + CLEARER:
        return None
    return Suspicion(
        "transposed",
        f"the mean digits are more like MNIST's when transposed (correlation {likeness[1]:.2f}, as they are "
        f"{likeness[0]:.2f}); `transpose` mends a copy",
    )


def digit_likeness(digits: Digits) -> tuple[float, float] | None:
    """Return the mean correlation of the mean images with MNIST's, as they are and transposed.

    None where the classes are not digits of 28 x 28, in grey.
    """
    labels = [label for label in digits.present if digits.name(label) in map(str, range(NUM_LABELS))]
    if digits.images.shape[1:] != (1, 28, 28) or len(labels) < 2 or len(labels) < len(digits.present):
        return None
    known = load_digits("test")
    found = []
    for turned in (False, True):
        pairs = [
            (
                known.images[known.labels == int(digits.name(label))].mean(dim=0),
                digits.images[digits.labels == label][:LOOKED_AT].mean(dim=0),
            )
            for label in labels
        ]
        found.append(float(np.mean([_correlation(a, b.mT if turned else b) for a, b in pairs])))
    return found[0], found[1]


def _correlation(first: Tensor, second: Tensor) -> float:
    values = torch.stack([first.flatten(), second.flatten()]).double()
    return float(torch.nan_to_num(torch.corrcoef(values)[0, 1]))


def _inverted(digits: Digits) -> Suspicion | None:
    images = digits.images[:LOOKED_AT]
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]], dim=-1)
    share = float((border.flatten(1).median(dim=1).values >= WHITE).float().mean())
    if digits.images.shape[1] != 1 or share < MOST:
        return None
    return Suspicion(
        "inverted",
        f"{share:.0%} of the images have a white background, and MNIST's is black; a network learns either, and "
        "`invert` makes a copy that is alike",
    )


def _blank(digits: Digits) -> Suspicion | None:
    flat = digits.images.flatten(2)
    count = int((flat.amax(dim=2) == flat.amin(dim=2)).all(dim=1).sum())
    if not count:
        return None
    return Suspicion("blank", f"{count:,} of {len(digits):,} training images are of a single colour; look at the files")


def _repeated(data: DataSet) -> Suspicion | None:
    if data.test.images is data.train.images or data.sha256[0] == data.sha256[1]:
        return Suspicion("repeated", "the same images are trained on and held out: a loss on them says nothing new")
    known = {image.numpy().tobytes() for image in data.train.images}
    count = sum(image.numpy().tobytes() in known for image in data.test.images)
    if not count:
        return None
    return Suspicion(
        "repeated", f"{count:,} of {len(data.test):,} held-out images are among the training images as well"
    )
