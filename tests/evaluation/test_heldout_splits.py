"""Disjoint sets of held-out digits with the labels of samples."""

from __future__ import annotations

import torch

from viz_diffusion.data import Digits
from viz_diffusion.evaluation.heldout_splits import cut_samples, images_of_each, split_heldout


def heldout(*counts: int) -> Digits:
    """Return these many images of the labels 0, 1, …"""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Digits(torch.zeros(len(labels), 1, 2, 2), labels)


def test_sets_are_disjoint_and_have_the_labels_of_the_samples() -> None:
    digits, labels = heldout(40, 30, 50), torch.tensor([0, 1, 2, 2] * 5)
    each = images_of_each(labels, digits)
    assert each == {0: 5, 1: 5, 2: 10}
    split = split_heldout(each, digits, torch.Generator().manual_seed(0))
    assert len(torch.cat([split.reference, split.real]).unique()) == 40
    for rows in (split.reference, split.real):
        assert digits.labels[rows].tolist() == [0] * 5 + [1] * 5 + [2] * 10
    (rows,) = cut_samples(each, labels)
    assert labels[rows].equal(digits.labels[split.real]), "the samples stand in the order of the sets"
    assert rows.sort().values.equal(torch.arange(20))


def test_where_too_few_are_held_out_all_counts_shrink_and_the_samples_are_cut() -> None:
    """892 fives of MNIST's test digits allow 446 of each label: 4,460 images in each of two sets."""
    digits = heldout(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    for count, compared, sets in ((2000, 2000, 1), (4460, 4460, 1), (5000, 4460, 1), (10000, 4460, 2)):
        labels = torch.arange(count) % 10
        each = images_of_each(labels, digits)
        assert sum(each.values()) == compared
        cut = cut_samples(each, labels)
        assert len(cut) == sets
        assert len(torch.cat(cut).unique()) == sets * compared, "no sample twice"
        assert all(len(rows) == compared for rows in cut)


def test_a_label_without_two_images_leaves_none() -> None:
    assert sum(images_of_each(torch.arange(20) % 2, heldout(30, 1)).values()) == 0
