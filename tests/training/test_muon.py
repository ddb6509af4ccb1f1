"""Muon: orthogonal updates of the hidden convolutions, AdamW for every other weight, and training that resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.training.checkpoint import load_checkpoint, save_checkpoint
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.muon import ADAMW_RMS, MuonAdamW, hidden_convolutions, orthogonalize
from viz_diffusion.training.train_config import TrainConfig

CONFIG = TrainConfig(steps=6, batch_size=8, warmup_steps=1, optimizer="muon")


@pytest.mark.parametrize("shape", [(16, 72), (72, 16), (24, 24)])
def test_an_orthogonalized_matrix_keeps_its_directions_and_loses_their_sizes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rank = min(shape)
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], rank)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], rank)))
    sizes = np.geomspace(1, 0.05, rank)
    found = orthogonalize(torch.tensor((u * sizes) @ v.T, dtype=torch.float64)).numpy()
    in_directions = u.T @ found @ v
    kept = np.diag(in_directions)
    assert np.abs(in_directions - np.diag(kept)).max() < 1e-6
    assert kept.min() > 0.65
    assert kept.max() < 1.25
    scaled = orthogonalize(torch.tensor(1000 * (u * sizes) @ v.T, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(scaled, found, rtol=0, atol=1e-6)  # 1e-7 is added to its norm


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert not orthogonalize(torch.zeros(4, 9)).any()


def test_the_first_step_is_the_orthogonal_matrix_times_the_learning_rate() -> None:
    """Of one hidden convolution whose gradient is known: all singular values equal, as those of an orthogonal one."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"conv_in": nn.Conv2d(2, 4, 3), "hidden": nn.Conv2d(4, 4, 1), "linear": nn.Linear(3, 2)})
    weight, bias, first = (model.get_parameter(name) for name in ("hidden.weight", "hidden.bias", "conv_in.weight"))
    orthogonal = torch.linalg.qr(torch.randn(4, 4))[0]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    weight.grad = 7 * orthogonal.reshape(4, 4, 1, 1)
    optimizer = MuonAdamW(model, lr=0.1, weight_decay=0.5)
    optimizer.step()
    s = 0.5  # each singular value of a 4x4 orthogonal matrix over its norm, 2
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    expected = (1 - 0.1 * 0.5) * before["hidden.weight"] - 0.1 * ADAMW_RMS * 2 * s * orthogonal.reshape(4, 4, 1, 1)
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-5)
    for name, parameter in (("hidden.bias", bias), ("conv_in.weight", first)):  # AdamW's first step is the sign
        torch.testing.assert_close(parameter.detach(), (1 - 0.1 * 0.5) * before[name] - 0.1, rtol=0, atol=1e-5)


def test_every_convolution_but_the_first_and_the_last_is_muons(tiny_config: ModelConfig) -> None:
    model = SimpleUNet(tiny_config)
    names = {id(weight): name for name, weight in model.named_parameters()}
    found = {names[id(weight)] for weight in hidden_convolutions(model)}
    convolutions = {name for name, weight in model.named_parameters() if weight.ndim == 4}
    assert found == convolutions - {"conv_in.weight", "conv_out.weight"}
    assert "up_inner.0.conv1.weight" in found


def test_a_resumed_training_ends_in_the_same_bytes(
    tmp_path: Path, tiny_config: ModelConfig, linear: NoiseSchedule, test_digits: Digits
) -> None:
    digits = Digits(test_digits.images[:64], test_digits.labels[:64])
    whole = TrainState.create(CONFIG, tiny_config)
    for done in train(whole, digits, linear):
        if done.step == 3:
            save_checkpoint(tmp_path / "three", whole, 0, {})
    resumed, _, changes = load_checkpoint(tmp_path / "three", CONFIG, tiny_config, torch.device("cpu"), {})
    assert (resumed.step, changes) == (3, {})
    for _ in train(resumed, digits, linear):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    other = TrainState.create(replace(CONFIG, optimizer="adamw"), tiny_config)
    for _ in train(other, digits, linear):
        pass
    assert not torch.equal(other.model.mid1.conv1.weight, whole.model.mid1.conv1.weight)


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Path, tiny_config: ModelConfig) -> None:
    state = TrainState.create(CONFIG, tiny_config)
    save_checkpoint(tmp_path / "none", state, 0, {})
    with pytest.raises(
        VizdiffInputError, match=r"optimizer\.safetensors does not fit the config: 0\.exp_avg is missing"
    ):
        load_checkpoint(tmp_path / "none", replace(CONFIG, optimizer="adamw"), tiny_config, torch.device("cpu"), {})


def test_an_unknown_optimizer_is_refused_and_adamw_is_not_written() -> None:
    with pytest.raises(VizdiffUsageError, match="optimizer must be adamw or muon, found 'sgd'"):
        TrainConfig(optimizer="sgd")
    assert "optimizer" not in TrainConfig().to_dict()
    assert CONFIG.to_dict()["optimizer"] == "muon"
