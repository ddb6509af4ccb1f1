"""Mixtures of labels: one weight is a label, the null label stays, no hook is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from viz_diffusion.diffusion.label_mixture import mixed_labels
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError

Make = Callable[..., SimpleUNet]
X, T = torch.randn((3, 1, 28, 28), generator=torch.Generator().manual_seed(0)), torch.tensor([10, 400, 900])


def one_hot(label: int) -> torch.Tensor:
    return torch.eye(11)[label]


def test_a_mixture_of_one_label_is_that_label_and_the_null_label_stays(make_unet: Make) -> None:
    network = make_unet()
    with torch.no_grad():
        wanted = network(X, T, torch.tensor([7, 10, 7]))
        with mixed_labels(network, one_hot(7)):
            assert torch.allclose(network(X, T, torch.tensor([0, 10, 3])), wanted, atol=1e-6)
        assert not torch.allclose(network(X, T, torch.tensor([0, 10, 3])), wanted, atol=1e-3)


def test_the_embedding_is_the_weighted_sum(make_unet: Make) -> None:
    network = make_unet()
    weights = torch.linspace(-1, 1, 11)
    with mixed_labels(network, weights):
        found = network.label_emb(torch.tensor([4]))[0]
    assert torch.allclose(found, sum(w * network.label_emb.weight[k] for k, w in enumerate(weights)), atol=1e-5)


def test_no_hook_is_left_behind(make_unet: Make) -> None:
    network = make_unet()
    with pytest.raises(KeyError), mixed_labels(network, one_hot(1)):
        raise KeyError
    assert not network.label_emb._forward_hooks
    with pytest.raises(VizdiffUsageError, match="must be 11 numbers"), mixed_labels(network, torch.ones(10)):
        pass
