"""The training loop: the inputs of each step, what it changes, seeds."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.training.loop import TrainState, heldout_loss, train
from viz_diffusion.training.train_config import TrainConfig

SHORT = TrainConfig(steps=5, batch_size=4, warmup_steps=2)


def tensors(state: TrainState) -> dict[str, Tensor]:
    values = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    values |= {f"ema.{name}": value for name, value in state.ema.state_dict().items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        values |= {f"optimizer.{index}.{key}": value for key, value in entry.items()}
    return {name: value.detach().clone() for name, value in values.items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    return {
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    }


class RecordedCalls:
    """Keeps the inputs and predictions of the network in training."""

    def __init__(self, state: TrainState) -> None:
        self.x_t: list[Tensor] = []
        self.t: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.predictions: list[Tensor] = []
        state.model.register_forward_hook(self)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...], prediction: Tensor) -> None:
        for values, value in zip((self.x_t, self.t, self.labels), inputs, strict=True):
            values.append(value.clone())
        self.predictions.append(prediction.detach().clone())


# -- learning ---------------------------------------------------------------------------------


def test_the_loss_falls_below_that_of_the_best_multiple_of_x_t(
    tiny_config: ModelConfig, test_digits: Digits, linear: NoiseSchedule
) -> None:
    """The baseline is the best multiple of x_t at each t: its loss is the mean of ᾱm/(ᾱm + 1 - ᾱ).

    Here m is the mean square of the data. A new network predicts √(1-ᾱ) x_t, whose loss is ᾱ(ᾱ + (1-ᾱ)m).
    """
    data = Digits(test_digits.images[:64], test_digits.labels[:64])
    share, m = linear.alphas_cumprod, data.images.square().mean().item()
    baseline = (share * m / (share * m + 1 - share)).mean()
    assert 0.25 < baseline < 0.28
    initial = (share * (share + (1 - share) * m))[np.arange(64) * 1000 // 64]  # at the timesteps of the held-out loss
    config = TrainConfig(steps=100, batch_size=16, warmup_steps=10, learning_rate=1e-2)
    state = TrainState.create(config, tiny_config)
    before = heldout_loss(state.model, linear, data)
    losses = [step.loss for step in train(state, data, linear)]
    assert before == pytest.approx(initial.reshape(4, -1).mean(axis=1), rel=0.05)
    assert losses[0] == pytest.approx(initial.mean(), rel=0.1)
    assert np.mean(losses[-20:]) < baseline
    assert np.mean(heldout_loss(state.model.eval(), linear, data)) < baseline


# -- the inputs of a step --------------------------------------------------------------------------


@pytest.mark.parametrize(("num_images", "batch_size", "steps"), [(7, 3, 14), (5, 8, 10), (6, 6, 4), (1, 3, 2)])
def test_each_epoch_visits_each_image_once(
    num_images: int, batch_size: int, steps: int, tiny_config: ModelConfig
) -> None:
    """Every pixel of image i has the value i, and little noise is added, so x_t identifies the image."""
    images = torch.arange(num_images).float()[:, None, None, None].expand(-1, 1, 28, 28)
    data = Digits(images, torch.zeros(num_images, dtype=torch.int64))
    config = TrainConfig(steps=steps, batch_size=batch_size, learning_rate=0.0)
    state = TrainState.create(config, tiny_config)
    calls = RecordedCalls(state)
    list(train(state, data, NoiseSchedule(np.full(10, 1e-6))))
    visits = torch.cat(calls.x_t).mean(dim=(1, 2, 3)).round().int().tolist()
    assert len(visits) == steps * batch_size
    epochs = [visits[start : start + num_images] for start in range(0, len(visits), num_images)]
    complete = [epoch for epoch in epochs if len(epoch) == num_images]
    assert all(sorted(epoch) == list(range(num_images)) for epoch in complete)
    assert len(set(visits[len(complete) * num_images :])) == len(visits) - len(complete) * num_images
    if num_images >= 5:
        assert len({tuple(epoch) for epoch in complete}) > 1  # each epoch has its own order


@pytest.mark.parametrize("dropout", [0.0, 0.1, 1.0])
def test_some_labels_are_dropped(dropout: float, tiny_config: ModelConfig, few_digits: Digits) -> None:
    config = TrainConfig(steps=20, batch_size=100, label_dropout=dropout, learning_rate=0.0)
    state = TrainState.create(config, tiny_config)
    calls = RecordedCalls(state)
    data = Digits(few_digits.images[..., 8:16, 8:16], torch.full((40,), 6))
    list(train(state, data, NoiseSchedule.named("linear", 10)))
    labels = torch.cat(calls.labels)
    assert set(labels.tolist()) <= {6, 10}
    share = (labels == 10).double().mean().item()
    assert abs(share - dropout) <= 5 * (dropout * (1 - dropout) / 2000) ** 0.5


def test_timesteps_are_spread_over_the_whole_range(tiny_config: ModelConfig, few_digits: Digits) -> None:
    """There is one t in each of B equal slices, so if B = T every t appears once in each batch."""
    for num_timesteps, batch_size in ((10, 10), (1000, 16)):
        config = TrainConfig(steps=20, batch_size=batch_size, learning_rate=0.0)
        state = TrainState.create(config, tiny_config)
        calls = RecordedCalls(state)
        data = Digits(few_digits.images[..., 8:16, 8:16], few_digits.labels)
        list(train(state, data, NoiseSchedule.named("linear", num_timesteps)))
        for t in calls.t:
            assert (t * batch_size // num_timesteps).tolist() == list(range(batch_size))
        if num_timesteps == 1000:  # twenty draws from the first slice, 0 .. 62, cover both its ends
            firsts = torch.stack(calls.t)[:, 0]
            assert firsts.min() < 20
            assert firsts.max() > 42


def test_the_loss_is_the_mean_squared_error_of_the_added_noise(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """ε follows from x_t and the only image; it is standard normal and drawn anew in each step."""
    image = few_digits.images[:1]
    state = TrainState.create(replace(SHORT, batch_size=16, learning_rate=1e-2), tiny_config)
    calls = RecordedCalls(state)
    steps = list(train(state, Digits(image, few_digits.labels[:1]), linear))
    added = [linear.predict_eps(x_t.double(), image.double(), t) for x_t, t in zip(calls.x_t, calls.t, strict=True)]
    for step, noise, prediction in zip(steps, added, calls.predictions, strict=True):
        # at t = 0 the image, known to 2^-24, is divided by √(1-ᾱ) = 0.01
        assert step.loss == pytest.approx((prediction - noise).square().mean().item(), rel=1e-4)
    noise = torch.stack(added)
    assert abs(noise.mean()) < 5 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 5 * (2 / noise.numel()) ** 0.5
    assert abs((noise[0] * noise[1]).mean()) < 5 / noise[0].numel() ** 0.5
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 5 / noise[:, 0].numel() ** 0.5


# -- what a step changes ---------------------------------------------------------------------------


def test_learning_rate_by_hand() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    rates = [config.learning_rate_at(step) for step in (0, 4, 9, 10, 60, 109)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.01])
    assert all(config.learning_rate_at(step) > 0 for step in range(110))
    long_rise = TrainConfig(steps=5, warmup_steps=100, learning_rate=1.0)
    assert [long_rise.learning_rate_at(step) for step in range(5)] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_learning_rate_depends_on_the_step_alone(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    state = TrainState.create(SHORT, tiny_config)
    state.step = 3
    steps = list(train(state, few_digits, linear))
    assert [step.step for step in steps] == [4, 5]
    assert [step.learning_rate for step in steps] == [SHORT.learning_rate_at(3), SHORT.learning_rate_at(4)]
    assert state.optimizer.param_groups[0]["lr"] == SHORT.learning_rate_at(4)


def test_with_a_learning_rate_of_0_no_weight_changes(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """A control: with the usual learning rate they do."""
    state = TrainState.create(replace(SHORT, learning_rate=0.0), tiny_config)
    before = copy.deepcopy(state.model.state_dict())
    list(train(state, few_digits, linear))
    assert differing(before, state.model.state_dict()) == set()
    state = TrainState.create(SHORT, tiny_config)
    list(train(state, few_digits, linear))
    assert differing(before, state.model.state_dict())


def test_moving_average_by_hand(tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule) -> None:
    state = TrainState.create(replace(SHORT, ema_decay=0.3), tiny_config)
    expected = {name: value.double().clone() for name, value in state.model.state_dict().items()}
    for step in train(state, few_digits, linear):
        decay = min(0.3, (1 + step.step) / (10 + step.step))
        for name, value in state.model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in state.ema.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)
    assert differing(state.ema.state_dict(), state.model.state_dict())


def test_gradients_are_scaled_down_to_the_largest_norm(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    state = TrainState.create(replace(SHORT, max_grad_norm=1e-3), tiny_config)
    for step in train(state, few_digits, linear):
        norm = torch.stack([weight.grad.norm() for weight in state.model.parameters()]).norm().item()
        assert step.grad_norm > 1e-2
        assert norm == pytest.approx(1e-3, rel=1e-3)


# -- seeds -----------------------------------------------------------------------------------------


def trained(config: TrainConfig, model: ModelConfig, data: Digits, schedule: NoiseSchedule) -> TrainState:
    state = TrainState.create(config, model)
    list(train(state, data, schedule))
    return state


def test_one_seed_gives_one_result(tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule) -> None:
    first = tensors(trained(SHORT, tiny_config, few_digits, linear))
    torch.manual_seed(99)  # the global generator has no effect
    assert differing(first, tensors(trained(SHORT, tiny_config, few_digits, linear))) == set()
    other = tensors(trained(replace(SHORT, seed=1), tiny_config, few_digits, linear))
    changed = differing(first, other)
    assert any(name.startswith("model.") for name in changed)
    assert any(name.startswith("ema.") for name in changed)
    assert any(name.startswith("optimizer.") for name in changed)


def test_initial_weights_and_draws_depend_on_the_seed(tiny_config: ModelConfig, few_digits: Digits) -> None:
    first, same, other = (TrainState.create(replace(SHORT, seed=seed), tiny_config) for seed in (3, 3, 4))
    assert differing(first.model.state_dict(), same.model.state_dict()) == set()
    assert differing(first.model.state_dict(), other.model.state_dict())
    assert differing(first.model.state_dict(), first.ema.state_dict()) == set()
    first_calls, other_calls = RecordedCalls(first), RecordedCalls(other)
    schedule = NoiseSchedule.named("linear", 10)
    list(train(first, few_digits, schedule))
    list(train(other, few_digits, schedule))
    assert not torch.equal(first_calls.x_t[0], other_calls.x_t[0])
    assert not torch.equal(first_calls.x_t[0], first_calls.x_t[1])


def test_training_leaves_the_global_generator_alone(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    before = torch.get_rng_state()
    trained(SHORT, tiny_config, few_digits, linear)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stop_between_steps_changes_nothing(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    state = TrainState.create(SHORT, tiny_config)
    steps = train(state, few_digits, linear)
    next(steps)
    next(steps)
    steps.close()
    assert state.step == 2
    list(train(state, few_digits, linear))
    assert differing(tensors(state), tensors(trained(SHORT, tiny_config, few_digits, linear))) == set()


# -- non-finite numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_non_finite_numbers_stop_training_before_the_weights_change(
    number: float, tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    damaged = Digits(few_digits.images.clone(), few_digits.labels)
    damaged.images[:, 0, 14, 14] = number
    state = TrainState.create(SHORT, tiny_config)
    steps = train(state, few_digits, linear)
    next(steps)
    next(steps)
    before = tensors(state)
    with pytest.raises(VizdiffNonFiniteError, match=r"step 3: loss.* another seed or a larger batch_size") as caught:
        list(train(state, damaged, linear))
    assert caught.value.exit_code == 6
    assert state.step == 2
    assert differing(before, tensors(state)) == set()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"warmup_steps": 0}, "warmup_steps"),
        ({"precision": "fp8"}, "fp8"),
    ],
    ids=str,
)
def test_impossible_configs_are_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(VizdiffUsageError, match=named):
        TrainConfig(**changes)
