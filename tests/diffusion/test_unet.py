"""The sinusoidal code in closed form, and a U-Net whose output depends on each of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, ResidualBlock, SimpleUNet, SinusoidalPositionEmbeddings
from viz_diffusion.errors import VizdiffInputError

# -- the clock face --------------------------------------------------------------------------------


def test_codes_by_hand() -> None:
    codes = SinusoidalPositionEmbeddings(4)(torch.tensor([0, 1, 100]))
    # frequencies 10000^0 = 1 and 10000^(-1/2) = 0.01; sines first, then cosines
    by_hand = [
        [0.0, 0.0, 1.0, 1.0],
        [0.84147098, 0.00999983, 0.54030231, 0.99995000],
        [-0.50636564, 0.84147098, 0.86231887, 0.54030231],
    ]
    torch.testing.assert_close(codes, torch.tensor(by_hand), rtol=0, atol=1e-5)
    assert codes.dtype == torch.float32


@pytest.mark.parametrize("dim", [2, 8, 128])
def test_codes_entry_by_entry(dim: int) -> None:
    timesteps = [0, 1, 259, 999]
    codes = SinusoidalPositionEmbeddings(dim)(torch.tensor(timesteps))
    half = dim // 2
    for row, t in enumerate(timesteps):
        for k in range(half):
            angle = t * 10000 ** (-k / half)
            # float32 angles up to 999 are off by up to 999·2^-24 = 6e-5, twice rounded
            assert codes[row, k] == pytest.approx(math.sin(angle), abs=2e-4)
            assert codes[row, half + k] == pytest.approx(math.cos(angle), abs=2e-4)


@pytest.mark.parametrize("dim", [2, 128, 512])
def test_every_code_is_as_long(dim: int) -> None:
    norms = SinusoidalPositionEmbeddings(dim)(torch.arange(1000)).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((1000,), math.sqrt(dim / 2)), rtol=1e-6, atol=0)


def test_similarity_depends_only_on_the_distance() -> None:
    codes = SinusoidalPositionEmbeddings(128)(torch.arange(1000))
    cosine = codes @ codes.T / 64
    for distance, known in ((1, 0.97), (10, 0.67), (100, 0.48), (500, 0.30), (999, 0.18)):
        diagonal = cosine.diagonal(distance)
        assert round(diagonal[0].item(), 2) == known
        assert diagonal.max() - diagonal.min() < 1e-3


@pytest.mark.parametrize("dim", [-2, 0, 1, 7, 127])
def test_odd_widths_are_refused(dim: int) -> None:
    with pytest.raises(VizdiffInputError, match=f"even.*found {dim}"):
        SinusoidalPositionEmbeddings(dim)


# -- the network -----------------------------------------------------------------------------------


def test_the_default_network() -> None:
    unet = SimpleUNet()
    assert 1e6 < sum(weight.numel() for weight in unet.parameters()) < 4e6
    assert unet.null_label == 10
    assert unet.label_emb.num_embeddings == 11
    x = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        assert unet(x, torch.tensor([0, 500, 999]), torch.tensor([0, 9, 10])).shape == x.shape


def test_a_new_network_without_schedule_predicts_zero_noise(tiny_config: ModelConfig) -> None:
    """So that training begins at a loss of 1, whatever the seed."""
    unet = SimpleUNet(replace(tiny_config, schedule=None))
    assert not unet(torch.randn(2, 1, 28, 28), torch.tensor([0, 999]), torch.tensor([0, 9])).any()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_new_network_predicts_a_grey_mean_image(name: str, tiny_config: ModelConfig) -> None:
    """Its layers give v = 0, that is x̂_0 = √ᾱ x_t: the posterior mean of pixels with mean 0 and variance 1."""
    unet, schedule = SimpleUNet(replace(tiny_config, schedule=name)), NoiseSchedule.named(name)
    x, t = torch.randn(3, 1, 28, 28, dtype=torch.float64), torch.tensor([0, 259, 990])
    with torch.no_grad():
        eps = unet(x.float(), t, torch.tensor([0, 9, 10])).double()
    signal = torch.from_numpy(schedule.alphas_cumprod)[t][:, None, None, None]
    torch.testing.assert_close(eps, (1 - signal).sqrt() * x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(schedule.predict_x0(x, eps, t), signal.sqrt() * x, rtol=1e-3, atol=2e-3)


def test_an_error_of_the_layers_enters_the_predicted_x0_once(tiny_config: ModelConfig, make_unet: Callable) -> None:
    """A bare network's error is multiplied by √((1-ᾱ)/ᾱ), 157 at t = 999; this one's by √(1-ᾱ), at most 1."""
    schedule, x, t = NoiseSchedule.named("linear"), torch.randn(4, 1, 28, 28), torch.tensor([0, 259, 700, 999])
    for known, gains in (("linear", np.sqrt(1 - schedule.alphas_cumprod)), (None, 1 / np.sqrt(schedule.snr))):
        unet = make_unet(0, replace(tiny_config, schedule=known))
        before = schedule.predict_x0(x, unet(x, t), t)
        unet.conv_out.bias += 0.1
        change = (before - schedule.predict_x0(x, unet(x, t), t)).mean(dim=(1, 2, 3))
        np.testing.assert_allclose(change, 0.1 * gains[t], rtol=2e-3)


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_shapes(num_blocks: int, channels: int, size: int, tiny_config: ModelConfig, make_unet: Callable) -> None:
    config = replace(tiny_config, num_blocks=num_blocks, in_channels=channels, image_size=size)
    x = torch.randn(2, channels, size, size)
    assert make_unet(0, config)(x, torch.tensor([3, 4])).shape == x.shape


def test_more_middle_blocks_leave_the_other_weights_as_they_are(tiny_config: ModelConfig) -> None:
    """And begin as the identity, as every residual block does; control: with other weights they do something."""
    networks = []
    for count in (2, 4):
        torch.manual_seed(0)
        networks.append(SimpleUNet(replace(tiny_config, num_mid_blocks=count)))
    without, more = (network.state_dict() for network in networks)
    assert {name.split(".")[0] for name in more.keys() - without.keys()} == {"mid_more"}
    assert all(torch.equal(more[name], weight) for name, weight in without.items())
    x, t, labels = torch.randn(2, 1, 28, 28), torch.tensor([5, 500]), torch.tensor([1, 10])
    torch.nn.init.ones_(networks[0].conv_out.weight)
    networks[1].conv_out.load_state_dict(networks[0].conv_out.state_dict())
    same, other = (network(x, t, labels) for network in networks)
    assert torch.equal(same, other)
    torch.nn.init.ones_(networks[1].mid_more[1].conv2.weight)
    assert not torch.allclose(networks[1](x, t, labels), same)


def test_of_one_place_only_the_middle_of_a_kernel_counts(tiny_config: ModelConfig, make_unet: Callable) -> None:
    """So a network for latents without rows and columns needs convolutions of one weight, and no others."""
    config = replace(tiny_config, image_size=1, in_channels=2, fold=1)
    wide, narrow = make_unet(0, config), make_unet(0, replace(config, kernel_size=1))
    middles = {
        name: weight[..., 1:2, 1:2] if weight.ndim == 4 and weight.shape[-1] == 3 else weight
        for name, weight in wide.state_dict().items()
    }
    narrow.load_state_dict(middles)
    x, t, labels = torch.randn(3, 2, 1, 1), torch.tensor([5, 500, 999]), torch.tensor([1, 4, 10])
    torch.testing.assert_close(narrow(x, t, labels), wide(x, t, labels), rtol=1e-4, atol=1e-5)


def test_time_and_label_are_one_sum(make_unet: Callable) -> None:
    unet, t, labels = make_unet(), torch.tensor([0, 7, 999]), torch.tensor([0, 9, 10])
    assert torch.equal(unet.embed(t, labels), unet.time_mlp(t) + unet.label_emb.weight[[0, 9, 10]])


def test_no_labels_mean_the_null_label(make_unet: Callable) -> None:
    unet, x, t = make_unet(), torch.randn(2, 1, 28, 28), torch.tensor([5, 500])
    assert torch.equal(unet(x, t), unet(x, t, torch.tensor([10, 10])))
    assert not torch.equal(unet(x, t), unet(x, t, torch.tensor([10, 9])))


def largest_change(first: Tensor, second: Tensor) -> float:
    return ((first - second).abs().max() / first.abs().max()).item()


def test_the_answer_depends_on_image_time_and_label(make_unet: Callable) -> None:
    unet, x, t, labels = make_unet(), torch.randn(1, 1, 28, 28), torch.tensor([500]), torch.tensor([3])
    answer = unet(x, t, labels)
    assert largest_change(answer, unet(x, t + 1, labels)) > 1e-4
    for other in (0, 4, 10):
        assert largest_change(answer, unet(x, t, torch.tensor([other]))) > 1e-3
    for row, column in ((0, 0), (13, 14), (27, 27)):
        changed = x.clone()
        changed[0, 0, row, column] += 1
        assert largest_change(answer, unet(changed, t, labels)) > 1e-3


def test_images_do_not_see_each_other(make_unet: Callable) -> None:
    unet, x = make_unet(), torch.randn(4, 1, 28, 28)
    t, labels = torch.tensor([0, 10, 500, 999]), torch.tensor([0, 5, 9, 10])
    together = unet(x, t, labels)
    for row in range(4):
        alone = unet(x[row : row + 1], t[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_every_residual_block_hears_the_embedding(
    num_blocks: int, tiny_config: ModelConfig, make_unet: Callable
) -> None:
    config = replace(tiny_config, num_blocks=num_blocks)
    unet, x = make_unet(0, config), torch.randn(1, 1, 28, 28)
    inputs = (x, torch.tensor([300]), torch.tensor([8]))
    eps = unet(*inputs)
    blocks = {name: part for name, part in unet.named_modules() if isinstance(part, ResidualBlock)}
    assert len(blocks) == 4 * num_blocks + 2
    for name, block in blocks.items():
        kept = {key: value.clone() for key, value in block.condition.state_dict().items()}
        nn.init.zeros_(block.condition.weight)
        nn.init.zeros_(block.condition.bias)
        assert largest_change(eps, unet(*inputs)) > 1e-4, name
        block.condition.load_state_dict(kept)
    assert torch.equal(unet(*inputs), eps)


def test_every_weight_gets_a_gradient(make_unet: Callable) -> None:
    unet = make_unet().requires_grad_(True)
    labels = torch.arange(11)
    unet(torch.randn(11, 1, 28, 28), labels * 90, labels).square().sum().backward()
    assert [name for name, weight in unet.named_parameters() if not weight.grad.any()] == []


def test_attention_sees_the_whole_map(make_unet: Callable) -> None:
    """softmax(q kᵀ/√d) v, worked out by hand for each head."""
    block = make_unet().mid_attention
    x = torch.randn(2, 8, 3, 5)
    q, k, v = (part.reshape(2, 2, 4, 15) for part in block.qkv(block.norm(x)).chunk(3, dim=1))
    weights = torch.softmax(torch.einsum("bhci,bhcj->bhij", q, k) / 2, dim=-1)
    mixed = torch.einsum("bhij,bhcj->bhci", weights, v).reshape(2, 8, 3, 5)
    torch.testing.assert_close(block(x), x + block.out(mixed), rtol=1e-5, atol=1e-5)


# -- its config ------------------------------------------------------------------------------------


def test_config_round_trip(tiny_config: ModelConfig) -> None:
    values = {**vars(tiny_config), "channels": list(tiny_config.channels)}
    assert ModelConfig.from_dict(values) == tiny_config
    assert ModelConfig.from_dict({"schedule": "linear"}) == ModelConfig()
    assert ModelConfig.from_dict({}).schedule is None  # a config from before the last line knew a schedule


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"width": 3}, "width"),
        ({"channels": 8}, "int"),
        ({"channels": [8]}, "whole numbers"),
        ({"channels": [8, 8, 8]}, "whole numbers"),
        ({"channels": [8, "8"]}, "whole numbers"),
        ({"channels": "88"}, "whole numbers"),
        ({"num_blocks": 0}, "whole numbers"),
        ({"num_mid_blocks": 1}, "at least 2, found 1"),
        ({"num_blocks": 1.5}, "whole numbers"),
        ({"num_labels": True}, "whole numbers"),
        ({"embedding_dim": 10**9}, "whole numbers"),
        ({"time_dim": None}, "whole numbers"),
    ],
    ids=str,
)
def test_misshapen_configs_are_refused(values: dict[str, object], named: str) -> None:
    with pytest.raises(VizdiffInputError, match=named):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [{"channels": [12, 12]}, {"channels": [8, 8], "num_heads": 3}, {"image_size": 30}, {"time_dim": 7}],
    ids=str,
)
def test_configs_no_network_can_be_built_from_are_refused(values: dict[str, object]) -> None:
    """The group norms need channels in eights, attention a divisor, folding twice a multiple of four."""
    with pytest.raises(VizdiffInputError):
        SimpleUNet(ModelConfig.from_dict(values))
