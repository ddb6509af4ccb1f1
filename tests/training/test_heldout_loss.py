"""The held-out loss by hand, and the weights of the squared errors in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.training.loop import TrainState, heldout_loss, train
from viz_diffusion.training.objective import loss_weights
from viz_diffusion.training.train_config import TrainConfig

SHORT = TrainConfig(steps=5, batch_size=4, warmup_steps=2)

# -- held-out loss ---------------------------------------------------------------------------------


class FunctionDenoiser(nn.Module):
    """A denoiser given as a function of x_t and t."""

    def __init__(self, predict: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))  # gives the device
        self.predict = predict

    def forward(self, x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        return self.predict(x, t)


def test_heldout_loss_by_quarter(linear: NoiseSchedule) -> None:
    """For images that are -1 everywhere ε follows from x_t; predicted in one quarter of t, the loss there is 0."""
    data = Digits(torch.full((50, 1, 28, 28), -1.0), torch.zeros(50, dtype=torch.int64))

    def truth(x: Tensor, t: Tensor) -> Tensor:
        return linear.predict_eps(x, torch.full_like(x, -1), t)

    def second_quarter(x: Tensor, t: Tensor) -> Tensor:
        return truth(x, t) * ((t >= 250) & (t < 500))[:, None, None, None]

    assert heldout_loss(FunctionDenoiser(truth), linear, data) == pytest.approx([0, 0, 0, 0], abs=1e-8)
    of_zero = heldout_loss(FunctionDenoiser(lambda x, _: 0 * x), linear, data)
    spread = 5 * (2 / (12 * 784)) ** 0.5
    assert of_zero == pytest.approx([1, 1, 1, 1], abs=spread)
    losses = heldout_loss(FunctionDenoiser(second_quarter), linear, data)
    assert losses[1] == pytest.approx(0, abs=1e-8)
    assert [losses[0], *losses[2:]] == pytest.approx([of_zero[0], *of_zero[2:]], rel=1e-6)


def test_heldout_loss_repeats_and_does_not_depend_on_the_batch(
    make_unet: Callable, few_digits: Digits, linear: NoiseSchedule
) -> None:
    unet, before = make_unet(), torch.get_rng_state()
    first = heldout_loss(unet, linear, few_digits)
    assert heldout_loss(unet, linear, few_digits) == first
    assert heldout_loss(unet, linear, few_digits, batch_size=7) == pytest.approx(first, rel=1e-5)
    assert heldout_loss(make_unet(1), linear, few_digits) != first
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_batches", [0, 1, 3])
def test_heldout_loss_is_none_once_it_should_stop(
    num_batches: int, make_unet: Callable, few_digits: Digits, linear: NoiseSchedule
) -> None:
    unet, answers = make_unet(), iter([False] * num_batches + [True])
    calls = []
    unet.register_forward_hook(lambda *_: calls.append(None))
    assert heldout_loss(unet, linear, few_digits, batch_size=10, should_stop=lambda: next(answers)) is None
    assert len(calls) == num_batches


@pytest.mark.parametrize("count", [1, 2, 3])
def test_heldout_loss_of_few_images_is_finite(
    count: int, make_unet: Callable, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """A data_dir may hold few test images; a NaN in the metrics log would stop training."""
    few = Digits(few_digits.images[:count], few_digits.labels[:count])
    assert np.isfinite(heldout_loss(make_unet(), linear, few)).all()


def test_loss_weights_by_hand() -> None:
    schedule = NoiseSchedule.named("linear")
    weights = loss_weights(schedule, TrainConfig(weight_exponent=0.5)).double().numpy()
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(
        weights / weights[0], np.sqrt(schedule.alphas_cumprod[0] / schedule.alphas_cumprod), rtol=1e-5
    )
    assert torch.equal(loss_weights(schedule, TrainConfig(weight_exponent=0.0)), torch.ones(1000))


def test_with_exponent_1_all_timesteps_have_equal_weight_in_v() -> None:
    schedule, x0, noise, other = NoiseSchedule.named("linear"), *torch.randn(3, 1000, 1, 8, 8).double()
    t = torch.arange(1000)
    signal = torch.from_numpy(schedule.alphas_cumprod)[:, None, None, None]
    x_t = schedule.add_noise(x0, noise, t)
    v = signal.sqrt() * noise - (1 - signal).sqrt() * x0
    eps_pred = (1 - signal).sqrt() * x_t + signal.sqrt() * (v + other)  # ε̂ with an error in v
    errors = (eps_pred - noise).square().mean(dim=(1, 2, 3)) * loss_weights(schedule, TrainConfig(weight_exponent=1.0))
    scaled = errors / other.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(scaled, scaled[:1].expand(1000), rtol=1e-4, atol=0)


def test_weights_change_the_gradient_and_not_the_reported_loss(tiny_config: ModelConfig, test_digits: Digits) -> None:
    schedule = NoiseSchedule.named("linear")
    steps, ends = [], []
    for exponent in (0.0, 2.0):
        state = TrainState.create(replace(SHORT, weight_exponent=exponent, max_grad_norm=1e9), tiny_config)
        steps.append(next(train(state, test_digits, schedule)))
        ends.append(state.model.conv_out.weight.detach().clone())
    assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-6)
    assert steps[0].grad_norm != pytest.approx(steps[1].grad_norm, rel=1e-2)
