"""What networks are trained to predict: examples by hand, weights, learning, and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import TINY, begin, fingerprint, finish, first_digits, train_to

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.parameterizations import OBJECTIVES
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.files import write_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState, heldout_loss, train
from viz_diffusion.training.objective import (
    Objective,
    logit_normal,
    loss_weights,
)
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Trainer

LAST_LINES = {"epsilon": "linear", "v": None, "x0": None, "flow": "flow"}


def run_config(objective: str, steps: int = 3, schedule: str = "linear", **options: object) -> RunConfig:
    training = TrainConfig(steps=steps, batch_size=4, warmup_steps=2, objective=objective, **options)
    return RunConfig(replace(TINY, schedule=LAST_LINES[objective]), training, schedule=schedule)


def batch(count: int = 6) -> tuple[torch.Tensor, ...]:
    x0, noise = torch.randn(2, count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return x0, noise, (torch.arange(count) + 0.5) / count


# -- examples by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
def test_targets_by_hand(objective: str, linear: NoiseSchedule) -> None:
    x0, noise, share = batch()
    x_t, t, target, weight = Objective(TrainConfig(objective=objective), linear).examples(x0, noise, share)
    assert t.tolist() == [83, 250, 416, 583, 750, 916]
    a, b = (
        torch.from_numpy(s[t.numpy()]).float()[:, None, None, None] for s in (linear.signal_scale, linear.noise_scale)
    )
    torch.testing.assert_close(x_t, a * x0 + b * noise)
    torch.testing.assert_close(target, {"epsilon": noise, "v": a * noise - b * x0, "x0": x0}[objective])
    assert torch.equal(weight, loss_weights(linear, TrainConfig(objective=objective))[t])


@pytest.mark.parametrize("density", ["uniform", "logit-normal"])
def test_flow_examples_by_hand(density: str, linear: NoiseSchedule) -> None:
    """σ is any number, and t the place it would have among the T levels (t + 1)/T."""
    x0, noise, share = batch()
    config = TrainConfig(objective="flow", timestep_density=density)
    x_t, t, target, weight = Objective(config, linear).examples(x0, noise, share)
    sigma = share if density == "uniform" else torch.sigmoid(2**0.5 * torch.special.erfinv(2 * share - 1))
    s = sigma[:, None, None, None]
    torch.testing.assert_close(x_t, (1 - s) * x0 + s * noise)
    torch.testing.assert_close(t, 1000 * sigma - 1, rtol=1e-5, atol=1e-3)
    assert torch.equal(target, noise - x0)
    assert torch.equal(weight, torch.ones(6))
    assert t.dtype == torch.float32


def test_the_logit_normal_density_is_esser_s() -> None:
    """π(σ) = exp(-logit(σ)²/2) / (√(2π) σ (1-σ)) (Esser et al. 2024, eq. 19), by its integral."""
    drawn = logit_normal(torch.arange(100_000, dtype=torch.float64).add(0.5) / 100_000).numpy()
    edges = np.linspace(0.02, 0.98, 49)
    fine = np.linspace(0.02, 0.98, 96_001)
    density = np.exp(-(np.log(fine / (1 - fine)) ** 2) / 2) / (np.sqrt(2 * np.pi) * fine * (1 - fine))
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(fine))])
    wanted = np.diff(np.interp(edges, fine, cumulative))
    np.testing.assert_allclose(np.histogram(drawn, edges)[0] / 100_000, wanted, atol=3e-5)
    ends = logit_normal(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == [0, 1]


def test_weights_by_hand(linear: NoiseSchedule) -> None:
    x0 = loss_weights(linear, TrainConfig(objective="x0")).double().numpy()
    assert x0.mean() == pytest.approx(1)
    np.testing.assert_allclose(x0 / x0[0], np.minimum(linear.snr, 5) / 5, rtol=1e-5)
    for objective in ("v", "flow"):
        assert torch.equal(loss_weights(linear, TrainConfig(objective=objective)), torch.ones(1000))


def test_only_an_eps_network_refuses_a_schedule_that_ends_without_signal() -> None:
    schedule = NoiseSchedule.named("zero-snr")
    with pytest.raises(VizdiffUsageError, match="leaves no signal at t = 999"):
        Objective(TrainConfig(), schedule)
    for objective in ("v", "x0", "flow"):
        examples = Objective(TrainConfig(objective=objective), schedule).examples(*batch(1000))
        assert all(torch.isfinite(values).all() for values in examples)
    assert Objective(TrainConfig(objective="v"), schedule).examples(*batch(1000)).weight[-1] == 1


# -- learning --------------------------------------------------------------------------------------


def best_multiple(objective: str, schedule: NoiseSchedule, m: float) -> float:
    """Return the loss of the best multiple of x_t for each t, where m is the mean square of the data.

    With p = α ε + β x_0 and x = a x_0 + b ε: E p² - (E p x)² / E x², and independent x_0 and ε of mean 0.
    """
    a, b = schedule.signal_scale, schedule.noise_scale
    alpha, beta = {"epsilon": (1, 0), "v": (a, -b), "x0": (0, 1), "flow": (1, -1)}[objective]
    power = alpha**2 + beta**2 * m
    return float((power - (alpha * b + beta * a * m) ** 2 / (b**2 + a**2 * m)).mean())


@pytest.mark.parametrize(
    ("objective", "density"), [("v", "uniform"), ("x0", "uniform"), ("flow", "uniform"), ("flow", "logit-normal")]
)
def test_the_loss_falls_below_that_of_the_best_multiple_of_x_t(
    objective: str, density: str, test_digits: Digits, linear: NoiseSchedule
) -> None:
    options = {} if density == "uniform" else {"timestep_density": density}
    data = Digits(test_digits.images[:64], test_digits.labels[:64])
    m = data.images.square().mean().item()
    config = run_config(objective)
    training = replace(config.training, steps=120, batch_size=16, warmup_steps=10, learning_rate=1e-2, **options)
    state = TrainState.create(training, config.model)
    losses = [step.loss for step in train(state, data, linear)]
    process = NoiseSchedule.named("flow") if objective == "flow" else linear
    baseline = best_multiple(objective, process, m)
    assert 0.1 < baseline < 1.6
    assert losses[0] > 0.9 * baseline
    if density == "uniform":
        assert np.mean(losses[-20:]) < 0.75 * baseline
    # as an ε-network of the run's schedule it is better than the best multiple of x_t too, in the later half of t,
    # where no factor 1/√(1-ᾱ) enlarges the errors of x̂_0
    losses_by_quarter = heldout_loss(config.denoiser(state.model.eval()), linear, data)
    share = linear.alphas_cumprod
    multiple = (share * m / (share * m + 1 - share)).reshape(4, -1).mean(axis=1)
    assert losses_by_quarter[1] < multiple[1]
    if objective != "x0":
        assert np.mean(losses_by_quarter) < multiple.mean()


@pytest.mark.parametrize("objective", ["v", "x0"])
def test_a_schedule_without_signal_at_its_end_is_trained_and_sampled(
    objective: str, tmp_path: Path, few_digits: Digits
) -> None:
    run, state = begin(tmp_path / "run", run_config(objective, schedule="zero-snr"))
    list(Trainer(run, state, few_digits, few_digits).run())
    samples = Run.open(tmp_path / "run").load_samples()
    assert samples is not None
    assert samples[0].tolist() == [3]


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "density"), [("v", "uniform"), ("x0", "uniform"), ("flow", "logit-normal"), ("epsilon", "bump")]
)
def test_resuming_is_bit_exact(objective: str, density: str, tmp_path: Path) -> None:
    digits, options = first_digits(9), {} if density == "uniform" else {"timestep_density": density}
    config = run_config(objective, steps=6, **options)
    list(Trainer(*begin(tmp_path / "whole", config), digits, digits).run())
    train_to(4, *begin(tmp_path / "stopped", config), digits)
    assert finish(tmp_path / "stopped", digits) == fingerprint(tmp_path / "whole")
    assert Run.open(tmp_path / "stopped").config.training.timestep_density == density


def test_resuming_with_more_middle_blocks_is_bit_exact(tmp_path: Path) -> None:
    digits, config = first_digits(9), run_config("epsilon", steps=6)
    config = replace(config, model=replace(config.model, num_mid_blocks=4))
    list(Trainer(*begin(tmp_path / "whole", config), digits, digits).run())
    train_to(4, *begin(tmp_path / "stopped", config), digits)
    assert finish(tmp_path / "stopped", digits) == fingerprint(tmp_path / "whole")
    assert Run.open(tmp_path / "stopped").config.model.num_mid_blocks == 4
    assert len(Run.open(tmp_path / "stopped").load_model()[0].mid_more) == 2


@pytest.mark.parametrize(
    ("objective", "density", "before"), [("flow", "logit-normal", "uniform"), ("epsilon", "bump", "None")]
)
def test_another_density_is_another_recipe(
    objective: str, density: str, before: str, tmp_path: Path, few_digits: Digits
) -> None:
    run, state = begin(tmp_path / "run", run_config(objective))
    train_to(2, run, state, few_digits)
    values = json.loads((run.path / "config.json").read_text())
    values["training"]["timestep_density"] = density
    write_json(run.path / "config.json", values)
    with pytest.raises(VizdiffInputError, match=f"timestep_density {before} then, {density} now"):
        Run.open(run.path).resume()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("density", ["uniform", "another"])
@pytest.mark.parametrize("num_mid_blocks", [2, 3])
def test_a_config_is_read_as_it_was_written(objective: str, density: str, num_mid_blocks: int, tmp_path: Path) -> None:
    chosen = density if density == "uniform" else "logit-normal" if objective == "flow" else "bump"
    config = run_config(objective, timestep_density=chosen)
    config = replace(config, model=replace(config.model, num_mid_blocks=num_mid_blocks))
    write_json(tmp_path / "config.json", config.to_dict())
    assert RunConfig.read(tmp_path / "config.json") == config


def test_an_eps_config_says_nothing_about_objectives() -> None:
    """So its bytes, and its checkpoints', are those from before there were others."""
    config = run_config("epsilon")
    added = {"objective", "timestep_density"}
    assert not added & set(config.to_dict()["training"])
    assert not added & set(config.conditions())
    assert "weight_exponent" in config.conditions()
    assert "num_mid_blocks" not in config.to_dict()["model"]
    assert set(run_config("v").to_dict()["training"]) & {*added, "weight_exponent"} == {"objective"}
    assert set(run_config("flow").conditions()) & {*added, "weight_exponent"} == added


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "score"}, "objective must be one of epsilon, v, x0, flow, found 'score'"),
        ({"objective": "flow", "timestep_density": "cosine"}, "timestep_density must be uniform or logit-normal"),
        ({"timestep_density": "logit-normal"}, "timestep_density goes with objective flow, not with epsilon"),
        ({"objective": "flow", "timestep_density": "bump"}, "timestep_density bump goes with any objective but flow"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(VizdiffUsageError, match=said):
        TrainConfig(**options)


@pytest.mark.parametrize(
    ("objective", "schedule", "said"),
    [
        ("v", "linear", "objective v has no schedule in its last line, found linear"),
        ("x0", "flow", "objective x0 has no schedule in its last line, found flow"),
        ("flow", "linear", "linear, T = 1000, and the objective flow flow, T = 1000"),
        ("epsilon", "flow", "flow, T = 1000, and the run linear, T = 1000"),
    ],
)
def test_a_last_line_of_another_objective_is_refused(objective: str, schedule: str, said: str) -> None:
    with pytest.raises(VizdiffInputError, match=said):
        RunConfig(ModelConfig(schedule=schedule), TrainConfig(objective=objective))


@pytest.mark.parametrize("objective", ["v", "x0", "flow"])
def test_a_run_gives_a_network_that_predicts_eps(objective: str, tmp_path: Path, few_digits: Digits) -> None:
    run, state = begin(tmp_path / "run", run_config(objective))
    list(Trainer(run, state, few_digits, few_digits).run())
    model, _ = Run.open(run.path).load_model()
    assert isinstance(model, ConvertedUNet)
    assert model.prediction_type == "epsilon"
    assert model.trained_for == OBJECTIVES[objective]
    for sampler in ("ddpm", "heun"):
        network, schedule = run.config.sampled(model, sampler)
        own = objective == "flow" and sampler == "heun"
        assert schedule.name == ("flow" if own else "linear")
        assert network.prediction_type == ("epsilon" if objective == "flow" and not own else OBJECTIVES[objective])
    recorded = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["heldout_loss"]
    assert heldout_loss(model, run.config.noise_schedule, few_digits) == pytest.approx(recorded, rel=1e-5)


def test_an_eps_network_is_left_as_it_is(linear: NoiseSchedule) -> None:
    config = run_config("epsilon")
    network = TrainState.create(config.training, config.model).ema
    assert config.denoiser(network) is network
    assert config.sampled(network, "heun")[0] is network
    assert config.denoiser(network, prediction_type="v_prediction").prediction_type == "v_prediction"
    np.testing.assert_array_equal(config.sampled(network, "heun")[1].betas, linear.betas)
