"""The embedding's own timestep: closed forms of what the last line makes of it, and no hook is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.embedded_timestep import embedded_timesteps, has_time_embedding
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet

SCHEDULE = NoiseSchedule.named("linear")
T, WRONG, LABELS = torch.tensor([3, 400, 990]), torch.tensor([700, 20, 500]), torch.tensor([0, 5, 10])
Make = Callable[..., SimpleUNet]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def scales(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return √ᾱ and √(1-ᾱ) as factors of images."""
    power = torch.from_numpy(SCHEDULE.alphas_cumprod[t.numpy()])[:, None, None, None]
    return power.sqrt().float(), (1 - power).sqrt().float()


def told(network: SimpleUNet, x: Tensor, embedded: Tensor) -> Tensor:
    with torch.no_grad(), embedded_timesteps(network, embedded):
        return network(x, T, LABELS)


def test_the_last_line_keeps_its_own_timestep(make_unet: Make, x: Tensor) -> None:
    """ε̂ = √(1-ᾱ_t) x + √ᾱ_t F, with F taken from a call at the wrong timestep."""
    network = make_unet()
    with torch.no_grad():
        everywhere, right = network(x, WRONG, LABELS), network(x, T, LABELS)
    (signal, spread), (wrong_signal, wrong_spread) = scales(T), scales(WRONG)
    layers = (everywhere - wrong_spread * x) / wrong_signal
    found = told(network, x, WRONG)
    assert torch.allclose(found, spread * x + signal * layers, atol=1e-4)
    assert not torch.allclose(found, right, atol=1e-2)
    assert not torch.allclose(found, everywhere, atol=1e-2)
    assert torch.equal(told(network, x, T), right)


def test_without_a_last_line_it_is_the_wrong_timestep_everywhere(
    make_unet: Make, x: Tensor, tiny_config: ModelConfig
) -> None:
    network = make_unet(config=replace(tiny_config, schedule=None))
    with torch.no_grad():
        assert torch.equal(told(network, x, WRONG), network(x, WRONG, LABELS))


def test_a_network_that_predicts_x0_is_converted_at_its_own_timestep(
    make_unet: Make, x: Tensor, tiny_config: ModelConfig
) -> None:
    """ε̂ = (x - √ᾱ_t x̂_0) / √(1-ᾱ_t)."""
    layers = make_unet(config=replace(tiny_config, schedule=None))
    network = ConvertedUNet(layers, "sample", SCHEDULE)
    signal, spread = scales(T)
    with torch.no_grad():
        expected = (x - signal * layers(x, WRONG, LABELS)) / spread
    assert torch.allclose(told(network, x, WRONG), expected, rtol=1e-3, atol=1e-3)


def test_of_flow_matching_the_embedding_gets_the_wrong_timestep_as_the_network_counts(
    make_unet: Make, x: Tensor, tiny_config: ModelConfig
) -> None:
    network = ConvertedUNet(make_unet(config=replace(tiny_config, schedule="flow")), "flow", SCHEDULE)
    with torch.no_grad():
        assert torch.equal(told(network, x, T), network(x, T, LABELS))
        assert not torch.allclose(told(network, x, WRONG), network(x, T, LABELS), atol=1e-3)


def test_no_hook_is_left_behind(make_unet: Make, x: Tensor) -> None:
    network = make_unet()
    told(network, x, WRONG)
    with pytest.raises(ZeroDivisionError), embedded_timesteps(network, WRONG):
        _ = 1 / 0
    assert not network.time_mlp._forward_pre_hooks


def test_only_a_network_with_timesteps_has_an_embedding(make_unet: Make, tiny_config: ModelConfig) -> None:
    assert has_time_embedding(make_unet())
    assert not has_time_embedding(make_unet(config=replace(tiny_config, use_time=False, schedule=None)))
    assert not has_time_embedding(lambda x, _t: np.zeros_like(x))
