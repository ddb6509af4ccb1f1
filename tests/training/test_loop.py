"""Training: what each step sees, what it changes, and that seeds decide it all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.training import loop as training
from viz_diffusion.training.config import TrainConfig
from viz_diffusion.training.loop import TrainState, faster_precision, heldout_loss, loss_weights, step_seconds, train

SHORT = TrainConfig(steps=5, batch_size=4, warmup_steps=2)


def tensors(state: TrainState) -> dict[str, Tensor]:
    found = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    found |= {f"ema.{name}": value for name, value in state.ema.state_dict().items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{key}": value for key, value in entry.items()}
    return {name: value.detach().clone() for name, value in found.items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    return {
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    }


class Seen:
    """Writes down what the network is given and what it answers."""

    def __init__(self, state: TrainState) -> None:
        self.x_t: list[Tensor] = []
        self.t: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.answers: list[Tensor] = []
        state.model.register_forward_hook(self)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        for row, value in zip((self.x_t, self.t, self.labels), inputs, strict=True):
            row.append(value.clone())
        self.answers.append(answer.detach().clone())


# -- in which number format ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "bfloat16_seconds", "wanted"),
    [("cpu", 0.1, "float32"), ("cuda", 0.5, "bfloat16"), ("cuda", 0.9, "float32"), ("mps", 2.0, "float32")],
)
def test_bfloat16_is_for_devices_whose_whole_steps_are_much_faster_with_it(
    device: str,
    bfloat16_seconds: float,
    wanted: str,
    tiny_config: ModelConfig,
    few_digits: Digits,
    linear: NoiseSchedule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed = []

    def step_seconds(config: TrainConfig, *rest: object) -> float:
        timed.append((config.batch_size, *rest))
        return {"float32": 1.0, "bfloat16": bfloat16_seconds}[config.precision]

    monkeypatch.setattr(training, "step_seconds", step_seconds)
    place = torch.device(device)
    assert faster_precision(SHORT, tiny_config, few_digits, linear, place) == wanted
    assert timed == ([] if device == "cpu" else [(SHORT.batch_size, tiny_config, few_digits, linear, place)] * 2)


def test_timing_steps_makes_them_and_leaves_random_numbers_alone(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 16.0])
    made = []
    real = training._optimize
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(training, "_optimize", lambda *argv: made.append(argv) or real(*argv))
    before = torch.random.get_rng_state()
    assert step_seconds(SHORT, tiny_config, few_digits, linear, torch.device("cpu"), count=3) == 2.0
    assert len(made) == 4
    assert torch.equal(torch.random.get_rng_state(), before)


# -- does it learn? --------------------------------------------------------------------------------


def test_the_loss_falls_below_the_best_predictor_that_sees_no_structure(
    tiny_config: ModelConfig, test_digits: Digits, linear: NoiseSchedule
) -> None:
    """The baseline is the best multiple of x_t at each t: its loss is the mean of ᾱm/(ᾱm + 1 - ᾱ).

    Here m is the mean square of the data. A fresh network answers √(1-ᾱ) x_t, whose loss is ᾱ(ᾱ + (1-ᾱ)m).
    """
    data = Digits(test_digits.images[:64], test_digits.labels[:64])
    share, m = linear.alphas_cumprod, data.images.square().mean().item()
    baseline = (share * m / (share * m + 1 - share)).mean()
    assert 0.25 < baseline < 0.28
    fresh = (share * (share + (1 - share) * m))[np.arange(64) * 1000 // 64]  # at the timesteps held out for 64 images
    config = TrainConfig(steps=100, batch_size=16, warmup_steps=10, learning_rate=1e-2)
    state = TrainState.create(config, tiny_config)
    before = heldout_loss(state.model, linear, data)
    losses = [step.loss for step in train(state, data, linear)]
    assert before == pytest.approx(fresh.reshape(4, -1).mean(axis=1), rel=0.05)
    assert losses[0] == pytest.approx(fresh.mean(), rel=0.1)
    assert np.mean(losses[-20:]) < baseline
    assert np.mean(heldout_loss(state.model.eval(), linear, data)) < baseline


# -- what a step sees ------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_images", "batch_size", "steps"), [(7, 3, 14), (5, 8, 10), (6, 6, 4), (1, 3, 2)])
def test_each_epoch_visits_each_image_once(
    num_images: int, batch_size: int, steps: int, tiny_config: ModelConfig
) -> None:
    """Image i is all i's, and hardly any noise is added, so that x_t tells which image it was."""
    images = torch.arange(num_images).float()[:, None, None, None].expand(-1, 1, 28, 28)
    data = Digits(images, torch.zeros(num_images, dtype=torch.int64))
    config = TrainConfig(steps=steps, batch_size=batch_size, learning_rate=0.0)
    state = TrainState.create(config, tiny_config)
    seen = Seen(state)
    list(train(state, data, NoiseSchedule(np.full(10, 1e-6))))
    visits = torch.cat(seen.x_t).mean(dim=(1, 2, 3)).round().int().tolist()
    assert len(visits) == steps * batch_size
    epochs = [visits[start : start + num_images] for start in range(0, len(visits), num_images)]
    whole = [epoch for epoch in epochs if len(epoch) == num_images]
    assert all(sorted(epoch) == list(range(num_images)) for epoch in whole)
    assert len(set(visits[len(whole) * num_images :])) == len(visits) - len(whole) * num_images
    if num_images >= 5:
        assert len({tuple(epoch) for epoch in whole}) > 1  # each epoch has its own order


@pytest.mark.parametrize("dropout", [0.0, 0.1, 1.0])
def test_some_labels_are_dropped(dropout: float, tiny_config: ModelConfig, few_digits: Digits) -> None:
    config = TrainConfig(steps=20, batch_size=100, label_dropout=dropout, learning_rate=0.0)
    state = TrainState.create(config, tiny_config)
    seen = Seen(state)
    data = Digits(few_digits.images[..., 8:16, 8:16], torch.full((40,), 6))
    list(train(state, data, NoiseSchedule.named("linear", 10)))
    labels = torch.cat(seen.labels)
    assert set(labels.tolist()) <= {6, 10}
    share = (labels == 10).double().mean().item()
    assert abs(share - dropout) <= 5 * (dropout * (1 - dropout) / 2000) ** 0.5


def test_timesteps_are_spread_over_the_whole_range(tiny_config: ModelConfig, few_digits: Digits) -> None:
    """One t in each of B equal slices, so that with B = T every t comes once in each batch."""
    for num_timesteps, batch_size in ((10, 10), (1000, 16)):
        config = TrainConfig(steps=20, batch_size=batch_size, learning_rate=0.0)
        state = TrainState.create(config, tiny_config)
        seen = Seen(state)
        data = Digits(few_digits.images[..., 8:16, 8:16], few_digits.labels)
        list(train(state, data, NoiseSchedule.named("linear", num_timesteps)))
        for t in seen.t:
            assert (t * batch_size // num_timesteps).tolist() == list(range(batch_size))
        if num_timesteps == 1000:  # twenty draws from the first slice, 0 .. 62, reach both its ends
            firsts = torch.stack(seen.t)[:, 0]
            assert firsts.min() < 20
            assert firsts.max() > 42


def test_the_loss_is_the_mean_square_of_what_was_added(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """ε follows from x_t and the one image there is; it is standard normal and new at each step."""
    image = few_digits.images[:1]
    state = TrainState.create(replace(SHORT, batch_size=16, learning_rate=1e-2), tiny_config)
    seen = Seen(state)
    steps = list(train(state, Digits(image, few_digits.labels[:1]), linear))
    added = [linear.predict_eps(x_t.double(), image.double(), t) for x_t, t in zip(seen.x_t, seen.t, strict=True)]
    for step, noise, answer in zip(steps, added, seen.answers, strict=True):
        # at t = 0 the image, known to 2^-24, is divided by √(1-ᾱ) = 0.01
        assert step.loss == pytest.approx((answer - noise).square().mean().item(), rel=1e-4)
    noise = torch.stack(added)
    assert abs(noise.mean()) < 5 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 5 * (2 / noise.numel()) ** 0.5
    assert abs((noise[0] * noise[1]).mean()) < 5 / noise[0].numel() ** 0.5
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 5 / noise[:, 0].numel() ** 0.5


# -- what a step changes ---------------------------------------------------------------------------


def test_learning_rate_by_hand() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    found = [config.learning_rate_at(step) for step in (0, 4, 9, 10, 60, 109)]
    assert found == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.01])
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


def test_without_a_learning_rate_nothing_is_learnt(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """A control: the weights move by the learning rate alone."""
    state = TrainState.create(replace(SHORT, learning_rate=0.0), tiny_config)
    before = copy.deepcopy(state.model.state_dict())
    list(train(state, few_digits, linear))
    assert differing(before, state.model.state_dict()) == set()
    state = TrainState.create(SHORT, tiny_config)
    list(train(state, few_digits, linear))
    assert differing(before, state.model.state_dict())


def test_moving_average_by_hand(tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule) -> None:
    state = TrainState.create(replace(SHORT, ema_decay=0.3), tiny_config)
    wanted = {name: value.double().clone() for name, value in state.model.state_dict().items()}
    for step in train(state, few_digits, linear):
        decay = min(0.3, (1 + step.step) / (10 + step.step))
        for name, value in state.model.state_dict().items():
            wanted[name] = decay * wanted[name] + (1 - decay) * value
    for name, value in state.ema.state_dict().items():
        torch.testing.assert_close(value.double(), wanted[name], rtol=1e-5, atol=1e-7)
    assert differing(state.ema.state_dict(), state.model.state_dict())


def test_gradients_are_scaled_down_to_the_largest_norm(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    state = TrainState.create(replace(SHORT, max_grad_norm=1e-3), tiny_config)
    for step in train(state, few_digits, linear):
        left = torch.stack([weight.grad.norm() for weight in state.model.parameters()]).norm().item()
        assert step.grad_norm > 1e-2
        assert left == pytest.approx(1e-3, rel=1e-3)


# -- seeds -----------------------------------------------------------------------------------------


def trained(config: TrainConfig, model: ModelConfig, data: Digits, schedule: NoiseSchedule) -> TrainState:
    state = TrainState.create(config, model)
    list(train(state, data, schedule))
    return state


def test_one_seed_one_outcome(tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule) -> None:
    first = tensors(trained(SHORT, tiny_config, few_digits, linear))
    torch.manual_seed(99)  # the global generator plays no part
    assert differing(first, tensors(trained(SHORT, tiny_config, few_digits, linear))) == set()
    other = tensors(trained(replace(SHORT, seed=1), tiny_config, few_digits, linear))
    changed = differing(first, other)
    assert any(name.startswith("model.") for name in changed)
    assert any(name.startswith("ema.") for name in changed)
    assert any(name.startswith("optimizer.") for name in changed)


def test_the_seed_decides_weights_and_draws_alike(tiny_config: ModelConfig, few_digits: Digits) -> None:
    first, same, other = (TrainState.create(replace(SHORT, seed=seed), tiny_config) for seed in (3, 3, 4))
    assert differing(first.model.state_dict(), same.model.state_dict()) == set()
    assert differing(first.model.state_dict(), other.model.state_dict())
    assert differing(first.model.state_dict(), first.ema.state_dict()) == set()
    first_seen, other_seen = Seen(first), Seen(other)
    schedule = NoiseSchedule.named("linear", 10)
    list(train(first, few_digits, schedule))
    list(train(other, few_digits, schedule))
    assert not torch.equal(first_seen.x_t[0], other_seen.x_t[0])
    assert not torch.equal(first_seen.x_t[0], first_seen.x_t[1])


def test_training_leaves_the_global_generator_alone(
    tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    before = torch.get_rng_state()
    trained(SHORT, tiny_config, few_digits, linear)
    assert torch.equal(torch.get_rng_state(), before)


def test_going_on_is_the_same_as_going_through(
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


# -- numbers that are none -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_non_finite_numbers_stop_training_before_they_do_harm(
    number: float, tiny_config: ModelConfig, few_digits: Digits, linear: NoiseSchedule
) -> None:
    spoilt = Digits(few_digits.images.clone(), few_digits.labels)
    spoilt.images[:, 0, 14, 14] = number
    state = TrainState.create(SHORT, tiny_config)
    steps = train(state, few_digits, linear)
    next(steps)
    next(steps)
    before = tensors(state)
    with pytest.raises(VizdiffNonFiniteError, match=r"step 3: loss.* another seed or a larger batch_size") as caught:
        list(train(state, spoilt, linear))
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


# -- held-out loss ---------------------------------------------------------------------------------


class Answers(nn.Module):
    """A denoiser given as a function."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        return self.answer(x, t)


def test_heldout_loss_by_quarter(linear: NoiseSchedule) -> None:
    """On images that are all -1 the true ε follows from x_t; told for one quarter, that quarter is 0."""
    data = Digits(torch.full((50, 1, 28, 28), -1.0), torch.zeros(50, dtype=torch.int64))

    def truth(x: Tensor, t: Tensor) -> Tensor:
        return linear.predict_eps(x, torch.full_like(x, -1), t)

    def second_quarter(x: Tensor, t: Tensor) -> Tensor:
        return truth(x, t) * ((t >= 250) & (t < 500))[:, None, None, None]

    assert heldout_loss(Answers(truth), linear, data) == pytest.approx([0, 0, 0, 0], abs=1e-8)
    nothing = heldout_loss(Answers(lambda x, _: 0 * x), linear, data)
    spread = 5 * (2 / (12 * 784)) ** 0.5
    assert nothing == pytest.approx([1, 1, 1, 1], abs=spread)
    found = heldout_loss(Answers(second_quarter), linear, data)
    assert found[1] == pytest.approx(0, abs=1e-8)
    assert [found[0], *found[2:]] == pytest.approx([nothing[0], *nothing[2:]], rel=1e-6)


def test_heldout_loss_repeats_and_does_not_depend_on_the_batch(
    make_unet: Callable, few_digits: Digits, linear: NoiseSchedule
) -> None:
    unet, before = make_unet(), torch.get_rng_state()
    first = heldout_loss(unet, linear, few_digits)
    assert heldout_loss(unet, linear, few_digits) == first
    assert heldout_loss(unet, linear, few_digits, batch_size=7) == pytest.approx(first, rel=1e-5)
    assert heldout_loss(make_unet(1), linear, few_digits) != first
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_heldout_loss_of_few_images_is_a_number(
    count: int, make_unet: Callable, few_digits: Digits, linear: NoiseSchedule
) -> None:
    """A folder of one's own may hold few test images; NaN would stop training when it is written."""
    few = Digits(few_digits.images[:count], few_digits.labels[:count])
    assert np.isfinite(heldout_loss(make_unet(), linear, few)).all()


def test_loss_weights_by_hand() -> None:
    schedule = NoiseSchedule.named("linear")
    weights = loss_weights(schedule, 0.5).double().numpy()
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(
        weights / weights[0], np.sqrt(schedule.alphas_cumprod[0] / schedule.alphas_cumprod), rtol=1e-5
    )
    assert torch.equal(loss_weights(schedule, 0.0), torch.ones(1000))


def test_with_exponent_one_every_timestep_counts_alike_in_v() -> None:
    schedule, x0, noise, other = NoiseSchedule.named("linear"), *torch.randn(3, 1000, 1, 8, 8).double()
    t = torch.arange(1000)
    signal = torch.from_numpy(schedule.alphas_cumprod)[:, None, None, None]
    x_t = schedule.add_noise(x0, noise, t)
    v = signal.sqrt() * noise - (1 - signal).sqrt() * x0
    eps_pred = (1 - signal).sqrt() * x_t + signal.sqrt() * (v + other)  # what an error in v makes of ε̂
    errors = (eps_pred - noise).square().mean(dim=(1, 2, 3)) * loss_weights(schedule, 1.0)
    scaled = errors / other.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(scaled, scaled[:1].expand(1000), rtol=1e-4, atol=0)


def test_weights_reach_the_gradient_and_not_the_told_loss(tiny_config: ModelConfig, test_digits: Digits) -> None:
    schedule = NoiseSchedule.named("linear")
    steps, ends = [], []
    for exponent in (0.0, 2.0):
        state = TrainState.create(replace(SHORT, weight_exponent=exponent, max_grad_norm=1e9), tiny_config)
        steps.append(next(train(state, test_digits, schedule)))
        ends.append(state.model.conv_out.weight.detach().clone())
    assert steps[0].loss == pytest.approx(steps[1].loss, rel=1e-6)
    assert steps[0].grad_norm != pytest.approx(steps[1].grad_norm, rel=1e-2)
