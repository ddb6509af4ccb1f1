"""Views of a network that answer in another parameterization, or on another process than it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.interventions import WithInterventions, freeze_timestep, switch_label
from viz_diffusion.diffusion.oracles import GaussianOracle
from viz_diffusion.diffusion.parameterizations import PREDICTION_TYPES, convert
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.recording.hooks import match_modules

FLOW = NoiseSchedule.named("flow")
T = torch.tensor([0, 3, 250, 600, 999])
LABELS = torch.tensor([1, 2, 3, 10, 5])


@pytest.fixture
def network(make_unet: Callable[..., SimpleUNet], tiny_config: ModelConfig) -> SimpleUNet:
    """A network whose layers' output is its answer."""
    return make_unet(config=replace(tiny_config, schedule=None))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(1))


# -- exact change of variables ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "cosine", "zero-snr", "flow"])
@pytest.mark.parametrize("wanted", PREDICTION_TYPES)
def test_a_perfect_flow_network_is_a_perfect_denoiser_of_any_process(
    name: str, wanted: str, network: SimpleUNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's answer is the exact velocity of a Gaussian; the view must give the Gaussian oracle's answer."""
    schedule, mean, variance = NoiseSchedule.named(name), 0.3, 0.4

    def exact_velocity(self: SimpleUNet, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG001
        sigma = ((self.network_timesteps(timesteps).double() + 1) / 1000)[:, None, None, None]
        centred = x - (1 - sigma) * mean
        power = (1 - sigma) ** 2 * variance + sigma**2
        return (sigma - (1 - sigma) * variance) / power * centred - mean

    monkeypatch.setattr(SimpleUNet, "forward", exact_velocity)
    x0, noise = torch.randn(2, 1000, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.arange(1000)
    x_t = schedule.add_noise(mean + variance**0.5 * x0, noise, t)
    a, b = (torch.from_numpy(s)[:, None, None, None] for s in (schedule.signal_scale, schedule.noise_scale))
    best_x0 = mean + a * variance / (a**2 * variance + b**2) * (x_t - a * mean)
    best_eps = b / (a**2 * variance + b**2) * (x_t - a * mean)
    right = {
        "epsilon": best_eps,
        "sample": best_x0,
        "v_prediction": (a * best_eps - b * best_x0) / torch.hypot(a, b),
        "flow": best_eps - best_x0,
    }
    found = ConvertedUNet(network, "flow", schedule, wanted)(x_t, t, None)
    # σ reaches the network in float32
    torch.testing.assert_close(found, right[wanted], rtol=2e-5, atol=2e-5)
    if wanted == "epsilon" and name == "linear":
        oracle = GaussianOracle(schedule, np.full(16, mean), variance * np.eye(16))
        torch.testing.assert_close(found, oracle(x_t, t), rtol=2e-5, atol=2e-5)
        off_by_one = ConvertedUNet(network, "flow", schedule)(x_t[1:], t[:-1], None)  # a control
        assert (off_by_one - right[wanted][1:]).abs().max() > 1e-2


@pytest.mark.parametrize("wanted", PREDICTION_TYPES)
@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_v_and_x0_are_converted_by_the_table(
    kind: str, wanted: str, network: SimpleUNet, x: Tensor, linear: NoiseSchedule
) -> None:
    own = network(x, T, LABELS)
    scales = linear.signal_scale[T.numpy()], linear.noise_scale[T.numpy()]
    found = ConvertedUNet(network, kind, linear, wanted)(x, T, LABELS)
    assert torch.equal(found, convert(own, x, kind, wanted, *scales))
    assert torch.equal(found, own) == (kind == wanted)


def test_a_v_network_is_the_eps_network_whose_last_line_uses_the_schedule(
    make_unet: Callable[..., SimpleUNet],
    tiny_config: ModelConfig,
    network: SimpleUNet,
    x: Tensor,
    linear: NoiseSchedule,
) -> None:
    other = make_unet(config=replace(tiny_config, schedule="linear"))
    other.load_state_dict(network.state_dict())
    found = ConvertedUNet(network, "v_prediction", linear)(x, T, LABELS)
    torch.testing.assert_close(found, other(x, T, LABELS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("schedule", [None, "flow"])
def test_on_its_own_process_a_flow_network_answers_as_it_is(
    schedule: str | None, make_unet: Callable[..., SimpleUNet], tiny_config: ModelConfig, x: Tensor
) -> None:
    network = make_unet(config=replace(tiny_config, schedule=schedule))
    assert torch.equal(ConvertedUNet(network, "flow", FLOW, "flow")(x, T, LABELS), network(x, T, LABELS))


def test_the_velocity_line_makes_the_layers_predict_v(
    make_unet: Callable[..., SimpleUNet], tiny_config: ModelConfig, network: SimpleUNet, x: Tensor
) -> None:
    """The layers see x_σ; their output is the v of the variance-preserving process with the same SNR."""
    other = make_unet(config=replace(tiny_config, schedule="flow"))
    other.load_state_dict(network.state_dict())
    times = torch.tensor([-1.0, 2.5, 249.0, 599.9, 999.0])
    sigma = (times.double().numpy() + 1) / 1000
    power = np.sqrt((1 - sigma) ** 2 + sigma**2)
    unit = x / torch.from_numpy(power).float()[:, None, None, None]
    velocity = convert(network(x, times, LABELS), unit, "v_prediction", "flow", (1 - sigma) / power, sigma / power)
    torch.testing.assert_close(other(x, times, LABELS), velocity, rtol=1e-5, atol=1e-5)


def test_whole_timesteps_mean_the_same_as_floats(network: SimpleUNet, x: Tensor) -> None:
    assert torch.equal(network(x, T, LABELS), network(x, T.float(), LABELS))
    assert torch.equal(network(x, T), network(x, T.float()))  # no labels: the null label
    assert not torch.equal(network(x, T, LABELS), network(x, T.float() + 0.5, LABELS))


# -- transparent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["v_prediction", "sample", "flow"])
def test_a_view_is_the_network_with_its_modules_and_weights(
    kind: str, network: SimpleUNet, linear: NoiseSchedule
) -> None:
    view = ConvertedUNet(network, kind, linear)
    assert isinstance(view, SimpleUNet)
    assert [name for name, _ in view.named_modules()] == [name for name, _ in network.named_modules()]
    assert match_modules(view, ["down_*", "time_mlp"]) == match_modules(network, ["down_*", "time_mlp"])
    assert all(a is b for a, b in zip(view.parameters(), network.parameters(), strict=True))
    assert set(view.state_dict()) == set(network.state_dict())
    assert view.label_emb is network.label_emb
    assert (view.config, view.null_label, view.training) == (network.config, 10, False)
    assert view.prediction_type == "epsilon"
    again = view.seeing(FLOW, "flow")
    assert (again.trained_for, again.schedule, again.prediction_type) == (kind, FLOW, "flow")


def test_hooks_on_a_view_are_its_own(network: SimpleUNet, x: Tensor, linear: NoiseSchedule) -> None:
    view, calls = ConvertedUNet(network, "flow", linear), []
    view.register_forward_hook(lambda *_: calls.append("view"))
    network.register_forward_hook(lambda *_: calls.append("network"))
    view.mid1.register_forward_hook(lambda *_: calls.append("mid1"))
    view(x, T, LABELS)
    assert calls == ["mid1", "view"]


def test_the_time_embedding_of_a_flow_network_gets_the_noise_level(network: SimpleUNet, linear: NoiseSchedule) -> None:
    view = ConvertedUNet(network, "flow", linear)
    sigma = linear.noise_scale / (linear.noise_scale + linear.signal_scale)
    np.testing.assert_allclose(
        view.network_timesteps(torch.arange(1000)).numpy(), 1000 * sigma - 1, rtol=1e-6, atol=1e-6
    )
    assert torch.equal(view.embed(T, LABELS), network.embed(view.network_timesteps(T), LABELS))
    on_flow = view.seeing(FLOW).network_timesteps(torch.arange(1000))
    torch.testing.assert_close(on_flow, torch.arange(1000).float(), rtol=0, atol=1e-9)


def test_interventions_work_through_a_view(network: SimpleUNet, x: Tensor, linear: NoiseSchedule) -> None:
    view = ConvertedUNet(network, "flow", linear, "flow")
    changed = WithInterventions(view, switch_label(8, at=600), freeze_timestep(250))
    assert (changed.prediction_type, changed.null_label) == ("flow", 10)
    right = view(x, torch.full_like(T, 250), torch.tensor([8, 8, 8, 10, 5]))
    assert torch.equal(changed(x, T, LABELS), right)
    assert WithInterventions(nn.Identity()).prediction_type == "epsilon"
