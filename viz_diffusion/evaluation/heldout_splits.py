"""Pairs of disjoint sets of held-out images with the labels of samples: the reference, and real images to compare.

Neither set was seen by the network or by the classifier whose features are compared. Knows nothing about features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viz_diffusion.data import Digits


@dataclass(frozen=True, eq=False)
class Split:
    """Two disjoint sets of n held-out images with the same labels, in the same order."""

    reference: Tensor
    """(n,) int64 rows of the held-out images."""
    real: Tensor
    """(n,) int64 rows of others."""


def images_of_each(labels: Tensor, heldout: Digits) -> dict[int, int]:
    """Return how many images of each label a set has, so that the held-out images give two sets without repeating any.

    As many as the (N,) samples have of each label where there are twice as many held out; otherwise all counts are
    smaller by one factor. Their sum is n: with MNIST's test digits and samples of all labels in turn, n is N up to
    N = 4,460, half of what 892 test digits of each label allow (of the digit 5 there are no more).
    """
    if not len(labels):
        return {}
    present, counts = torch.unique(labels, return_counts=True)
    room = torch.bincount(heldout.labels, minlength=int(present.max()) + 1)[present] // 2
    share = min(1.0, float((room / counts).min()))
    return {int(k): int(share * int(count) + 1e-6) for k, count in zip(present, counts, strict=True)}


def split_heldout(each: dict[int, int], heldout: Digits, generator: torch.Generator) -> Split:
    """Draw two disjoint sets with ``each`` many images of every label; the images of a label stand together."""
    reference, real = [], []
    for label, count in each.items():
        rows = torch.nonzero(heldout.labels == label)[:, 0]
        drawn = rows[torch.randperm(len(rows), generator=generator)[: 2 * count]]
        reference.append(drawn[:count])
        real.append(drawn[count:])
    return Split(torch.cat(reference), torch.cat(real))


def cut_samples(each: dict[int, int], labels: Tensor) -> tuple[Tensor, ...]:
    """Return the (n,) rows of each of as many disjoint sets of the samples as there are, in the order of a split."""
    rows = {label: torch.nonzero(labels == label)[:, 0] for label in each}
    number = min(len(rows[label]) // count for label, count in each.items() if count)
    return tuple(
        torch.cat([rows[label][index * count : (index + 1) * count] for label, count in each.items()])
        for index in range(number)
    )
